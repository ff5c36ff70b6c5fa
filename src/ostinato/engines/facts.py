"""What an engine knows of the cell of a layer. It asks the layer; no engine knows a cell by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ostinato import registration

if TYPE_CHECKING:
    import keras

    from ostinato.cells.base import Cell


def cell_of(layer: keras.layers.Layer) -> Cell | None:
    """The cell of a layer of ostinato's, or of Keras' own SimpleRNN, GRU or LSTM; None for any other."""
    own = getattr(layer, "recurrence", None)
    if own is not None:
        return own
    kind = type(getattr(layer, "cell", None))
    return next((cell for cell in cells() if cell.keras is not None and cell.keras.cell is kind), None)


def cells() -> tuple[Cell, ...]:
    """ostinato's own cells."""
    return registration.own_cells()


def has_known_cell(layer: keras.layers.RNN) -> bool:
    """Whether the layer runs the cell that it names, and not a subclass with other equations."""
    cell = cell_of(layer)
    return cell is not None and cell.keras is not None and type(layer.cell) is cell.keras.cell


def is_stock(layer: keras.layers.RNN) -> bool:
    """Whether the layer is Keras' own layer of its cell, or a subclass of it."""
    return any(isinstance(layer, cell.keras.layer) for cell in cells() if cell.keras is not None)

"""What an engine knows of the cells of a layer. It asks the layer; no engine knows a cell by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ostinato import registration

if TYPE_CHECKING:
    import keras

    from ostinato.cells.base import Cell


@dataclass(frozen=True)
class Part:
    """One of Keras' cells in a `keras.layers.RNN`, as an engine runs it: as if it were a layer of its own.

    Its options (`units`, `activation`, `dropout`, …), its weights and its dtype are those of the cell.

    Attributes:
        cell: the cell.
        go_backwards: whether it reads its inputs from the last step to the first.
        return_sequences: whether its outputs at all steps are wanted.
        zero_output_for_mask: whether its outputs at skipped steps are zeros.
    """

    cell: keras.layers.Layer
    go_backwards: bool
    return_sequences: bool
    zero_output_for_mask: bool

    def __getattr__(self, option: str) -> object:
        return getattr(self.cell, option)


def parts(layer: keras.layers.RNN) -> list[keras.layers.RNN | Part]:
    """What an engine runs for a layer, one after the other, each over the whole sequence.

    It is the layer itself; for a `keras.layers.RNN`, but not for a subclass of it, its cell or the cells of
    its stack. The outputs of each are the inputs of the next, so only the first reads backwards.
    """
    if not _runs_any_cell(layer):
        return [layer]
    cells = stacked(layer) or [layer.cell]
    last = len(cells) - 1
    return [
        Part(
            cell,
            go_backwards=layer.go_backwards and at == 0,
            return_sequences=layer.return_sequences or at < last,
            zero_output_for_mask=layer.zero_output_for_mask and at == last,
        )
        for at, cell in enumerate(cells)
    ]


def stacked(layer: keras.layers.RNN) -> list[keras.layers.Layer]:
    """The cells of a layer that runs a `keras.layers.StackedRNNCells`; none for any other layer."""
    import keras  # loaded already, as there is a layer

    cell = getattr(layer, "cell", None)
    return list(cell.cells) if type(cell) is keras.layers.StackedRNNCells else []


def cell_of(layer: keras.layers.Layer | Part) -> Cell | None:
    """The cell of a layer of ostinato's, of Keras' own SimpleRNN, GRU or LSTM, or of a part; else None."""
    own = getattr(layer, "recurrence", None)
    if own is not None:
        return own
    kind = type(getattr(layer, "cell", None))
    return next((cell for cell in cells() if cell.keras is not None and cell.keras.cell is kind), None)


def cells() -> tuple[Cell, ...]:
    """ostinato's own cells."""
    return registration.own_cells()


def has_known_cell(layer: keras.layers.RNN | Part) -> bool:
    """Whether the layer runs Keras' own cells or ostinato's, and not subclasses with other equations."""
    if not isinstance(layer, Part) and _runs_any_cell(layer):
        return all(has_known_cell(part) for part in parts(layer))
    cell = cell_of(layer)
    return cell is not None and type(layer.cell) is (cell.keras.cell if cell.keras else cell.keras_cell)


def has_zero_state(layer: keras.layers.RNN) -> bool:
    """Whether Keras' own cells make the layer's first state, which is then zero."""
    inside = (layer.cell, *stacked(layer))
    return has_known_cell(layer) and not any("get_initial_state" in vars(cell) for cell in inside)


def is_stock(layer: keras.layers.RNN | Part) -> bool:
    """Whether the layer is Keras' own layer of its cell, or ostinato's, or a subclass of it; or a part."""
    layers = [cell.keras.layer if cell.keras else cell.layer for cell in cells()]
    kinds = tuple(layer for layer in layers if isinstance(layer, type))
    return isinstance(layer, (Part, *kinds))


def _runs_any_cell(layer: keras.layers.RNN) -> bool:
    """Whether it is a `keras.layers.RNN`, Keras' own or ostinato's, and not a layer of one cell."""
    import keras

    return type(layer) is keras.layers.RNN or getattr(layer, "runs_any_cell", False)

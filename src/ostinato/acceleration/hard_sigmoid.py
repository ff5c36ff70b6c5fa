"""Puts Keras 3's hard_sigmoid in the place of Keras 2's, for models that open without ostinato.

Keras 2's is clip(0.2 x + 0.5, 0, 1), Keras 3's clip(x / 6 + 0.5, 0, 1). So the former of x is the latter of
1.2 x, and a layer whose weights give x gives 1.2 x with weights that are 1.2 times as large.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
from keras.src.layers.rnn.conv_lstm import ConvLSTMCell

from ostinato.interop.keras.legacy import keras2_hard_sigmoid
from ostinato.registration import own_cells

_FACTOR = 1.2
_CELLS = {cell.keras.cell: cell for cell in own_cells() if cell.keras is not None}
_CELLS[ConvLSTMCell] = _CELLS[keras.layers.LSTMCell]
_LINEAR = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


def layers_to_scale(model: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers and cells in which Keras 3's function can take the place of Keras 2's."""
    return [layer for layer in model._flatten_layers() if any(_blocks(layer))]


def scale(model: keras.layers.Layer) -> None:
    """Changes the function of each such layer, and the weights that lead to it. Outputs stay equal.

    Gradients do not: further training takes other steps.
    """
    for layer in layers_to_scale(model):
        blocks = list(_blocks(layer))
        for name in ("kernel", "recurrent_kernel", "bias"):
            weight = getattr(layer, name, None)
            if weight is not None:
                _scale(weight, blocks)
        for name in _functions(layer):
            setattr(layer, name, keras.activations.hard_sigmoid)


def _blocks(layer: keras.layers.Layer) -> Iterator[tuple[int, int]]:
    """The blocks of the weights' columns to scale: the number of each, and of all."""
    names = _functions(layer)
    if isinstance(layer, _LINEAR) and names:
        yield 0, 1
    for kind, cell in _CELLS.items():
        if type(layer) is not kind:
            continue
        states = [state.name for state in cell.states]
        for number, gate in enumerate(cell.gates):
            # The gate that becomes a state is the candidate.
            if ("activation" if gate in states else "recurrent_activation") in names:
                yield number, len(cell.gates)


def _functions(layer: keras.layers.Layer) -> list[str]:
    """The attributes of a layer that are Keras 2's function and may become Keras 3's."""
    names = ["recurrent_activation"]
    cell = _CELLS.get(type(layer))
    if cell is None or len(cell.states) == 1:  # an LSTM also applies it to a state, whose size no weight sets
        names.append("activation")
    return [name for name in names if getattr(layer, name, None) is keras2_hard_sigmoid]


def _scale(weight: keras.Variable, blocks: list[tuple[int, int]]) -> None:
    value = weight.numpy()
    for number, count in blocks:
        width = value.shape[-1] // count
        value[..., number * width : (number + 1) * width] *= np.asarray(_FACTOR, value.dtype)
    weight.assign(value)

"""The `scratch` engine: the textbook's step functions, run over time on a layer's own weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from ostinato.engines.facts import cell_of, has_known_cell, is_stock
from ostinato.errors import EngineError

if TYPE_CHECKING:
    import keras

    from ostinato.cells.base import State


def obstacle(layer: keras.layers.RNN, *, mask: bool = False, training: bool = False) -> str | None:
    """The first option of the layer that the textbook does not have; None when it has them all."""
    from keras import activations

    if not is_stock(layer):
        return f"the textbook has no {type(layer).__name__} layers, only SimpleRNN, GRU and LSTM"
    if not has_known_cell(layer):
        return f"the textbook has no {type(layer.cell).__name__}"
    activation = getattr(layer, "activation", activations.tanh)
    recurrent_activation = getattr(layer, "recurrent_activation", activations.sigmoid)
    in_params = layer.recurrence.keras is None if hasattr(layer, "recurrence") else False
    policy = layer.dtype_policy
    options = {
        "masks": mask,
        "go_backwards": layer.go_backwards,
        "dropout": getattr(layer, "dropout", 0.0),
        "recurrent_dropout": getattr(layer, "recurrent_dropout", 0.0),
        "zoneout": hasattr(layer.cell, "draw_zones") and any(layer.cell.zoneout),
        "activation but tanh": activation is not activations.tanh and not in_params,
        "recurrent_activation but sigmoid": recurrent_activation is not activations.sigmoid,
        f"mixed precision (dtype '{policy.name}')": policy.compute_dtype != policy.variable_dtype,
        "cuDNN (use_cudnn=True)": getattr(layer, "use_cudnn", False) is True,
    }
    return next((f"the textbook has no {option}" for option, given in options.items() if given), None)


def run(
    layer: keras.layers.RNN,
    x: tf.Tensor,
    state: Sequence[tf.Tensor],
    mask: tf.Tensor | None,
    training: bool,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Run a layer over a batch of sequences.

    Args:
        layer: the layer, built, to which there is no `obstacle`.
        x: shape (batch, time, features); time may be unknown in a graph.
        state: the tensors of the cell's state, each (batch, units).
        mask, training: as for every engine; without an obstacle they change nothing.

    Returns:
        The last output (batch, units), all outputs (batch, time, units) and the final state.
    """
    cell = cell_of(layer)
    if cell is None or cell.step is None or cell.params is None:
        raise EngineError(f"engine='scratch' cannot run a {type(layer).__name__}: it has no textbook step")
    step, params = cell.step, cell.params(layer)

    def one_step(carried: State, x: tf.Tensor) -> State:
        output, after = step(x, carried[1:], params)
        return tuple(
            tf.ensure_shape(new, old.shape) for new, old in zip((output, *after), carried, strict=True)
        )

    first_output = tf.zeros((tf.shape(x)[0], layer.cell.output_size), x.dtype)
    outputs, *states = tf.scan(one_step, tf.transpose(x, (1, 0, 2)), initializer=(first_output, *state))
    return outputs[-1], tf.transpose(outputs, (1, 0, 2)), [history[-1] for history in states]

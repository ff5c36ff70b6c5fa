"""The `scratch` engine: the textbook's step functions, run over time on a layer's own weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from ostinato import scratch

if TYPE_CHECKING:
    import keras


def run(
    layer: keras.layers.RNN, sequences: tf.Tensor, initial_state: Sequence[tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Run a SimpleRNN, GRU or LSTM layer over a batch of sequences.

    Args:
        layer: the layer, built, without options that `choose` refuses.
        sequences: shape (batch, time, features); time may be unknown in a graph.
        initial_state: (h,) or (h, c), each (batch, units).

    Returns:
        The last output (batch, units), all outputs (batch, time, units) and the final state.
    """
    cell = layer.cell
    weights = [weight for weight in (cell.kernel, cell.recurrent_kernel, cell.bias) if weight is not None]
    params = scratch.from_keras(weights, reset_after=getattr(cell, "reset_after", None))
    step = scratch.STEPS[type(params)]

    def next_state(state: scratch.State, x: tf.Tensor) -> scratch.State:
        after = step(x, state, params)[1]
        return tuple(tf.ensure_shape(new, old.shape) for new, old in zip(after, state, strict=True))

    history = tf.scan(next_state, tf.transpose(sequences, (1, 0, 2)), initializer=tuple(initial_state))
    outputs = tf.transpose(history[0], (1, 0, 2))
    final_state = [states[-1] for states in history]
    return final_state[0], outputs, final_state

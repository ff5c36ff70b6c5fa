"""The dtypes of layers, and those that the `native` engine computes in: float32, and float64.

In float64 nothing is rounded. Half precision is computed in float32.

Under `mixed_bfloat16`, `mixed_float16`, `bfloat16` and `float16` Keras rounds weights, inputs and states to
the policy's compute dtype, and then every result of every small op. The engine rounds the same weights,
inputs and initial states, computes in float32, and rounds outputs and final states. Its errors are thus those
of a few roundings, and do not grow with time by new ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    import keras

HALF = ("bfloat16", "float16")
"""The compute dtypes for which the engine computes in float32."""
_KNOWN = ("float32", "float64", *HALF)


def obstacle(layer: keras.layers.RNN) -> str | None:
    """Why the engine does not compute in a layer's dtype; None when it does."""
    policy, of_cell = layer.dtype_policy, layer.cell.dtype_policy
    if (policy.compute_dtype, policy.variable_dtype) != (of_cell.compute_dtype, of_cell.variable_dtype):
        return f"a layer and its cell must have one dtype, and it has '{policy.name}' and '{of_cell.name}'"
    if policy.compute_dtype not in _KNOWN or policy.variable_dtype not in _KNOWN:
        return (
            "it computes in float32 and float64, also for bfloat16, float16 and their mixed policies, and "
            f"the layer's dtype is '{policy.name}'"
        )
    return None


def single_obstacle(layer: keras.layers.RNN) -> str | None:
    """`obstacle` of an op that has no form in float64."""
    if layer.cell.compute_dtype == "float64":
        return f"it runs the cell {type(layer.cell).__name__} in float32, and the layer's dtype is float64"
    return obstacle(layer)


def of_op(layer: keras.layers.RNN) -> tf.DType:
    """The dtype that the engine computes a layer in."""
    return tf.float64 if layer.cell.compute_dtype == "float64" else tf.float32


def rounded(layer: keras.layers.RNN, tensor: tf.Tensor | keras.Variable) -> tf.Tensor:
    """Numbers as the layer's dtype has them, in the dtype of the op. Gradients flow through the rounding.

    Args:
        layer: the layer, whose compute dtype is float32, float64 or one of `HALF`.
        tensor: numbers of any dtype and shape, or a weight.
    """
    return tf.cast(in_dtype(layer, tf.convert_to_tensor(tensor)), of_op(layer))


def in_dtype(layer: keras.layers.RNN, tensor: tf.Tensor) -> tf.Tensor:
    """A tensor in the layer's compute dtype."""
    return tf.cast(tensor, layer.cell.compute_dtype)


def results(
    layer: keras.layers.RNN, last_output: tf.Tensor | None, y: tf.Tensor, states: Iterable[tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """The results of the engine in the layer's compute dtype.

    Args:
        layer: the layer.
        last_output: shape (batch, units); None for the first state, which is then rounded once.
        y: the outputs, shape (batch, time or 1, units).
        states: the final state, each (batch, units).

    Returns:
        The last output, the outputs and the final state.
    """
    states = [in_dtype(layer, state) for state in states]
    y = in_dtype(layer, y)
    return states[0] if last_output is None else in_dtype(layer, last_output), y, states

"""The product of features and a matrix of weights, as one product of matrices."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ostinato.engines.library import function, has, register_gradients

_OP, _GRADIENT = "OstinatoProductV1", "OstinatoProductGradV1"


def product(x: tf.Tensor, weights: tf.Tensor, *, transpose: bool = False) -> tf.Tensor:
    """x · weights over the last axis; of token ids the rows of the weights, as of their one-hot vectors.

    `tf.matmul` gives the same of an x with more than two axes, but its gradient makes the gradient of the
    weights once for each entry of the first axis, and then sums.

    Args:
        x: shape (…, inputs), or integers of shape (…).
        weights: shape (inputs, outputs).
        transpose: whether the weights have the shape (outputs, inputs) instead.

    Returns:
        Shape (…, outputs).
    """
    if x.dtype.is_integer and not transpose:
        return tf.gather(weights, x)
    inputs, outputs = weights.shape[::-1] if transpose else weights.shape
    rows = tf.matmul(tf.reshape(x, (-1, inputs)), weights, transpose_b=transpose)
    return _as_before(rows, x, outputs)


def native_product(x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """`product` by the native engine, which must be available. Any number of threads gives the same bits.

    Of other numbers than float32 it is TensorFlow's.
    """
    if x.dtype != tf.float32 or weights.dtype != tf.float32 or not has("ostinato_product_v1"):
        return product(x, weights)
    inputs, outputs = weights.shape
    return _as_before(function(_OP)(tf.reshape(x, (-1, inputs)), weights), x, outputs)


def _as_before(rows: tf.Tensor, x: tf.Tensor, outputs: int | None) -> tf.Tensor:
    """Rows (n, outputs) with the axes that x has, but for its last."""
    sizes: Any = [tf.shape(x)[:-1], [outputs]]
    size, known = tf.concat(sizes, axis=0), (*x.shape[:-1], outputs)
    return tf.ensure_shape(tf.reshape(rows, size), known)


def _gradient(op: tf.Operation, dy: tf.Tensor) -> list[tf.Tensor | None]:
    x, weights = op.inputs
    # A tape knows which gradients are not needed; a gradient inside a graph does not.
    wants_dx = 0 not in (getattr(op, "skip_input_indices", None) or ())
    dx, dweights = function(_GRADIENT)(x, weights, dy, wants_dx=wants_dx)
    return [dx if wants_dx else None, dweights]


def _second_gradient(op: tf.Operation, of_dx: tf.Tensor | None, of_dweights: tf.Tensor | None) -> list[Any]:
    """Of dx = dy · weightsᵀ and dweights = xᵀ · dy."""
    x, weights, dy = op.inputs
    if not op.get_attr("wants_dx"):
        of_dx = None
    to_dy = [of_dx @ weights] if of_dx is not None else []
    to_dy += [x @ of_dweights] if of_dweights is not None else []
    return [
        None if of_dweights is None else tf.matmul(dy, of_dweights, transpose_b=True),
        None if of_dx is None else tf.matmul(of_dx, dy, transpose_a=True),
        tf.add_n(to_dy) if to_dy else None,
    ]


register_gradients(_OP, _GRADIENT, _gradient, _second_gradient)

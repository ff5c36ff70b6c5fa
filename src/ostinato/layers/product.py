"""The product of features and a matrix of weights, as one product of matrices."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def product(x: tf.Tensor, weights: tf.Tensor, *, transpose: bool = False) -> tf.Tensor:
    """x · weights over the last axis.

    `tf.matmul` gives the same of an x with more than two axes, but its gradient makes the gradient of the
    weights once for each entry of the first axis, and then sums.

    Args:
        x: shape (…, inputs).
        weights: shape (inputs, outputs).
        transpose: whether the weights have the shape (outputs, inputs) instead.

    Returns:
        Shape (…, outputs).
    """
    inputs, outputs = weights.shape[::-1] if transpose else weights.shape
    rows = tf.matmul(tf.reshape(x, (-1, inputs)), weights, transpose_b=transpose)
    sizes: Any = [tf.shape(x)[:-1], [outputs]]
    size, known = tf.concat(sizes, axis=0), (*x.shape[:-1], outputs)
    return tf.ensure_shape(tf.reshape(rows, size), known)

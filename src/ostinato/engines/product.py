"""The product of features and a matrix of weights, as one product of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from ostinato.engines.library import function, has, register_gradients

OP, _GRADIENT = "OstinatoProductV1", "OstinatoProductGradV1"


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
    return native_products(x, [weights])[0]


def native_products(x: tf.Tensor, weights: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """`native_product` with each of some matrices. The engine's threads work on one after the other."""
    if {x.dtype, *(each.dtype for each in weights)} != {tf.float32} or not has("ostinato_product_v1"):
        return [product(x, each) for each in weights]
    found = function(OP)(tf.reshape(x, (-1, weights[0].shape[0])), list(weights))
    return [_as_before(rows, x, each.shape[1]) for rows, each in zip(found, weights, strict=True)]


def _as_before(rows: tf.Tensor, x: tf.Tensor, outputs: int | None) -> tf.Tensor:
    """Rows (n, outputs) with the axes that x has, but for its last."""
    sizes: Any = [tf.shape(x)[:-1], [outputs]]
    size, known = tf.concat(sizes, axis=0), (*x.shape[:-1], outputs)
    return tf.ensure_shape(tf.reshape(rows, size), known)


def _gradient(op: tf.Operation, *dys: tf.Tensor) -> list[tf.Tensor | None]:
    x, *weights = op.inputs
    # A tape knows which gradients are not needed; a gradient inside a graph does not.
    wants_dx = 0 not in (getattr(op, "skip_input_indices", None) or ())
    dx, dweights = function(_GRADIENT)(x, weights, list(dys), wants_dx=wants_dx)
    return [dx if wants_dx else None, *dweights]


def _second_gradient(op: tf.Operation, of_dx: tf.Tensor | None, *of_dweights: tf.Tensor | None) -> list[Any]:
    """Of dx = Σ dy · weightsᵀ and of each dweights = xᵀ · dy."""
    x, *others = op.inputs
    weights, dys = others[: len(others) // 2], others[len(others) // 2 :]
    if not op.get_attr("wants_dx"):
        of_dx = None
    to_x = [dy @ tf.transpose(of) for dy, of in zip(dys, of_dweights, strict=True) if of is not None]
    to_dys = [
        [*([] if of_dx is None else [of_dx @ each]), *([] if of is None else [x @ of])]
        for each, of in zip(weights, of_dweights, strict=True)
    ]
    return [
        tf.add_n(to_x) if to_x else None,
        *(None if of_dx is None else tf.matmul(of_dx, dy, transpose_a=True) for dy in dys),
        *(tf.add_n(terms) if terms else None for terms in to_dys),
    ]


register_gradients(OP, _GRADIENT, _gradient, _second_gradient)

"""Muon: the momentum of a matrix, made orthogonal, is its step.

Adam scales each number of a gradient by itself. Muon takes the matrix as a whole: all its directions get
steps of the same size, also those that few examples point to (Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon/). The steps have the size that those of Adam have, so learning
rate and weight decay mean the same (Liu et al. 2025, arXiv:2502.16982, section 2.2). The rule is that of
`keras.optimizers.Muon`, except that each gate of a recurrent layer is a matrix of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

MOMENTUM = 0.95
SIZE = 0.2
"""The root mean square of a step at a learning rate of 1, about that of Adam."""
_STEPS = 5
_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Jordan's polynomial a·X + b·XXᵀX + c·(XXᵀ)²X: it brings every singular value near 1 in five steps."""
_NOT_HIDDEN = ("bias", "embedding", "ngrams", "output", "table")


class Matrix(NamedTuple):
    """A hidden weight.

    Attributes:
        place: its place among the weights.
        gates: the number of blocks of columns that are matrices of their own.
    """

    place: int
    gates: int


def matrices(names: Sequence[str], weights: Sequence[tf.Variable]) -> list[Matrix]:
    """The hidden matrices of a network.

    Embeddings, the output layer and vectors are not among them: their rows, or numbers, learn on their own.

    Args:
        names: of the weights, such as `encoder/layer_0/gru_cell/kernel`.
        weights: float32 variables.
    """
    shapes = {name: weight.shape for name, weight in zip(names, weights, strict=True)}
    return [
        Matrix(place, _gates(name, shapes))
        for place, name in enumerate(names)
        if shapes[name].rank == 2 and not any(part in name for part in _NOT_HIDDEN)
    ]


def _gates(name: str, shapes: dict[str, tf.TensorShape]) -> int:
    """How many gates a weight has: of a recurrent layer, those of its recurrent matrix (n, gates · n)."""
    layer, _, kind = name.rpartition("/")
    recurrent = shapes.get(f"{layer}/recurrent_kernel")
    if kind not in ("kernel", "recurrent_kernel") or recurrent is None or recurrent.rank != 2:
        return 1
    gates, rest = divmod(recurrent[1], recurrent[0])
    return gates if gates and not rest and shapes[name][1] == recurrent[1] else 1


def update(
    found: Sequence[Matrix],
    weights: Sequence[tf.Variable],
    momenta: Sequence[tf.Variable],
    gradients: Sequence[tf.Tensor],
    *,
    rate: tf.Tensor,
    decay: float,
) -> None:
    """One step of all hidden matrices.

    Args:
        found: the matrices.
        weights: their variables, in the same order.
        momenta: a slot for each.
        gradients: dense, one for each.
        rate: the learning rate, scalar float32.
        decay: the weight decay, multiplied by the learning rate.
    """
    blocks, of_shape = [], {}
    for momentum, gradient, (_, gates) in zip(momenta, gradients, found, strict=True):
        before = tf.raw_ops.ReadVariableOp(resource=momentum.handle, dtype=tf.float32)
        after = MOMENTUM * before + gradient
        tf.raw_ops.AssignVariableOp(resource=momentum.handle, value=after)
        for block in tf.split(gradient + MOMENTUM * after, gates, axis=1):  # Nesterov's momentum
            of_shape.setdefault(tuple(block.shape), []).append(len(blocks))
            blocks.append(block)
    for places in of_shape.values():
        together = orthogonal(tf.stack([blocks[place] for place in places]))
        for place, block in zip(places, tf.unstack(together), strict=True):
            blocks[place] = block
    rest = iter(blocks)
    for weight, (_, gates) in zip(weights, found, strict=True):
        parts = [next(rest) for _ in range(gates)]
        step = tf.concat(parts, axis=1) * (SIZE * float(max(parts[0].shape)) ** 0.5)
        if decay:
            step += decay * tf.raw_ops.ReadVariableOp(resource=weight.handle, dtype=tf.float32)
        tf.raw_ops.AssignSubVariableOp(resource=weight.handle, value=rate * step)


def orthogonal(x: tf.Tensor) -> tf.Tensor:
    """Matrices whose singular values are near 1, and whose singular vectors are those of x.

    Args:
        x: shape (count, rows, columns), float32.
    """
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = tf.linalg.matrix_transpose(x)
    x /= tf.sqrt(tf.reduce_sum(tf.square(x), axis=(1, 2), keepdims=True)) + 1e-7
    a, b, c = _QUINTIC
    for _ in range(_STEPS):
        squared = tf.matmul(x, x, transpose_b=True)
        x = a * x + tf.matmul(b * squared + c * tf.matmul(squared, squared), x)
    return tf.linalg.matrix_transpose(x) if tall else x

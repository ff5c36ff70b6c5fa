"""Bernoulli outputs: an independent yes or no for each of several labels.

    p_k = 1 / (1 + exp(−s_k))                                    sigmoid of the score s_k
    loss = −Σ_k [t_k log p_k + (1 − t_k) log(1 − p_k)]           cross-entropy, in nats

Not to be confused with `categorical`, where exactly one of the classes is right.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def loss(targets: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """The mean cross-entropy over the labels of each row, in nats.

    Args:
        targets: 0.0 or 1.0, shape (rows, labels).
        scores: before the sigmoid, shape (rows, labels).

    Returns:
        Shape (rows,).
    """
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, scores), axis=1)


def right(targets: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """Whether all labels of a row are right, bool, shape (rows,)."""
    return tf.reduce_all((scores > 0) == (targets > 0.5), axis=1)


def loss_of_one(targets: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """The cross-entropy of a single yes or no, in nats.

    Args:
        targets: 0 or 1, shape (rows,), int32.
        scores: before the sigmoid, shape (rows, 1).

    Returns:
        Shape (rows,).
    """
    return tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(targets, tf.float32), scores[:, 0])


def right_of_one(targets: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """Whether a single yes or no is right, bool, shape (rows,)."""
    return (scores[:, 0] > 0) == (targets > 0)


# For trained networks, in NumPy.


def probabilities(scores: np.ndarray) -> np.ndarray:
    """The probability of every label, shape (rows, labels)."""
    return np.exp(-np.logaddexp(0.0, -scores))


def nats(targets: np.ndarray, scores: np.ndarray) -> float:
    """`loss` summed over the rows."""
    return float((np.logaddexp(0.0, scores) - scores * targets).mean(axis=1).sum())


def nats_of_one(targets: np.ndarray, scores: np.ndarray) -> float:
    """`loss_of_one` summed over the rows."""
    return float((np.logaddexp(0.0, scores[:, 0]) - scores[:, 0] * targets).sum())

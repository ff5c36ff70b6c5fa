"""Categorical outputs: one of several classes, tokens or labels.

    p_k = exp(s_k) / Σ_j exp(s_j)        softmax of the scores s
    loss = −log p_target                 cross-entropy, in nats

Not to be confused with `bernoulli`, where every class is an independent yes or no.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def loss(targets: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """The cross-entropy of each target, in nats.

    Args:
        targets: class numbers, shape (…,), int32.
        scores: before the softmax, shape (…, classes).

    Returns:
        Shape (…,).
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(targets, scores)


def smoothed_loss(targets: tf.Tensor, scores: tf.Tensor, smoothing: float) -> tuple[tf.Tensor, tf.Tensor]:
    """The summed cross-entropy with and without label smoothing (Szegedy et al. 2016, arXiv:1512.00567).

    Args:
        targets: class numbers, shape (rows,).
        scores: before the softmax, shape (rows, classes).
        smoothing: the probability that is spread over all classes.
    """
    size: int = scores.shape[-1]  # pyright: ignore[reportAssignmentType]
    spread = smoothing / size
    labels = tf.one_hot(targets, size, on_value=1.0 - smoothing + spread, off_value=spread)
    smoothed = tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(labels, scores))
    # The second needs no further softmax: the two differ by the target's score minus the mean score.
    ahead = tf.gather(scores, targets, batch_dims=1) - tf.reduce_mean(scores, axis=-1)
    return smoothed, smoothed - smoothing * tf.reduce_sum(tf.stop_gradient(ahead))


def right(targets: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """Whether the class with the greatest score is the target, bool, shape (rows,)."""
    return tf.argmax(scores, axis=1, output_type=tf.int32) == targets


# For trained networks, in NumPy.


def probabilities(scores: np.ndarray) -> np.ndarray:
    """The probability of every class, shape (rows, classes)."""
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def nats(targets: np.ndarray, scores: np.ndarray) -> float:
    """`loss` summed over the rows."""
    return float((np.logaddexp.reduce(scores, axis=1) - scores[np.arange(len(scores)), targets]).sum())

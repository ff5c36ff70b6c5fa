"""The head of a classifier, which turns scores into losses and probabilities, chosen by its labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from ostinato.heads import bernoulli, categorical
from ostinato.tasks.classifier.labels import Labels


@dataclass(frozen=True)
class Decision:
    """The functions of a head.

    Attributes:
        loss: (targets, scores) → nats of each row.
        right: (targets, scores) → whether each row is right.
        nats: the loss summed over the rows, in NumPy.
        probabilities: of every label, from scores of shape (rows, outputs), in NumPy.
    """

    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    right: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    nats: Callable[[np.ndarray, np.ndarray], float]
    probabilities: Callable[[np.ndarray], np.ndarray]


_SEVERAL = Decision(bernoulli.loss, bernoulli.right, bernoulli.nats, bernoulli.probabilities)
_ONE_OF_MANY = Decision(categorical.loss, categorical.right, categorical.nats, categorical.probabilities)


def _of_two(scores: np.ndarray) -> np.ndarray:
    yes = bernoulli.probabilities(scores)
    return np.concatenate([1 - yes, yes], axis=1)


_ONE_OF_TWO = Decision(bernoulli.loss_of_one, bernoulli.right_of_one, bernoulli.nats_of_one, _of_two)


def decision_of(several: bool, outputs: int) -> Decision:
    """The head of a classifier.

    Args:
        several: whether a text may have several labels.
        outputs: the number of scores, which is one for two labels.
    """
    if several:
        return _SEVERAL
    return _ONE_OF_TWO if outputs == 1 else _ONE_OF_MANY


def decision_for(labels: Labels) -> Decision:
    """The head for some labels."""
    return decision_of(labels.several, labels.scores)

"""Finding the weights of n-grams: logistic regression, solved before the first step of training.

The problem is convex, so it has one solution, and a quasi-Newton method finds it in some dozen passes over
sparse arrays. Steps of gradient descent would not reach it in the same time: most n-grams occur in few texts.

An n-gram that is as frequent with a label as without tells nothing of it, so its weight is kept small: the
penalty of a weight is divided by the square of the logarithm of the two frequencies' ratio.

Sources: Wang & Manning 2012, "Baselines and bigrams: simple, good sentiment and topic classification",
equation 1, whose values times ratios are the same model; Nocedal & Wright 2006, "Numerical optimization",
algorithm 7.5 (L-BFGS), as in `scipy.optimize`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import optimize, sparse, special

from ostinato.data.examples.labels import UNSEEN
from ostinato.tasks.base import Batch
from ostinato.tasks.classifier.decision import decision_of
from ostinato.tasks.classifier.ngram_layer import NGramLayer

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""The values of C that are tried: the loss times C is as heavy as half the squared changes of the weights,
each divided by its ratio."""
UNCHOSEN = 10.0
"""C without a validation part."""
MOST_VALUES = 40_000_000
"""So many values of n-grams are learned from, and no more texts than have them: 480 MB."""
LEAST_GAIN = 1e-3
"""What a larger C must gain, in nats per text. Else the weights of separable texts grow without bound."""
_SCALES = (0.5, 1.0, 2.0)
_PRODUCTS = 30_000_000_000  # multiplications for one C: about a minute
_PASSES = 10, 200  # the fewest and the most
_KEPT = 5  # changes of weights and gradients that the method remembers
_TOLERANCE = 1e-5  # of the loss


class Texts(NamedTuple):
    """Texts as rows of n-grams.

    Attributes:
        values: sparse float32, shape (texts, 1 + n-grams).
        targets, weights: as in the batches of the classifier.
    """

    values: sparse.csr_array
    targets: np.ndarray
    weights: np.ndarray

    @property
    def several(self) -> bool:
        """Whether a text may have several labels."""
        return self.targets.ndim == 2


def gathered(layer: NGramLayer, batches: Iterable[Batch]) -> Texts:
    """The texts of some batches, with at most `MOST_VALUES` values."""
    ids, values, ends, targets, weights = [], [], [0], [], []
    for batch in batches:
        grams = np.asarray(batch["grams"])
        known = grams > 0
        if ends[-1] + known.sum() > MOST_VALUES and len(ends) > 1:
            break
        ids.append(grams[known])
        values.append(layer.values(tf.constant(grams)).numpy()[known])
        ends.extend((ends[-1] + np.cumsum(known.sum(axis=1))).tolist())
        targets.append(batch["targets"])
        weights.append(batch["weights"])
    arrays = np.concatenate(values), np.concatenate(ids), np.array(ends)
    rows = sparse.csr_array(arrays, shape=(len(ends) - 1, 1 + layer.ngrams))
    return Texts(rows, np.concatenate(targets), np.concatenate(weights))


def fit(layer: NGramLayer, train: Texts, validation: Texts | None) -> float:
    """Sets the weights of a layer, and returns C.

    Weights that are not zero, those of another run, are changed as little as the texts allow.

    Args:
        layer: its weights are set.
        train: the texts to learn from.
        validation: the texts on which C is chosen: that with the least loss, if the scores are scaled as well
            as `shares` can. None takes `UNCHOSEN`.
    """
    ratios = log_count_ratios(train, layer.outputs)
    if validation is None:
        strength, (changes, bias) = UNCHOSEN, _solved(layer, train, UNCHOSEN, ratios, _nothing(layer))
    else:
        strength, (changes, bias) = _best(layer, train, validation, ratios)
    layer.kernel.assign_add(ratios * changes)
    layer.bias.assign_add(bias)
    return strength


def log_count_ratios(texts: Texts, outputs: int) -> np.ndarray:
    """How much each n-gram tells of each label, in nats.

    |ln(((a + 1) / (A + 1)) / ((b + 1) / (B + 1)))|, where a of the A texts with the label have the n-gram,
    and b of the B texts without it.

    Returns:
        Float32, shape (1 + n-grams, outputs).
    """
    there = sparse.csr_array(texts.values.astype(bool), dtype=np.float32)
    every = len(texts.targets)
    if texts.several or outputs == 1:
        labels = sparse.csr_array(texts.targets.reshape(every, -1), dtype=np.float32)
    else:
        ones = np.ones(every, np.float32)
        labels = sparse.csr_array((ones, (np.arange(every), texts.targets)), shape=(every, outputs))
    those = labels.sum(axis=0)
    among = (there.T @ labels).toarray()
    others = there.sum(axis=0)[:, None] - among
    ratio = np.log((among + 1) / (those + 1)) - np.log((others + 1) / (every - those + 1))
    return np.abs(ratio).astype(np.float32)


Found = tuple[np.ndarray, np.ndarray]
"""The changes of the kernel, each divided by its ratio, and of the bias."""


def _nothing(layer: NGramLayer) -> Found:
    return np.zeros(layer.kernel.shape), np.zeros(layer.outputs)


def _best(layer: NGramLayer, train: Texts, validation: Texts, ratios: np.ndarray) -> tuple[float, Found]:
    """The best C, and what is found with it. It stops when a larger C gains less than `LEAST_GAIN`."""
    first = validation.values @ layer.kernel.numpy() + layer.bias.numpy()
    found = _nothing(layer)
    best, least = (STRENGTHS[0], found), np.inf
    for strength in STRENGTHS:
        found = _solved(layer, train, strength, ratios, found)
        scores = first + validation.values @ (ratios * found[0]) + found[1]
        loss = min(_nats(validation, scale * scores) for scale in _SCALES)
        if not loss < least - LEAST_GAIN * len(validation.targets):
            break
        best, least = (strength, found), loss
    return best


def _nats(texts: Texts, scores: np.ndarray) -> float:
    known = slice(None) if texts.several else texts.targets != UNSEEN
    return decision_of(texts.several, scores.shape[1]).nats(texts.targets[known], scores[known])


def _solved(layer: NGramLayer, train: Texts, strength: float, ratios: np.ndarray, begin: Found) -> Found:
    """What has the least sum of loss and penalty, from something to begin with."""
    products = 2 * max(1, train.values.nnz) * layer.outputs
    passes = int(np.clip(_PRODUCTS // products, *_PASSES))
    found = optimize.minimize(
        _objective(layer, train, strength, ratios),
        np.concatenate([begin[0].ravel(), begin[1]]),
        method="L-BFGS-B",
        jac=True,
        options={"maxiter": passes, "maxcor": _KEPT, "ftol": _TOLERANCE},
    ).x
    return found[: -layer.outputs].reshape(ratios.shape), found[-layer.outputs :]


def _objective(
    layer: NGramLayer, train: Texts, strength: float, ratios: np.ndarray
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Changes of the weights, divided by their ratios → the loss with its penalty, and their gradient."""
    first = train.values @ layer.kernel.numpy() + layer.bias.numpy()
    outputs = layer.outputs
    softmax = not train.several and outputs > 1
    rows = np.arange(len(train.targets))
    targets = train.targets.reshape(len(rows), -1)
    weights = (strength * train.weights).reshape(len(rows), -1)

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        changes, bias = flat[:-outputs].reshape(-1, outputs), flat[-outputs:]
        scores = first + train.values @ (ratios * changes).astype(np.float32) + bias
        if softmax:
            logarithms = special.log_softmax(scores, axis=1)
            nats = -logarithms[rows, targets[:, 0]]
            slopes = np.exp(logarithms)
            slopes[rows, targets[:, 0]] -= 1
        else:
            nats = (np.logaddexp(0, scores) - targets * scores).sum(axis=1)
            slopes = special.expit(scores) - targets
        slopes *= weights
        penalty = 0.5 * float(np.vdot(changes, changes))
        gradient = changes + ratios * (train.values.T @ slopes.astype(np.float32))
        return float(weights[:, 0] @ nats) + penalty, np.concatenate([gradient.ravel(), slopes.sum(axis=0)])

    return evaluate

"""The threshold of each label of a text that may have several: the one with the best F1 on a validation part.

Source: Yang 2001, "A study of thresholding strategies for text categorization" (SCut). A network that knows
nothing of a label has the best F1 when it predicts it always (Lipton et al. 2014, arXiv:1402.1892), so a
threshold must also do better than chance.
"""

from __future__ import annotations

import numpy as np

USUAL = 0.5
"""The threshold of a label of which too little is known."""
CHANCE = 0.01
"""A threshold is chosen if texts drawn at random have as many hits with a smaller probability than this."""


def best_thresholds(truth: np.ndarray, probabilities: np.ndarray) -> tuple[float, ...]:
    """The probability from which on each label is predicted.

    A label has `USUAL` if no text has it, or if no threshold does better than chance. Of thresholds with
    equal F1 it is the one nearest to `USUAL`.

    Args:
        truth: bool, shape (n, labels).
        probabilities: float64, shape (n, labels).
    """
    return tuple(map(_best_threshold, truth.T, probabilities.T))


def _best_threshold(has: np.ndarray, probability: np.ndarray) -> float:
    if not has.any():
        return USUAL
    order = np.argsort(-probability, kind="stable")
    values, hits = np.append(probability[order], 0.0), np.cumsum(has[order])
    # The k most probable texts can be told from the others only where the next one is less probable.
    ends = np.flatnonzero(np.diff(values[:-1], append=-np.inf))
    f1 = 2 * hits[ends] / (ends + 1 + has.sum())
    best = ends[f1 == f1.max()]
    found = [
        _between(float(values[end]), float(values[end + 1]))
        for end in best
        if _by_chance(len(has), int(has.sum()), end + 1, int(hits[end])) < CHANCE
    ]
    return min(found, key=lambda threshold: abs(threshold - USUAL), default=USUAL)


def _between(above: float, below: float) -> float:
    """A threshold that probabilities from `above` on reach, and those up to `below` do not."""
    if below < USUAL <= above:
        return USUAL
    middle = (above + below) / 2
    return middle if middle > below else above


def _by_chance(texts: int, with_label: int, drawn: int, hits: int) -> float:
    """The probability that texts drawn at random have the label so often or more (hypergeometric)."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, texts + 1)))])

    def choose(n: int, k: np.ndarray | int) -> np.ndarray:
        return logs[n] - logs[k] - logs[n - k]

    counts = np.arange(max(hits, drawn + with_label - texts), min(drawn, with_label) + 1)
    ways = choose(with_label, counts) + choose(texts - with_label, drawn - counts)
    return float(np.exp(ways - choose(texts, drawn)).sum())

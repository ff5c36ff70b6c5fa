"""How much the recurrent layers and the n-grams count: the shares with the least loss on a validation part.

A part that knows its training texts by heart is too sure of itself, and each of the two is so in its own
measure. The scores are therefore weighed, after training, on texts that it has not seen: stacking
(Wolpert 1992, "Stacked generalization") with one number a part, which also calibrates the probabilities
(Guo et al. 2017, arXiv:1706.04599, where it is called temperature).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

EVEN = (1.0, 1.0)
"""The shares of a network whose training has not ended, and of one without n-grams."""
_READ, _ADDED = (0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.25, 0.5, 1.0, 2.0)
PAIRS: tuple[tuple[float, float], ...] = tuple(pair for pair in product(_READ, _ADDED) if any(pair))
"""The shares that are tried: of the recurrent layers, and of the n-grams."""


def best_shares(loss: Callable[[float, float], float]) -> tuple[float, float]:
    """The pair of `PAIRS` with the smallest loss; of equal ones the one nearest to `EVEN`."""

    def distance(pair: tuple[float, float]) -> float:
        return abs(pair[0] - EVEN[0]) + abs(pair[1] - EVEN[1])

    return min(PAIRS, key=lambda pair: (loss(*pair), distance(pair)))

"""What a translator makes of a sentence, and where the decoder looked while it wrote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Candidate:
    """One of the best translations of a sentence; `score` is its log-probability, penalties applied."""

    text: str
    score: float


@dataclass(frozen=True)
class Translation:
    """What a translator makes of a sentence.

    Attributes:
        text: the best translation.
        score: its log-probability, penalties applied; nan where there is none.
        candidates: the n best, the best first.
        tokens: how long the source is.
        cut: whether it is longer than what the model saw, so that only its beginning was translated.
        empty: whether there is nothing in it; the translation is then empty.
        unknown: whether no token of it is known; it is then repeated as it is.
    """

    text: str
    score: float
    candidates: tuple[Candidate, ...]
    tokens: int
    cut: bool = False
    empty: bool = False
    unknown: bool = False


@dataclass(frozen=True)
class Alignment:
    """Where the decoder looked while it wrote a translation.

    Attributes:
        source: the source's tokens.
        target: the translation's tokens, its end included.
        weights: shape (target, source); each row sums to one.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: np.ndarray

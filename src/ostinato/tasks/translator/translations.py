"""A translation of a sentence, and the attention of the decoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Candidate:
    """One of the best translations of a sentence; `score` is its log-probability with penalties."""

    text: str
    score: float


@dataclass(frozen=True)
class Translation:
    """The translation of a sentence.

    Attributes:
        text: the best translation.
        score: its log-probability with penalties; nan for an empty or unknown source.
        candidates: the n best translations, best first.
        tokens: the number of source tokens.
        cut: whether the source was too long, so only its beginning was translated.
        empty: whether the source is empty; the translation is then empty too.
        unknown: whether no token of the source is known; the translation is then a copy of the source.
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
    """The attention of the decoder for one translation.

    Attributes:
        source: the source tokens.
        target: the target tokens, with the end token.
        weights: shape (target, source); each row sums to one.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: np.ndarray

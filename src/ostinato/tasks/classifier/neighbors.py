"""The nearest words in the embedding, as in TensorFlow Tutorial #20 (Pedersen)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ostinato.data.encoders.registry import Encoder
from ostinato.errors import EncodingError


def neighbors(
    encoder: Encoder, vectors: np.ndarray, word: str, count: int = 10
) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """The tokens whose embeddings are nearest to that of a word, and those farthest from it.

    Args:
        encoder: the encoder of the run.
        vectors: the embeddings of its tokens, shape (tokens, embedding).
        word: a token of the vocabulary, without the space before it.
        count: the number of tokens in each list.

    Returns:
        Two lists of (token, cosine): the nearest first, and the farthest first.

    Raises:
        EncodingError: if the vocabulary has no such token.
    """
    names = [symbol.strip() or symbol for symbol in encoder.symbols]
    asked = token_of(encoder, word)
    vectors = vectors.astype(np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = vectors @ vectors[encoder.symbols.index(asked)]
    order = np.argsort(-cosines, kind="stable")

    def first(order: Iterable[int]) -> list[tuple[str, float]]:
        found: dict[str, float] = {}
        for number in order:
            if names[number] != word:
                found.setdefault(names[number], float(cosines[number]))
            if len(found) == count:
                break
        return list(found.items())

    return first(order), first(order[::-1])


def token_of(encoder: Encoder, word: str) -> str:
    """The token of a word. Raises EncodingError if the vocabulary has none."""
    # The token of a word includes the space before it; the word without a space is another token.
    asked = next((symbol for symbol in (f" {word}", word) if symbol in encoder.symbols), None)
    if asked is None:
        raise EncodingError(
            f"{word!r} is no token of this run's vocabulary of {encoder.size:,}; "
            "give a word that is frequent in the training texts"
        )
    return asked

"""Embeddings of n-grams of tokens: what a token is beside those before it."""

from __future__ import annotations

import keras
import tensorflow as tf

from ostinato.cells.base import KerasOption
from ostinato.layers.dropout import DropoutKey, token_dropout

_FACTOR = 31_337
MOST_ROWS = 65_521
"""A prime: below it the hashes fit 32 bits, which every format of export has."""


class NGramEmbedding(keras.layers.Layer):
    """The sum of the embeddings of the n-grams that end at each token, of 2 to `longest` tokens.

    The hash of an n-gram is its row, so no list of n-grams is kept, and some n-grams share a row. Common
    n-grams thus have a meaning of their own from the first layer on (Pagnoni et al. 2024, arXiv:2412.09871,
    section 3.2.1; Huang et al. 2025, arXiv:2501.16975).

    Args:
        longest: the tokens of the longest n-grams, at least 2.
        rows: the size of the table, at most `MOST_ROWS`.
        size: the size of an embedding.
        rate: in training, the fraction of the n-grams that are left out.
        seed: the seed of the initial weights.
    """

    def __init__(self, longest: int, rows: int, size: int, *, rate: float, seed: int, **options: KerasOption):
        super().__init__(**options)
        self.longest, self.rows, self.rate = longest, rows, rate
        self.table = keras.layers.Embedding(
            rows,
            size,
            embeddings_initializer=keras.initializers.RandomUniform(-0.02, 0.02, seed=seed),  # pyright: ignore[reportArgumentType]
            name="embedding",
        )

    def call(self, tokens: tf.Tensor, key: DropoutKey | None = None) -> tf.Tensor:
        """The sums, shape (batch, time, size), of tokens, shape (batch, time), int32."""
        return tf.add_n(
            [
                token_dropout(self.table(rows), self.rate, key, site=f"{self.name}/{length}")
                for length, rows in enumerate(self.rows_of(tokens), 2)
            ]
        )

    def rows_of(self, tokens: tf.Tensor) -> list[tf.Tensor]:
        """The rows of the n-grams that end at each token: for every length (batch, time), int32.

        Before the first token of a sentence there are zeros.
        """
        found, here = [], tf.math.floormod(tokens, self.rows)
        for length in range(2, self.longest + 1):
            before = tf.pad(here, [[0, 0], [1, 0]])[:, :-1]
            here = tf.math.floormod(before * _FACTOR + tokens + length, self.rows)
            found.append(here)
        return found

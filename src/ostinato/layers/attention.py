"""Attention: where a decoder looks in what an encoder has read.

Both kinds score every position of the memory against a query, and return the memory's mean weighted by the
softmax of the scores. They differ in the score:

    additive         vᵀ tanh(W q + U m)    Bahdanau et al. 2014, arXiv:1409.0473
    multiplicative   qᵀ W m                Luong et al. 2015, arXiv:1508.04025 ("general")
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from ostinato.errors import ConfigError

_FAR_BELOW = -1e9


class _Attention(keras.layers.Layer):
    """What both kinds share: the softmax over the positions that are there.

    Args:
        units: width of the keys that queries are compared with.
        seed: where the initial weights are drawn from.
    """

    def __init__(self, units: int, *, seed: int = 0, **options: Any):
        super().__init__(**options)
        self.units, self.seed = units, seed
        self.project_memory = self._dense(units, 0, "memory")

    def _dense(self, units: int, number: int, name: str) -> keras.layers.Dense:
        initializer: Any = keras.initializers.GlorotUniform(seed=self.seed + number)
        return keras.layers.Dense(units, use_bias=False, kernel_initializer=initializer, name=name)

    def build(self, queries_shape: Any, keys_shape: Any, memory_shape: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Makes the weights, as Keras does before the first call; `keys` may be called before that."""
        if not self.project_memory.built:
            self.project_memory.build(memory_shape)
        self.built = True

    def keys(self, memory: tf.Tensor) -> tf.Tensor:
        """What queries are compared with: shape (batch, time, units), computed once for a memory."""
        return self.project_memory(memory)

    def call(
        self, queries: tf.Tensor, keys: tf.Tensor, memory: tf.Tensor, mask: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Looks for several queries at once.

        Args:
            queries: shape (batch, queries, features).
            keys: from `keys(memory)`.
            memory: what was read, shape (batch, time, width).
            mask: which positions are there, bool, shape (batch, time); the others get a weight of exactly
                zero.

        Returns:
            Contexts, shape (batch, queries, width), and weights, shape (batch, queries, time), which sum to
            one unless no position is there.
        """
        scores = self.scores(queries, keys)
        if mask is None:
            weights = tf.nn.softmax(scores)
        else:
            there = mask[:, tf.newaxis, :]
            weights = tf.nn.softmax(tf.where(there, scores, _FAR_BELOW)) * tf.cast(there, scores.dtype)
        return tf.matmul(weights, memory), weights

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """Contexts have no mask: they stand where the queries do, not where the memory does."""

    def scores(self, queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """How well each query fits each key, shape (batch, queries, time)."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"units": self.units, "seed": self.seed}


@keras.saving.register_keras_serializable(package="ostinato")
class AdditiveAttention(_Attention):
    """vᵀ tanh(W q + U m), of any width: Bahdanau, Cho and Bengio 2014, arXiv:1409.0473.

    Args and results: as for `MultiplicativeAttention`; here `units` is the width of the hidden layer.
    """

    def __init__(self, units: int, *, seed: int = 0, **options: Any):
        super().__init__(units, seed=seed, **options)
        self.project_query = self._dense(units, 1, "query")
        self.score = self._dense(1, 2, "score")

    def build(self, queries_shape: Any, keys_shape: Any, memory_shape: Any) -> None:
        self.project_query.build(queries_shape)
        self.score.build(keys_shape)
        super().build(queries_shape, keys_shape, memory_shape)

    def scores(self, queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        hidden = tf.tanh(self.project_query(queries)[:, :, tf.newaxis] + keys[:, tf.newaxis])
        return self.score(hidden)[..., 0]


@keras.saving.register_keras_serializable(package="ostinato")
class MultiplicativeAttention(_Attention):
    """qᵀ W m: Luong, Pham and Manning 2015, arXiv:1508.04025, section 3.1 ("general").

    Args:
        units: the width of the queries.
        seed: where the initial weights are drawn from.

    See `call` for what it takes and returns.
    """

    def scores(self, queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        return tf.matmul(queries, keys, transpose_b=True)


_KINDS = {"additive": AdditiveAttention, "multiplicative": MultiplicativeAttention}


def attention(kind: str, units: int, **options: Any) -> AdditiveAttention | MultiplicativeAttention:
    """An attention by name: `additive` or `multiplicative`.

    Raises:
        ConfigError: there is no such kind.
    """
    if kind not in _KINDS:
        raise ConfigError(f"there is no attention {kind!r}, only {', '.join(_KINDS)}")
    return _KINDS[kind](units, **options)

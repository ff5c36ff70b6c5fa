"""Attention: where a decoder looks in the outputs of an encoder.

Both kinds score every position of the memory against a query and return the mean of the memory, weighted by
the softmax of the scores. They differ in the score:

    additive         vᵀ tanh(W q + U m)    Bahdanau et al. 2014, arXiv:1409.0473
    multiplicative   qᵀ W m                Luong et al. 2015, arXiv:1508.04025 ("general")
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from ostinato.cells.base import KerasOption
from ostinato.errors import ConfigError

_FAR_BELOW = -1e9

Shape = Sequence[int | None]


class _Attention(keras.layers.Layer):
    """The part that both kinds share: the softmax over the positions that are not padding.

    Args:
        units: width of the keys that queries are compared with.
        seed: seed of the initial weights.
    """

    def __init__(self, units: int, *, seed: int = 0, **options: KerasOption):
        super().__init__(**options)
        self.units, self.seed = units, seed
        self.project_memory = self._dense(units, 0, "memory")

    def _dense(self, units: int, number: int, name: str) -> keras.layers.Dense:
        initializer = keras.initializers.GlorotUniform(seed=self.seed + number)
        return keras.layers.Dense(
            units,
            use_bias=False,
            kernel_initializer=initializer,  # pyright: ignore[reportArgumentType]
            name=name,
        )

    def build(self, queries_shape: Shape, keys_shape: Shape, memory_shape: Shape) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Makes the weights. Keras calls this before the first call; `keys` may run earlier."""
        if not self.project_memory.built:
            self.project_memory.build(memory_shape)
        self.built = True

    def keys(self, memory: tf.Tensor) -> tf.Tensor:
        """The keys that queries are compared with, shape (batch, time, units); computed once per memory."""
        return self.project_memory(memory)

    def call(
        self, queries: tf.Tensor, keys: tf.Tensor, memory: tf.Tensor, mask: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Attends with several queries at once.

        Args:
            queries: shape (batch, queries, features).
            keys: from `keys(memory)`.
            memory: the encoder's outputs, shape (batch, time, width).
            mask: bool, shape (batch, time), False at padding, whose weight is exactly zero.

        Returns:
            Contexts, shape (batch, queries, width), and weights, shape (batch, queries, time). The weights
            sum to one, or to zero where all positions are padding.
        """
        scores = self.scores(queries, keys)
        if mask is None:
            weights = tf.nn.softmax(scores)
        else:
            present = tf.expand_dims(mask, 1)
            weights = tf.nn.softmax(tf.where(present, scores, _FAR_BELOW)) * tf.cast(present, scores.dtype)
        return tf.matmul(weights, memory), weights

    def compute_mask(self, inputs: object, previous_mask: object) -> None:
        """Contexts have no mask: they follow the queries' positions, not the memory's."""

    def scores(self, queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """How well each query fits each key, shape (batch, queries, time)."""
        raise NotImplementedError

    def get_config(self) -> dict[str, KerasOption]:
        return super().get_config() | {"units": self.units, "seed": self.seed}


@keras.saving.register_keras_serializable(package="ostinato")
class AdditiveAttention(_Attention):
    """vᵀ tanh(W q + U m), of any width: Bahdanau, Cho and Bengio 2014, arXiv:1409.0473.

    Arguments and results are those of `MultiplicativeAttention`; here `units` is the width of the hidden
    layer.
    """

    def __init__(self, units: int, *, seed: int = 0, **options: KerasOption):
        super().__init__(units, seed=seed, **options)
        self.project_query = self._dense(units, 1, "query")
        self.score = self._dense(1, 2, "score")

    def build(self, queries_shape: Shape, keys_shape: Shape, memory_shape: Shape) -> None:
        self.project_query.build(queries_shape)
        self.score.build(keys_shape)
        super().build(queries_shape, keys_shape, memory_shape)

    def scores(self, queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        # LiteRT has no slices with new axes where sizes are open.
        each, all_keys = tf.expand_dims(self.project_query(queries), 2), tf.expand_dims(keys, 1)
        hidden = tf.tanh(each + all_keys)
        return self.score(hidden)[..., 0]


@keras.saving.register_keras_serializable(package="ostinato")
class MultiplicativeAttention(_Attention):
    """qᵀ W m: Luong, Pham and Manning 2015, arXiv:1508.04025, section 3.1 ("general").

    Args:
        units: the width of the queries.
        seed: seed of the initial weights.

    `call` describes its arguments and results.
    """

    def scores(self, queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        return tf.matmul(queries, keys, transpose_b=True)


_KINDS = {"additive": AdditiveAttention, "multiplicative": MultiplicativeAttention}


def attention(kind: str, units: int, **options: KerasOption) -> AdditiveAttention | MultiplicativeAttention:
    """An attention by name: `additive` or `multiplicative`.

    Raises:
        ConfigError: there is no such kind.
    """
    if kind not in _KINDS:
        raise ConfigError(f"attention must be one of {', '.join(_KINDS)}, got {kind!r}")
    return _KINDS[kind](units, **options)

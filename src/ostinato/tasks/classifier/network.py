"""The classifier's network: tokens in, a score for every label out."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from ostinato.layers.dropout import DropoutKey, dropout
from ostinato.layers.registry import recurrent
from ostinato.tasks.classifier.config import ClassifierConfig

PADDING = 0
"""The id of padding; an encoder's ids come after it."""

_WORD_SITE, _EMBEDDING_SITE, _OUTPUT_SITE = 1000, 1001, 1002
_FAR_BELOW = -1e9


@keras.saving.register_keras_serializable(package="ostinato")
class RecurrentClassifier(keras.Model):
    """Tokens to scores, through an embedding, a stack of recurrent layers and a pooling over time.

    Args:
        config: the network's settings.
        vocabulary_size: how many different tokens there are, padding not among them.
        outputs: how many scores: one for a yes or no, else one a label.
    """

    def __init__(
        self,
        config: ClassifierConfig | dict[str, Any],
        vocabulary_size: int,
        outputs: int,
        **kwargs: Any,
    ):
        super().__init__(**({"name": "classifier"} | kwargs))
        self.config = config if isinstance(config, ClassifierConfig) else ClassifierConfig(**config)
        self.vocabulary_size, self.outputs = vocabulary_size, outputs
        config, seed = self.config, 1000 * self.config.seed
        self.embedding = keras.layers.Embedding(
            1 + vocabulary_size,
            config.embedding,
            embeddings_initializer=keras.initializers.RandomUniform(seed=seed),  # pyright: ignore[reportArgumentType]
            name="embedding",
        )
        self.forward_layers = [self._layer(depth, "layer", seed) for depth in range(len(config.units))]
        self.backward_layers = [
            self._layer(depth, "backward", seed + 500)
            for depth in range(len(config.units))
            if config.bidirectional
        ]
        if config.pooling == "attention":
            width = config.units[-1] * (1 + config.bidirectional)
            self.attention_hidden = keras.layers.Dense(
                width,
                activation="tanh",
                kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 900),  # pyright: ignore[reportArgumentType]
                name="attention_hidden",
            )
            self.attention_query = keras.layers.Dense(
                1,
                use_bias=False,
                kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 901),  # pyright: ignore[reportArgumentType]
                name="attention_query",
            )
        self.output_layer = keras.layers.Dense(
            outputs,
            kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 999),  # pyright: ignore[reportArgumentType]
            name="output",
        )

    def _layer(self, depth: int, name: str, seed: int) -> Any:
        config = self.config
        top = depth == len(config.units) - 1
        return recurrent(
            config.cell,
            config.units[depth],
            engine=config.engine,
            reset_before=config.reset_before,
            return_sequences=not top or config.pooling != "last",
            go_backwards=name == "backward",
            kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 2 * depth + 1),
            recurrent_initializer=keras.initializers.Orthogonal(seed=seed + 2 * depth + 2),
            name=f"{name}_{depth}",
        )

    def call(
        self, tokens: tf.Tensor, lengths: tf.Tensor | None = None, key: DropoutKey | None = None
    ) -> tf.Tensor:
        """Scores a batch of texts.

        Args:
            tokens: ids, shape (batch, time), int32; 0 is padding.
            lengths: how many tokens of each row there are before its padding, shape (batch,), int32; None
                reads padding as well.
            key: draws the dropout masks; None for evaluation.

        Returns:
            Logits, shape (batch, outputs).
        """
        config = self.config
        mask = None if lengths is None else tf.sequence_mask(lengths, tf.shape(tokens)[1])
        x = self.embedding(tokens)
        if config.word_dropout:
            x *= dropout(tf.ones_like(x[:, :, :1]), config.word_dropout, key, site=_WORD_SITE)
        x = dropout(x, config.embedding_dropout, key, site=_EMBEDDING_SITE)
        training = key is not None
        for depth, layer in enumerate(self.forward_layers):
            if depth > 0:
                x = dropout(x, config.dropout, key, site=depth)
            y = layer(x, mask=mask, training=training)
            if config.bidirectional:
                from_the_end = self.backward_layers[depth](x, mask=mask, training=training)
                if layer.return_sequences:
                    from_the_end = tf.reverse(from_the_end, [1])
                y = tf.concat([y, from_the_end], axis=-1)
            x = y
        rate = config.dropout if config.output_dropout is None else config.output_dropout
        return self.output_layer(dropout(self._pool(x, mask), rate, key, site=_OUTPUT_SITE))

    def _pool(self, x: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        """One vector a text, (batch, features), of the outputs (batch, time, features), or of the last."""
        pooling = self.config.pooling
        if pooling == "last":
            return x
        read = tf.ones_like(x[:, :, :1]) if mask is None else tf.expand_dims(tf.cast(mask, x.dtype), -1)
        if pooling == "max":
            greatest = tf.reduce_max(tf.where(read > 0, x, _FAR_BELOW), axis=1)
            return tf.where(tf.reduce_any(read > 0, axis=1), greatest, 0.0)
        if pooling == "mean":
            shares = read
        else:
            scores = self.attention_query(self.attention_hidden(x))
            scores = tf.where(read > 0, scores, _FAR_BELOW)
            shares = read * tf.exp(scores - tf.reduce_max(scores, axis=1, keepdims=True))
        total = tf.reduce_sum(shares, axis=1)
        return tf.reduce_sum(x * shares, axis=1) / tf.where(total > 0, total, 1.0)

    def get_config(self) -> dict[str, Any]:
        settings = {
            "config": self.config.model_dump(mode="json"),
            "vocabulary_size": self.vocabulary_size,
            "outputs": self.outputs,
        }
        return {"name": self.name} | settings

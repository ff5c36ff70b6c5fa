"""The classifier's network: tokens in, a score for every label out."""

from __future__ import annotations

import keras
import tensorflow as tf

from ostinato.layers.dropout import DropoutKey, dropout
from ostinato.layers.encoder import FormerEncoder, RecurrentEncoder
from ostinato.layers.registry import KerasOption
from ostinato.layers.stack import State
from ostinato.tasks.classifier.config import ClassifierConfig
from ostinato.tasks.classifier.padding import PADDING
from ostinato.tasks.config import Settings

_FAR_BELOW = -1e9


@keras.saving.register_keras_serializable(package="ostinato")
class RecurrentClassifier(keras.Model):
    """Tokens to scores, through an embedding, a stack of recurrent layers and a pooling over time.

    Args:
        config: the network's settings.
        vocabulary_size: how many different tokens there are, padding not among them.
        outputs: how many scores: one for a yes or no, else one a label.
        former_names: whether the encoder has its former class name, by which Keras finds its weights in a
            `.keras` file of an older version.
    """

    def __init__(
        self,
        config: ClassifierConfig | Settings,
        vocabulary_size: int,
        outputs: int,
        *,
        former_names: bool = False,
        **kwargs: KerasOption,
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
        self.former_names = former_names
        encoder = FormerEncoder if former_names else RecurrentEncoder
        self.reader = encoder(
            config.cell,
            config.units,
            bidirectional=config.bidirectional,
            return_sequences=config.pooling != "last",
            dropout=config.dropout,
            recurrent_dropout=config.recurrent_dropout,
            seed=seed,
            options={"engine": config.engine, "reset_after": config.reset_after},
            name="reader",
        )
        if config.pooling == "attention":
            self.attention_hidden = keras.layers.Dense(
                self.reader.width,
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
        mask = None if lengths is None else tf.sequence_mask(lengths, tf.shape(tokens)[1])
        return self.decide(self.embedding(tokens), mask, key)

    def after_padding(self, steps: tf.Tensor) -> list[State]:
        """The states after so many steps of padding that is read, of one row: tensors (1, units)."""
        return self.reader(self.embedding(tf.fill([1, steps], PADDING)))[1]

    def decide(
        self,
        x: tf.Tensor,
        mask: tf.Tensor | None = None,
        key: DropoutKey | None = None,
        state: list[State] | None = None,
    ) -> tf.Tensor:
        """All of `call` but the embedding.

        Args:
            x: embedded tokens, shape (batch, time, embedding).
            mask: False where a token is padding to be skipped, shape (batch, time); None reads all.
            key: as for `call`.
            state: of each layer, what it has read already; None begins with zeros.

        Returns:
            Logits, shape (batch, outputs).
        """
        config = self.config
        if config.word_dropout:
            x *= dropout(tf.ones_like(x[:, :, :1]), config.word_dropout, key, site="embedding/words")
        x = dropout(x, config.embedding_dropout, key, site="embedding")
        x, _ = self.reader(x, mask=mask, key=key, initial_state=state)
        rate = config.dropout if config.output_dropout is None else config.output_dropout
        return self.output_layer(dropout(self._pool(x, mask), rate, key, site="output"))

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

    def make_weights(self) -> None:
        """Makes all weights, by reading two tokens."""
        self(tf.zeros((1, 2), tf.int32), tf.constant([2]) if self.config.masked else None)

    def build_from_config(self, config: object) -> None:
        """Makes all weights before Keras reads them from a `.keras` file; shapes alone do not say how to."""
        self.make_weights()

    def get_config(self) -> Settings:
        settings = {
            "config": self.config.model_dump(mode="json"),
            "vocabulary_size": self.vocabulary_size,
            "outputs": self.outputs,
            "former_names": self.former_names,
        }
        return {"name": self.name} | settings

    @classmethod
    def from_config(cls, config: Settings, custom_objects: KerasOption = None) -> RecurrentClassifier:
        """A network with this configuration; files of older versions do not say which names they use."""
        settings: Settings = {"former_names": True} | config
        return cls(**settings)

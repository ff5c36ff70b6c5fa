"""The network of the language model: it reads tokens and a state, and scores the next tokens."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from ostinato.cells.base import KerasOption
from ostinato.engines.product import product
from ostinato.layers.dropout import DropoutKey, dropout
from ostinato.layers.stack import RecurrentStack, State
from ostinato.runtime.program import Dense, OneHot
from ostinato.tasks.config import Settings
from ostinato.tasks.language_model.config import LanguageModelConfig


@keras.saving.register_keras_serializable(package="ostinato")
class RecurrentLanguageModel(keras.Model):
    """An embedding or one-hot input, a stack of recurrent layers, and an output layer.

    Args:
        config: the settings of the network.
        vocabulary_size: the number of different tokens.
    """

    def __init__(self, config: LanguageModelConfig | Settings, vocabulary_size: int, **kwargs: KerasOption):
        super().__init__(**({"name": "language_model"} | kwargs))
        self.config = config if isinstance(config, LanguageModelConfig) else LanguageModelConfig(**config)
        self.vocabulary_size = vocabulary_size
        config, seed = self.config, 1000 * self.config.seed
        if config.embedding:
            self.embedding = keras.layers.Embedding(
                vocabulary_size,
                config.embedding,
                embeddings_initializer=keras.initializers.RandomUniform(-1.0, 1.0, seed=seed),  # pyright: ignore[reportArgumentType]
                name="embedding",
            )
        self.stack = RecurrentStack(
            config.cell,
            config.units,
            dropout=config.dropout,
            recurrent_dropout=config.recurrent_dropout,
            weight_drop=config.weight_drop,
            variational=config.variational,
            seed=seed + 1,
            symbols=0 if config.embedding else vocabulary_size,
            options={"reset_after": config.reset_after, "engine": config.engine},
            block=config.block,
            name="stack",
        )
        if config.tied:
            self.output_bias = self.add_weight(
                shape=(vocabulary_size,), initializer="zeros", name="output_bias"
            )
        else:
            self.output_layer = keras.layers.Dense(
                vocabulary_size,
                kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 999),  # pyright: ignore[reportArgumentType]
                name="output",
            )

    def call(self, tokens: tf.Tensor, state: State, key: DropoutKey | None = None) -> tuple[tf.Tensor, State]:
        """Runs over a batch of sequences.

        Args:
            tokens: ids, shape (batch, time), int32.
            state: a flat tuple of (batch, units) tensors.
            key: draws the dropout masks; None for evaluation.

        Returns:
            Logits, shape (batch, time, vocabulary), and the new state.
        """
        _, dropped, state = self.read(tokens, state, key)
        return self.scores(dropped), state

    def read(
        self, tokens: tf.Tensor, state: State, key: DropoutKey | None = None
    ) -> tuple[tf.Tensor, tf.Tensor, State]:
        """The outputs of the top layer before and after dropout, (batch, time, units), and the new state."""
        config = self.config
        x = self.embedding(tokens) if config.embedding else tokens
        if key is not None and (config.input_dropout or config.embedding_dropout):
            x = x if config.embedding else tf.one_hot(tokens, self.vocabulary_size)
            x = dropout(x, config.input_dropout, key, site="input", variational=config.variational)
            if config.embedding_dropout:
                of_all = key._replace(first_row=tf.constant(0))
                kept = dropout(
                    tf.ones((self.vocabulary_size, 1)), config.embedding_dropout, of_all, site="embedding"
                )
                x *= tf.gather(kept, tokens)
        y, state = self.stack(x, state, key)
        rate = config.dropout if config.output_dropout is None else config.output_dropout
        return y, dropout(y, rate, key, site="output", variational=config.variational), state

    def scores(self, y: tf.Tensor) -> tf.Tensor:
        """Logits, (batch, time, vocabulary), from the outputs of the top layer."""
        if self.config.tied:
            scores = product(y, self.embedding.embeddings, transpose=True)
            return scores + self.output_bias
        return self.output_layer(y)

    def chain(self) -> list[object]:
        """The layers that a token passes, for `ostinato.fast_predict`."""
        first = self.embedding if self.config.embedding else OneHot(self.vocabulary_size)
        if not self.config.tied:
            return [first, self.stack, self.output_layer]
        table, bias = (np.asarray(weight) for weight in (self.embedding.embeddings, self.output_bias))
        return [first, self.stack, Dense(np.ascontiguousarray(table.T), bias)]

    def make_weights(self) -> None:
        """Makes all weights by reading one token."""
        self(tf.zeros((1, 1), tf.int32), self.stack.initial_state(1))

    def build_from_config(self, config: object) -> None:
        """Makes all weights before Keras reads them from a `.keras` file; input shapes do not suffice."""
        self.make_weights()

    def get_config(self) -> Settings:
        settings = {"config": self.config.model_dump(mode="json"), "vocabulary_size": self.vocabulary_size}
        return {"name": self.name} | settings

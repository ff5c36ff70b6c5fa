"""The decoder of a translator: recurrent layers with attention to the source."""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from ostinato.cells.base import KerasOption
from ostinato.engines.product import product
from ostinato.layers.attention import attention
from ostinato.layers.dense import dense
from ostinato.layers.dropout import DropoutKey, dropout, token_dropout
from ostinato.layers.stack import RecurrentStack, State
from ostinato.tasks.translator.config import TranslatorConfig


class Memory(NamedTuple):
    """The encoder's results for a batch of sentences.

    Attributes:
        outputs: the outputs of its top layer at every token, shape (batch, source, width).
        keys: the attention keys, shape (batch, source, units); without attention, the outputs.
        summary: the last outputs of the top layer, shape (batch, width).
        words: the embedded source tokens, shape (batch, source, embedding); without `lexical`, of width 0.
        mask: False for padding, bool, shape (batch, source).
    """

    outputs: tf.Tensor
    keys: tf.Tensor
    summary: tf.Tensor
    words: tf.Tensor
    mask: tf.Tensor


def embedded(
    embedding: keras.layers.Embedding,
    tokens: tf.Tensor,
    config: TranslatorConfig,
    key: DropoutKey | None,
    *,
    site: str,
) -> tf.Tensor:
    """Embedded tokens, (batch, time, embedding), with dropout of words and entries in training."""
    x = embedding(tokens)
    x = token_dropout(x, config.word_dropout, key, site=f"{site}/words")
    return dropout(x, config.embedding_dropout, key, site=site)


def flat_rows(state: tf.Tensor) -> tf.Tensor:
    """A tensor of a state as one vector for each row, (batch, size)."""
    return tf.reshape(state, (-1, state.shape[1:].num_elements()))


class Decoder(keras.layers.Layer):
    """Recurrent layers over the target tokens, an attention, and a score for every next token.

    Without attention, the summary of the encoder is an input of every step (Cho et al. 2014,
    arXiv:1406.1078; Dive into Deep Learning, section 10.7). With additive attention, the query is the last
    state of the top layer, and the context is an input of the step (Bahdanau et al. 2014, arXiv:1409.0473).
    With multiplicative attention, the queries are the outputs (Luong et al. 2015, arXiv:1508.04025). The
    layers then run over the whole sentence in one call, unless input feeding makes the result of a step an
    input of the next.

    With `lexical`, the mean w of the source embeddings, weighted by the attention, gives more features:
    tanh(W tanh(w)) + tanh(w) (Nguyen & Chiang 2018, arXiv:1710.01329, section 4). A rare word is then
    translated by what it is, and not only by where it stands.

    Args:
        config: the settings of the network.
        vocabulary_size: the number of different target tokens, with the special tokens.
        memory_width: the width of the encoder's outputs.
        seed: the seed of the initial weights.
    """

    def __init__(
        self,
        config: TranslatorConfig,
        vocabulary_size: int,
        *,
        memory_width: int,
        seed: int,
        **options: KerasOption,
    ):
        super().__init__(**options)
        self.memory_width = memory_width
        self.config, self.vocabulary_size, self.seed = config, vocabulary_size, seed
        self.embedding = keras.layers.Embedding(
            vocabulary_size,
            config.embedding,
            embeddings_initializer=keras.initializers.RandomUniform(seed=seed),  # pyright: ignore[reportArgumentType]
            name="embedding",
        )
        self.stack = RecurrentStack(
            config.cell,
            config.decoder_sizes,
            dropout=config.dropout,
            recurrent_dropout=config.recurrent_dropout,
            seed=seed + 10,
            options={"reset_after": config.reset_after, "engine": config.engine},
            name="stack",
        )
        self.attends = config.attention != "none"
        if self.attends:
            self.attention = attention(config.attention, self.stack.width, seed=seed + 200, name="attention")
            self.combine = dense(config.features, seed + 210, "combine", activation="tanh", use_bias=False)
        if config.lexical:
            self.lexical = dense(config.embedding, seed + 230, "lexical", activation="tanh", use_bias=False)
        if not config.tied:
            self.output_layer = dense(vocabulary_size, seed + 220, "output")

    def build(self, input_shape: object = None) -> None:
        """Makes the weights that the encoder and `scores` use outside of `call`."""
        config = self.config
        self.embedding.build()
        if self.attends:
            queries = (None, None, self.stack.width)
            self.attention.build(queries, queries, (None, None, self.memory_width))
        if config.tied:
            self.output_bias = self.add_weight(
                shape=(self.vocabulary_size,), initializer="zeros", name="output_bias"
            )
            if config.lexical:
                self.lexical_output = self.add_weight(
                    shape=(self.vocabulary_size, config.embedding),
                    initializer=keras.initializers.GlorotUniform(seed=self.seed + 240),  # pyright: ignore[reportArgumentType]
                    name="lexical_output",
                )
        else:
            width = config.features if self.attends else self.stack.width
            self.output_layer.build((None, width + config.lexical * config.embedding))
        self.built = True

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of the states of the layers and, with input feeding, of the features that are fed."""
        return (*(spec.name for spec in self.stack.states), *(("fed",) if self.config.input_feeding else ()))

    def call(
        self, tokens: tf.Tensor, memory: Memory, state: State, key: DropoutKey | None = None
    ) -> tuple[tf.Tensor, State, tf.Tensor]:
        """Reads target tokens.

        Args:
            tokens: ids, shape (batch, time), int32: the sentence from BOS on.
            memory: of the same sentences. If time is 1 it may be of fewer sentences, each with several
                adjacent rows, such as the hypotheses of a beam.
            state: a flat tuple of (batch, …) tensors.
            key: draws the dropout masks; None for evaluation.

        Returns:
            The features for `scores`, shape (batch, time, features); the new state; and the weights of the
            attention, shape (batch, time, source), which are zero without attention.
        """
        config = self.config
        x = embedded(self.embedding, tokens, config, key, site="target_embedding")
        if not self.attends:
            rows, time = tf.shape(x)[0], tf.shape(x)[1]
            summary = tf.repeat(memory.summary, rows // tf.maximum(tf.shape(memory.mask)[0], 1), axis=0)
            summary = tf.repeat(tf.expand_dims(summary, 1), time, axis=1)
            features, state = self.stack(tf.concat([x, summary], axis=-1), state, key)
            weights = tf.zeros((rows, time, tf.shape(memory.mask)[1]))
        elif config.attention == "multiplicative" and not config.input_feeding:
            y, state = self.stack(x, state, key)
            context, weights = self._find(y, memory)
            features = self.combine(tf.concat([context, y], axis=-1))
        else:
            features, state, weights = self._step_by_step(x, memory, state, key)
        if config.lexical:
            features = tf.concat([features, self._lexical(weights, memory)], axis=-1)
        rate = config.dropout if config.output_dropout is None else config.output_dropout
        return dropout(features, rate, key, site="output"), state, weights

    def scores(self, features: tf.Tensor) -> tf.Tensor:
        """The logits of every next token: (…, features) to (…, vocabulary)."""
        if not self.config.tied:
            return self.output_layer(features)
        weights = self.embedding.embeddings
        if self.config.lexical:
            weights = tf.concat([weights, self.lexical_output], axis=1)
        return product(features, weights, transpose=True) + self.output_bias

    def _lexical(self, weights: tf.Tensor, memory: Memory) -> tf.Tensor:
        """The features (rows, time, embedding) of the source tokens with weights (rows, time, source)."""
        rows, sentences = tf.shape(weights)[0], tf.shape(memory.mask)[0]
        together = tf.reshape(weights, [sentences, -1, tf.shape(weights)[-1]])
        looked = tf.tanh(tf.matmul(together, memory.words))
        return tf.reshape(self.lexical(looked) + looked, [rows, -1, looked.shape[-1]])

    def _find(self, queries: tf.Tensor, memory: Memory) -> tuple[tf.Tensor, tf.Tensor]:
        """Contexts (rows, time, width) and weights (rows, time, source) of queries (rows, time, units)."""
        rows, sentences = tf.shape(queries)[0], tf.shape(memory.mask)[0]
        together = tf.reshape(queries, [sentences, -1, queries.shape[-1]])
        context, weights = self.attention(together, memory.keys, memory.outputs, mask=memory.mask)
        return (
            tf.reshape(context, [rows, -1, context.shape[-1]]),
            tf.reshape(weights, [rows, -1, tf.shape(memory.mask)[1]]),
        )

    def _step_by_step(
        self, x: tf.Tensor, memory: Memory, state: State, key: DropoutKey | None
    ) -> tuple[tf.Tensor, State, tf.Tensor]:
        """`call` if a step needs the attention or the features of the step before."""
        if x.shape[1] == 1:
            return self._step(x, memory, state, key)
        time = tf.shape(x)[1]

        def body(
            at: tf.Tensor, state: State, features: tf.TensorArray, weights: tf.TensorArray
        ) -> tuple[object, ...]:
            here = None if key is None else key._replace(time=at)
            feature, state, weight = self._step(tf.gather(x, [at], axis=1), memory, state, here)
            return at + 1, state, features.write(at, feature[:, 0]), weights.write(at, weight[:, 0])

        written = tuple(tf.TensorArray(x.dtype, time) for _ in range(2))
        _, state, features, weights = tf.while_loop(
            lambda at, *_: at < time, body, (tf.constant(0), state, *written), maximum_iterations=time
        )
        return tf.einsum("tbf->btf", features.stack()), state, tf.einsum("tbs->bts", weights.stack())

    def _step(
        self, x: tf.Tensor, memory: Memory, state: State, key: DropoutKey | None
    ) -> tuple[tf.Tensor, State, tf.Tensor]:
        """One step; x has the shape (rows, 1, embedding)."""
        if self.config.attention == "additive":
            top_state = keras.tree.flatten(self.stack.layers[-1].get_initial_state(1))
            top = flat_rows(state[-len(top_state)])
            context, weights = self._find(tf.expand_dims(top, 1), memory)
            y, state = self.stack(tf.concat([x, context], axis=-1), state, key)
            return self.combine(tf.concat([context, y], axis=-1)), state, weights
        *layers_state, fed = state
        y, new_state = self.stack(tf.concat([x, tf.expand_dims(fed, 1)], axis=-1), tuple(layers_state), key)
        context, weights = self._find(y, memory)
        features = self.combine(tf.concat([context, y], axis=-1))
        return features, (*new_state, features[:, 0]), weights

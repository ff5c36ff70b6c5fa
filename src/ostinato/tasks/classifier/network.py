"""The network of the classifier: it reads tokens and returns a score for every label."""

from __future__ import annotations

import keras
import tensorflow as tf

from ostinato.cells.base import KerasOption
from ostinato.layers.dense import dense
from ostinato.layers.dropout import DropoutKey, dropout, of_network, token_dropout
from ostinato.layers.encoder import FormerEncoder, RecurrentEncoder
from ostinato.layers.stack import State
from ostinato.tasks.classifier.config import ClassifierConfig
from ostinato.tasks.classifier.ngram_layer import NGramLayer
from ostinato.tasks.classifier.padding import PADDING
from ostinato.tasks.config import Settings

_FAR_BELOW = -1e9


def mean_of(scores: list[tf.Tensor]) -> tf.Tensor:
    """The mean of the scores of several networks."""
    return scores[0] if len(scores) == 1 else tf.add_n(scores) / len(scores)


def _greatest(x: tf.Tensor, read: tf.Tensor) -> tf.Tensor:
    """The greatest output over time, (batch, features); zero for a text without tokens."""
    greatest = tf.reduce_max(tf.where(read > 0, x, _FAR_BELOW), axis=1)
    return tf.where(tf.reduce_any(read > 0, axis=1), greatest, 0.0)


def _weighted(x: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
    """The weighted mean of the outputs over time, (batch, features); zero for a text without tokens."""
    total = tf.reduce_sum(shares, axis=1)
    return tf.reduce_sum(x * shares, axis=1) / tf.where(total > 0, total, 1.0)


@keras.saving.register_keras_serializable(package="ostinato")
class RecurrentClassifier(keras.Model):
    """An embedding, a stack of recurrent layers, a pooling over time and an output layer.

    There may be several of these networks, whose scores are averaged. Beside them there may be weights of
    n-grams, whose scores are added.

    Args:
        config: the settings of the network.
        vocabulary_size: the number of different tokens, without padding.
        outputs: the number of scores: one for two labels, otherwise one per label.
        ngrams: the number of known n-grams, and how many of them are of words.
        former_names: whether the encoder has its former class name, by which Keras finds its weights in a
            `.keras` file of an older version.
        prefix: what the names of its layers begin with, of one of several networks.
    """

    def __init__(
        self,
        config: ClassifierConfig | Settings,
        vocabulary_size: int,
        outputs: int,
        ngrams: tuple[int, int] = (0, 0),
        *,
        former_names: bool = False,
        prefix: str = "",
        **kwargs: KerasOption,
    ):
        super().__init__(**({"name": "classifier"} | kwargs))
        self.config = config if isinstance(config, ClassifierConfig) else ClassifierConfig(**config)
        self.vocabulary_size, self.outputs, self.ngrams = vocabulary_size, outputs, (*ngrams,)
        config, seed = self.config, 1000 * self.config.seed
        self.embedding = keras.layers.Embedding(
            1 + vocabulary_size,
            config.embedding,
            embeddings_initializer=keras.initializers.RandomUniform(seed=seed),  # pyright: ignore[reportArgumentType]
            name=f"{prefix}embedding",
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
            name=f"{prefix}reader",
        )
        if config.pooling == "attention":
            width = self.reader.width
            self.attention_hidden = dense(width, seed + 900, f"{prefix}attention_hidden", activation="tanh")
            self.attention_query = dense(1, seed + 901, f"{prefix}attention_query", use_bias=False)
        self.output_layer = dense(outputs, seed + 999, f"{prefix}output")
        if config.ngrams:
            self.of_ngrams = NGramLayer(outputs, *ngrams)
        self.others = [
            RecurrentClassifier(
                config.model_copy(update={"seed": config.seed + number, "seeds": 1, "ngrams": 0}),
                vocabulary_size,
                outputs,
                name=f"seed_{number}",
                prefix=f"seed_{number}_",
            )
            for number in range(1, config.seeds)
        ]

    def call(
        self,
        tokens: tf.Tensor,
        lengths: tf.Tensor | None = None,
        key: DropoutKey | None = None,
        grams: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Scores a batch of texts.

        Args:
            tokens: ids, shape (batch, time), int32; 0 is padding.
            lengths: the number of tokens before the padding in each row, shape (batch,), int32; None reads
                the padding, too.
            key: draws the dropout masks; None for evaluation.
            grams: the ids of each text's n-grams, shape (batch, n-grams), int32; 0 is padding. A network
                without n-grams does not take them.

        Returns:
            Logits, shape (batch, outputs).
        """
        read = self.read(tokens, lengths, key)
        return read if grams is None else read + self.of_ngrams(grams)

    def read(
        self, tokens: tf.Tensor, lengths: tf.Tensor | None = None, key: DropoutKey | None = None
    ) -> tf.Tensor:
        """The scores of the recurrent layers alone; arguments and result are those of `call`."""
        return mean_of(self.read_each(tokens, lengths, key))

    def read_each(
        self, tokens: tf.Tensor, lengths: tf.Tensor | None = None, key: DropoutKey | None = None
    ) -> list[tf.Tensor]:
        """The scores of the recurrent layers of each network; the arguments are those of `call`."""
        mask = None if lengths is None else tf.sequence_mask(lengths, tf.shape(tokens)[1])
        return [
            network._decide(network.embedding(tokens), mask, of_network(key, number), None)
            for number, network in enumerate(self.networks())
        ]

    def networks(self) -> list[RecurrentClassifier]:
        """The networks whose scores are averaged, this one first.

        As a property Keras would take it for a part of this network, and save it again and again.
        """
        return [self, *self.others]

    def embed(self, tokens: tf.Tensor) -> tf.Tensor:
        """Tokens as `decide` reads them, (batch, time, embedding): the embeddings of all networks in turn."""
        return tf.concat([network.embedding(tokens) for network in self.networks()], axis=-1)

    def after_padding(self, steps: tf.Tensor) -> list[list[State]]:
        """For each network the states of one row after this many steps of padding: tensors (1, units)."""
        padding = tf.fill([1, steps], PADDING)
        return [network.reader(network.embedding(padding))[1] for network in self.networks()]

    def decide(
        self,
        x: tf.Tensor,
        mask: tf.Tensor | None = None,
        key: DropoutKey | None = None,
        states: list[list[State]] | None = None,
    ) -> tf.Tensor:
        """Scores embedded tokens: `call` without the embedding.

        Args:
            x: embedded tokens, as from `embed`.
            mask: False for padding that is skipped, shape (batch, time); None reads everything.
            key: as for `call`.
            states: for each network the initial state of each layer; None means zeros.

        Returns:
            Logits, shape (batch, outputs).
        """
        pieces = tf.split(x, len(self.networks()), axis=-1)
        return mean_of(
            [
                network._decide(
                    piece, mask, of_network(key, number), None if states is None else states[number]
                )
                for number, (network, piece) in enumerate(zip(self.networks(), pieces, strict=True))
            ]
        )

    def _decide(
        self,
        x: tf.Tensor,
        mask: tf.Tensor | None,
        key: DropoutKey | None,
        state: list[State] | None,
    ) -> tf.Tensor:
        """The scores of this network alone."""
        config = self.config
        x = token_dropout(x, config.word_dropout, key, site="embedding/words")
        x = dropout(x, config.embedding_dropout, key, site="embedding")
        x, _ = self.reader(x, mask=mask, key=key, initial_state=state)
        rate = config.dropout if config.output_dropout is None else config.output_dropout
        return self.output_layer(dropout(self._pool(x, mask), rate, key, site="output"))

    def _pool(self, x: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        """One vector per text, (batch, features), from all outputs (batch, time, features) or the last."""
        pooling = self.config.pooling
        if pooling == "last":
            return x
        read = tf.ones_like(x[:, :, :1]) if mask is None else tf.expand_dims(tf.cast(mask, x.dtype), -1)
        if pooling == "max_mean":
            return tf.concat([_greatest(x, read), _weighted(x, read)], axis=-1)
        if pooling == "max":
            return _greatest(x, read)
        shares = read
        if pooling == "attention":
            scores = self.attention_query(self.attention_hidden(x))
            scores = tf.where(read > 0, scores, _FAR_BELOW)
            shares = read * tf.exp(scores - tf.reduce_max(scores, axis=1, keepdims=True))
        return _weighted(x, shares)

    def make_weights(self) -> None:
        """Makes all weights by reading two tokens."""
        grams = tf.zeros((1, 1), tf.int32) if self.config.ngrams else None
        self(tf.zeros((1, 2), tf.int32), tf.constant([2]) if self.config.masked else None, grams=grams)

    def build_from_config(self, config: object) -> None:
        """Makes all weights before Keras reads them from a `.keras` file; input shapes do not suffice."""
        self.make_weights()

    def get_config(self) -> Settings:
        settings = {
            "config": self.config.model_dump(mode="json"),
            "vocabulary_size": self.vocabulary_size,
            "outputs": self.outputs,
            "ngrams": self.ngrams,
            "former_names": self.former_names,
        }
        return {"name": self.name} | settings

    @classmethod
    def from_config(cls, config: Settings, custom_objects: KerasOption = None) -> RecurrentClassifier:
        """A network with this configuration; `former_names` is missing in files of older versions."""
        settings: Settings = {"former_names": True} | config
        return cls(**settings)

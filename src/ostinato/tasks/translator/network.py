"""The network of the translator: it reads a sentence and scores the tokens of its translation."""

from __future__ import annotations

import math
from itertools import chain

import keras
import tensorflow as tf

from ostinato.cells.base import KerasOption
from ostinato.data.examples.sentences import BOS
from ostinato.layers.dense import dense
from ostinato.layers.dropout import DropoutKey, dropout, of_network
from ostinato.layers.encoder import RecurrentEncoder
from ostinato.layers.ngram_embedding import NGramEmbedding
from ostinato.layers.stack import State
from ostinato.tasks.config import Settings
from ostinato.tasks.translator.config import TranslatorConfig
from ostinato.tasks.translator.decoder import Decoder, Memory, embedded, flat_rows


@keras.saving.register_keras_serializable(package="ostinato")
class RecurrentTranslator(keras.Model):
    """An encoder, a bridge from its final state to the decoder, and the decoder.

    There may be several of these networks, whose probabilities are averaged. Memories, states and features
    then have the parts of each network, in turn.

    Args:
        config: the settings of the network.
        source_size: the size of the source vocabulary, with the special tokens.
        target_size: the size of the target vocabulary, with the special tokens. With a joint vocabulary both
            sides share one embedding.
        prefix: what the names of its layers begin with, of one of several networks.

    Source: Sutskever et al. 2014, arXiv:1409.3215; Dive into Deep Learning, sections 10.6 and 10.7.
    """

    def __init__(
        self,
        config: TranslatorConfig | Settings,
        source_size: int,
        target_size: int,
        *,
        prefix: str = "",
        **kwargs: KerasOption,
    ):
        super().__init__(**({"name": "translator"} | kwargs))
        self.config = config if isinstance(config, TranslatorConfig) else TranslatorConfig(**config)
        self.source_size, self.target_size, self.prefix = source_size, target_size, prefix
        config, seed = self.config, 10_000 * self.config.seed
        self.encoder = RecurrentEncoder(
            config.cell,
            config.units,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
            recurrent_dropout=config.recurrent_dropout,
            seed=seed,
            options={"reset_after": config.reset_after, "engine": config.engine},
            name=f"{prefix}encoder",
        )
        self.decoder = Decoder(
            config,
            target_size,
            memory_width=self.encoder.width,
            seed=seed + 5000,
            name=f"{prefix}decoder",
        )
        if config.joint_vocabulary:
            self.source_embedding = self.decoder.embedding
        else:
            self.source_embedding = keras.layers.Embedding(
                source_size,
                config.embedding,
                embeddings_initializer=keras.initializers.RandomUniform(seed=seed),  # pyright: ignore[reportArgumentType]
                name=f"{prefix}source_embedding",
            )
        if config.source_ngrams > 1:
            self.ngrams = _ngrams(config, seed + 3000, f"{prefix}source_ngrams")
        self.bridges = [
            dense(math.prod(spec.shape), seed + 4000 + number, f"{prefix}bridge_{number}", activation="tanh")
            for number, spec in enumerate(self.decoder.stack.states)
            if config.bridged == "dense"
        ]
        self.others = [
            RecurrentTranslator(
                config.model_copy(update={"seed": config.seed + number, "seeds": 1}),
                source_size,
                target_size,
                name=f"seed_{number}",
                prefix=f"seed_{number}_",
            )
            for number in range(1, config.seeds)
        ]

    def networks(self) -> list[RecurrentTranslator]:
        """The networks whose probabilities are averaged, this one first.

        As a property Keras would take it for a part of this network, and save it again and again.
        """
        return [self, *self.others]

    def build(self, input_shape: object = None) -> None:
        """Makes the weights of the decoder that the encoder needs; the first call makes the others."""
        for network in self.networks():
            network.decoder.build()
        self.built = True

    def read(
        self, source: tf.Tensor, lengths: tf.Tensor, key: DropoutKey | None = None
    ) -> tuple[Memory, State]:
        """Reads a batch of sentences.

        Args:
            source: ids, shape (batch, time), int32, padding at the end.
            lengths: the number of tokens of each sentence, shape (batch,), int32.
            key: draws the dropout masks; None for evaluation.

        Returns:
            The memory for `write`, and the initial state.
        """
        read = [
            network._read(source, lengths, of_network(key, number))
            for number, network in enumerate(self.networks())
        ]
        memories = [memory for memory, _ in read]
        if len(memories) == 1:
            return read[0]
        together = [
            tf.concat(part, axis=-1) for part in zip(*(memory[:-1] for memory in memories), strict=True)
        ]
        state = tuple(chain.from_iterable(state for _, state in read))
        return Memory(*together, mask=memories[0].mask), state

    def _read(self, source: tf.Tensor, lengths: tf.Tensor, key: DropoutKey | None) -> tuple[Memory, State]:
        """`read` of this network alone."""
        config = self.config
        mask = tf.sequence_mask(lengths, tf.shape(source)[1])
        x = embedded(self.source_embedding, source, config, key, site="source_embedding")
        words = x if config.lexical else x[:, :, :0]
        if config.source_ngrams > 1:
            x += dropout(self.ngrams(source, key), config.embedding_dropout, key, site="source_ngrams")
        outputs, states = self.encoder(x, mask=mask, key=key)
        parts = len(states[-1]) // (1 + config.bidirectional)
        # The last output of each direction; for the LSTM it is h, for others it need not be a state.
        width = self.encoder.width // (1 + config.bidirectional)
        summary = tf.concat([outputs[:, -1, :width], outputs[:, 0, width:]], axis=-1)
        keys = self.decoder.attention.keys(outputs) if self.decoder.attends else outputs
        state = self._bridge(states, parts)
        if config.input_feeding:
            state = (*state, tf.zeros((tf.shape(source)[0], config.features), outputs.dtype))
        return Memory(outputs, keys, summary, words, mask), state

    def _bridge(self, states: list[State], parts: int) -> State:
        """The initial state of the decoder, from the final states of the encoder.

        Layers are matched from the top. If the decoder is deeper, its lowest layers all get the state of the
        lowest encoder layer.
        """
        first, specs = len(states) - len(self.config.decoder_sizes), self.decoder.stack.states
        ended = [states[max(0, first + depth)] for depth in range(len(self.config.decoder_sizes))]
        both = [tf.concat(layer[part::parts], axis=-1) for layer in ended for part in range(parts)]
        if self.config.bridged == "copy":
            return tuple(both)
        rows = tf.shape(both[0])[0]
        if self.config.bridged == "dense":
            dense = [bridge(flat_rows(state)) for bridge, state in zip(self.bridges, both, strict=True)]
            return tuple(tf.reshape(x, (rows, *spec.shape)) for x, spec in zip(dense, specs, strict=True))
        return tuple(spec.initial(rows) for spec in specs)

    def call(
        self,
        source: tf.Tensor,
        lengths: tf.Tensor,
        target: tf.Tensor,
        key: DropoutKey | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Reads sentences and their translations (teacher forcing).

        Args:
            source: ids, shape (batch, source), int32, padding at the end.
            lengths: the number of tokens of each source, shape (batch,), int32.
            target: ids, shape (batch, target), int32: each translation from BOS on.
            key: draws the dropout masks; None for evaluation.

        Returns:
            The features for `scores`, shape (batch, target, features), and the weights of the
            attention, shape (batch, target, source).
        """
        memory, state = self.read(source, lengths, key)
        features, _, weights = self.write(target, memory, state, key)
        return features, weights

    def write(
        self, tokens: tf.Tensor, memory: Memory, state: State, key: DropoutKey | None = None
    ) -> tuple[tf.Tensor, State, tf.Tensor]:
        """Reads target tokens: arguments and results are those of the decoder.

        The features have those of every network in turn; the weights of the attention are their mean.
        """
        networks = self.networks()
        count, size = len(networks), len(state) // len(networks)
        if count == 1:
            return self.decoder(tokens, memory, state, key)
        memories = zip(*(tf.split(part, count, axis=-1) for part in memory[:-1]), strict=True)
        written = [
            network.decoder(
                tokens,
                Memory(*mine, mask=memory.mask),
                state[number * size : (number + 1) * size],
                of_network(key, number),
            )
            for number, (network, mine) in enumerate(zip(networks, memories, strict=True))
        ]
        features, states, weights = zip(*written, strict=True)
        return tf.concat(features, axis=-1), tuple(chain(*states)), tf.add_n(weights) / count

    def scores(self, features: tf.Tensor) -> tf.Tensor:
        """The score of every next token: (…, features) to (…, vocabulary).

        They are the logits of one network, and the logarithms of the mean probabilities of several.
        """
        scores = self.scores_of_each(features)
        if len(scores) == 1:
            return scores[0]
        logarithms = tf.stack([tf.nn.log_softmax(each) for each in scores])
        return tf.reduce_logsumexp(logarithms, axis=0) - math.log(len(scores))

    def scores_of_each(self, features: tf.Tensor) -> list[tf.Tensor]:
        """The logits of each network; see `scores`."""
        networks = self.networks()
        parts = tf.split(features, len(networks), axis=-1)
        return [network.decoder.scores(part) for network, part in zip(networks, parts, strict=True)]

    def make_weights(self) -> None:
        """Makes all weights by reading two tokens on each side."""
        tokens = tf.fill((1, 2), BOS)
        features, _ = self(tokens, tf.constant([2]), tokens)
        self.scores(features)

    def build_from_config(self, config: object) -> None:
        """Makes all weights before Keras reads them from a `.keras` file; input shapes do not suffice."""
        self.make_weights()

    def get_config(self) -> Settings:
        settings = {
            "config": self.config.model_dump(mode="json"),
            "source_size": self.source_size,
            "target_size": self.target_size,
        }
        return {"name": self.name} | settings


def _ngrams(config: TranslatorConfig, seed: int, name: str) -> NGramEmbedding:
    """The embeddings of the n-grams of the source."""
    longest, rows, rate = config.source_ngrams, config.ngram_rows, config.ngram_dropout
    return NGramEmbedding(longest, rows, config.embedding, rate=rate, seed=seed, name=name)

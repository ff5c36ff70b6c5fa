"""The network of the translator: it reads a sentence and scores the tokens of its translation."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from ostinato.cells.base import KerasOption
from ostinato.data.examples.sentences import BOS
from ostinato.layers.dense import dense
from ostinato.layers.dropout import DropoutKey
from ostinato.layers.encoder import RecurrentEncoder
from ostinato.layers.stack import State
from ostinato.tasks.config import Settings
from ostinato.tasks.translator.config import TranslatorConfig
from ostinato.tasks.translator.decoder import Decoder, Memory, embedded, flat_rows


@keras.saving.register_keras_serializable(package="ostinato")
class RecurrentTranslator(keras.Model):
    """An encoder, a bridge from its final state to the decoder, and the decoder.

    Args:
        config: the settings of the network.
        source_size: the size of the source vocabulary, with the special tokens.
        target_size: the size of the target vocabulary, with the special tokens. With a joint vocabulary both
            sides share one embedding.

    Source: Sutskever et al. 2014, arXiv:1409.3215; Dive into Deep Learning, sections 10.6 and 10.7.
    """

    def __init__(
        self,
        config: TranslatorConfig | Settings,
        source_size: int,
        target_size: int,
        **kwargs: KerasOption,
    ):
        super().__init__(**({"name": "translator"} | kwargs))
        self.config = config if isinstance(config, TranslatorConfig) else TranslatorConfig(**config)
        self.source_size, self.target_size = source_size, target_size
        config, seed = self.config, 10_000 * self.config.seed
        self.encoder = RecurrentEncoder(
            config.cell,
            config.units,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
            recurrent_dropout=config.recurrent_dropout,
            seed=seed,
            options={"reset_after": config.reset_after, "engine": config.engine},
            name="encoder",
        )
        self.decoder = Decoder(
            config, target_size, memory_width=self.encoder.width, seed=seed + 5000, name="decoder"
        )
        if config.joint_vocabulary:
            self.source_embedding = self.decoder.embedding
        else:
            self.source_embedding = keras.layers.Embedding(
                source_size,
                config.embedding,
                embeddings_initializer=keras.initializers.RandomUniform(seed=seed),  # pyright: ignore[reportArgumentType]
                name="source_embedding",
            )
        self.bridges = [
            dense(math.prod(spec.shape), seed + 4000 + number, f"bridge_{number}", activation="tanh")
            for number, spec in enumerate(self.decoder.stack.states)
            if config.bridged == "dense"
        ]

    def build(self, input_shape: object = None) -> None:
        """Makes the weights of the decoder that the encoder needs; the first call makes the others."""
        self.decoder.build()
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
            The memory for the decoder, and its initial state.
        """
        config = self.config
        mask = tf.sequence_mask(lengths, tf.shape(source)[1])
        x = embedded(self.source_embedding, source, config, key, site="source_embedding")
        outputs, states = self.encoder(x, mask=mask, key=key)
        parts = len(states[-1]) // (1 + config.bidirectional)
        # The last output of each direction; for the LSTM it is h, for others it need not be a state.
        width = self.encoder.width // (1 + config.bidirectional)
        summary = tf.concat([outputs[:, -1, :width], outputs[:, 0, width:]], axis=-1)
        keys = self.decoder.attention.keys(outputs) if self.decoder.attends else outputs
        state = self._bridge(states, parts)
        if config.input_feeding:
            state = (*state, tf.zeros((tf.shape(source)[0], config.features), outputs.dtype))
        return Memory(outputs, keys, summary, mask), state

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
            The features for `decoder.scores`, shape (batch, target, features), and the weights of the
            attention, shape (batch, target, source).
        """
        memory, state = self.read(source, lengths, key)
        features, _, weights = self.decoder(target, memory, state, key)
        return features, weights

    def make_weights(self) -> None:
        """Makes all weights by reading two tokens on each side."""
        tokens = tf.fill((1, 2), BOS)
        features, _ = self(tokens, tf.constant([2]), tokens)
        self.decoder.scores(features)

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

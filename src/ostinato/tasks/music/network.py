"""The network of the music model: it reads chords and a state, and scores the keys of the next chord."""

from __future__ import annotations

import keras
import tensorflow as tf

from ostinato.cells.base import KerasOption, State, initial_state
from ostinato.heads.chord import LOUD, ChordOutput
from ostinato.layers.dropout import DropoutKey, dropout
from ostinato.layers.stack import RecurrentStack
from ostinato.tasks.config import Settings
from ostinato.tasks.music.config import MusicConfig


@keras.saving.register_keras_serializable(package="ostinato")
class RecurrentMusicModel(keras.Model):
    """A stack of recurrent layers over chords, and an output over the keys.

    Args:
        config: the settings of the network.
        keys: the number of keys.
        onsets: whether chords also say which keys are struck again; see `ChordOutput`.
    """

    def __init__(
        self, config: MusicConfig | Settings, keys: int, onsets: bool = False, **kwargs: KerasOption
    ):
        super().__init__(**({"name": "music_model"} | kwargs))
        self.config = config if isinstance(config, MusicConfig) else MusicConfig(**config)
        self.keys, self.onsets = keys, onsets
        config, seed = self.config, 1000 * self.config.seed
        self.stack = RecurrentStack(
            config.cell,
            config.units,
            dropout=config.dropout,
            recurrent_dropout=config.recurrent_dropout,
            seed=seed + 1,
            options={"reset_after": config.reset_after, "engine": config.engine},
            block=config.block,
            name="stack",
        )
        self.chord = ChordOutput(
            keys,
            config.hidden,
            onsets=onsets,
            independent=config.output == "independent",
            seed=seed + 900,
            name="chord",
        )

    def call(
        self, chords: tf.Tensor, begins: tf.Tensor, state: State, key: DropoutKey | None = None
    ) -> tuple[tf.Tensor, State]:
        """Runs over windows of pieces.

        Args:
            chords: the chord before each step, 0.0 or 1.0, shape (batch, time, width of the output).
            begins: 1.0 where a piece begins with the first step, shape (batch,); the state is then forgotten.
            state: a flat tuple of tensors, as in `stack.states`.
            key: draws the dropout masks; None for evaluation.

        Returns:
            What the output reads, shape (batch, time, features), and the new state. With a skip connection
            these are the units and the chord before (Graves 2013, arXiv:1308.0850, section 2).
        """
        batch, time = tf.unstack(tf.shape(chords)[:2])
        first = tf.one_hot(tf.zeros((batch,), tf.int32), time)[:, :, tf.newaxis]  # the first step of each row
        chords = LOUD * dropout(chords, self.config.input_dropout, key, site="input")
        x = tf.concat([chords, first * begins[:, tf.newaxis, tf.newaxis]], axis=2)
        state = tuple(
            tf.where(tf.reshape(begins > 0.0, [-1] + [1] * (len(old.shape) - 1)), new, old)
            for new, old in zip(initial_state(self.stack.states, batch), state, strict=True)
        )
        y, state = self.stack(x, state, key)
        y = dropout(y, self.config.dropout, key, site="output")
        return tf.concat([y, chords], axis=2) if self.config.skip_connection else y, state

    def make_weights(self) -> None:
        """Makes all weights by reading one step."""
        skipped = self.chord.width if self.config.skip_connection else 0
        self.chord.build((None, self.stack.width + skipped))
        self(tf.zeros((1, 1, self.chord.width)), tf.ones((1,)), self.stack.initial_state(1))

    def build_from_config(self, config: object) -> None:
        """Makes all weights before Keras reads them from a `.keras` file; input shapes do not suffice."""
        self.make_weights()

    def get_config(self) -> Settings:
        own = {"keys": self.keys, "onsets": self.onsets}
        return {"name": self.name, "config": self.config.model_dump(mode="json")} | own

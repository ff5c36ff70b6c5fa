"""A deep recurrent network that reads whole sequences, in one direction or in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from ostinato.cells.base import KerasOption
from ostinato.cells.registry import output_width, pack_state, recurrent
from ostinato.errors import warn_renamed
from ostinato.layers.dropout import DropoutKey, dropout, recurrent_masks
from ostinato.layers.stack import State

_CONFIG = (
    *("cell", "units", "bidirectional", "return_sequences", "dropout", "recurrent_dropout"),
    *("seed", "options"),
)


@keras.saving.register_keras_serializable(package="ostinato")
class RecurrentEncoder(keras.layers.Layer):
    """A deep recurrent network over whole sequences, in one direction or in both.

    Args:
        cell: a name from `ostinato.layers.cells()`.
        units: hidden units of each layer and direction, from the bottom up.
        bidirectional: add to each layer a second one that reads from the end. The outputs of both are
            concatenated (Schuster & Paliwal 1997, "Bidirectional recurrent neural networks").
        return_sequences: whether the top layer returns all outputs, or only those after the last step.
        dropout: fraction of the outputs to drop between two layers.
        recurrent_dropout: fraction of its own past state that each layer drops.
        seed: seed of the initial weights; each layer derives its own.
        options: passed to every layer, for example `reset_after` or `engine`.
    """

    def __init__(
        self,
        cell: str,
        units: Sequence[int],
        *,
        bidirectional: bool = False,
        return_sequences: bool = True,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int = 0,
        options: Mapping[str, KerasOption] | None = None,
        **kwargs: KerasOption,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.cell, self.units, self.bidirectional = cell, tuple(units), bidirectional
        self.return_sequences = return_sequences
        self.dropout, self.recurrent_dropout = dropout, recurrent_dropout
        self.seed, self.options = seed, dict(options or {})
        depths = range(len(self.units))
        self.forward_layers = [self._layer(depth, "layer", seed) for depth in depths]
        self.backward_layers = [
            self._layer(depth, "backward", seed + 500) for depth in depths if bidirectional
        ]

    def _layer(self, depth: int, name: str, seed: int) -> keras.layers.RNN:
        return recurrent(
            self.cell,
            self.units[depth],
            return_sequences=self.return_sequences or depth < len(self.units) - 1,
            return_state=True,
            go_backwards=name == "backward",
            recurrent_dropout=self.recurrent_dropout,
            kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 2 * depth + 1),
            recurrent_initializer=keras.initializers.Orthogonal(seed=seed + 2 * depth + 2),
            seed=seed + 2 * depth + 1,
            name=f"{name}_{depth}",
            **self.options,
        )

    @property
    def width(self) -> int:
        """Features of the outputs."""
        return output_width(self.forward_layers[-1]) * (1 + self.bidirectional)

    def call(
        self,
        x: tf.Tensor,
        mask: tf.Tensor | None = None,
        key: DropoutKey | None = None,
        initial_state: list[State] | None = None,
    ) -> tuple[tf.Tensor, list[State]]:
        """Encodes a batch of sequences.

        Args:
            x: shape (batch, time, features).
            mask: shape (batch, time), False at padding, which is skipped; None reads all steps.
            key: draws the dropout between and within the layers; None for evaluation.
            initial_state: the states that an earlier call returned, for a network of one direction; None
                starts from zeros.

        Returns:
            The top layer's outputs, (batch, time, width), or (batch, width) without `return_sequences`; and
            the final state of each layer, tensors (batch, units), forward direction first.
        """
        training, states, path = key is not None, [], self.path or self.name
        for depth, forward in enumerate(self.forward_layers):
            if depth > 0:
                x = dropout(x, self.dropout, key, site=f"{path}/{forward.name}/input")
            start = None if initial_state is None else pack_state(forward, initial_state[depth])[0]
            with recurrent_masks(forward, x, key, site=f"{path}/{forward.name}/recurrent"):
                y, *state = forward(x, mask=mask, training=training, initial_state=start)
            if self.bidirectional:
                backward = self.backward_layers[depth]
                with recurrent_masks(backward, x, key, site=f"{path}/{backward.name}/recurrent"):
                    backward_y, *backward_state = backward(x, mask=mask, training=training)
                if forward.return_sequences:
                    backward_y = tf.reverse(backward_y, [1])
                y, state = tf.concat([y, backward_y], axis=-1), state + backward_state
            x = y
            states.append(tuple(keras.tree.flatten(state)))
        return x, states

    def get_config(self) -> dict[str, KerasOption]:
        return super().get_config() | {name: getattr(self, name) for name in _CONFIG}

    @classmethod
    def from_config(cls, config: dict[str, KerasOption]) -> RecurrentEncoder:
        """A layer with this configuration; those of older versions also have the number of a dropout site."""
        return cls(**{name: value for name, value in config.items() if name != "site"})


@keras.saving.register_keras_serializable(package="ostinato", name="Reader")
class FormerEncoder(RecurrentEncoder):
    """`RecurrentEncoder` in files written under its former name, by which Keras also finds its weights."""


FormerEncoder.__name__ = "Reader"
_RENAMED = {"Reader": RecurrentEncoder}


def __getattr__(name: str) -> object:
    if name in _RENAMED:
        warn_renamed(f"{__name__}.{name}", f"{__name__}.{_RENAMED[name].__name__}")
        return _RENAMED[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

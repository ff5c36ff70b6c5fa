"""Recurrent layers that read a whole sequence, from one end or from both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ostinato.layers.dropout import DropoutKey, dropout, recurrent_masks
from ostinato.layers.registry import recurrent
from ostinato.layers.stack import State

_FORWARD_SITE, _BACKWARD_SITE = 2000, 3000


@keras.saving.register_keras_serializable(package="ostinato")
class Reader(keras.layers.Layer):
    """A deep recurrent network over sequences that are there from the start, as a text to be judged is.

    Args:
        cell: a name from `ostinato.layers.cells()`.
        units: how many hidden units each layer has in each direction, from the bottom up.
        bidirectional: a second network of each layer reads from the end; the outputs of both are joined
            (Schuster & Paliwal 1997, "Bidirectional recurrent neural networks").
        return_sequences: whether the top layer returns all its outputs, or those after the last step only.
        dropout: the fraction of the outputs to drop between two layers.
        recurrent_dropout: the fraction of its own past state that each layer drops.
        seed: where the initial weights are drawn from; each layer draws its own.
        site: is added to the sites that its dropout is drawn at; for a network with other layers besides.
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
        site: int = 0,
        options: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.cell, self.units, self.bidirectional = cell, tuple(units), bidirectional
        self.return_sequences, self.dropout, self.recurrent_dropout = (
            return_sequences,
            dropout,
            recurrent_dropout,
        )
        self.seed, self.site, self.options = seed, site, dict(options or {})
        depths = range(len(self.units))
        self.forward_layers = [self._layer(depth, "layer", seed) for depth in depths]
        self.backward_layers = [
            self._layer(depth, "backward", seed + 500) for depth in depths if bidirectional
        ]

    def _layer(self, depth: int, name: str, seed: int) -> Any:
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
        return self.units[-1] * (1 + self.bidirectional)

    def call(
        self,
        x: tf.Tensor,
        mask: tf.Tensor | None = None,
        key: DropoutKey | None = None,
        initial_state: list[State] | None = None,
    ) -> tuple[tf.Tensor, list[State]]:
        """Reads a batch of sequences.

        Args:
            x: shape (batch, time, features).
            mask: False where a step is padding to be skipped, shape (batch, time); None reads all.
            key: draws the dropout between and within the layers; None for evaluation.
            initial_state: what an earlier call returned as its states, for a network that reads in one
                direction; None begins with zeros.

        Returns:
            The top layer's outputs, (batch, time, width), or (batch, width) without `return_sequences`; and
            of each layer its final state, tensors (batch, units): of the network that reads from the
            beginning first, then of the one that reads from the end.
        """
        training, states = key is not None, []
        for depth, forward in enumerate(self.forward_layers):
            if depth > 0:
                x = dropout(x, self.dropout, key, site=self.site + depth)
            given = None if initial_state is None else initial_state[depth]
            with recurrent_masks(forward, x, key, site=self.site + _FORWARD_SITE + depth):
                y, *state = forward(x, mask=mask, training=training, initial_state=given)
            if self.bidirectional:
                backward = self.backward_layers[depth]
                with recurrent_masks(backward, x, key, site=self.site + _BACKWARD_SITE + depth):
                    from_the_end, *more = backward(x, mask=mask, training=training)
                if forward.return_sequences:
                    from_the_end = tf.reverse(from_the_end, [1])
                y, state = tf.concat([y, from_the_end], axis=-1), state + more
            x = y
            states.append(tuple(keras.tree.flatten(state)))
        return x, states

    def get_config(self) -> dict[str, Any]:
        own = (
            "cell",
            "units",
            "bidirectional",
            "return_sequences",
            "dropout",
            "recurrent_dropout",
            "seed",
            "site",
            "options",
        )
        return super().get_config() | {name: getattr(self, name) for name in own}

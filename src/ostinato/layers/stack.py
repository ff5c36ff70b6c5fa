"""Recurrent layers one above the other, with the state of all of them as one flat tuple."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import keras
import tensorflow as tf

from ostinato.cells.base import KerasOption, State, StateSpec, initial_state
from ostinato.cells.registry import output_width, pack_state, recurrent, states
from ostinato.engines.product import product
from ostinato.errors import ConfigError
from ostinato.layers.block import BlockParts, normalised
from ostinato.layers.dropout import DropoutKey, dropout, recurrent_masks, weight_drop

# Limit of the initial weights on a one-hot input. Glorot's rule would make them ten to forty times smaller,
# and the network would ignore its input for the first hundreds of steps.
_ONE_HOT_LIMIT = 2.0
_CONFIG = (
    *("cell", "units", "dropout", "recurrent_dropout", "weight_drop", "variational"),
    *("seed", "symbols", "options", "block"),
)


@keras.saving.register_keras_serializable(package="ostinato")
class RecurrentStack(keras.layers.Layer):
    """A deep recurrent network: the outputs of each layer are the inputs of the next.

    Args:
        cell: a name from `ostinato.layers.cells()`.
        units: hidden units of each layer, from the bottom up.
        dropout: fraction of the outputs to drop between two layers.
        recurrent_dropout: fraction of its own past state that each layer drops.
        weight_drop: fraction of its recurrent weights that each layer drops in a step.
        variational: whether `dropout` draws one mask for all time steps.
        seed: seed of the initial weights; each layer derives its own.
        symbols: number of token ids, for a stack that reads ids; 0 for one that reads vectors.
        options: passed to every layer, for example `reset_after` or `engine`.
        block: put each layer into a residual block, see `ostinato.layers.block`. All layers then have as many
            units; the first reads a projection of its inputs, and the outputs are normalised.

    Source: Dive into Deep Learning, section 10.3 (deep recurrent neural networks).

    Raises:
        ConfigError: the layers of blocks have different numbers of units or of outputs; or, when it is built,
            weight drop is asked of a cell without one recurrent matrix.
    """

    def __init__(
        self,
        cell: str,
        units: Sequence[int],
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        variational: bool = False,
        seed: int = 0,
        symbols: int = 0,
        options: Mapping[str, KerasOption] | None = None,
        block: bool = False,
        **kwargs: KerasOption,
    ):
        super().__init__(**kwargs)
        self.cell, self.units, self.dropout, self.seed = cell, tuple(units), dropout, seed
        self.block, self.weight_drop, self.variational = block, weight_drop, variational
        self.recurrent_dropout, self.symbols = recurrent_dropout, symbols
        self.options = dict(options or {})
        self.layers = [
            recurrent(
                cell,
                size,
                return_sequences=True,
                return_state=True,
                kernel_initializer=(
                    # Only one entry of a one-hot vector is active, whatever its width, so the fan-in is one.
                    keras.initializers.RandomUniform(-_ONE_HOT_LIMIT, _ONE_HOT_LIMIT, seed=seed)
                    if symbols and depth == 0 and not block
                    else keras.initializers.GlorotUniform(seed=seed + 2 * depth)
                ),
                recurrent_initializer=keras.initializers.Orthogonal(seed=seed + 2 * depth + 1),
                recurrent_dropout=recurrent_dropout,
                seed=seed + 2 * depth,
                name=f"layer_{depth}",
                **self.options,
            )
            for depth, size in enumerate(self.units)
        ]
        self.blocks = [
            BlockParts(size, seed=seed + 700 + 3 * depth, name=f"block_{depth}")
            for depth, size in enumerate(self.units if block else ())
        ]
        if block and {*self.units} != {self.width}:
            raise ConfigError(
                "units must be the same for all layers of residual blocks, and as wide as the outputs, "
                f"got {', '.join(map(str, self.units))} units and {self.width} outputs"
            )

    @property
    def width(self) -> int:
        """Features of the outputs."""
        return output_width(self.layers[-1])

    def build(self, input_shape: object = None) -> None:
        if self.block:
            features = self.symbols or int(tuple(input_shape)[-1])  # pyright: ignore[reportArgumentType]
            start = keras.initializers.RandomUniform(-1.0, 1.0, seed=self.seed + 600)
            glorot = keras.initializers.GlorotUniform(seed=self.seed + 600)
            self.entrance = self.add_weight(
                shape=(features, self.width), initializer=start if self.symbols else glorot, name="entrance"
            )
            self.exit = self.add_weight(shape=(self.width,), initializer="ones", name="gain_exit")
            for parts in self.blocks:
                parts.build()
        self.built = True

    @property
    def states(self) -> tuple[StateSpec, ...]:
        """The tensors of the state, with stable names: `layer_0/h`, `layer_0/c`, `layer_1/h`, …"""
        return tuple(
            replace(spec, name=f"layer_{depth}/{spec.name}")
            for depth, layer in enumerate(self.layers)
            for spec in states(layer)
        )

    def initial_state(self, batch: int) -> State:
        """The state before the first step: tensors of shape (batch, …), as in `states`."""
        return initial_state(self.states, batch)

    def call(self, x: tf.Tensor, state: State, key: DropoutKey | None = None) -> tuple[tf.Tensor, State]:
        """Runs the stack over a sequence.

        Args:
            x: inputs, shape (batch, time, features); or token ids below `symbols`, shape (batch, time), in
                place of their one-hot vectors.
            state: a flat tuple of tensors, as from `initial_state`.
            key: draws the dropout between and within the layers; None for evaluation.

        Returns:
            The top layer's outputs, shape (batch, time, units[-1]), and the new state.
        """
        rest, new_state, path = list(state), [], self.path or self.name
        if self.block:
            x = product(x, tf.convert_to_tensor(self.entrance))
        for depth, layer in enumerate(self.layers):
            if depth > 0 and not self.block:
                x = self._dropped(x, key, f"{path}/{layer.name}/input")
            start, rest = pack_state(layer, rest)
            read = self.blocks[depth].read(x) if self.block else x
            y, parts = self._run(layer, read, start, key, f"{path}/{layer.name}")
            new_state += parts
            if self.block:
                x += self._dropped(y, key, f"{path}/{layer.name}/output")
                x = self.blocks[depth].mlp(x, self.dropout, key, site=f"{path}/{layer.name}/mlp")
            else:
                x = y
        return normalised(x, self.exit) if self.block else x, tuple(new_state)

    def _dropped(self, x: tf.Tensor, key: DropoutKey | None, site: str) -> tf.Tensor:
        return dropout(x, self.dropout, key, site=site, variational=self.variational)

    def _run(
        self, layer: keras.layers.RNN, x: tf.Tensor, start: KerasOption, key: DropoutKey | None, site: str
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The outputs of a layer and its new state, flat."""
        training, dropped = key is not None, self.weight_drop
        if dropped and layer.built and not hasattr(layer.cell, "recurrent_kernel"):
            raise ConfigError(
                f"weight_drop needs a cell with one matrix of recurrent weights, got {self.cell!r}"
            )
        with (
            recurrent_masks(layer, x, key, site=f"{site}/recurrent"),
            weight_drop(layer, dropped, key, site=f"{site}/recurrent"),
        ):
            if x.dtype.is_integer and hasattr(layer, "over_ids"):
                y, *parts = layer.over_ids(x, self.symbols, initial_state=start, training=training)
            else:
                x = tf.one_hot(x, self.symbols) if x.dtype.is_integer else x
                y, *parts = layer(x, initial_state=start, training=training)
        return y, keras.tree.flatten(parts)

    def get_config(self) -> dict[str, KerasOption]:
        return super().get_config() | {name: getattr(self, name) for name in _CONFIG}

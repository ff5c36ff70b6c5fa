"""The Keras cells of the classic layers with options, and the recurrences that engines know them by.

The equations are those of `ostinato.cells.rowwise`. With all options off they are Keras' own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

from ostinato.cells.base import Cell, KerasOption, OnnxForm, RowwiseOp, State, StateSpec
from ostinato.cells.rowwise import (
    NOTHING_KEPT,
    Kept,
    RowwiseParams,
    equations_of_op,
    gru_equations,
    gru_step,
    lstm_equations,
    lstm_step,
    normal,
    rnn_equations,
    rnn_step,
    zoneout_rates,
    zones_of,
)

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load
import tensorflow as tf


class RowwiseCell(keras.layers.Layer):
    """What the cells with options share; each is also Keras' own cell, whose options it has.

    Attributes:
        kind: "lstm", "gru" or "rnn".
        equations: what follows from both products, see `lstm_equations`.
        own_options: the options that Keras' cell does not have, with the values that leave its equations as
        they are.
    """

    kind: ClassVar[str]
    equations: ClassVar[Callable[..., tuple[tf.Tensor, State]]]
    own_options: ClassVar[dict[str, Any]] = {"layer_norm": False, "zoneout": 0.0}

    def __init__(self, units: int, **options: KerasOption):
        own = {
            **self.own_options,
            **{name: options.pop(name) for name in self.own_options if name in options},
        }
        super().__init__(units, **options)  # pyright: ignore[reportCallIssue] - Keras' own cell comes next
        self.own = own
        self.zoneout = zoneout_rates(own["zoneout"])
        projection = own.get("projection")
        if projection is not None and (not isinstance(projection, int) or projection < 1):
            raise ValueError(f"projection must be a whole number of at least 1, or None, got {projection!r}")
        # Keras' textbook activations alone: the equations above have them.
        for name, textbook in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
            given = getattr(self, name, keras.activations.get(textbook))
            if given is not keras.activations.get(textbook):
                raise ValueError(f"{name} must be {textbook} with options of ostinato's, got {given!r}")
        if self.kind == "gru" and not self.reset_after:
            raise ValueError("reset_after must be True with options of ostinato's, got False")
        self.output_size = self.units if projection is None else projection
        if projection is not None:
            self.state_size = [projection, self.units]
        self._zones_are_inputs = False

    @property
    def gates(self) -> int:
        return {"lstm": 3 if self.own.get("coupled") else 4, "gru": 3, "rnn": 1}[self.kind]

    def build(self, input_shape: Sequence[int | None]) -> None:
        width, units, outputs = self.gates * self.units, self.units, self.output_size

        def weight(name: str, *shape: int, start: Any, of: str | None = None) -> Any:
            more = (
                {each: getattr(self, f"{of}_{each}") for each in ("regularizer", "constraint")} if of else {}
            )
            return self.add_weight(shape=shape, initializer=start, name=name, **more)

        self.kernel = weight(
            "kernel", int(input_shape[-1] or 0), width, start=self.kernel_initializer, of="kernel"
        )
        self.recurrent_kernel = weight(
            "recurrent_kernel", outputs, width, start=self.recurrent_initializer, of="recurrent"
        )
        shape = (2, width) if self.kind == "gru" else (width,)
        self.bias = weight("bias", *shape, start=self._first_bias, of="bias") if self.use_bias else None
        for name, size in self.vectors().items():
            setattr(self, name, weight(name, size, start="zeros" if name[0] in "ps" else "ones"))
        self.projection_kernel = None
        if outputs != units or self.own.get("projection"):
            self.projection_kernel = weight(
                "projection_kernel", units, outputs, start=self.kernel_initializer
            )
        self.built = True

    def vectors(self) -> dict[str, int]:
        """The vectors that the native engine reads side by side, with their sizes."""
        width, units, found = self.gates * self.units, self.units, {}
        if self.own["layer_norm"]:
            found |= {"gain_x": width, "gain_h": width}
            if self.kind == "lstm":
                found |= {"gain_c": units, "shift_c": units}
        if self.own.get("peephole"):
            found |= {name: units for name in ("p_i", "p_f", "p_o") if name != "p_i" or self.gates == 4}
        return found

    def _first_bias(self, shape: tuple[int, ...], dtype: str | None = None) -> tf.Tensor:
        bias = tf.convert_to_tensor(self.bias_initializer(shape, dtype=dtype))
        if self.kind != "lstm" or not self.unit_forget_bias:
            return bias
        parts = tf.split(bias, self.gates)
        parts[self.gates - 3] = tf.ones_like(parts[0])
        return tf.concat(parts, 0)

    def params(self) -> RowwiseParams:
        """The parameters of a step; gradients flow through."""

        def value(weight: Any) -> Any:
            return None if weight is None else tf.cast(tf.convert_to_tensor(weight), self.compute_dtype)

        return RowwiseParams(
            *map(value, (self.kernel, self.recurrent_kernel, self.bias, self.projection_kernel)),
            **{name: value(getattr(self, name)) for name in self.vectors()},
            zoneout_h=self.zoneout[0],
            zoneout_c=self.zoneout[1],
        )

    def call(self, inputs: tf.Tensor, states: Sequence[tf.Tensor], training: bool = False) -> Any:
        p, state, kept = self.params(), tuple(keras.tree.flatten(states)), NOTHING_KEPT
        if self._zones_are_inputs:
            sizes = [int(inputs.shape[-1] or 0) - sum(self._zone_sizes()), *self._zone_sizes()]
            inputs, *zones = tf.split(inputs, sizes, axis=-1)
            kept = Kept(*zones)
        masks = [None, None]
        if training and self.dropout > 0.0:
            masks[0] = self.get_dropout_mask(inputs)
        if training and self.recurrent_dropout > 0.0:
            masks[1] = self.get_recurrent_dropout_mask(state[0])
        from_x = normal(_product(inputs, p.W, masks[0], self.gates), p.gain_x)
        from_h = normal(_product(state[0], p.R, masks[1], self.gates), p.gain_h)
        output, after = type(self).equations(from_x, from_h, state, p, kept)
        return output, list(after)

    # Zoneout's random bits are drawn for all steps before the first, so that every engine has the same masks.

    def draw_zones(self, x: tf.Tensor) -> tf.Tensor:
        """Random bits for a batch of sequences, (batch, time, the larger of outputs and units), int32."""
        batch, time = tf.unstack(tf.shape(x)[:2])
        return self.zone_bits((batch, time, max(self.output_size, self.units)))

    def zone_bits(self, shape: tuple[Any, ...]) -> tf.Tensor:
        """Random bits, int32; `ostinato.layers.dropout` replaces it by one that draws them from a key."""
        seed, every = tf.cast(self.seed_generator.next(), tf.int32), cast("Any", None)
        return tf.random.stateless_uniform(tf.stack(shape), seed, minval=every, maxval=every, dtype=tf.int32)

    def zones_of(self, bits: tf.Tensor) -> Kept:
        """The masks that bits mean, (batch, time, …), or (batch, …) of one step."""
        return zones_of(bits, self.zoneout, *self._zone_sizes())

    def _zone_sizes(self) -> list[int]:
        return [self.output_size, *([self.units] if self.kind == "lstm" else [])]

    @contextlib.contextmanager
    def zones_in_inputs(self) -> Iterator[None]:
        """While it lasts, the inputs have zoneout's masks behind them."""
        self._zones_are_inputs = True
        try:
            yield
        finally:
            self._zones_are_inputs = False

    def get_config(self) -> dict[str, KerasOption]:
        return {**super().get_config(), **self.own}


def _product(rows: tf.Tensor, matrix: tf.Tensor, masks: Any, gates: int) -> tf.Tensor:
    """rows · matrix; with a mask for each gate, its rows are multiplied by that first."""
    if not isinstance(masks, list):
        return (rows if masks is None else rows * masks) @ matrix
    parts = zip(masks, tf.split(matrix, gates, axis=1), strict=False)
    return tf.concat([(rows * mask) @ part for mask, part in parts], axis=1)


@keras.saving.register_keras_serializable(package="ostinato")
class LSTMOptionsCell(RowwiseCell, keras.layers.LSTMCell):
    """One step of the long short-term memory with options; `keras.layers.LSTMCell` says the rest.

    Args:
        units: width of the cell state.
        layer_norm: normalise x W, h R and the cell state, see above.
        zoneout: the rates of h and of c, or one for both.
        peephole: let the gates read the cell state, each unit its own.
        coupled: i = 1 − f.
        projection: width of h, which is then a projection of what the output gate lets through; None for
        none.
    """

    kind = "lstm"
    equations = staticmethod(lstm_equations)
    own_options: ClassVar[dict[str, Any]] = {
        **RowwiseCell.own_options,
        "peephole": False,
        "coupled": False,
        "projection": None,
    }


@keras.saving.register_keras_serializable(package="ostinato")
class GRUOptionsCell(RowwiseCell, keras.layers.GRUCell):
    """One step of the gated recurrent unit with options; `keras.layers.GRUCell` says the rest.

    Args:
        units: width of h.
        layer_norm: normalise x W and h R, see above.
        zoneout: the rate of h.
    """

    kind = "gru"
    equations = staticmethod(gru_equations)


@keras.saving.register_keras_serializable(package="ostinato")
class SimpleRNNOptionsCell(  # pyright: ignore[reportIncompatibleMethodOverride]
    RowwiseCell, keras.layers.SimpleRNNCell
):
    """One step of the plain recurrent network with options; `keras.layers.SimpleRNNCell` says the rest.

    Args:
        units: width of h.
        layer_norm: normalise x W and h R, see above.
        zoneout: the rate of h.
    """

    kind = "rnn"
    equations = staticmethod(rnn_equations)


def _with_options(name: str, keras_cell: type[RowwiseCell], gates: tuple[str, ...], step: Any) -> Cell:
    states = ("h", "c") if keras_cell.kind == "lstm" else ("h",)
    return Cell(
        name=name,
        layer=keras_cell,
        keras_cell=keras_cell,
        states=tuple(map(StateSpec, states)),
        gates=gates,
        options=("engine", "recurrent_dropout"),
        step=step,
        params=params_of,
        native=RowwiseOp(equations_of_op),
    )


def params_of(layer: keras.layers.RNN) -> RowwiseParams:
    """The parameters of a step, from a built layer with options."""
    return layer.cell.params()


LSTM_IN_ONNX = OnnxForm("LSTM", ("i", "o", "f", "c"), ("recurrent_activation", "activation", "activation"))
LSTM_WITH_OPTIONS = replace(
    _with_options("lstm", LSTMOptionsCell, ("i", "f", "c", "o"), lstm_step), onnx=LSTM_IN_ONNX
)
GRU_WITH_OPTIONS = _with_options("gru", GRUOptionsCell, ("z", "r", "h"), gru_step)
RNN_WITH_OPTIONS = _with_options("rnn", SimpleRNNOptionsCell, ("h",), rnn_step)
"""What layers with options run; the named cells (`peephole`, `ln-lstm`, …) are of these."""

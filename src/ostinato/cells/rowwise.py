"""Options of the classic cells: layer normalisation, peepholes, coupled gates, a projection, and zoneout.

The plain cells are Keras' own. A layer with an option runs one of the cells here, whose step is written out
in plain TensorFlow; with all options off they are Keras' equations. The fused weights are in Keras' order
of gates.

    a = x W + h R + b          with layer normalisation a = γ_x ⊙ n(x W) + γ_h ⊙ n(h R) + b

Layer normalisation (Ba et al. 2016, arXiv:1607.06450): x W and h R apart, each over all gates together, and
the cell state where the output reads it, with a shift β_c. n(v) = (v − mean) / √(variance + ε), ε = 1e-5.
There are no shifts beside b. Other forms normalise the sum of both products, or each gate alone, or carry
the normalised cell state on (TensorFlow Addons), or have ε = 1e-3 (Keras).

Zoneout (Krueger et al. 2017, arXiv:1606.01305): in training each unit keeps its old state at a step with
the rate's probability, otherwise the expected mixture of both. The output reads the cell state before it is
zoned out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from ostinato.cells.base import Cell, KerasOption, RowwiseOp, State, StateSpec

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load
import tensorflow as tf

EPSILON = 1e-5


class RowwiseParams(NamedTuple):
    """The parameters of a step; what the cell does not have is None. G gates, U units, P outputs (else U).

    Attributes:
        W: shape (features, G · U).
        R: shape (P, G · U).
        b: shape (G · U,); of a GRU (2, G · U).
        W_proj: shape (U, P).
        gain_x, gain_h: shape (G · U,).
        gain_c, shift_c: shape (U,).
        p_i, p_f, p_o: shape (U,).
        zoneout_h, zoneout_c: how much of the old state is kept where no masks are given.
    """

    W: Any
    R: Any
    b: Any = None
    W_proj: Any = None
    gain_x: Any = None
    gain_h: Any = None
    gain_c: Any = None
    shift_c: Any = None
    p_i: Any = None
    p_f: Any = None
    p_o: Any = None
    zoneout_h: float = 0.0
    zoneout_c: float = 0.0


class Kept(NamedTuple):
    """What zoneout keeps at a step: masks of 0 and 1, or None for the rates."""

    h: tf.Tensor | None = None
    c: tf.Tensor | None = None


NOTHING_KEPT = Kept()


def normal(v: tf.Tensor, gain: Any, shift: Any = 0.0) -> tf.Tensor:
    """γ ⊙ n(v) + β over the last axis; v itself without a gain."""
    if gain is None:
        return v
    with tf.name_scope("n"):  # one operation in a drawing
        mean, variance = tf.nn.moments(v, axes=[-1], keepdims=True)
        return gain * (v - mean) / tf.sqrt(variance + EPSILON) + shift


def lstm_step(
    x: tf.Tensor, state: State, params: RowwiseParams, kept: Kept = NOTHING_KEPT
) -> tuple[tf.Tensor, State]:
    """One step of the long short-term memory with options; i = 1 − f where there are three gates."""
    p, h = params, state[0]
    return lstm_equations(normal(x @ p.W, p.gain_x), normal(h @ p.R, p.gain_h), state, p, kept)


def lstm_equations(
    from_x: tf.Tensor, from_h: tf.Tensor, state: State, params: RowwiseParams, kept: Kept
) -> tuple[tf.Tensor, State]:
    """What follows from both products, (batch, gates × units)."""
    p, (h, c) = params, state
    sums = from_x + from_h if p.b is None else from_x + from_h + p.b
    gates = tf.split(sums, sums.shape[-1] // c.shape[-1], axis=1)
    f, candidate, o = gates[-3:]
    f = tf.sigmoid(f if p.p_f is None else f + p.p_f * c)
    i = 1 - f if len(gates) == 3 else tf.sigmoid(gates[0] if p.p_i is None else gates[0] + p.p_i * c)
    new = f * c + i * tf.tanh(candidate)
    o = tf.sigmoid(o if p.p_o is None else o + p.p_o * new)
    shown = o * tf.tanh(normal(new, p.gain_c, p.shift_c))
    if p.W_proj is not None:
        shown = shown @ p.W_proj
    h = _zoned(h, shown, kept.h, p.zoneout_h)
    return h, (h, _zoned(c, new, kept.c, p.zoneout_c))


def gru_step(
    x: tf.Tensor, state: State, params: RowwiseParams, kept: Kept = NOTHING_KEPT
) -> tuple[tf.Tensor, State]:
    """One step of the gated recurrent unit, which resets after the product, with options."""
    p, (h,) = params, state
    return gru_equations(normal(x @ p.W, p.gain_x), normal(h @ p.R, p.gain_h), state, p, kept)


def gru_equations(
    from_x: tf.Tensor, from_h: tf.Tensor, state: State, params: RowwiseParams, kept: Kept
) -> tuple[tf.Tensor, State]:
    """What follows from both products, (batch, gates × units)."""
    p, (h,) = params, state
    if p.b is not None:
        from_x, from_h = from_x + p.b[0], from_h + p.b[1]
    x_z, x_r, x_h = tf.split(from_x, 3, axis=1)
    h_z, h_r, h_h = tf.split(from_h, 3, axis=1)
    z, r = tf.sigmoid(x_z + h_z), tf.sigmoid(x_r + h_r)
    candidate = tf.tanh(x_h + r * h_h)
    h = _zoned(h, z * h + (1 - z) * candidate, kept.h, p.zoneout_h)
    return h, (h,)


def rnn_step(
    x: tf.Tensor, state: State, params: RowwiseParams, kept: Kept = NOTHING_KEPT
) -> tuple[tf.Tensor, State]:
    """One step of the plain recurrent network with options."""
    p, (h,) = params, state
    return rnn_equations(normal(x @ p.W, p.gain_x), normal(h @ p.R, p.gain_h), state, p, kept)


def rnn_equations(
    from_x: tf.Tensor, from_h: tf.Tensor, state: State, params: RowwiseParams, kept: Kept
) -> tuple[tf.Tensor, State]:
    """What follows from both products, (batch, units)."""
    p, (h,) = params, state
    sums = from_x + from_h if p.b is None else from_x + from_h + p.b
    h = _zoned(h, tf.tanh(sums), kept.h, p.zoneout_h)
    return h, (h,)


def _zoned(old: tf.Tensor, new: tf.Tensor, mask: tf.Tensor | None, rate: float) -> tf.Tensor:
    if mask is None and not rate:
        return new
    kept = rate if mask is None else mask
    return kept * old + (1 - kept) * new


def zones_of(bits: tf.Tensor, rates: Sequence[float], outputs: int, units: int = 0) -> Kept:
    """Zoneout's masks: of h by the lower half of the bits, of c, where there is one, by the upper half."""

    def mask(half: tf.Tensor, rate: float) -> tf.Tensor:
        return tf.cast(tf.bitwise.bitwise_and(half, 0xFFFF) < int(rate * 65536), tf.float32)

    of_c = mask(tf.bitwise.right_shift(bits[..., :units], 16), rates[1]) if units else None
    return Kept(mask(bits[..., :outputs], rates[0]), of_c)


def zoneout_rates(zoneout: float | Sequence[float]) -> tuple[float, float]:
    """The rates of h and of c; one number stands for both."""
    rates = (zoneout, zoneout) if isinstance(zoneout, int | float) else tuple(zoneout)
    if len(rates) != 2 or not all(0.0 <= rate < 1.0 for rate in rates):
        raise ValueError(
            f"zoneout must be a rate of at least 0 and below 1, or two, of h and of c, got {zoneout!r}"
        )
    return float(rates[0]), float(rates[1])


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
        super().__init__(units, **options)
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
        p, state, kept = self.params(), tuple(keras.tree.flatten(states)), Kept()
        if self._zones_are_inputs:
            sizes = [inputs.shape[-1] - sum(self._zone_sizes()), *self._zone_sizes()]
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
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        return tf.random.stateless_uniform(tf.stack(shape), seed, minval=None, maxval=None, dtype=tf.int32)

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


def equations_of_op(
    attributes: Mapping[str, Any], units: int, recurrent: Any, projection: Any, bias: Any, vectors: Any
) -> Callable[..., tuple[tf.Tensor, State]]:
    """A step from the products of x, zoneout's masks and the state, in TensorFlow's own ops."""
    kind, width = tf.compat.as_str(attributes["cell"]), recurrent.shape[-1]
    equations = {"lstm": lstm_equations, "gru": gru_equations, "rnn": rnn_equations}[kind]
    names = {}
    if attributes["layer_norm"]:
        names |= {"gain_x": width, "gain_h": width}
        names |= {"gain_c": units, "shift_c": units} if kind == "lstm" else {}
    if attributes["peephole"]:
        names |= {name: units for name in ("p_i", "p_f", "p_o") if name != "p_i" or not attributes["coupled"]}
    parts = tf.split(vectors, list(names.values())) if names else []
    biases = (tf.reshape(bias, (2, -1)) if kind == "gru" else bias) if bias.shape.num_elements() else None
    p = RowwiseParams(
        *(None, recurrent, biases, projection if projection.shape.num_elements() else None),
        **dict(zip(names, parts, strict=True)),
        zoneout_h=attributes["zoneout_h"],
        zoneout_c=attributes["zoneout_c"],
    )

    def step(sums: tf.Tensor, *rest: tf.Tensor) -> tuple[tf.Tensor, State]:
        count = 2 if kind == "lstm" else 1
        state, bits = rest[-count:], rest[:-count]
        from_x, from_h = normal(sums, p.gain_x), normal(state[0] @ recurrent, p.gain_h)
        rates = (attributes["zoneout_h"], attributes["zoneout_c"])
        widths = (state[0].shape[-1], *([units] if kind == "lstm" else []))
        kept = zones_of(bits[0], rates, *widths) if bits else NOTHING_KEPT
        return equations(from_x, from_h, tuple(state), p, kept)

    return step


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
class SimpleRNNOptionsCell(RowwiseCell, keras.layers.SimpleRNNCell):
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


LSTM_WITH_OPTIONS = _with_options("lstm", LSTMOptionsCell, ("i", "f", "c", "o"), lstm_step)
GRU_WITH_OPTIONS = _with_options("gru", GRUOptionsCell, ("z", "r", "h"), gru_step)
RNN_WITH_OPTIONS = _with_options("rnn", SimpleRNNOptionsCell, ("h",), rnn_step)
"""What layers with options run; the named cells (`peephole`, `ln-lstm`, …) are of these."""

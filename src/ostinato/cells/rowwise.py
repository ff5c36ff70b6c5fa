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

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from ostinato.cells.base import State

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
    gates = tf.split(sums, int(sums.shape[-1] or 0) // int(c.shape[-1] or 1), axis=1)
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


def zones_of(bits: Any, rates: Sequence[float], outputs: int, units: int = 0) -> Kept:
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
        widths = (int(state[0].shape[-1] or 0), *([units] if kind == "lstm" else []))
        kept = zones_of(bits[0], rates, *widths) if bits else NOTHING_KEPT
        return equations(from_x, from_h, tuple(state), p, kept)

    return step

"""Gated DeltaNet (Yang, Kautz & Hatamizadeh 2024, arXiv:2412.06464): a matrix memory that a key can revise.

    q, k, v = silu(x W_q), silu(x W_k), silu(x W_v)     for each head, of width d
    q = n(q) / √d     k = n(k)                          n(a) = a / √(a · a + 1e-6)
    α = exp(−exp(A) softplus(x W_a + b_a))              the decay, one number for each head
    β = σ(x W_b)                                        how much is replaced, in (0, 1)
    S' = α S + k (β (v − α Sᵀ k))ᵀ                      the delta rule: what k finds becomes v, to the part β
    h' = (r(S'ᵀ q) ⊙ silu(x W_g)) W_o                   r(a) = gain ⊙ a / √(mean of a² + 1e-5)

A head's r is over its own width, and the gain is the same for all heads. exp(A) begins uniformly from 0 to
16 and softplus(b_a) in [0.001, 0.1], evenly in its logarithm, as the authors' do. The papers put a short
convolution before q, k and v, and values of twice the width; here is neither.

What an LSTM of its size cannot do: keep pairs of keys and values, look each up by its key, and replace a
value without touching the others. β below 1 and a positive α leave every eigenvalue of what acts on S
positive, so one layer cannot compute the parity of its inputs (docs/cells.md). With α = 1 it is DeltaNet
(Schlag et al. 2021, arXiv:2102.11174); without the delta rule it would be Mamba-2's memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ostinato.cells.base import Cell, State, StateSpec
from ostinato.cells.elementwise import Weight, params_of
from ostinato.cells.heads import HeadsLayer, by_heads, fixed, side_by_side
from ostinato.cells.memory import MemoryCell, as_read, folded, memory_op, outer, read, unfolded
from ostinato.engines.gate import gated, silu
from ostinato.engines.product import native_product, native_products

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load
import tensorflow as tf

_OF_LENGTH, _OF_MEAN = 1e-6, 1e-5
_MOST_RATE, _LEAST_STEP, _MOST_STEP = 16.0, 1e-3, 0.1


class GatedDeltaParams(NamedTuple):
    """W_q, W_k, W_v, W_g (features, units); W_a, W_b (features, heads); A, b_a (heads,); gain (width,); W_o
    (units, units)."""

    W_q: Any
    W_k: Any
    W_v: Any
    W_a: Any
    W_b: Any
    W_g: Any
    A: Any
    b_a: Any
    gain: Any
    W_o: Any


def gated_delta_step(x: tf.Tensor, state: State, params: GatedDeltaParams) -> tuple[tf.Tensor, State]:
    """One step of the gated delta rule."""
    p = params
    heads = int(p.A.shape[0])
    q, k, v = (by_heads(x @ matrix, heads) for matrix in (p.W_q, p.W_k, p.W_v))
    found, after = _recurrence(*_addressed(q, k, v), _gates(x @ p.W_a, x @ p.W_b, p.A, p.b_a), state)
    return side_by_side(_normalised(found, p.gain)) * silu(x @ p.W_g) @ p.W_o, after


def _addressed(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The query, the key and the value, from their products."""
    root = float(int(q.shape[-1] or 1)) ** 0.5
    return _of_length_one(silu(q)) / root, _of_length_one(silu(k)), silu(v)


def _of_length_one(a: tf.Tensor) -> tf.Tensor:
    with tf.name_scope("n"):  # one operation in a drawing
        return a * tf.math.rsqrt(tf.reduce_sum(a * a, -1, keepdims=True) + _OF_LENGTH)


def _gates(of_a: tf.Tensor, of_b: tf.Tensor, rate: tf.Tensor, bias: Any) -> tf.Tensor:
    """log α and β, (…, heads, 2)."""
    return tf.stack([-tf.exp(rate) * tf.nn.softplus(of_a + bias), tf.sigmoid(of_b)], -1)


def _recurrence(
    q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, gates: tf.Tensor, state: State
) -> tuple[tf.Tensor, State]:
    log_alpha, beta = tf.unstack(tf.expand_dims(gates, -1), axis=-2)
    memory = tf.expand_dims(tf.exp(log_alpha), -1) * unfolded(state[0], k)
    memory += outer(k, beta * (v - read(memory, k)))
    return read(memory, q), (folded(memory),)


def _of_op(
    q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, gates: tf.Tensor, state: State
) -> tuple[tf.Tensor, State]:
    """A step of the op, which also makes q, k and v, and normalises the output."""
    found, after = _recurrence(*_addressed(q, k, v), gates, state)
    return _normalised(found, 1.0), after


def _normalised(found: tf.Tensor, gain: Any) -> tf.Tensor:
    with tf.name_scope("n"):
        return found * tf.math.rsqrt(tf.reduce_mean(found * found, -1, keepdims=True) + _OF_MEAN) * gain


@keras.saving.register_keras_serializable(package="ostinato")
class GatedDeltaCell(MemoryCell):
    """One step of the gated delta rule.

    Args:
        units: width of the output: heads times the width of each, at most 128.
        **options: see `HeadsCell`; `use_bias` is about b_a.
    """

    Params = GatedDeltaParams
    step = staticmethod(gated_delta_step)
    state_names = ("S",)
    starts: ClassVar[tuple[float, ...]] = (0.0,)

    def weights_for(self, features: int) -> Mapping[str, Weight | None]:
        draw, heads = np.random.default_rng(self.seed), self.heads
        rate = np.log(draw.uniform(1e-3, _MOST_RATE, heads))
        steps = np.exp(draw.uniform(np.log(_LEAST_STEP), np.log(_MOST_STEP), heads))
        start = steps + np.log(-np.expm1(-steps))  # softplus(start) = steps
        return {
            **dict.fromkeys(("W_q", "W_k", "W_v", "W_g"), self.matrix(features, self.units)),
            **dict.fromkeys(("W_a", "W_b"), self.matrix(features, heads)),
            "A": Weight((heads,), fixed(rate)),
            "b_a": Weight((heads,), fixed(start)) if self.use_bias else None,
            "gain": Weight((self.width,), "ones"),
            "W_o": self.matrix(self.units, self.units),
        }

    def op_inputs(self, given: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        groups = (("W_q", "W_k", "W_v"), ("W_a", "W_b"), ("W_g",))
        matrices = [tf.concat([self.value(name) for name in names], 1) for names in groups]
        products, of_gates, beside = native_products(given, matrices)
        of_a, of_b = tf.split(of_gates, 2, axis=-1)
        gates = _gates(of_a, of_b, self.value("A"), self.value("b_a"))
        return [as_read(products, self.heads), gates], beside

    def outputs(self, y: tf.Tensor, beside: tf.Tensor) -> tf.Tensor:
        # The gain is one of the weights' scales.
        gains = tf.tile(self.value("gain"), [self.heads])[:, tf.newaxis]
        return native_product(gated(side_by_side(y), beside, "silu"), gains * self.value("W_o"))


@keras.saving.register_keras_serializable(package="ostinato")
class GatedDelta(HeadsLayer):
    """Gated DeltaNet (Yang et al. 2024) over sequences. Its state is [S], flat.

    Args:
        units: width of the output: heads times the width of each, at most 128.
        heads: a divisor of `units`. None: as many of about 32 units as divide it.
        **options: see `ostinato.cells.elementwise.ElementwiseLayer`.

    Example:
        >>> import numpy as np
        >>> GatedDelta(8, heads=2)(np.zeros((2, 7, 3))).shape
        TensorShape([2, 8])
    """

    keras_cell = GatedDeltaCell


CELL = GatedDelta.recurrence = Cell(
    name="gated-delta",
    layer=GatedDelta,
    keras_cell=GatedDeltaCell,
    states=(StateSpec("S"),),
    gates=("a", "b"),
    options=("engine",),
    step=gated_delta_step,
    params=params_of,
    native=memory_op("gated-delta", _of_op),
    advice=(
        "Where facts must be kept, looked up by content and replaced, in a residual block. It keeps as many "
        "pairs as its heads are wide. One layer cannot compute parity."
    ),
)

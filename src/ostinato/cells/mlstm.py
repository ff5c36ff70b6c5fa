"""The matrix LSTM of the xLSTM (Beck et al. 2024, arXiv:2405.04517): a memory that keys address.

    q = x W_q + b_q     k = x W_k / √d + b_k     v = x W_v + b_v     for each head, of width d
    i = x w_i + b_i     f = x w_f + b_f          for each head one number;  l = log σ(f), or f if forget="exp"
    m' = max(l + m, i)                           the stabiliser; m begins at −∞
    S' = e^(l + m − m') S + e^(i − m') k vᵀ      the memory, which the paper calls C
    n' = e^(l + m − m') n + e^(i − m') k         the normaliser
    h' = σ(x W_o + b_o) ⊙ S'ᵀ q / max(|n' · q|, e^−m')

k is scaled before its bias is added. m changes no result. The weights of i and f begin at 0, the biases of f
evenly from 3 to 6 over the heads, and those of i drawn with a deviation of 0.1, as the authors' do. There is
no group norm behind the memory, no short convolution before the keys and no projection around the cell; a
residual block gives the latter.

The gates do not see the state, so one layer cannot compute the parity of its inputs (docs/cells.md). What it
can and an LSTM of its size cannot: keep as many pairs of keys and values as its heads are wide, and look
each up by its key. Gated DeltaNet can also replace a pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ostinato.cells.base import Cell, State, StateSpec
from ostinato.cells.elementwise import Weight, params_of
from ostinato.cells.heads import ForgettingCell, HeadsLayer, by_heads, fixed, log_forget, side_by_side
from ostinato.cells.memory import MemoryCell, as_read, folded, memory_op, outer, read, unfolded
from ostinato.engines.gate import gated
from ostinato.engines.product import native_products

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load
import tensorflow as tf

_MOST_EXPONENT = 87.0  # of e^−m, which would overflow where nothing was ever written


class MLSTMParams(NamedTuple):
    """W_q, W_k, W_v, W_o (features, units); w_i, w_f (features, heads); b_q, b_k, b_v, b_o (units,); b_i, b_f
    (heads,); forget: a word."""

    W_q: Any
    W_k: Any
    W_v: Any
    W_o: Any
    w_i: Any
    w_f: Any
    b_q: Any
    b_k: Any
    b_v: Any
    b_o: Any
    b_i: Any
    b_f: Any
    forget: str = "sigmoid"


def mlstm_step(x: tf.Tensor, state: State, params: MLSTMParams) -> tuple[tf.Tensor, State]:
    """One step of the mLSTM."""
    p = params
    heads = int(p.w_i.shape[-1])
    root = (int(p.W_q.shape[-1]) // heads) ** 0.5
    q, k, v = x @ p.W_q + p.b_q, x @ p.W_k / root + p.b_k, x @ p.W_v + p.b_v
    gates = tf.stack([x @ p.w_i + p.b_i, log_forget(x @ p.w_f + p.b_f, p.forget)], -1)
    q, k, v = by_heads(q, heads), by_heads(k, heads), by_heads(v, heads)
    found, after = _recurrence(q, k, v, gates, state)
    return tf.sigmoid(x @ p.W_o + p.b_o) * side_by_side(found), after


def _recurrence(
    q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, gates: tf.Tensor, state: State
) -> tuple[tf.Tensor, State]:
    (i, forgotten), (memory, n, m) = tf.unstack(gates, axis=-1), state
    n = by_heads(n, int(k.shape[1] or 1))
    carried = forgotten + m
    m = tf.maximum(carried, i)
    keep, write = tf.expand_dims(tf.exp(carried - m), -1), tf.expand_dims(tf.exp(i - m), -1)
    memory = tf.expand_dims(keep, -1) * unfolded(memory, k) + outer(write * k, v)
    n = keep * n + write * k
    along = tf.reduce_sum(n * q, -1)
    bound = tf.maximum(tf.abs(along), tf.exp(tf.minimum(-m, _MOST_EXPONENT)))
    return read(memory, q) / tf.expand_dims(bound, -1), (folded(memory), side_by_side(n), m)


@keras.saving.register_keras_serializable(package="ostinato")
class MLSTMCell(ForgettingCell, MemoryCell):
    """One step of the mLSTM.

    Args:
        units: width of the output: heads times the width of each, at most 128.
        **options: see `ForgettingCell`.
    """

    Params = MLSTMParams
    step = staticmethod(mlstm_step)
    state_names = ("S", "n", "m")
    starts: ClassVar[tuple[float, ...]] = (0.0, 0.0, -np.inf)

    def state_sizes(self) -> list[int]:
        return [*super().state_sizes(), self.units, self.heads]

    def weights_for(self, features: int) -> Mapping[str, Weight | None]:
        heads, biases = (self.heads,), self.use_bias
        normal = keras.initializers.RandomNormal(stddev=0.1, seed=self.seed)
        return {
            **dict.fromkeys(("W_q", "W_k", "W_v", "W_o"), self.matrix(features, self.units)),
            **dict.fromkeys(("w_i", "w_f"), Weight((features, self.heads), "zeros")),
            **dict.fromkeys(("b_q", "b_k", "b_v", "b_o"), self.bias()),
            "b_i": Weight(heads, normal) if biases else None,
            "b_f": Weight(heads, fixed(np.linspace(3.0, 6.0, self.heads))) if biases else None,
        }

    def op_inputs(self, given: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        # The scale of k is one of its weights.
        root = self.width**0.5
        qkv = tf.concat([self.value("W_q"), self.value("W_k") / root, self.value("W_v")], 1)
        gates = tf.concat([self.value("w_i"), self.value("w_f")], 1)
        products, of_gates, beside = native_products(given, [qkv, gates, self.value("W_o")])
        if self.use_bias:
            products += tf.concat([self.value(name) for name in ("b_q", "b_k", "b_v")], 0)
            of_gates += tf.concat([self.value("b_i"), self.value("b_f")], 0)
            beside += self.value("b_o")
        i, f = tf.split(of_gates, 2, axis=-1)
        gates = tf.stack([i, log_forget(f, self.forget)], -1)
        return [as_read(products, self.heads), gates], beside

    def outputs(self, y: tf.Tensor, beside: tf.Tensor) -> tf.Tensor:
        return gated(side_by_side(y), beside, "sigmoid")


@keras.saving.register_keras_serializable(package="ostinato")
class MLSTM(HeadsLayer):
    """The mLSTM (Beck et al. 2024) over sequences. Its state is [S, n, m], S flat.

    Args:
        units: width of the output: heads times the width of each, at most 128.
        heads: a divisor of `units`. None: as many of about 32 units as divide it.
        forget: "sigmoid" or "exp", the forget gate.
        **options: see `ostinato.cells.elementwise.ElementwiseLayer`.

    Example:
        >>> import numpy as np
        >>> MLSTM(8, heads=2)(np.zeros((2, 7, 3))).shape
        TensorShape([2, 8])
    """

    keras_cell = MLSTMCell


CELL = MLSTM.recurrence = Cell(
    name="mlstm",
    layer=MLSTM,
    keras_cell=MLSTMCell,
    states=(StateSpec("S"), StateSpec("n"), StateSpec("m")),
    gates=("i", "f"),
    options=("engine",),
    step=mlstm_step,
    params=params_of,
    native=memory_op("mlstm", _recurrence),
    advice=(
        "Where things must be looked up by content, in a residual block. It keeps as many pairs as its heads "
        "are wide. One layer cannot compute parity."
    ),
)

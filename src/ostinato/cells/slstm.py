"""The scalar LSTM of the xLSTM (Beck et al. 2024, arXiv:2405.04517): exponential gates and a normaliser.

    z = tanh(x W_z + h R_z + b_z)           i = x W_i + h R_i + b_i
    o = σ(x W_o + h R_o + b_o)              f = x W_f + h R_f + b_f,  l = log σ(f), or f with forget="exp"
    m' = max(l + m, i)                      the stabiliser; m begins at −∞
    c' = e^(l + m − m') c + e^(i − m') z
    n' = e^(l + m − m') n + e^(i − m')      the normaliser
    h' = o ⊙ c' / n'

R_z, R_i, R_f and R_o are block-diagonal: each head of units sees its own h. m changes no result: it keeps all
powers at 1 or below. Since one of the two powers is 1 at every step, n' is at least 1 and needs no clamp.
These are the paper's equations, without clipped gates; published code differs from them and from each
other, and some adds a group norm to the output, as a block around the cell may. The biases of the forget
gate begin from 5 to −7 within a head, as in the authors' first block, all other biases at 0; the recurrent
blocks begin orthogonal, where the authors' begin at 0.

Through R it tracks states, such as the parity of its inputs, as an LSTM does; unlike that it can revise what
it has written, since a new input may outweigh all that was before. It looks nothing up by content: that is
mLSTM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ostinato.cells.base import Cell, HeadedOp, State, StateSpec
from ostinato.cells.elementwise import Weight, params_of
from ostinato.cells.heads import (
    ForgettingCell,
    HeadsLayer,
    by_heads,
    fixed,
    log_forget,
    side_by_side,
)
from ostinato.engines.product import native_product

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load
import tensorflow as tf

_GATES = "zifo"
_FIRST_FORGETTING, _LAST_FORGETTING, _POWER = 5.0, -7.0, 0.3


class SLSTMParams(NamedTuple):
    """W_z … (features, units); R_z … (heads, width, width); b_z … (units,); forget: a word."""

    W_z: Any
    W_i: Any
    W_f: Any
    W_o: Any
    R_z: Any
    R_i: Any
    R_f: Any
    R_o: Any
    b_z: Any
    b_i: Any
    b_f: Any
    b_o: Any
    forget: str = "sigmoid"


def slstm_step(x: tf.Tensor, state: State, params: SLSTMParams) -> tuple[tf.Tensor, State]:
    """One step of the sLSTM."""
    p, h = params, state[0]
    sums = (
        x @ p.W_z + _by_blocks(h, p.R_z) + p.b_z,
        x @ p.W_i + _by_blocks(h, p.R_i) + p.b_i,
        x @ p.W_f + _by_blocks(h, p.R_f) + p.b_f,
        x @ p.W_o + _by_blocks(h, p.R_o) + p.b_o,
    )
    return _equations(sums, state, p.forget)


def _equations(sums: Sequence[tf.Tensor], state: State, forget: str) -> tuple[tf.Tensor, State]:
    (z, i, f, o), (_, c, n, m) = sums, state
    carried = log_forget(f, forget) + m
    m = tf.maximum(carried, i)
    keep, write = tf.exp(carried - m), tf.exp(i - m)
    c = keep * c + write * tf.tanh(z)
    n = keep * n + write
    h = tf.sigmoid(o) * c / n
    return h, (h, c, n, m)


def _by_blocks(h: tf.Tensor, blocks: tf.Tensor) -> tf.Tensor:
    """h · a block-diagonal matrix, given as its blocks, (heads, width, columns)."""
    heads = int(blocks.shape[0] or 1)
    if heads == 1:
        return h @ blocks[0]
    return side_by_side(tf.linalg.matvec(blocks, by_heads(h, heads), transpose_a=True))


@keras.saving.register_keras_serializable(package="ostinato")
class SLSTMCell(ForgettingCell):
    """One step of the sLSTM.

    Args:
        units: width of the states and of the output.
        **options: see `ForgettingCell`.
    """

    Params = SLSTMParams
    step = staticmethod(slstm_step)
    state_names = ("h", "c", "n", "m")
    starts: ClassVar[tuple[float, ...]] = (0.0, 0.0, 0.0, -np.inf)
    head_width = 64

    def state_sizes(self) -> list[int]:
        return [self.units] * 4

    def weights_for(self, features: int) -> Mapping[str, Weight | None]:
        heads, width = self.heads, self.width
        falling = np.linspace(0, 1, width) ** _POWER if width > 1 else np.zeros(1)
        forgetting = np.tile(_FIRST_FORGETTING + (_LAST_FORGETTING - _FIRST_FORGETTING) * falling, heads)
        biases = dict.fromkeys(("b_z", "b_i", "b_f", "b_o"), self.bias())
        if self.use_bias:
            biases["b_f"] = Weight((self.units,), fixed(forgetting))
        block = Weight((heads, width, width), _Orthogonal(seed=self.seed))
        return {
            **dict.fromkeys(("W_z", "W_i", "W_f", "W_o"), self.matrix(features, self.units)),
            **dict.fromkeys(("R_z", "R_i", "R_f", "R_o"), block),
            **biases,
        }

    def op_inputs(self, given: tf.Tensor) -> tuple[list[tf.Tensor], None]:
        heads, width = self.heads, self.width

        def joined(prefix: str, axis: int) -> tf.Tensor:
            """The gates' weights, each head's side by side."""
            return tf.stack([self.value(f"{prefix}_{gate}") for gate in _GATES], axis)

        kernels = [by_heads(self.value(f"W_{gate}"), heads) for gate in _GATES]
        kernel = tf.reshape(tf.stack(kernels, 2), (-1, 4 * self.units))
        bias = tf.zeros(0, self.number)
        if self.use_bias:
            biases = [by_heads(self.value(f"b_{gate}"), heads) for gate in _GATES]
            bias = tf.reshape(tf.stack(biases, 1), (-1,))
        recurrent = tf.reshape(joined("R", 2), (heads, width, 4 * width))
        return [native_product(given, kernel), bias, recurrent], None

    def op_states(self, state: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        return [tf.concat(state, 1)]

    def from_op_states(self, state: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        return tf.split(state[0], 4, axis=1)


class _Orthogonal(keras.initializers.Orthogonal):
    """Orthogonal blocks."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> tf.Tensor:
        rows: Any = super().__call__((shape[0] * shape[1], shape[2]), dtype=dtype)
        blocks = [tf.linalg.qr(each)[0] for each in tf.split(rows, shape[0])]
        return tf.stack(blocks)


@keras.saving.register_keras_serializable(package="ostinato")
class SLSTM(HeadsLayer):
    """The sLSTM (Beck et al. 2024) over sequences. Its state is [h, c, n, m].

    Args:
        units: width of the states and of the output.
        heads: a divisor of `units`. None: as many of about 64 units as divide it.
        forget: "sigmoid" or "exp", the forget gate.
        **options: see `ostinato.cells.elementwise.ElementwiseLayer`.

    Example:
        >>> import numpy as np
        >>> SLSTM(4)(np.zeros((2, 7, 3))).shape
        TensorShape([2, 4])
    """

    keras_cell = SLSTMCell


def _step_of_op(attributes: Mapping[str, Any], fixed_inputs: Sequence[tf.Tensor]) -> Any:
    bias, recurrent = fixed_inputs
    heads, width = (int(size or 0) for size in recurrent.shape[:2])
    forget = "exp" if attributes["exponential_forget"] else "sigmoid"

    def step(sums: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, State]:
        before = tuple(tf.split(state, 4, axis=1))
        if bias.shape.num_elements():
            sums = sums + bias
        products = tf.linalg.matvec(recurrent, by_heads(before[0], heads), transpose_a=True)
        both = tf.reshape(sums, (-1, heads, 4, width)) + tf.reshape(products, (-1, heads, 4, width))
        h, after = _equations([side_by_side(each) for each in tf.unstack(both, axis=2)], before, forget)
        return h, (tf.concat(after, 1),)

    return step


CELL = SLSTM.recurrence = Cell(
    name="slstm",
    layer=SLSTM,
    keras_cell=SLSTMCell,
    states=(StateSpec("h"), StateSpec("c"), StateSpec("n"), StateSpec("m")),
    gates=tuple(_GATES),
    options=("engine",),
    step=slstm_step,
    params=params_of,
    native=HeadedOp(
        "OstinatoHeadwiseV1",
        lambda cell: {"exponential_forget": cell.forget == "exp"},
        sequences=1,
        step=_step_of_op,
    ),
    advice=(
        "Where states must be tracked and what was stored must be revised. Its gates can open by any factor, "
        "so a new input may outweigh all before it. It looks nothing up by content."
    ),
)

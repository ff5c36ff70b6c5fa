"""The minimal LSTM (Feng et al. 2024, "Were RNNs all we needed?", arXiv:2410.01201), whose gates sum to one.

    f = σ(x W_f + b_f)            the forget gate
    i = σ(x W_i + b_i)            the input gate
    h̃ = x W_h + b_h               the candidate; with `positive`, g of it, see minGRU
    h' = f / (f + i) ⊙ h + i / (f + i) ⊙ h̃

The gates do not see the state, and there is no cell state apart from h. The bias of the forget gate begins at
one. Not to be confused with the LSTM with coupled gates (`cifg`), whose gates read h. As with minGRU, one
layer cannot compute the parity of its inputs (docs/cells.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ostinato.cells.base import Cell, ElementwiseOp, KerasOption, State, StateSpec
from ostinato.cells.elementwise import ElementwiseCell, ElementwiseLayer, Weight, params_of
from ostinato.cells.mingru import positive_candidate

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load
import tensorflow as tf


class MinLSTMParams(NamedTuple):
    """W_f, W_i, W_h (features, units); b_f, b_i, b_h (units,); and whether the candidate is made positive."""

    W_f: Any
    b_f: Any
    W_i: Any
    b_i: Any
    W_h: Any
    b_h: Any
    positive: bool = False


def minlstm_step(x: tf.Tensor, state: State, params: MinLSTMParams) -> tuple[tf.Tensor, State]:
    """One step of the minimal LSTM."""
    (h,) = state
    p = params
    candidate = x @ p.W_h + p.b_h
    if p.positive:
        candidate = positive_candidate(candidate)
    f = _share(x @ p.W_f + p.b_f, x @ p.W_i + p.b_i)
    h = f * h + (1 - f) * candidate
    return h, (h,)


def _share(sum_f: tf.Tensor, sum_i: tf.Tensor) -> tf.Tensor:
    """f / (f + i) = σ(log f − log i), which is right where both gates are almost zero."""
    return tf.sigmoid(tf.nn.softplus(-sum_i) - tf.nn.softplus(-sum_f))


@keras.saving.register_keras_serializable(package="ostinato")
class MinLSTMCell(ElementwiseCell):
    """One step of the minimal LSTM.

    Args:
        units: width of the state and of the output.
        positive: make the candidate positive, as the form in log space does.
        **options: see `ElementwiseCell`.
    """

    Params = MinLSTMParams
    step = staticmethod(minlstm_step)
    products = ("W_f", "W_i", "W_h")
    bias_names = ("b_f", "b_i", "b_h")

    def __init__(self, units: int, *, positive: bool = False, **options: KerasOption):
        super().__init__(units, **options)
        self.positive = positive

    def weights_for(self, features: int) -> Mapping[str, Weight | None]:
        matrix = self.matrix(features, self.units)
        return {
            **{"W_f": matrix, "b_f": self.bias(1.0)},
            **{"W_i": matrix, "b_i": self.bias()},
            **{"W_h": matrix, "b_h": self.bias()},
        }

    def params(self) -> MinLSTMParams:
        return MinLSTMParams(*map(self.value, MinLSTMParams._fields[:-1]), positive=self.positive)

    def get_config(self) -> dict[str, KerasOption]:
        return super().get_config() | {"positive": self.positive}


@keras.saving.register_keras_serializable(package="ostinato")
class MinLSTM(ElementwiseLayer):
    """The minimal LSTM (Feng et al. 2024) over sequences.

    Args:
        units: width of the state and of the output.
        positive: make the candidate positive, as the paper's form in log space does.
        **options: see `ostinato.cells.elementwise.ElementwiseLayer`.

    Example:
        >>> import numpy as np
        >>> MinLSTM(4)(np.zeros((2, 7, 3))).shape
        TensorShape([2, 4])
    """

    keras_cell = MinLSTMCell


def _kernel(cell: MinLSTMCell) -> str:
    return "minlstm_positive" if cell.positive else "minlstm"


def _recurrence(*, positive: bool) -> Callable[..., tuple[tf.Tensor, State]]:
    def recurrence(sums: list[tf.Tensor], state: State, *_: object) -> tuple[tf.Tensor, State]:
        f, candidate = _share(sums[0], sums[1]), positive_candidate(sums[2]) if positive else sums[2]
        h = f * state[0] + (1 - f) * candidate
        return h, (h,)

    return recurrence


CELL = MinLSTM.recurrence = Cell(
    name="minlstm",
    layer=MinLSTM,
    keras_cell=MinLSTMCell,
    states=(StateSpec("h"),),
    gates=("f", "i", "h"),
    options=("engine",),
    step=minlstm_step,
    params=params_of,
    native=ElementwiseOp(
        _kernel,
        {"minlstm": _recurrence(positive=False), "minlstm_positive": _recurrence(positive=True)},
        products=3,
    ),
    advice=(
        "As `mingru`, with a forget and an input gate that are learnt apart. One layer cannot compute parity."
    ),
)

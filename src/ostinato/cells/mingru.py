"""The minimal GRU (Feng et al. 2024, "Were RNNs all we needed?", arXiv:2410.01201).

    z = σ(x W_z + b_z)            the update gate
    h̃ = x W_h + b_h               the candidate; with `positive`, g of it
    h' = (1 − z) ⊙ h + z ⊙ h̃

Gate and candidate do not see the state, so the recurrence is linear in it. The paper computes it in two
forms: the plain one here, and one in log space, whose candidate must be positive: g(a) = a + ½ for a ≥ 0,
else σ(a). `positive=True` gives the latter's function, computed step by step.

Here z lets the new value in, as in the paper; in Keras' GRU z keeps the old one. Not to be confused with the
minimal gated unit of Zhou et al. 2016, whose one gate reads the state. Its gates are between 0 and 1 and do
not depend on the state, so one layer cannot compute the parity of its inputs (docs/cells.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ostinato.cells.base import Cell, ElementwiseOp, KerasOption, State, StateSpec
from ostinato.cells.elementwise import ElementwiseCell, ElementwiseLayer, Weight, params_of

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load
import tensorflow as tf


class MinGRUParams(NamedTuple):
    """W_z, W_h (features, units); b_z, b_h (units,); and whether the candidate is made positive."""

    W_z: Any
    b_z: Any
    W_h: Any
    b_h: Any
    positive: bool = False


def mingru_step(x: tf.Tensor, state: State, params: MinGRUParams) -> tuple[tf.Tensor, State]:
    """One step of the minimal GRU."""
    (h,) = state
    p = params
    z = tf.sigmoid(x @ p.W_z + p.b_z)
    candidate = x @ p.W_h + p.b_h
    if p.positive:
        candidate = positive_candidate(candidate)
    h = (1 - z) * h + z * candidate
    return h, (h,)


def positive_candidate(a: tf.Tensor) -> tf.Tensor:
    """g(a) = a + ½ for a ≥ 0, else σ(a): positive, continuous and increasing (the paper's appendix B)."""
    return tf.where(a >= 0, a + 0.5, tf.sigmoid(a))


@keras.saving.register_keras_serializable(package="ostinato")
class MinGRUCell(ElementwiseCell):
    """One step of the minimal GRU.

    Args:
        units: width of the state and of the output.
        positive: make the candidate positive, as the form in log space does.
        **options: see `ElementwiseCell`.
    """

    Params = MinGRUParams
    step = staticmethod(mingru_step)
    products = ("W_z", "W_h")
    bias_names = ("b_z", "b_h")

    def __init__(self, units: int, *, positive: bool = False, **options: KerasOption):
        super().__init__(units, **options)
        self.positive = positive

    def weights_for(self, features: int) -> Mapping[str, Weight | None]:
        matrix = self.matrix(features, self.units)
        return {"W_z": matrix, "b_z": self.bias(), "W_h": matrix, "b_h": self.bias()}

    def params(self) -> MinGRUParams:
        return MinGRUParams(*map(self.value, ("W_z", "b_z", "W_h", "b_h")), positive=self.positive)

    def get_config(self) -> dict[str, KerasOption]:
        return super().get_config() | {"positive": self.positive}


@keras.saving.register_keras_serializable(package="ostinato")
class MinGRU(ElementwiseLayer):
    """The minimal GRU (Feng et al. 2024) over sequences.

    Args:
        units: width of the state and of the output.
        positive: make the candidate positive, as the paper's form in log space does.
        **options: see `ostinato.cells.elementwise.ElementwiseLayer`.

    Example:
        >>> import numpy as np
        >>> MinGRU(4, return_sequences=True)(np.zeros((2, 7, 3))).shape
        TensorShape([2, 7, 4])
    """

    keras_cell = MinGRUCell


def _kernel(cell: MinGRUCell) -> str:
    return "mingru_positive" if cell.positive else "mingru"


def _recurrence(*, positive: bool) -> Callable[..., tuple[tf.Tensor, State]]:
    def recurrence(sums: list[tf.Tensor], state: State, *_: object) -> tuple[tf.Tensor, State]:
        z, candidate = tf.sigmoid(sums[0]), positive_candidate(sums[1]) if positive else sums[1]
        h = (1 - z) * state[0] + z * candidate
        return h, (h,)

    return recurrence


CELL = MinGRU.recurrence = Cell(
    name="mingru",
    layer=MinGRU,
    keras_cell=MinGRUCell,
    states=(StateSpec("h"),),
    gates=("z", "h"),
    options=("engine",),
    step=mingru_step,
    params=params_of,
    native=ElementwiseOp(
        _kernel,
        {"mingru": _recurrence(positive=False), "mingru_positive": _recurrence(positive=True)},
        products=2,
    ),
    advice=(
        "For speed: long sequences, large batches, in a residual block of several layers. One "
        "layer cannot compute parity, nor follow any state that depends on itself; it averages "
        "with weights that depend on the inputs."
    ),
)

"""The simple recurrent unit (Lei et al. 2018, EMNLP, arXiv:1709.02755v5), whose gates see the state before.

    x̃ = x W                              the candidate
    f = σ(x W_f + v_f ⊙ c + b_f)         the forget gate
    r = σ(x W_r + v_r ⊙ c + b_r)         the reset gate, between the state and the input
    c' = f ⊙ c + (1 − f) ⊙ x̃
    h' = r ⊙ c' + (1 − r) ⊙ x

The state is c; the output h is not carried on. The input passes by the state ("highway") as it is, with the
scale 1; where its width is not that of the layer, x W_in takes its place there. v_f and v_r begin in
[−√3/√units, √3/√units], as the paper's matrices do in their fan-in.

Not to be confused with the form of the paper's first version, whose gates do not see c and whose output is
r ⊙ tanh(c') + …
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ostinato.cells.base import Cell, ElementwiseOp, State, StateSpec
from ostinato.cells.elementwise import ElementwiseCell, ElementwiseLayer, Weight, params_of
from ostinato.engines.product import native_product

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load
import tensorflow as tf


class SRUParams(NamedTuple):
    """W, W_f, W_r (features, units); v_f, b_f, v_r, b_r (units,); W_in (features, units) or None."""

    W: Any
    W_f: Any
    v_f: Any
    b_f: Any
    W_r: Any
    v_r: Any
    b_r: Any
    W_in: Any = None


def sru_step(x: tf.Tensor, state: State, params: SRUParams) -> tuple[tf.Tensor, State]:
    """One step of the simple recurrent unit."""
    p = params
    sums = (x @ p.W, x @ p.W_f + p.b_f, x @ p.W_r + p.b_r)
    return _recurrence(sums, state, (p.v_f, p.v_r), x if p.W_in is None else x @ p.W_in)


def _recurrence(sums: Any, state: State, constants: Any, highway: tf.Tensor) -> tuple[tf.Tensor, State]:
    (c,), (v_f, v_r) = state, constants
    f = tf.sigmoid(sums[1] + v_f * c)
    r = tf.sigmoid(sums[2] + v_r * c)
    c = f * c + (1 - f) * sums[0]
    return r * c + (1 - r) * highway, (c,)


@keras.saving.register_keras_serializable(package="ostinato")
class SRUCell(ElementwiseCell):
    """One step of the simple recurrent unit; see `ElementwiseCell` for its arguments."""

    Params = SRUParams
    step = staticmethod(sru_step)
    state_names = ("c",)
    products = ("W", "W_f", "W_r")
    bias_names = ("", "b_f", "b_r")
    reads_x = True

    def weights_for(self, features: int) -> Mapping[str, Weight | None]:
        matrix, limit = self.matrix(features, self.units), (3.0 / self.units) ** 0.5
        own = Weight((self.units,), keras.initializers.RandomUniform(-limit, limit, seed=self.seed))
        return {
            "W": matrix,
            **{"W_f": matrix, "v_f": own, "b_f": self.bias()},
            **{"W_r": matrix, "v_r": own, "b_r": self.bias()},
            "W_in": None if features == self.units else matrix,
        }

    def constants(self) -> tf.Tensor:
        return tf.concat([self.value("v_f"), self.value("v_r")], 0)

    def highway(self, given: tf.Tensor) -> tf.Tensor:
        return given if self.W_in is None else native_product(given, self.value("W_in"))


@keras.saving.register_keras_serializable(package="ostinato")
class SRU(ElementwiseLayer):
    """The simple recurrent unit (Lei et al. 2018) over sequences. Its state is c, its output h.

    Args:
        units: width of the state and of the output.
        **options: see `ostinato.cells.elementwise.ElementwiseLayer`.

    Example:
        >>> import numpy as np
        >>> SRU(4)(np.zeros((2, 7, 3))).shape
        TensorShape([2, 4])
    """

    keras_cell = SRUCell


CELL = SRU.recurrence = Cell(
    name="sru",
    layer=SRU,
    keras_cell=SRUCell,
    states=(StateSpec("c"),),
    gates=("c", "f", "r"),
    options=("engine",),
    step=sru_step,
    params=params_of,
    native=ElementwiseOp(lambda cell: "sru", {"sru": _recurrence}, products=3),
    advice=(
        "For speed with a gate that sees its own unit's state. It is between minGRU and the GRU "
        "in cost and in what it learns."
    ),
)

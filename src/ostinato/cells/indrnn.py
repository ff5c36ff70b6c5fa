"""The independently recurrent network (Li et al. 2018, arXiv:1803.04831).

    h' = a(x W + b + u ⊙ h), where a is relu unless the layer says otherwise

Each unit reads its own past alone, by one weight, so that its gradient over n steps is about uⁿ; with relu it
neither vanishes nor explodes while |u| is about one. The weights u begin uniformly in [0, 1]. The paper also
keeps |u| ≤ 2^(1/T) for sequences of T steps, with a constraint: `recurrent_constraint`.

Not to be confused with `SimpleRNN`, whose units read all others, nor with haste's IndRNN, which has tanh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ostinato.cells.base import Cell, ElementwiseOp, KerasOption, State, StateSpec
from ostinato.cells.elementwise import ElementwiseCell, ElementwiseLayer, Weight, params_of
from ostinato.engines import activations

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load
import tensorflow as tf


class IndRNNParams(NamedTuple):
    """W (features, units), u (units,), b (units,) and the activation."""

    W: Any
    u: Any
    b: Any
    activation: Callable[[tf.Tensor], tf.Tensor] = tf.nn.relu


def indrnn_step(x: tf.Tensor, state: State, params: IndRNNParams) -> tuple[tf.Tensor, State]:
    """One step of the independently recurrent network."""
    (h,) = state
    p = params
    h = p.activation(x @ p.W + p.b + p.u * h)
    return h, (h,)


@keras.saving.register_keras_serializable(package="ostinato")
class IndRNNCell(ElementwiseCell):
    """One step of the independently recurrent network.

    Args:
        units: width of the state and of the output.
        activation: a function of Keras or its name.
        recurrent_initializer: draws u.
        recurrent_constraint: what u is made to keep, for example `keras.constraints.MaxNorm`.
        **options: see `ElementwiseCell`.
    """

    Params = IndRNNParams
    step = staticmethod(indrnn_step)
    products = ("W",)
    bias_names = ("b",)

    def __init__(
        self,
        units: int,
        *,
        activation: KerasOption = "relu",
        recurrent_initializer: KerasOption = None,
        recurrent_constraint: KerasOption = None,
        **options: KerasOption,
    ):
        super().__init__(units, **options)
        self.activation: Any = keras.activations.get(activation)
        uniform = keras.initializers.RandomUniform(0.0, 1.0, seed=self.seed)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer or uniform)
        self.recurrent_constraint = keras.constraints.get(recurrent_constraint)

    def weights_for(self, features: int) -> Mapping[str, Weight | None]:
        return {
            "W": self.matrix(features, self.units),
            "u": Weight((self.units,), self.recurrent_initializer, self.recurrent_constraint),
            "b": self.bias(),
        }

    def params(self) -> IndRNNParams:
        return IndRNNParams(self.value("W"), self.value("u"), self.value("b"), self.activation)

    def constants(self) -> tf.Tensor:
        return self.value("u")

    def get_config(self) -> dict[str, KerasOption]:
        return super().get_config() | {
            "activation": keras.activations.serialize(self.activation),
            "recurrent_initializer": keras.initializers.serialize(self.recurrent_initializer),
            "recurrent_constraint": keras.constraints.serialize(self.recurrent_constraint),
        }


@keras.saving.register_keras_serializable(package="ostinato")
class IndRNN(ElementwiseLayer):
    """The independently recurrent network (Li et al. 2018) over sequences.

    Args:
        units: width of the state and of the output.
        activation: a function of Keras or its name; the native engine has relu, tanh, sigmoid and linear.
        recurrent_initializer: draws u; uniform in [0, 1] unless given.
        recurrent_constraint: what u is made to keep.
        **options: see `ostinato.cells.elementwise.ElementwiseLayer`.

    Example:
        >>> import numpy as np
        >>> IndRNN(4)(np.zeros((2, 7, 3))).shape
        TensorShape([2, 4])
    """

    keras_cell = IndRNNCell


def _kernel(cell: IndRNNCell) -> str | None:
    name = activations.name_of(cell.activation)
    return f"indrnn_{name}" if f"indrnn_{name}" in _RECURRENCES else None


def _recurrence(name: str) -> Callable[..., tuple[tf.Tensor, State]]:
    def recurrence(
        sums: list[tf.Tensor], state: State, constants: list[tf.Tensor], _: None
    ) -> tuple[tf.Tensor, State]:
        h = activations.FUNCTIONS[name](sums[0] + constants[0] * state[0])
        return h, (h,)

    return recurrence


_RECURRENCES = {f"indrnn_{name}": _recurrence(name) for name in ("linear", "relu", "sigmoid", "tanh")}

CELL = IndRNN.recurrence = Cell(
    name="indrnn",
    layer=IndRNN,
    keras_cell=IndRNNCell,
    states=(StateSpec("h"),),
    gates=("h",),
    options=("engine",),
    step=indrnn_step,
    params=params_of,
    native=ElementwiseOp(_kernel, _RECURRENCES, products=1),
    advice=(
        "For long sequences and deep stacks of plain layers. A unit sees the others only through "
        "the layer above, so one layer of it is weak."
    ),
)

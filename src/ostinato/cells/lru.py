"""The linear recurrent unit (Orvieto et al. 2023, arXiv:2303.06349): a complex diagonal that is stable.

    λ = exp(−exp(ν) + i exp(θ))       each unit's decay and rotation, |λ| < 1
    s' = λ ⊙ s + exp(γ) ⊙ (x B)       the complex state
    h' = Re(s' C) + D ⊙ x             the output

λ begins uniformly in the ring r_min ≤ |λ| ≤ r_max, with angles in [0, max_phase], and γ at log √(1 − |λ|²),
so that the state's size does not depend on λ. B and C are complex; here they are pairs of real matrices.
Where the input's width is not that of the layer, x W_in takes its place in all equations.

The recurrence does not depend on the input but for what is added: it cannot choose what to keep, and one
layer cannot compute the parity of its inputs (docs/cells.md). Not to be confused with RG-LRU, which is real
and gated, nor with S4 and S5, which have a step size and another beginning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ostinato.cells.base import Cell, ElementwiseOp, KerasOption, State, StateSpec
from ostinato.cells.elementwise import ElementwiseCell, ElementwiseLayer, Weight, params_of
from ostinato.engines.product import native_product

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load
import tensorflow as tf


class LRUParams(NamedTuple):
    """nu, theta, gamma_log, D (units,); B_re, B_im, C_re, C_im (units, units); W_in or None."""

    nu: Any
    theta: Any
    gamma_log: Any
    B_re: Any
    B_im: Any
    C_re: Any
    C_im: Any
    D: Any
    W_in: Any = None


def lru_step(x: tf.Tensor, state: State, params: LRUParams) -> tuple[tf.Tensor, State]:
    """One step of the linear recurrent unit."""
    p = params
    if p.W_in is not None:
        x = x @ p.W_in
    _, (re, im) = _recurrence((x @ p.B_re, x @ p.B_im), state, _constants(p))
    return re @ p.C_re - im @ p.C_im + p.D * x, (re, im)


def _constants(p: LRUParams) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The real and the imaginary part of λ, and exp(γ)."""
    size, angle = tf.exp(-tf.exp(p.nu)), tf.exp(p.theta)
    return size * tf.cos(angle), size * tf.sin(angle), tf.exp(p.gamma_log)


def _recurrence(sums: Any, state: State, constants: Any, _: None = None) -> tuple[tf.Tensor, State]:
    (re, im), (decay_re, decay_im, gamma) = state, constants
    after = (
        decay_re * re - decay_im * im + gamma * sums[0],
        decay_re * im + decay_im * re + gamma * sums[1],
    )
    return tf.concat(after, 1), after


@keras.saving.register_keras_serializable(package="ostinato")
class LRUCell(ElementwiseCell):
    """One step of the linear recurrent unit.

    Args:
        units: width of the state, the input that the equations read, and the output.
        r_min, r_max: where |λ| begins.
        max_phase: the largest angle that λ begins with.
        **options: see `ElementwiseCell`; there are no biases, and B, C and D begin as published.
    """

    Params = LRUParams
    step = staticmethod(lru_step)
    state_names = ("re", "im")
    products = ("B_re", "B_im")
    output_reads_x = True

    def __init__(
        self,
        units: int,
        *,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * math.pi,
        **options: KerasOption,
    ):
        super().__init__(units, **options)
        if not 0.0 <= r_min < r_max <= 1.0:
            raise ValueError(f"r_min and r_max must be 0 ≤ r_min < r_max ≤ 1, got {r_min} and {r_max}")
        self.r_min, self.r_max, self.max_phase = r_min, r_max, max_phase

    def weights_for(self, features: int) -> Mapping[str, Weight | None]:
        units, draw = self.units, np.random.default_rng(self.seed)
        squares = draw.uniform(self.r_min**2, self.r_max**2, units).clip(1e-6, 1 - 1e-6)
        nu = np.log(-0.5 * np.log(squares))
        theta = np.log(self.max_phase * draw.uniform(size=units).clip(1e-6))
        gamma = 0.5 * np.log1p(-squares)

        def normal(stddev: float) -> keras.initializers.Initializer:
            return keras.initializers.RandomNormal(stddev=stddev, seed=self.seed)

        of_input = Weight((units, units), normal((2 * units) ** -0.5))
        of_output = Weight((units, units), normal(units**-0.5))
        return {
            **{name: Weight((units,), _given(values)) for name, values in (("nu", nu), ("theta", theta))},
            "gamma_log": Weight((units,), _given(gamma)),
            **{"B_re": of_input, "B_im": of_input, "C_re": of_output, "C_im": of_output},
            "D": Weight((units,), normal(1.0)),
            "W_in": None if features == units else self.matrix(features, units),
        }

    def given(self, x: tf.Tensor) -> tf.Tensor:
        return x if self.W_in is None else native_product(x, self.value("W_in"))

    def constants(self) -> tf.Tensor:
        return tf.concat(_constants(self.params()), 0)

    def read(self, y: tf.Tensor, given: tf.Tensor) -> tf.Tensor:
        both = tf.concat([self.value("C_re"), -self.value("C_im")], 0)
        return native_product(y, both) + self.value("D") * given

    def get_config(self) -> dict[str, KerasOption]:
        return super().get_config() | {"r_min": self.r_min, "r_max": self.r_max, "max_phase": self.max_phase}


def _given(values: np.ndarray) -> Any:
    return lambda shape, dtype=None: tf.cast(values, dtype or "float32")


@keras.saving.register_keras_serializable(package="ostinato")
class LRU(ElementwiseLayer):
    """The linear recurrent unit (Orvieto et al. 2023) over sequences. Its state is [re, im].

    Args:
        units: width of the state and of the output.
        r_min, r_max: where |λ| begins; near 1 for long memories.
        max_phase: the largest angle that λ begins with; small for long memories.
        **options: see `ostinato.cells.elementwise.ElementwiseLayer`.

    Example:
        >>> import numpy as np
        >>> LRU(4, r_min=0.9, r_max=0.999)(np.zeros((2, 7, 3))).shape
        TensorShape([2, 4])
    """

    keras_cell = LRUCell


CELL = LRU.recurrence = Cell(
    name="lru",
    layer=LRU,
    keras_cell=LRUCell,
    states=(StateSpec("re"), StateSpec("im")),
    gates=("re", "im"),
    options=("engine",),
    step=lru_step,
    params=params_of,
    native=ElementwiseOp(lambda cell: "lru", {"lru": _recurrence}, products=2),
    advice=(
        "For very long dependencies in signals: its memory is set by |λ| alone. It treats all "
        "inputs alike, so it needs layers with nonlinearities around it, and cannot choose what "
        "to keep. One layer cannot compute parity."
    ),
)

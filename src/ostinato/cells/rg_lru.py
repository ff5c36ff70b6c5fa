"""The real-gated linear recurrent unit of Griffin and RecurrentGemma (De et al. 2024, arXiv:2402.19427).

    r = σ(x W_a + b_a)                the recurrence gate
    i = σ(x W_x + b_x)                the input gate
    a = exp(−8 softplus(Λ) ⊙ r)       each unit's decay, between σ(−Λ)⁸ and 1
    h' = a ⊙ h + √(1 − a²) ⊙ (i ⊙ x)

W_a and W_x are block-diagonal: each block of units reads its own part of x. Λ begins so that σ(−Λ)⁸, the
fastest decay, is uniform in [0.9, 0.999]. The input is scaled by √(1 − a²) at every step, the first one,
too, where RecurrentGemma takes it as it is. Where the input's width is not that of the layer, x W_in takes
its place in all equations.

The gates do not see the state and a is positive, so one layer cannot compute the parity of its inputs
(docs/cells.md). Not to be confused with the LRU, which is complex and has no gates. The papers run it
behind a short convolution and within a gated block; `block=True` of ostinato's stacks gives the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ostinato.cells.base import Cell, ElementwiseOp, KerasOption, State, StateSpec
from ostinato.cells.elementwise import ElementwiseCell, ElementwiseLayer, Weight, params_of
from ostinato.cells.heads import parts_of
from ostinato.engines.product import native_product, product

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load
import tensorflow as tf

_C = 8.0
_UNITS_OF_A_BLOCK = 64


class RGLRUParams(NamedTuple):
    """W_a, W_x (blocks, units / blocks, units / blocks); b_a, b_x, Lambda (units,); W_in or None."""

    W_a: Any
    b_a: Any
    W_x: Any
    b_x: Any
    Lambda: Any
    W_in: Any = None


def rg_lru_step(x: tf.Tensor, state: State, params: RGLRUParams) -> tuple[tf.Tensor, State]:
    """One step of the real-gated linear recurrent unit."""
    p = params
    if p.W_in is not None:
        x = x @ p.W_in
    sums = (by_blocks(x, p.W_a) + p.b_a, by_blocks(x, p.W_x) + p.b_x)
    return _recurrence(sums, state, (_C * tf.nn.softplus(p.Lambda),), x)


def _recurrence(sums: Any, state: State, constants: Any, x: tf.Tensor) -> tuple[tf.Tensor, State]:
    r, i = tf.sigmoid(sums[0]), tf.sigmoid(sums[1])
    log_a = -constants[0] * r
    h = tf.exp(log_a) * state[0] + tf.sqrt(-tf.math.expm1(2 * log_a)) * (i * x)
    return h, (h,)


def by_blocks(x: tf.Tensor, blocks: tf.Tensor, product: Callable[..., tf.Tensor] = product) -> tf.Tensor:
    """x · a block-diagonal matrix, given as its blocks, (blocks, rows, columns)."""
    count = int(blocks.shape[0] or 1)
    if count == 1:
        return product(x, blocks[0])
    parts = tf.split(x, count, axis=-1)
    return tf.concat([product(part, blocks[at]) for at, part in enumerate(parts)], axis=-1)


@keras.saving.register_keras_serializable(package="ostinato")
class RGLRUCell(ElementwiseCell):
    """One step of the real-gated linear recurrent unit.

    Args:
        units: width of the state, the input that the equations read, and the output.
        blocks: of W_a and W_x; a divisor of `units`. None: as many of about 64 units as divide it.
        **options: see `ElementwiseCell`.
    """

    Params = RGLRUParams
    step = staticmethod(rg_lru_step)
    products = ("W_a", "W_x")
    bias_names = ("b_a", "b_x")
    reads_x = True

    def __init__(self, units: int, *, blocks: int | None = None, **options: KerasOption):
        super().__init__(units, **options)
        self.blocks = blocks or parts_of(units, _UNITS_OF_A_BLOCK)
        if self.blocks < 1 or units % self.blocks:
            raise ValueError(f"blocks must divide units, {units}, got {blocks}")

    def weights_for(self, features: int) -> Mapping[str, Weight | None]:
        side = self.units // self.blocks
        uniform = np.random.default_rng(self.seed).uniform(0.9, 0.999, self.units)
        start = np.log(np.expm1(-np.log(uniform) / _C))  # softplus(start) · 8 = −log uniform
        normal = keras.initializers.RandomNormal(stddev=side**-0.5, seed=self.seed)
        matrix = Weight((self.blocks, side, side), normal)
        return {
            **{"W_a": matrix, "b_a": self.bias(), "W_x": matrix, "b_x": self.bias()},
            "Lambda": Weight((self.units,), lambda shape, dtype=None: tf.cast(start, dtype or "float32")),
            "W_in": None if features == self.units else self.matrix(features, self.units),
        }

    def given(self, x: tf.Tensor) -> tf.Tensor:
        return x if self.W_in is None else native_product(x, self.value("W_in"))

    def sums(self, given: tf.Tensor) -> tf.Tensor:
        return tf.concat(
            [by_blocks(given, self.value(name), native_product) for name in self.products], axis=-1
        )

    def constants(self) -> tf.Tensor:
        return _C * tf.nn.softplus(self.value("Lambda"))

    def get_config(self) -> dict[str, KerasOption]:
        return super().get_config() | {"blocks": self.blocks}


@keras.saving.register_keras_serializable(package="ostinato")
class RGLRU(ElementwiseLayer):
    """The real-gated linear recurrent unit (De et al. 2024) over sequences.

    Args:
        units: width of the state and of the output.
        blocks: of the gates' block-diagonal matrices; a divisor of `units`. None: as many of about 64 units
        as
            divide it.
        **options: see `ostinato.cells.elementwise.ElementwiseLayer`.

    Example:
        >>> import numpy as np
        >>> RGLRU(4)(np.zeros((2, 7, 3))).shape
        TensorShape([2, 4])
    """

    keras_cell = RGLRUCell


CELL = RGLRU.recurrence = Cell(
    name="rg-lru",
    layer=RGLRU,
    keras_cell=RGLRUCell,
    states=(StateSpec("h"),),
    gates=("a", "x"),
    options=("engine",),
    step=rg_lru_step,
    params=params_of,
    native=ElementwiseOp(lambda cell: "rg-lru", {"rg-lru": _recurrence}, products=2),
    advice=(
        "For long texts in a residual block: the cheapest gates, and memories from ten to "
        "thousands of steps. One layer cannot compute parity."
    ),
)

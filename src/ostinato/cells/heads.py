"""What the cells with heads share. Each head of a layer sees the whole input and its own state alone.

States and gates are float32 under half-precision policies, and c, n, m and S stay so between calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ostinato import scratch
from ostinato.cells.base import KerasOption, State
from ostinato.cells.elementwise import ElementwiseCell, ElementwiseLayer

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load
import tensorflow as tf

FORGETTING = ("sigmoid", "exp")
"""The forget gates of the xLSTM's cells: σ(f), and e^f."""


def parts_of(units: int, width: int) -> int:
    """Into how many equal parts of about a width, or more, units are divided."""
    return next(count for count in range(max(1, units // width), 0, -1) if units % count == 0)


def by_heads(x: tf.Tensor, heads: int) -> tf.Tensor:
    """From (…, heads × width) to (…, heads, width)."""
    width = int(x.shape[-1] or 0) // heads
    return tf.reshape(x, tf.concat([tf.shape(x)[:-1], tf.stack([heads, width])], 0))


def side_by_side(x: tf.Tensor) -> tf.Tensor:
    """From (…, heads, width) to (…, heads × width)."""
    units = int(x.shape[-2] or 0) * int(x.shape[-1] or 0)
    return tf.reshape(x, tf.concat([tf.shape(x)[:-2], tf.stack([units])], 0))


def log_forget(f: tf.Tensor, forget: str) -> tf.Tensor:
    """The logarithm of the forget gate."""
    return f if forget == "exp" else -tf.nn.softplus(-f)


class HeadsCell(ElementwiseCell):
    """One step of a recurrence with heads, as Keras' loop runs it.

    Args:
        units: width of the output: heads times the width of each.
        heads: a divisor of `units`. None: as many of about `head_width` units as divide it.
        **options: see `ElementwiseCell`.

    Attributes:
        head_width: width of a head where the layer does not say.
        starts: the number that each tensor of the state begins with.
    """

    head_width: ClassVar[int]
    starts: ClassVar[tuple[float, ...]]

    def __init__(self, units: int, *, heads: int | None = None, **options: KerasOption):
        super().__init__(units, **{**options, "autocast": False})  # states keep their own dtypes
        if heads is not None and (not isinstance(heads, int) or heads < 1 or units % heads):
            raise ValueError(f"heads must be a divisor of units, {units}, or None, got {heads!r}")
        self.heads = heads or parts_of(units, self.head_width)
        self.width = units // self.heads
        self.state_size = self.state_sizes()

    def state_sizes(self) -> list[int]:
        """The size of each tensor of a row's state."""
        raise NotImplementedError

    def get_initial_state(self, batch_size: Any = None) -> list[tf.Tensor]:
        pairs = zip(self.state_dtypes(), self.state_size, self.starts, strict=True)
        return [tf.fill((batch_size, size), tf.cast(start, dtype)) for dtype, size, start in pairs]

    def state_dtypes(self) -> list[str]:
        """h is an output, and has the layer's dtype; other states are float32, or float64."""
        return [self.compute_dtype if name == "h" else self.number for name in self.state_names]

    @property
    def number(self) -> str:
        """The dtype that steps are computed in."""
        return "float64" if self.compute_dtype == "float64" else "float32"

    def value(self, name: str) -> Any:
        weight = getattr(self, name)
        if weight is None:
            return scratch.NO_BIAS if name.startswith("b") else None
        return tf.cast(tf.cast(tf.convert_to_tensor(weight), self.compute_dtype), self.number)

    def given(self, x: tf.Tensor) -> tf.Tensor:
        return x if x.dtype.is_integer else tf.cast(tf.cast(x, self.compute_dtype), self.number)

    def call(
        self, inputs: tf.Tensor, states: State, training: bool = False
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        state = tuple(tf.cast(each, self.number) for each in keras.tree.flatten(states))
        output, after = type(self).step(self.given(inputs), state, self.params())
        dtypes = self.state_dtypes()
        return tf.cast(output, self.compute_dtype), [*map(tf.cast, after, dtypes)]

    # What the native engine asks.

    def op_inputs(self, given: tf.Tensor) -> tuple[list[tf.Tensor], Any]:
        """What the op reads at every step and what it reads once; and what `outputs` reads beside y.

        Args:
            given: what `given` gives, (batch, time, features).
        """
        raise NotImplementedError

    def outputs(self, y: tf.Tensor, beside: Any) -> tf.Tensor:
        """The outputs, (batch, time, units), from those of the op."""
        return y

    def op_states(self, state: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The state as the op takes it."""
        return list(state)

    def from_op_states(self, state: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The opposite of `op_states`."""
        return list(state)

    def get_config(self) -> dict[str, KerasOption]:
        return super().get_config() | {"heads": self.heads}


class ForgettingCell(HeadsCell):
    """One step of a cell of the xLSTM, whose forget gate is an option.

    Args:
        units: see `HeadsCell`.
        forget: "sigmoid" or "exp", the forget gate.
        **options: see `HeadsCell`.
    """

    def __init__(self, units: int, *, forget: str = "sigmoid", **options: KerasOption):
        super().__init__(units, **options)
        if forget not in FORGETTING:
            raise ValueError(f"forget must be one of {', '.join(FORGETTING)}, got {forget!r}")
        self.forget = forget

    def params(self) -> Any:
        names = [name for name in self.Params._fields if name != "forget"]
        return self.Params(*map(self.value, names), forget=self.forget)

    def get_config(self) -> dict[str, KerasOption]:
        return super().get_config() | {"forget": self.forget}


class HeadsLayer(ElementwiseLayer):
    """A recurrence with heads over sequences. Each cell's file has the layer of its own."""

    def __init__(self, units: int, *, engine: str = "auto", **options: KerasOption):
        super().__init__(units, engine=engine, autocast=False, **options)

    def call(
        self,
        sequences: tf.Tensor,
        initial_state: KerasOption = None,
        mask: KerasOption = None,
        training: bool = False,
    ) -> Any:
        if isinstance(sequences, tf.Tensor) and sequences.dtype.is_floating:
            sequences = tf.cast(sequences, self.compute_dtype)
        if self.cell.number == self.compute_dtype:
            return super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        # Keras' own call would round the state to half precision, before and after.
        state = initial_state
        if state is None:
            state = self.states if self.stateful else self.get_initial_state(tf.shape(sequences)[0])
        state = self._for_each_row(keras.tree.flatten(state), sequences)
        pairs = zip(state, self.cell.state_dtypes(), strict=True)
        given = [tf.cast(tf.convert_to_tensor(each), dtype) for each, dtype in pairs]
        last, outputs, after = self.inner_loop(sequences, given, mask, training)
        for variable, value in zip((self.states or ()) if self.stateful else (), after, strict=False):
            variable.assign(value)
        output = outputs if self.return_sequences else last
        return (output, *after) if self.return_state else output


def fixed(values: np.ndarray) -> Callable[..., tf.Tensor]:
    """An initializer of given values."""
    return lambda shape, dtype=None: tf.cast(tf.reshape(values, shape), dtype or "float32")

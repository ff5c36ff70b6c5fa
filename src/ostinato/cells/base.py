"""What is known of a recurrence's state, wherever states are made, saved and compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

State = tuple[tf.Tensor, ...]
"""A recurrent state: a flat tuple of tensors, each of shape (batch, …), as the `StateSpec`s say."""


@dataclass(frozen=True)
class StateSpec:
    """One tensor of a state.

    Attributes:
        name: stable, for example `layer_0/h`: checkpoints hold the tensor under it.
        shape: of a row: all but the batch.
        start: the value before the first step, a number or an array of this shape.
        dtype: of the tensor.
    """

    name: str
    shape: tuple[int, ...]
    start: Any = 0.0
    dtype: str = "float32"

    def initial(self, rows: int) -> tf.Tensor:
        """The tensor before the first step, shape (rows, *shape)."""
        return tf.broadcast_to(tf.cast(self.start, self.dtype), (rows, *self.shape))


def initial_state(specs: Iterable[StateSpec], rows: int) -> State:
    """The state before the first step, of so many rows."""
    return tuple(spec.initial(rows) for spec in specs)

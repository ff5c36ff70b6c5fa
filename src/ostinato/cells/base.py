"""The description of a recurrence's state, used wherever states are made, saved and compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

State = tuple[tf.Tensor, ...]
"""A recurrent state: a flat tuple of tensors of shape (batch, …), one for each `StateSpec`."""


@dataclass(frozen=True)
class StateSpec:
    """One tensor of a state.

    Attributes:
        name: stable name, for example `layer_0/h`; checkpoints store the tensor under it.
        shape: shape of one row, without the batch.
        start: value before the first step, a number or an array of this shape.
        dtype: dtype of the tensor.
    """

    name: str
    shape: tuple[int, ...]
    start: float | np.ndarray | tf.Tensor = 0.0
    dtype: str = "float32"

    def initial(self, rows: int) -> tf.Tensor:
        """The tensor before the first step, shape (rows, *shape)."""
        return tf.broadcast_to(tf.cast(self.start, self.dtype), (rows, *self.shape))


def initial_state(specs: Iterable[StateSpec], rows: int) -> State:
    """The state of `rows` rows before the first step."""
    return tuple(spec.initial(rows) for spec in specs)

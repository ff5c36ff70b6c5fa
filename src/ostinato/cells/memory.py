"""What the cells with a matrix memory share: keys, queries and values for each head.

A row of the memory S, (heads, width, width), belongs to a dimension of the keys, a column to one of the
values. In a layer's state it is flat, (batch, heads × width × width).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from ostinato.cells.base import HeadedOp, State
from ostinato.cells.heads import HeadsCell

MOST_WIDTH = 128


class MemoryCell(HeadsCell):
    """One step of a recurrence with a matrix memory."""

    head_width = 32

    def state_sizes(self) -> list[int]:
        if self.width > MOST_WIDTH:
            raise ValueError(f"heads must be at most {MOST_WIDTH} units wide, got {self.width}")
        return [self.units * self.width]


def memory_op(name: str, recurrence: Callable[..., tuple[tf.Tensor, State]]) -> HeadedOp:
    """The native engine's op for a memory.

    Args:
        name: of the cell.
        recurrence: maps what the op reads as q, k and v, each (batch, heads, width), the gates
            (batch, heads, 2) and the state to the output (batch, heads, width) and the next state.
    """

    def step_of_op(attributes: Mapping[str, Any], fixed: Sequence[tf.Tensor]) -> Any:
        def step(qkv: tf.Tensor, gates: tf.Tensor, *state: tf.Tensor) -> Any:
            heads = int(gates.shape[-1] or 0) // 2
            units = int(qkv.shape[-1] or 0) // 3
            parts = tf.unstack(tf.reshape(qkv, (-1, 3, heads, units // heads)), axis=1)
            y, after = recurrence(*parts, tf.reshape(gates, (-1, heads, 2)), state)
            return tf.reshape(y, (-1, units)), after

        return step

    return HeadedOp("OstinatoMemoryV1", lambda cell: {"cell": name}, sequences=2, step=step_of_op)


def as_read(products: tf.Tensor, heads: int) -> tf.Tensor:
    """Products for q, k and v, (batch, time, 3 × units), as (batch, time, 3, heads, width)."""
    width = int(products.shape[-1] or 0) // (3 * heads)
    return tf.reshape(products, tf.concat([tf.shape(products)[:2], tf.stack([3, heads, width])], 0))


def unfolded(memory: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """The memory as (batch, heads, width, width), for heads like those of a tensor (batch, heads, width)."""
    heads, width = (int(size or 0) for size in like.shape[-2:])
    return tf.reshape(memory, (-1, heads, width, width))


def folded(memory: tf.Tensor) -> tf.Tensor:
    """The memory as a layer's state has it."""
    heads, width = (int(size or 0) for size in memory.shape[1:3])
    return tf.reshape(memory, (-1, heads * width * width))


def read(memory: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Sᵀ k."""
    return tf.linalg.matvec(memory, key, transpose_a=True)


def outer(key: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """k vᵀ."""
    return tf.expand_dims(key, -1) * tf.expand_dims(value, -2)

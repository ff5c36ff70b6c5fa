"""The batches of a part with independent examples, such as labelled texts or sentence pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from ostinato.data.batches.shards import rows_of
from ostinato.tasks.base import Batch

if TYPE_CHECKING:
    import tensorflow as tf

BatchNumbers = Callable[["int | None"], Iterator[np.ndarray]]
MakeBatch = Callable[[np.ndarray, int, int, bool], Batch]


@dataclass(frozen=True, eq=False)
class IndependentExamples:
    """A `Part` in which an epoch has every example once, and no state is carried.

    Attributes:
        numbers: the numbers of the examples in this part, int64, shape (examples,).
        batch: the number of examples in a batch.
        signature: the type of a batch.
        batch_numbers: a pure function of an epoch, or of None for evaluation. It yields the numbers of the
            examples in each batch.
        make_batch: (numbers of a global batch, first row, row after the last, whether it is for training) →
            the batch of these rows.
    """

    numbers: np.ndarray
    batch: int
    signature: Mapping[str, tf.TensorSpec]
    batch_numbers: BatchNumbers
    make_batch: MakeBatch
    carries_state: bool = False

    @property
    def rows(self) -> int:
        """Rows of a global batch; the last one of an epoch may have fewer."""
        return min(self.batch, len(self.numbers))

    @property
    def steps(self) -> int:
        """Batches in an epoch, or in reading the part once."""
        return -(-len(self.numbers) // self.batch)

    def batches(
        self, *, epoch: int | None = None, start: int = 0, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """See `ostinato.tasks.base.Part`; one batch may have fewer rows, in training not always the last."""
        for numbers in islice(self.batch_numbers(epoch), start, None):
            mine = rows_of(shard, len(numbers))
            yield self.make_batch(numbers, mine.start, mine.stop, epoch is not None)

"""Shared by tasks with independent examples, such as labelled texts or pairs of sentences."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from ostinato.cells.base import StateSpec
from ostinato.data.batches.shards import rows_of
from ostinato.tasks.base import Batch


class StandaloneExamples:
    """A part of `ostinato.tasks.base.Task`: every example is in an epoch once, and no state is carried.

    A task says which examples make a batch (`_batch_numbers`), and makes it (`_batch`).
    """

    config: Any
    _examples: Any  # their `part(name)` gives the numbers of those in a part; None before `prepare`

    def has(self, split: str) -> bool:
        """Whether any example is in this part."""
        return self._examples is not None and len(self._examples.part(split)) > 0

    def rows(self, split: str, *, evaluate: bool = False) -> int:
        """Rows of a global batch; the last one of an epoch may have fewer."""
        assert self._examples is not None
        return min(self.config.batch, len(self._examples.part(split)))

    def steps(self, split: str, *, evaluate: bool = False) -> int:
        """Batches in an epoch, or in reading the part once in order."""
        assert self._examples is not None
        return -(-len(self._examples.part(split)) // self.config.batch)

    @property
    def carries_state(self) -> bool:
        """False: each batch begins anew."""
        return False

    def states(self, model: Any) -> tuple[StateSpec, ...]:
        """None."""
        return ()

    def batches(
        self, split: str, *, epoch: int | None = None, start: int = 0, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """The batches of a part; `_batch` says what is in each.

        An epoch has every example once, so that its last batch, or one of another place, may have fewer rows.

        Args:
            split: `train`, `validation` or `test`.
            epoch: which shuffling of the part; None reads all of it once, for evaluation.
            start: the number of the first batch.
            shard: (index, count) of the rows.
        """
        for numbers in islice(self._batch_numbers(split, epoch), start, None):
            mine = rows_of(shard, len(numbers))
            yield self._batch(numbers, mine.start, mine.stop, training=epoch is not None)

    def _batch_numbers(self, split: str, epoch: int | None) -> Iterator[np.ndarray]:
        """The numbers of the examples in each batch: a pure function of the seed and the epoch."""
        raise NotImplementedError

    def _batch(self, numbers: np.ndarray, first: int, stop: int, *, training: bool) -> Batch:
        """Rows `first` to `stop` of the global batch of these examples."""
        raise NotImplementedError

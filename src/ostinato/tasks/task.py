"""What the training loop knows of a task, and nothing more.

A new task is one new file beside this one: a config, and a class with these methods. Losses come as sums
rather than means, so that workers with unequal numbers of tokens add up exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol

import tensorflow as tf

State = tuple[tf.Tensor, ...]
Batch = dict[str, Any]
OnProgress = Callable[[int, int | None], None]


class Task(Protocol):
    """A job for a recurrent network: its data, its model, its loss and its use."""

    name: ClassVar[str]
    unit: ClassVar[str]  # what a loss has a weight of 1 for: `tokens`, `texts`
    judged_first: ClassVar[
        tuple[str, ...]
    ]  # the parts an evaluation takes unless told, the first that is there
    config: Any
    notes: tuple[str, ...]  # what whoever trains should know of the data, once it is prepared

    def prepare(self, source: Any, on_progress: OnProgress | None = None) -> None:
        """Reads the source: vocabulary and splits.

        Args:
            source: an opened corpus, or anything the task's own docstring names.
            on_progress: called with (bytes read, bytes in all or None) while a long source is read.

        Raises:
            SourceError: when it cannot be read or holds too little.
        """
        ...

    @property
    def source(self) -> dict[str, Any]:
        """Where the data came from, JSON-able: a description that opens it again, and its content hash."""
        ...

    def reopen(self, description: dict[str, Any]) -> tuple[Any, str]:
        """What `source` described, opened again for `prepare`, and its name for messages.

        Raises:
            SourceError: when it is not there any more.
            KeyError, TypeError: when it is no description.
        """
        ...

    def vocabulary(self) -> dict[str, Any]:
        """The encoder, and whatever else of the data the task's use needs, JSON-able."""
        ...

    def restore(self, vocabulary: dict[str, Any]) -> None:
        """Takes a vocabulary saved earlier; `prepare` keeps it then, and `build` works without `prepare`."""
        ...

    def has(self, split: str) -> bool:
        """Whether this part holds anything: `train`, `validation` or `test`."""
        ...

    def rows(self, split: str, *, evaluate: bool = False) -> int:
        """Rows of a global batch, in training or when the part is read once in order."""
        ...

    def steps(self, split: str, *, evaluate: bool = False) -> int:
        """Batches in one epoch, or in reading the part once in order."""
        ...

    def batches(
        self, split: str, *, epoch: int | None = None, start: int = 0, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on: a pure function of its arguments.

        Without an epoch the part is read once, in order, for evaluation.

        A shard (index, count) holds the contiguous rows [index · rows / count, (index + 1) · rows / count) of
        every global batch. Each batch has "first_row", the number of its first row in the global batch.
        """
        ...

    def signature(self) -> dict[str, tf.TensorSpec] | None:
        """What every batch is, with None for sizes that differ; None when all batches have the same sizes."""
        ...

    @property
    def carries_state(self) -> bool:
        """Whether a training batch begins with the state the one before it ended with."""
        ...

    def build(self) -> Any:
        """A keras.Model with explicit state in and out; equal configs build equal weights."""
        ...

    def initial_state(self, model: Any, rows: int) -> State:
        """The state before the first step: a flat tuple of (rows, units) tensors."""
        ...

    def state_names(self, model: Any) -> tuple[str, ...]:
        """Stable names for the state's tensors."""
        ...

    def loss(
        self, model: Any, batch: Batch, state: State, *, step: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor], State]:
        """What a batch adds to the loss.

        Args:
            model: from `build`.
            batch: from `batches`, as tensors.
            state: a flat tuple of (rows, units) tensors.
            step: the training step, which dropout masks are drawn from; None evaluates without dropout.

        Returns:
            The summed loss in nats, its weight (loss / weight is the mean), further sums by name, the new
            state.
        """
        ...

    def metrics(self, loss: float, weight: float, sums: dict[str, float]) -> dict[str, float]:
        """The figures people read, from sums over any number of batches."""
        ...

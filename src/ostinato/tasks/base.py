"""The contract between a task and all that trains, evaluates and uses it.

A loss comes as sums, never as means, so that workers with unequal numbers of tokens add up exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import tensorflow as tf

from ostinato.cells.base import State, StateSpec

Batch = dict[str, Any]
OnProgress = Callable[[int, int | None], None]


class Loss(NamedTuple):
    """What a batch adds to the loss: sums.

    Attributes:
        total: the summed loss, a scalar; in nats where it is a likelihood.
        weight: what it is summed over, a scalar: total / weight is the mean.
        sums: further sums by name, scalars, for the metrics.
        state: the recurrent state that the batch ended in; none where no state is carried.
    """

    total: Any
    weight: Any
    sums: dict[str, Any] = {}  # noqa: RUF012
    state: State = ()


class Metric(NamedTuple):
    """A figure that people read.

    Attributes:
        name: as rows of metrics.jsonl and the command line call it, for example `bits_per_character`.
        value: nan where it is undefined.
        unit: what it is counted in, for example `nats per token`; empty for a plain number.
        better: which way is better, `lower` or `higher`.
    """

    name: str
    value: float
    unit: str = ""
    better: Literal["lower", "higher"] = "lower"

    def beats(self, value: float | None) -> bool:
        """Whether it is better than an earlier value; anything is better than none."""
        if value is None:
            return True
        return self.value < value if self.better == "lower" else self.value > value


Metrics = tuple[Metric, ...]
"""The first one of the validation part chooses the best checkpoint."""


def as_figures(metrics: Metrics) -> dict[str, float]:
    """The values by name."""
    return {metric.name: metric.value for metric in metrics}


class Task(Protocol):
    """A job for a recurrent network: its data, its model, its loss and its use."""

    name: ClassVar[str]
    prefix: ClassVar[str]  # runs are called runs/PREFIX-001
    unit: ClassVar[str]  # what a loss has a weight of 1 for: `tokens`, `texts`
    judged_first: ClassVar[tuple[str, ...]]  # an evaluation takes the first of these parts that exists
    config: Any
    notes: tuple[str, ...]  # what the user should know of the data; set by `prepare`

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
            KeyError, TypeError: when the description is malformed.
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

    def for_evaluation(self, *, whole: bool) -> Task:
        """The same task, to evaluate a trained model with; it keeps the vocabulary.

        Args:
            whole: take the source as one part, `train`, instead of splitting it as in training.
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

    def states(self, model: Any) -> tuple[StateSpec, ...]:
        """The tensors of the recurrent state; none where every batch begins anew."""
        ...

    def loss(self, model: Any, batch: Batch, state: State, *, step: tf.Tensor | None = None) -> Loss:
        """What a batch adds to the loss.

        Args:
            model: from `build`.
            batch: from `batches`, as tensors.
            state: a flat tuple of (rows, units) tensors.
            step: the training step, which dropout masks are drawn from; None evaluates without dropout.
        """
        ...

    def metrics(self, sums: Loss) -> Metrics:
        """The figures that people read, from the sums over any number of batches, as floats."""
        ...


# What a trained task can do; asked with `isinstance`.


@runtime_checkable
class Evaluates(Protocol):
    """Finds more in an evaluation than the figures that `loss` and `metrics` give."""

    def judge(
        self, model: Any, split: str, on_batch: Callable[[int, int], None] | None = None, **options: Any
    ) -> Any:
        """Evaluates a part that the task `has`; what it returns has `figures`, `part` and `notes`."""
        ...

    def judge_quickly(
        self, model: Any, split: str, on_batch: Callable[[int, int], None] | None = None
    ) -> Any:
        """The same at the end of a training, where it may be less exact and faster."""
        ...

    def draw(self, judgement: Any, folder: Path) -> list[Path]:
        """Draws what an evaluation found into files of a folder, and says which."""
        ...


@runtime_checkable
class Generates(Protocol):
    """Writes sequences."""

    def generate(self, model: Any, **options: Any) -> list[str]: ...


@runtime_checkable
class Predicts(Protocol):
    """Answers texts."""

    def predictions(self, model: Any, texts: Iterable[str], **options: Any) -> Iterator[Any]: ...


@runtime_checkable
class Attributes(Protocol):
    """Says what each part of an input contributed to the answer."""

    def explain(self, model: Any, texts: Iterable[str], **options: Any) -> Iterator[Any]: ...


@runtime_checkable
class Aligns(Protocol):
    """Says where the network looked while it wrote."""

    def align(self, model: Any, source: str, target: str) -> Any: ...


@runtime_checkable
class ComparesWords(Protocol):
    """Has an embedding in which words are near to each other or far."""

    def neighbors(self, model: Any, word: str, count: int = 10) -> Any: ...

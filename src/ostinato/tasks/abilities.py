"""Abilities that few tasks have, such as learning new symbols, measuring line by line, choosing at the end.

The abilities of most tasks are in `ostinato.tasks.base`. All are checked with `isinstance`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, runtime_checkable

from ostinato.tasks.base import Answer, Data, Json, Network, OnBatch, OnProgress, Source

if TYPE_CHECKING:
    import numpy as np


@runtime_checkable
class Extends(Protocol):
    """A task whose networks can learn new symbols."""

    def extended(
        self, source: Source, vocabulary: Json, on_progress: OnProgress | None = None
    ) -> tuple[Json, np.ndarray]:
        """A vocabulary with the symbols of a source added.

        Args:
            source, on_progress: as for `Task.read`.
            vocabulary: that of earlier data.

        Returns:
            The vocabulary, and the new ids of the old tokens, int64, shape (tokens,).

        Raises:
            ConfigError: the vocabulary cannot be extended.
            SourceError: the source cannot be read.
        """
        ...


@runtime_checkable
class Prepares(Protocol):
    """A task that finds some weights from the data before the first step, such as those of a linear model."""

    def prepare(self, model: Network, data: Data) -> tuple[str, ...]:
        """Sets the weights. Of several workers only the chief calls it.

        Args:
            model: from `Task.build`, perhaps with the weights of another run.
            data: from `Task.read`.

        Returns:
            Sentences for the user.
        """
        ...


@runtime_checkable
class ReadsItsSource(Protocol):
    """Needs the source of its run for some of what it does."""

    def reading(self, source: Json) -> Self:
        """Itself, which remembers `Data.source` of the run."""
        ...


@runtime_checkable
class MeasuresLines(Protocol):
    """Computes the loss of every line of a part."""

    def line_losses(self, data: Data, name: str, on_batch: OnBatch | None = None) -> Iterator[Answer]: ...


@runtime_checkable
class AdaptsWhileReading(Protocol):
    """Can be evaluated dynamically, too: with weights that adapt to the text."""

    def dynamic(
        self, data: Data, name: str, on_batch: OnBatch | None = None, **options: object
    ) -> dict[str, float]:
        """The figures of a part of the data, named so that they are not taken for those of fixed weights."""
        ...


class Quality(NamedTuple):
    """How good answers are: a measure, such as BLEU, of which more is better, and its value."""

    measure: str
    value: float


@runtime_checkable
class RanksCheckpoints(Protocol):
    """Measures its answers on the validation part, which the loss does not foretell.

    At the end of a training the last checkpoint is preferred to that of the lowest loss if it is better.
    """

    def quality(self, data: Data, part: str) -> Quality: ...


@runtime_checkable
class Chooses(Protocol):
    """Chooses how it decides, such as thresholds, on the validation part at the end of a training.

    The vocabulary with what was chosen on a part is returned; None if there is nothing to choose.
    """

    def with_choices(self, data: Data, part: str) -> Json | None: ...


@runtime_checkable
class Tabulates(Protocol):
    """A `Printer` whose answers are also the cells of a table."""

    def cells(self, texts: list[str]) -> list[dict[str, object]]:
        """The answer to each text, by the name of its column; all have the same names."""
        ...

    def end(self) -> None:
        """Called after the last text."""
        ...

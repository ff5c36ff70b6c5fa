"""Reading the source of a run again, to resume its training or to evaluate it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ostinato.errors import EncodingError, RunError
from ostinato.runs.directory import RunDirectory
from ostinato.runs.opened import source_of
from ostinato.tasks.base import Data, OnProgress, Task


@runtime_checkable
class Named(Protocol):
    """A source with a name for messages."""

    name: str


def read_again(task: Task, run: RunDirectory, on_progress: OnProgress | None) -> Data:
    """Reads a run's own source again.

    Raises:
        RunError: when it has changed, or its description is damaged.
        SourceError: when it can no longer be read.
    """
    expected = run.source.get("sha256")
    source = source_of(run)
    name = f" ({source.name})" if isinstance(source, Named) else ""
    changed = f"the source of {run.path} has changed since training began{name}"
    try:
        data = task.read(source, vocabulary=run.vocabulary, on_progress=on_progress)
    except EncodingError as error:
        raise RunError(f"{changed}: {error}") from None
    if data.source["sha256"] != expected:
        raise RunError(f"{changed}; restore it, or start a new run")
    return data

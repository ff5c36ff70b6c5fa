"""The source of a run, read again: to go on with its training, or to judge what came of it."""

from __future__ import annotations

from ostinato.errors import EncodingError, RunError
from ostinato.runs.directory import RunDirectory
from ostinato.tasks.base import OnProgress, Task


def prepare_again(task: Task, run: RunDirectory, on_progress: OnProgress | None) -> None:
    """Reads a run's own source again, and refuses another text."""
    try:
        expected = run.source["sha256"]
        source, name = task.reopen(run.source["description"])
    except (KeyError, TypeError) as error:
        raise RunError(f"{run.path / 'config.json'} is damaged: its source: {error!r}") from None
    changed = f"the source of {run.path} has changed since training began ({name})"
    try:
        task.prepare(source, on_progress)
    except EncodingError as error:
        raise RunError(f"{changed}: {error}") from None
    if task.source["sha256"] != expected:
        raise RunError(f"{changed}; restore it, or start a new run")

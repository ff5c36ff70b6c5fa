"""Shared by the commands that train: whether to train at all, the progress bar, and the result."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ostinato.cli.quiet import import_tensorflow

if TYPE_CHECKING:
    from ostinato.runs.trained import TrainedRun
    from ostinato.training.progress import ProgressView

_only_checks: ContextVar[bool] = ContextVar("only_checks", default=False)


@contextmanager
def only_checking() -> Iterator[None]:
    """A context in which commands that train only check their options."""
    before = _only_checks.set(True)
    try:
        yield
    finally:
        _only_checks.reset(before)


def ready() -> bool:
    """Whether to train, after all checks that need no TensorFlow; imports TensorFlow if so."""
    if _only_checks.get():
        return False
    import_tensorflow()
    return True


def in_cluster() -> bool:
    """Whether this process is one of several workers, which report errors in their files to each other."""
    return bool(os.environ.get("TF_CONFIG")) or os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1"


@contextmanager
def progress() -> Iterator[ProgressView]:
    """A progress view on standard error, closed when the block ends."""
    from ostinato.training.progress import ProgressView

    view = ProgressView(sys.stderr)
    try:
        yield view
    finally:
        view.close()


def print_trained(trained: TrainedRun, as_json: bool) -> None:
    """Prints, on the chief, the path of a run and how to use it, or its last figures as one JSON object."""
    from ostinato.tasks import registry
    from ostinato.training.cluster import is_chief

    if not is_chief():
        return
    path, rows = trained.directory.path, trained.directory.rows()
    last = {row["split"]: row for row in rows}
    if as_json:
        print(json.dumps({"run": str(path), "best_step": trained.step, **last}))
        return
    output = registry.spec(trained.directory.task).output
    for command, arguments in (("generate", ""), ("predict", ' "…"')):
        if command in output:
            print(f"use it: ostinato {command} {path}{arguments}", file=sys.stderr)
    print(path)

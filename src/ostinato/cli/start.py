"""What every command that trains does with its flags: check them, train, and tell what came of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import typer

from ostinato.cli.quiet import import_tensorflow
from ostinato.errors import RunError

_only_checks: ContextVar[bool] = ContextVar("only_checks", default=False)


@contextmanager
def only_checking() -> Iterator[None]:
    """While it lasts, commands that train check what they are asked, and do not train."""
    before = _only_checks.set(True)
    try:
        yield
    finally:
        _only_checks.reset(before)


def ready() -> bool:
    """Whether to train, now that all is checked that can be without TensorFlow; it is imported then."""
    if _only_checks.get():
        return False
    import_tensorflow()
    return True


def in_cluster() -> bool:
    """Whether this process is one of several, of which each tells the others what is wrong with its files."""
    return bool(os.environ.get("TF_CONFIG")) or os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1"


def check_choices(flags: dict[str, Any]) -> None:
    """Refuses two budgets, or two places that the settings come from. Raises typer.BadParameter."""
    budgets = [name for name in ("epochs", "steps", "minutes") if flags[name] is not None]
    if len(budgets) > 1:
        raise typer.BadParameter(
            f"a run has one budget; choose one of {', '.join(f'--{name}' for name in budgets)}"
        )
    if flags["recipe"] is not None and flags["config"] is not None:
        raise typer.BadParameter("--recipe and --config both give the settings; choose one")


def checked(config_class: Any, flags: dict[str, Any]) -> tuple[Any, Any]:
    """The settings of a task and of its training, once nothing but the source can be wrong with the flags.

    Args:
        config_class: of the task, for example `LanguageModelConfig`.
        flags: by name; None where a flag was not given.

    Raises:
        ConfigError: a setting is unknown, out of range or contradictory.
        RunError: --init-from is no run that can be used, or something is in the way of --out.
    """
    from ostinato.cli import runs
    from ostinato.cli.settings import settings
    from ostinato.runs.directory import check_free

    found = settings(config_class, flags)
    if in_cluster():
        return found
    if flags["init_from"] is not None:
        runs.check_start(flags["init_from"], config_class.task)
    if flags["out"] is not None:
        check_free(flags["out"], overwrite=flags["overwrite"])
        _check_writable(flags["out"])
    return found


def _check_writable(path: Path) -> None:
    """Refuses a path where no folder can be made."""
    place = Path(os.path.abspath(path)).parent
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    reason = "Not a directory" if not place.is_dir() else "Permission denied"
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise RunError(f"could not write {path}: {reason}")


def train(flags: dict[str, Any], task_config: Any, training_config: Any, source: Any) -> None:
    """Trains, shows how it goes, and tells what came of it.

    Args:
        flags: by name; of them `out`, `overwrite`, `init_from`, `devices` and `as_json` are used here.
        task_config, training_config: from `checked`.
        source: what the task trains on.
    """
    from ostinato.training import run as training

    with progress() as view:
        trained = training.train(
            task_config,
            source,
            training=training_config,
            out=flags["out"],
            overwrite=flags["overwrite"],
            init_from=flags["init_from"],
            devices=flags["devices"],
            on_event=view,
            on_progress=view.reading,
        )
    tell(trained, flags["as_json"])


@contextmanager
def progress() -> Iterator[Any]:
    """A `ProgressView` on standard error, closed when the block ends."""
    from ostinato.training.progress import ProgressView

    view = ProgressView(sys.stderr)
    try:
        yield view
    finally:
        view.close()


def tell(trained: Any, as_json: bool) -> None:
    """Prints the path of a run and how to use it, or its last figures as one JSON object. The chief does."""
    from ostinato.tasks.base import Aligns, Attributes, Generates
    from ostinato.training.workers import is_chief

    if not is_chief():
        return
    path, rows = trained.directory.path, trained.directory.rows()
    last = {row["split"]: row for row in rows}
    if as_json:
        print(json.dumps({"run": str(path), "best_step": trained.step, **last}))
        return
    uses: tuple[tuple[type[Any], str], ...] = (
        (Generates, "write with it: ostinato generate {}"),
        (Aligns, 'translate with it: ostinato predict {} "…"'),
        (Attributes, 'ask it: ostinato predict {} "…"'),
    )
    for can, sentence in uses:
        if isinstance(trained.task, can):
            print(sentence.format(path), file=sys.stderr)
    print(path)

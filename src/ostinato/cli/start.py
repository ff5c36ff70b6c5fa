"""What every command that trains does with its flags: check them, train, and tell what came of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer


def check_choices(flags: dict[str, Any]) -> None:
    """Refuses two budgets, or two places that the settings come from. Raises typer.BadParameter."""
    budgets = [name for name in ("epochs", "steps", "minutes") if flags[name] is not None]
    if len(budgets) > 1:
        raise typer.BadParameter(
            f"a run has one budget; choose one of {', '.join(f'--{name}' for name in budgets)}"
        )
    if flags["recipe"] is not None and flags["config"] is not None:
        raise typer.BadParameter("--recipe and --config both give the settings; choose one")


def train(flags: dict[str, Any], task_config: Any, training_config: Any, source: Any) -> None:
    """Trains, shows how it goes, and tells what came of it.

    Args:
        flags: by name; of them `out`, `overwrite`, `init_from`, `devices` and `as_json` are used here.
        task_config, training_config: from `settings`.
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
    from ostinato.training.workers import is_chief

    if not is_chief():
        return
    path, rows = trained.directory.path, trained.directory.rows()
    last = {row["split"]: row for row in rows}
    if as_json:
        print(json.dumps({"run": str(path), "best_step": trained.step, **last}))
        return
    uses = {
        "generate": "write with it: ostinato generate {}",
        "align": 'translate with it: ostinato predict {} "…"',
        "explain": 'ask it: ostinato predict {} "…"',
    }
    for use, sentence in uses.items():
        if hasattr(trained.task, use):
            print(sentence.format(path), file=sys.stderr)
    print(path)

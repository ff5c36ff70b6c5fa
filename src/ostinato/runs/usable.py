"""Whether a run can be used, and what for, as far as that is known before TensorFlow is imported."""

from __future__ import annotations

from typing import Any

from ostinato.errors import ConfigError, RunError
from ostinato.layers import registry
from ostinato.runs.directory import RunDirectory
from ostinato.tasks import config_class
from ostinato.wording import hint_after, quoted

USES = {
    "generate": (("language_model",), "which does not generate text"),
    "predictions": (
        ("classifier", "translator"),
        "which does not predict labels or translations; ostinato train classify and ostinato train translate "
        "train those that do",
    ),
    "align": (("translator",), "which aligns no sentences; ostinato train translate trains one that does"),
    "explain": (
        ("classifier",),
        "which has no decisions to explain; ostinato train classify trains one that does",
    ),
    "neighbors": (("classifier",), "which has no neighbors of words"),
}
"""The uses of runs: of which tasks, and what to say of the others."""


def check_checkpoint(which: str) -> None:
    """Refuses what names no checkpoint. Raises ConfigError."""
    known = ("best", "last")
    if which not in known:
        hint = hint_after(which, known)
        raise ConfigError(f"checkpoint = {which!r}: expected 'best' or 'last'{hint}")


def check_use(directory: RunDirectory, use: str) -> None:
    """Refuses a use that the run's task does not have.

    Args:
        directory: the run.
        use: one of `USES`.

    Raises:
        ConfigError: saying which task does.
    """
    if directory.task not in USES[use][0]:
        raise refusal(directory, directory.task, use)


def refusal(directory: RunDirectory, task: str, use: str) -> ConfigError:
    """What to say of a run whose task has no such use."""
    return ConfigError(f"{directory.path} is a {task} run, {USES[use][1]}")


def settings_of(directory: RunDirectory) -> Any:
    """The config of a run's task.

    Raises:
        RunError: the run's settings are damaged, or need a package that is not installed.
    """
    settings_class = config_class(directory.task)
    _check_cell(directory)
    try:
        return settings_class(**directory.task_config)
    except (ConfigError, TypeError) as error:
        raise RunError(f"{directory.path / 'config.json'} is damaged: {error}") from None


def _check_cell(directory: RunDirectory) -> None:
    """Refuses a run whose cell no installed package brings."""
    cell = directory.task_config.get("cell")
    if not isinstance(cell, str) or cell in registry.cells():
        return
    package = directory.packages.get(cell)
    if isinstance(package, str):
        raise RunError(
            f"{directory.path} needs the cell {quoted(cell)} of the package {quoted(package)}, which is not "
            "installed here; install it"
        )
    raise RunError(
        f"{directory.path} needs the cell {quoted(cell)}, which no installed package brings; install the one "
        "that does"
    )

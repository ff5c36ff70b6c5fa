"""Checks of a run before TensorFlow is imported, which takes seconds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from ostinato.cells import registry as cells
from ostinato.errors import ConfigError, RunError
from ostinato.runs.checkpoints import Checkpoint
from ostinato.runs.directory import RunDirectory, open_run
from ostinato.tasks import registry
from ostinato.tasks.base import RunFacts, TaskSpec
from ostinato.tasks.config import TaskConfig
from ostinato.wording import hint_after, quoted, shown

if TYPE_CHECKING:
    from ostinato.runs.trained import TrainedRun


_VERBS = {"neighbors": "show neighbors"}
"""The verbs of commands that are not verbs themselves."""


class OpenedRun(NamedTuple):
    """A run whose network is not built yet.

    Attributes:
        directory: the run directory.
        spec: its task.
        config: the task's settings.
        saved: the chosen checkpoint, with its weights.
    """

    directory: RunDirectory
    spec: TaskSpec
    config: TaskConfig
    saved: Checkpoint

    @property
    def facts(self) -> RunFacts:
        """The facts that a command checks its flags against."""
        return RunFacts(self.directory.path, self.config, self.directory.vocabulary)

    def loaded(self) -> TrainedRun:
        """The run with its network; imports TensorFlow."""
        from ostinato.runs.trained import from_checkpoint

        return from_checkpoint(self.directory, self.saved)


def open_to_use(path: str | os.PathLike[str], checkpoint: str, command: str | None = None) -> OpenedRun:
    """Opens a run for a command.

    Args:
        path: the run directory.
        checkpoint: `best` or `last`.
        command: a command of the command line; None is one that all tasks have.

    Raises:
        ConfigError: the run's task lacks the command, or `checkpoint` is not valid.
        RunError: the path is not a run directory, is damaged, or was written by a newer version.
    """
    check_checkpoint(checkpoint)
    directory = open_run(path)
    config = settings_of(directory)
    spec = registry.spec_of(config)
    if command is not None and command not in spec.output:
        raise refusal(directory, command)
    return OpenedRun(directory, spec, config, directory.weights(checkpoint))


def check_start(path: str | os.PathLike[str], config_class: type[TaskConfig]) -> RunDirectory:
    """Checks that a training can start from a run.

    Args:
        path: the run directory.
        config_class: the config of the new run's task.

    Raises:
        ConfigError: the run has another task.
        RunError: the path is not a run directory, is damaged, or was written by a newer version.
    """
    directory = open_run(path)
    if directory.task != config_class.task:
        raise ConfigError(f"{directory.path} is a {directory.task} run, not a {config_class.task} run")
    settings_of(directory)
    directory.newest_checkpoint(())
    return directory


def check_resume(path: str | os.PathLike[str]) -> None:
    """Checks that a run can resume. Raises RunError, or SourceError when its source no longer exists."""
    directory = open_run(path)
    settings_of(directory)
    checkpoint, _ = directory.newest_checkpoint(())
    if checkpoint.position.get("ended") is None:
        source_of(directory)


def source_of(directory: RunDirectory) -> object:
    """A run's own source, opened again for `Task.read`.

    Raises:
        SourceError: when it no longer exists.
        RunError: when its description is damaged.
    """
    spec, description = registry.spec(directory.task), directory.source.get("description")
    damaged = f"{directory.path / 'config.json'} is damaged: its source:"
    # A user may give None, texts or standard input as a source; a saved description is never one of these.
    if not isinstance(description, dict | str) or description == "-":
        raise RunError(f"{damaged} {shown(repr(description))}")
    try:
        return spec.source(description)
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{damaged} {error!r}") from None


def check_checkpoint(which: str) -> None:
    """Raises ConfigError for a name other than `best` and `last`."""
    known = ("best", "last")
    if which not in known:
        raise ConfigError(f"checkpoint must be 'best' or 'last', got {which!r}{hint_after(which, known)}")


def refusal(directory: RunDirectory, command: str) -> ConfigError:
    """The error for a run that a command cannot use."""
    able = [f"ostinato train {spec.command}" for spec in registry.specs() if command in spec.output]
    hint = f"; {' and '.join(able)} train{'' if len(able) > 1 else 's'} runs that can" if able else ""
    verb = _VERBS.get(command, command)
    return ConfigError(f"{directory.path} is a {directory.task} run, which cannot {verb}{hint}")


def settings_of(directory: RunDirectory) -> TaskConfig:
    """The config of a run's task.

    Raises:
        RunError: the run's settings are damaged, or need a package that is not installed.
    """
    _check_package(directory, "task", directory.task, registry.names())
    config_class = registry.spec(directory.task).config
    cell = directory.task_config.get("cell")
    if isinstance(cell, str):
        _check_cell(directory, cell)
    try:
        return config_class(**directory.task_config)
    except (ConfigError, TypeError) as error:
        raise RunError(f"{directory.path / 'config.json'} is damaged: {error}") from None


def _check_cell(directory: RunDirectory, cell: str) -> None:
    """Refuses a run that needs a cell that no installed package provides, or that cannot be imported."""
    if ":" not in cell:
        return _check_package(directory, "cell", cell, cells.cells(), unknown=True)
    try:
        cells.check(cell)
    except ConfigError as error:
        package = directory.packages.get(cell)
        of = f" of the {quoted(package)}" if isinstance(package, str) else ""
        raise RunError(f"{directory.path} needs the cell {quoted(cell)}{of}: {error}") from None


def _check_package(
    directory: RunDirectory, what: str, name: str, known: tuple[str, ...], *, unknown: bool = False
) -> None:
    """Refuses a run that needs a task or cell that no installed package provides.

    Args:
        directory: the run.
        what: "task" or "cell".
        name: the name of the task or cell.
        known: the known names.
        unknown: also refuse a name without a package in the run's config.
    """
    package = directory.packages.get(name)
    if name in known:
        return
    if isinstance(package, str):
        raise RunError(
            f"{directory.path} needs the {what} {quoted(name)} of the package {quoted(package)}, which is "
            "not installed here; install it"
        )
    if unknown:
        raise RunError(
            f"{directory.path} needs the {what} {quoted(name)}, which no installed package brings; install "
            "the one that does"
        )

"""The tasks by name: those of this folder, and those of other packages.

A package adds a task with an entry point in the group `ostinato.tasks` that names a `TaskSpec`:

    [project.entry-points."ostinato.tasks"]
    tagger = "mypackage.tagger:SPEC"
"""

from __future__ import annotations

import importlib
import importlib.metadata
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from ostinato.errors import ConfigError, RunError
from ostinato.wording import hint_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from ostinato.tasks.base import Task, TaskSpec
    from ostinato.tasks.config import TaskConfig
    from ostinato.tasks.fitting import Fitted

_OWN = ("language_model", "classifier", "translator", "music")
GROUP = "ostinato.tasks"


@cache
def specs() -> tuple[TaskSpec, ...]:
    """All tasks, our own first.

    Raises:
        ConfigError: if a task of another package does not load, or has the name or command of another task.
    """
    found: list[TaskSpec] = [importlib.import_module(f"ostinato.tasks.{name}").SPEC for name in _OWN]
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name):
        spec = _loaded(point)
        for other in found:
            if other.command == spec.command or other.config.task == spec.config.task:
                raise ConfigError(
                    f"the task {point.name!r} ({point.value}) must have a name and a command of its own, got "
                    f"{spec.config.task!r} and {spec.command!r}"
                )
        found.append(spec)
    return tuple(found)


def spec(name: str) -> TaskSpec:
    """The task with a name, as in run directories and recipes.

    Raises:
        RunError: if there is no such task.
    """
    for each in specs():
        if each.config.task == name:
            return each
    raise RunError(f"unknown task {name!r}; this version has {', '.join(names())}{hint_after(name, names())}")


def spec_of(config: TaskConfig) -> TaskSpec:
    """The task that a config belongs to.

    Raises:
        ConfigError: if it is not the config of a task.
    """
    for each in specs():
        if isinstance(config, each.config):
            return each
    known = ", ".join(each.config.__name__ for each in specs())
    raise ConfigError(f"the config must be one of {known}, got {type(config).__name__}")


def names() -> tuple[str, ...]:
    """The names of all tasks."""
    return tuple(each.config.task for each in specs())


def make(config: TaskConfig) -> Task:
    """The task of a config; imports TensorFlow.

    Raises:
        ConfigError: if it is not the config of a task.
    """
    from ostinato.tasks.base import Task

    kind = spec_of(config).task
    if isinstance(kind, str):
        kind = _at(kind)
    if Task not in kind.__mro__:  # adds the defaults of missing members
        kind = type(kind.__name__, (kind, Task), {})
    return cast("Callable[[TaskConfig], Task]", kind)(config)


def rule_of(config: TaskConfig) -> Callable[..., Fitted] | None:
    """The rule for the default settings of a config's task; None if it has none. Imports TensorFlow."""
    rule = spec_of(config).rule
    return None if rule is None else _at(rule)


def _at(place: str) -> Any:
    """What stands at "module:name"."""
    module, _, name = place.partition(":")
    return vars(importlib.import_module(module))[name]


def package_of(config: TaskConfig) -> str | None:
    """The name and version of the package with the task of a config; None for our own tasks."""
    for point in importlib.metadata.entry_points(group=GROUP):
        if point.dist is not None and _loaded(point) is spec_of(config):
            return f"{point.dist.name} {point.dist.version}"
    return None


def _loaded(point: importlib.metadata.EntryPoint) -> TaskSpec:
    from ostinato.tasks.base import TaskSpec

    try:
        found = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the task {point.name!r} ({point.value}) does not load: {error}") from error
    if not isinstance(found, TaskSpec):
        raise ConfigError(
            f"the task {point.name!r} ({point.value}) must be a TaskSpec, got {type(found).__name__}"
        )
    return found

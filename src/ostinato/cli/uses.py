"""The commands that use a run. They have the flags of all tasks; a run accepts only those of its task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Annotated

import typer

from ostinato.cli import flags
from ostinato.cli.flags import Parameter, Values
from ostinato.errors import ConfigError
from ostinato.runs.opened import OpenedRun
from ostinato.tasks import registry
from ostinato.tasks.base import Answer, TaskSpec

Checkpoint = Annotated[str, typer.Option(help="Use the `best` or the `last` checkpoint.")]


def of_task(spec: TaskSpec, command: str) -> list[Parameter]:
    """The flags of a task for a command; empty if the task lacks the command."""
    return flags.of_function(spec.output[command])[1] if command in spec.output else []


def of_all_tasks(command: str) -> list[Parameter]:
    """The flags of all tasks for a command."""
    return flags.union(each for spec in registry.specs() for each in of_task(spec, command))


def with_flags(function: Callable[..., None], parameters: list[Parameter]) -> Callable[..., None]:
    """Adds the flags of tasks to a command, which receives their values as `given`.

    Args:
        function: the function of a command, with `given` as its last parameter.
        parameters: the flags of the tasks.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())[:-1]
    names = {each.name for each in parameters}

    def run(**values: object) -> None:
        given = {name: value for name, value in values.items() if name in names and value not in (None, [])}
        function(**{name: value for name, value in values.items() if name not in names}, given=given)

    run.__doc__ = function.__doc__
    run.__signature__ = flags.signature([*own, *map(flags.option, parameters)])  # pyright: ignore[reportFunctionMemberAccess]
    return run


def checked(opened: OpenedRun, command: str, given: Values, *arguments: object, **options: object) -> Answer:
    """The result of the function of the task for a command; see `ostinato.tasks.base.TaskSpec`.

    Raises:
        ConfigError: if a flag belongs to another task.
    """
    check_own(opened, given, lambda spec: of_task(spec, command))
    function = opened.spec.output[command]
    taken = inspect.signature(function).parameters
    options = {name: value for name, value in options.items() if name in taken}
    return function(opened.facts, *arguments, **options, **given)


def check_own(
    opened: OpenedRun, given: Iterable[str], flags_of: Callable[[TaskSpec], list[Parameter]]
) -> None:
    """Refuses flags that the task of a run does not have.

    Args:
        opened: the run.
        given: the names of the flags.
        flags_of: returns the flags of a task.

    Raises:
        ConfigError: if a flag belongs to another task.
    """
    own = {each.name for each in flags_of(opened.spec)}
    for name in given:
        if name not in own:
            others = [
                f"ostinato train {spec.command}"
                for spec in registry.specs()
                if name in [each.name for each in flags_of(spec)]
            ]
            raise ConfigError(
                f"{flags.dashed(name)} is for runs of {' and '.join(others)}; "
                f"{opened.directory.path} is a {opened.directory.task} run"
            )

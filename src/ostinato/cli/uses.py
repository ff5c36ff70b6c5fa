"""The commands that use a run: their flags are those of all tasks, and a run's task takes its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated

import typer

from ostinato.cli import flags
from ostinato.cli.flags import Parameter, Values
from ostinato.errors import ConfigError
from ostinato.runs.opened import OpenedRun
from ostinato.tasks import registry
from ostinato.tasks.base import Answer

Checkpoint = Annotated[str, typer.Option(help="Use the `best` or the `last` checkpoint.")]


def of_all_tasks(command: str) -> list[Parameter]:
    """The flags that any task has for a command."""
    functions = (spec.output[command] for spec in registry.specs() if command in spec.output)
    return flags.union(each for function in functions for each in flags.of_function(function)[1])


def with_flags(function: Callable[..., None], parameters: list[Parameter]) -> Callable[..., None]:
    """A function whose last parameter, `given`, is what the flags of tasks gave.

    Args:
        function: of a command, with `given` as its last parameter.
        parameters: of the tasks.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())[:-1]
    names = {each.name for each in parameters}

    def run(**values: object) -> None:
        given = {name: value for name, value in values.items() if name in names and value is not None}
        function(**{name: value for name, value in values.items() if name not in names}, given=given)

    run.__doc__ = function.__doc__
    run.__signature__ = flags.signature([*own, *map(flags.option, parameters)])  # pyright: ignore[reportFunctionMemberAccess]
    return run


def checked(opened: OpenedRun, command: str, given: Values, *arguments: object, **options: object) -> Answer:
    """What the run's task makes of its flags for a command; see `ostinato.tasks.base.TaskSpec`.

    Raises:
        ConfigError: a flag is another task's.
    """
    function = opened.spec.output[command]
    own = [each.name for each in flags.of_function(function)[1]]
    for name in given:
        if name not in own:
            others = [
                spec.command
                for spec in registry.specs()
                if command in spec.output
                and name in [each.name for each in flags.of_function(spec.output[command])[1]]
            ]
            raise ConfigError(
                f"--{name.replace('_', '-')} is about runs of ostinato train {' and '.join(others)}; "
                f"{opened.directory.path} is a {opened.directory.task} run"
            )
    taken = inspect.signature(function).parameters
    options = {name: value for name, value in options.items() if name in taken}
    return function(opened.facts, *arguments, **options, **given)

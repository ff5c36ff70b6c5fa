"""A command with a command for each task below it: `ostinato train lm`, `ostinato tune lm`."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import typer
from typer.core import TyperGroup

from ostinato.cli import usage
from ostinato.cli.usage import Command
from ostinato.tasks import registry
from ostinato.tasks.base import TaskSpec


class TaskGroup(TyperGroup):
    """A command for each task.

    Attributes:
        make: makes the command of a task.
    """

    make: ClassVar[Callable[[TaskSpec], Command]]

    def list_commands(self, ctx: Command) -> list[str]:
        return [spec.command for spec in registry.specs()]

    def get_command(self, ctx: Command, cmd_name: str) -> Command:
        spec = next((spec for spec in registry.specs() if spec.command == cmd_name), None)
        return None if spec is None else type(self).make(spec)


def group_command(kind: type[TaskGroup], callback: Callable[..., None], *, bare_is_help: bool) -> Command:
    """The Click command of a group; `callback` has its own options.

    Args:
        kind: the class of the group.
        callback: what runs before the command of a task.
        bare_is_help: whether the group without anything behind it shows its help.
    """
    app = typer.Typer(
        cls=kind,
        invoke_without_command=True,
        no_args_is_help=bare_is_help,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings=usage.HELP_NAMES,
    )
    app.callback()(callback)
    return typer.main.get_command(app)

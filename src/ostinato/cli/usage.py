"""What is wrong with a command line, in one sentence, and what was probably meant."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from ostinato.wording import hint_after, nearest

# Typer brings Click along, under a name that changed over its versions.
UsageError: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def sentence(error: Any) -> str:
    """What a usage error says; of an option that there is not, which one was probably meant."""
    name = getattr(error, "option_name", None)
    if name is None or not hasattr(error, "possibilities"):
        return error.format_message()
    context = getattr(error, "ctx", None)
    known = [] if context is None else [opt for param in context.command.params for opt in param.opts]
    return f"No such option: {name}{hint_after(name, [each for each in known if each.startswith('--')])}"


class Commands(TyperGroup):
    """The commands in the order in which one meets them, and a hint for a name that is none."""

    order = ("train", "generate", "predict", "evaluate", "neighbors", "bench", "launch", "recipes", "info")

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=self.order.index)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except UsageError as error:
            if args[0] not in self.commands and (meant := nearest(args[0], self.order)):
                error.message = f"No such command {args[0]!r}; did you mean {meant!r}?"
            raise

"""Errors of a command line in one sentence, with the name that was probably meant."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand

from ostinato.wording import hint_after

# Typer brings Click along, under a name that changed over its versions.
Command = Any
"""A command, a group or a context of Click; Typer brings its classes along under changing names."""
UsageError: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
HELP_NAMES = {"help_option_names": ["-h", "--help"]}


def sentence(error: Command) -> str:
    """The message of a usage error; for an unknown option also the one that was probably meant."""
    name = getattr(error, "option_name", None)
    if name is None or not hasattr(error, "possibilities"):
        return error.format_message()
    context = getattr(error, "ctx", None)
    known = [] if context is None else [opt for param in context.command.params for opt in param.opts]
    return f"No such option: {name}{hint_after(name, [each for each in known if each.startswith('--')])}"


def click_command(
    function: Callable[..., object],
    kind: type[TyperCommand] | None = None,
    name: str | None = None,
    **settings: object,
) -> Command:
    """The Click command of a function whose parameters are declared as Typer reads them."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    function.__doc__ = "\n\n".join(" ".join(each.split()) for each in paragraphs)
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings=HELP_NAMES | settings,
    )
    app.command(name, cls=kind, context_settings=HELP_NAMES | settings)(function)
    return typer.main.get_command(app)


def listed(name: str, text: str) -> Command:
    """A command as the list of commands shows it."""
    return TyperCommand(name, help=text, rich_markup_mode="rich")

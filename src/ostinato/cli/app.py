"""The `ostinato` command. Every error is one line, with exit code 2.

The module of a command is imported only when it is used, so help and errors appear at once.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from typer.core import TyperGroup

import ostinato
from ostinato.cli import usage
from ostinato.errors import ConfigWarning, EngineWarning, OstinatoError, RunWarning
from ostinato.wording import naming_flags, nearest

COMMANDS = {
    "train": "Train a model; by default a language model.",
    "generate": "Write text with a trained language model.",
    "predict": "Classify or translate texts with a trained model.",
    "evaluate": "Measure a trained model exactly.",
    "neighbors": "Show the nearest and farthest words of a word in a classifier's embedding.",
    "bench": "Measure how much faster your Keras model runs with ostinato, on this machine.",
    "export": "Write a trained network for ONNX, LiteRT, TensorFlow, C, or as weights alone.",
    "launch": "Train with several worker processes on this machine.",
    "tune": "Search for better settings within a budget, and write them as a recipe.",
    "recipes": "List the recipes: settings that are known to work, by task.",
    "info": "Show versions, devices, and which engine runs recurrent layers here, and why.",
}
"""The commands, in the order of the help; `ostinato.cli.commands` has a module for each."""


class Commands(TyperGroup):
    """The commands, imported when they are used, with a hint for an unknown name."""

    def list_commands(self, ctx: usage.Command) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: usage.Command, cmd_name: str) -> usage.Command:
        """A command as the list of all shows it; `resolve_command` gives the one that runs."""
        return usage.listed(cmd_name, COMMANDS[cmd_name]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: usage.Command, args: list[str]) -> usage.Command:
        if args[0] in COMMANDS:
            return args[0], command(args[0]), args[1:]
        try:
            return super().resolve_command(ctx, args)
        except usage.UsageError as error:
            if meant := nearest(args[0], COMMANDS):
                error.message = f"No such command {args[0]!r}; did you mean {meant!r}?"
            raise


def command(name: str) -> usage.Command:
    """The Click command of a name."""
    return importlib.import_module(f"ostinato.cli.commands.{name}").command()


app = typer.Typer(
    name="ostinato",
    cls=Commands,
    help="Recurrent neural networks for TensorFlow: train, write with, and evaluate sequence models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings=usage.HELP_NAMES,
)


def _version(asked: bool) -> None:
    if asked:
        print(f"ostinato {ostinato.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Recurrent neural networks for TensorFlow: train, write with, and evaluate sequence models.

    Start with [bold]ostinato train[/bold]: two minutes later, [bold]ostinato generate runs/lm-001[/bold]
    writes text.
    """


def main() -> None:
    """Runs the command line and exits with 0 on success, 2 on an error, and 130 on Ctrl-C."""
    debug = "--debug" in sys.argv[1:2]
    try:
        with naming_flags(), _warnings_in_one_line():
            code = app(prog_name="ostinato", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except OstinatoError as error:
        _stop(str(error), debug)
    except usage.UsageError as error:
        if not sys.argv[1:]:
            sys.exit(2)  # no command: the help has been printed instead of a message
        _stop(usage.sentence(error), debug)
    except KeyboardInterrupt:
        sys.exit(130)
    except typer.Abort:
        sys.exit(130)


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """A context that prints each of ostinato's warnings as one line on standard error."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: str | int) -> None:
            if issubclass(category, EngineWarning | RunWarning | ConfigWarning):
                print(f"Warning: {message}", file=sys.stderr)
            else:
                others(message, category, *where)  # pyright: ignore[reportArgumentType]

        warnings.showwarning = show
        yield


def _stop(message: str, debug: bool) -> None:
    """Prints an error and exits; called within the `except` block that caught it."""
    if debug:
        raise
    print(f"Error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)

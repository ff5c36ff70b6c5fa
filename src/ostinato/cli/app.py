"""The `ostinato` command, and how everything that goes wrong is told: one line, and exit code 2."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

import ostinato
from ostinato.cli import bench, evaluate, generate, info, launch, neighbors, predict, recipes, train, usage
from ostinato.errors import EngineWarning, OstinatoError, RunWarning

app = typer.Typer(
    name="ostinato",
    cls=usage.Commands,
    help="Recurrent neural networks for TensorFlow: train, write with, and judge sequence models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(train.app, name="train")
# What follows the worker's command belongs to it, options too.
app.command("launch", context_settings={"allow_interspersed_args": False})(launch.launch)
app.command("generate")(generate.generate)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("neighbors")(neighbors.neighbors)
app.command("bench")(bench.bench)
app.command("recipes")(recipes.recipes)
app.command("info")(info.info)


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
    """Recurrent neural networks for TensorFlow: train, write with, and judge sequence models.

    Start with [bold]ostinato train[/bold]: two minutes later, [bold]ostinato generate runs/lm-001[/bold]
    writes text.
    """


def main() -> None:
    """Runs the command line and exits: 0 when all went well, 2 when asked something wrong, 130 on Ctrl-C."""
    debug = "--debug" in sys.argv[1:2]
    try:
        with _warnings_in_one_line():
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
    """Inside the block, ostinato's warnings are printed as one line on standard error."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Any, category: type[Warning], *where: Any) -> None:
            if issubclass(category, EngineWarning | RunWarning):
                print(f"Warning: {message}", file=sys.stderr)
            else:
                others(message, category, *where)

        warnings.showwarning = show
        yield


def _stop(message: str, debug: bool) -> None:
    """Tells what went wrong, from within the `except` that caught it."""
    if debug:
        raise
    print(f"Error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)

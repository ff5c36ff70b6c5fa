"""ostinato neighbors"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ostinato.cli import uses
from ostinato.cli.flags import Values
from ostinato.cli.quiet import import_tensorflow
from ostinato.cli.usage import Command, click_command
from ostinato.runs.opened import open_to_use


def command() -> Command:
    """What Click runs."""
    return click_command(uses.with_flags(neighbors, uses.of_all_tasks("neighbors")))


def neighbors(
    run: Annotated[Path, typer.Argument(help="The run directory, for example runs/classify-001.")],
    word: Annotated[str, typer.Argument(help="A word of the run's vocabulary.")],
    checkpoint: uses.Checkpoint = "best",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    given: Values | None = None,
) -> None:
    """Shows the nearest and farthest words of a word in a classifier's embedding, by cosine.

    Example: ostinato neighbors runs/classify-001 great
    """
    opened = open_to_use(run, checkpoint, "neighbors")
    show = uses.checked(opened, "neighbors", given or {}, word, as_json=as_json)
    import_tensorflow()
    show(opened.loaded().use)

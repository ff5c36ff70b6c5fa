"""ostinato generate"""

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
    return click_command(uses.with_flags(generate, uses.of_all_tasks("generate")))


def generate(
    run: Annotated[Path, typer.Argument(help="The run directory, for example runs/lm-001.")],
    checkpoint: uses.Checkpoint = "best",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of the text.")
    ] = False,
    given: Values | None = None,
) -> None:
    """Writes text with a trained language model, or a piece with a music model.

    A text is printed as it is written; a piece goes to a file.

    Example: ostinato generate runs/lm-001 --prompt "The " --temperature 0.6

    Example: ostinato generate runs/lm-001 --prompt "The " --length 80 --beam 8 --no-repeat 12

    Example: ostinato generate runs/music-001 --steps 256 --out tune.wav
    """
    opened = open_to_use(run, checkpoint, "generate")
    write = uses.checked(opened, "generate", given or {}, as_json=as_json)
    import_tensorflow()
    write(opened.loaded().use)

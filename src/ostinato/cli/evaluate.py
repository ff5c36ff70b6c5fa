"""ostinato evaluate"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ostinato.cli.quiet import import_tensorflow


def evaluate(
    run: Annotated[Path, typer.Argument(help="The run directory, for example runs/lm-001.")],
    source: Annotated[
        str | None, typer.Argument(help="Judge on all of this text instead of a part of the run's own.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="The part of the run's own source: train, validation (the default) or test."),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="Use the `best` or the `last` checkpoint.")] = "best",
    as_json: Annotated[bool, typer.Option("--json", help="Print one flat JSON object.")] = False,
) -> None:
    """Measures a trained model: exactly, over every token, with the state carried from beginning to end.

    Example: ostinato evaluate runs/lm-001 --json
    """
    if split is not None and source is not None:
        raise typer.BadParameter(
            "--split names a part of the run's own source; leave it out when giving a SOURCE"
        )
    if split not in (None, "train", "validation", "test"):
        raise typer.BadParameter(f"--split {split}: expected train, validation or test")
    import_tensorflow()
    from rich.console import Console
    from rich.progress import Progress

    from ostinato.training.run import evaluate as judge

    with Progress(
        console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty()
    ) as progress:
        bar = progress.add_task("reading")
        figures = judge(
            run,
            source,
            split=split or "validation",
            checkpoint=checkpoint,
            on_batch=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    if as_json:
        print(json.dumps(figures))
        return
    what = source if source is not None else f"the {split or 'validation'} part"
    print(f"{run} on {what}, {checkpoint} checkpoint")
    for name, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        print(f"  {name.replace('_', ' '):<20}{shown}")

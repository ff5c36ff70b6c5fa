"""ostinato evaluate"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ostinato.cli.quiet import import_tensorflow

_TABULATED = 20
"""Labels up to which the confusion matrix is printed; the picture has them all."""
_SHOWN = 200
"""Characters of a text that is shown."""


def evaluate(
    run: Annotated[Path, typer.Argument(help="The run directory, for example runs/lm-001.")],
    source: Annotated[
        str | None,
        typer.Argument(help="Judge on all of this text or table instead of a part of the run's own."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="The part of the run's own source: train, validation or test.",
            show_default="validation; of a classifier that kept one: test",
        ),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="Use the `best` or the `last` checkpoint.")] = "best",
    as_json: Annotated[bool, typer.Option("--json", help="Print one flat JSON object.")] = False,
) -> None:
    """Measures a trained model exactly.

    A language model over every token, with the state carried from beginning to end; a classifier over every
    text, with a confusion matrix and the mistakes it was most sure of.

    Example: ostinato evaluate runs/lm-001 --json

    Example: ostinato evaluate runs/classify-001 more-reviews.csv
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

    from ostinato.runs.directory import open_run
    from ostinato.tasks import task_classes
    from ostinato.training.run import evaluate as measure
    from ostinato.training.run import judge

    judges = hasattr(task_classes(open_run(run).task)[0], "judge")
    with Progress(
        console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty()
    ) as progress:
        bar = progress.add_task("reading")
        options: dict[str, Any] = {
            "split": split,
            "checkpoint": checkpoint,
            "on_batch": lambda done, total: progress.update(bar, completed=done, total=total),
        }
        judgement = judge(run, source, **options) if judges else None
        figures = judgement.figures if judgement else measure(run, source, **options)
    for note in judgement.notes if judgement else ():
        print(note, file=sys.stderr)
    if as_json:
        # JSON has no nan, which a figure is that does not exist.
        print(json.dumps({name: None if math.isnan(value) else value for name, value in figures.items()}))
        return
    part = judgement.part if judgement else split or "validation"
    what = source if source is not None else f"the {part} part"
    print(f"{run} on {what}, {checkpoint} checkpoint")
    for name, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        print(f"  {name.replace('_', ' '):<20}{shown}")
    if judgement:
        _show(judgement)


def _show(judgement: Any) -> None:
    """The confusion matrix, and the most confident mistakes."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    if judgement.confusion is not None and len(judgement.labels) > _TABULATED:
        console.print(f"\nthe confusion matrix of {len(judgement.labels):,} labels is too wide to print")
    elif judgement.confusion is not None:
        table = Table("true \\ chosen", box=None, header_style="bold", pad_edge=False)
        for label in judgement.labels:
            table.add_column(escape(label), justify="right")
        for label, row in zip(judgement.labels, judgement.confusion.tolist(), strict=True):
            table.add_row(escape(label), *(f"{count:,}" for count in row))
        console.print()
        console.print(table)
    if judgement.mistakes:
        console.print("\nthe most confident mistakes", style="bold")
    for mistake in judgement.mistakes:
        text = " ".join(mistake.text.split())
        shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
        said = f"{mistake.place}: {mistake.label!r} taken for {mistake.chosen!r} ({mistake.probability:.4f})"
        console.print(f"{said}\n  {shown}", markup=False, soft_wrap=True)

"""ostinato evaluate"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ostinato.cli import options
from ostinato.cli.quiet import import_tensorflow
from ostinato.wording import hint_after


def evaluate(
    run: Annotated[Path, typer.Argument(help="The run directory, for example runs/lm-001.")],
    source: Annotated[
        str | None,
        typer.Argument(
            help="Judge on all of this text, table or file of pairs instead of a part of the run's own."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Argument(help="Translators: the translations, where they are in a file of their own."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="The part of the run's own source: train, validation or test.",
            show_default="validation; of a classifier or translator that kept one: test",
        ),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="Use the `best` or the `last` checkpoint.")] = "best",
    as_json: Annotated[bool, typer.Option("--json", help="Print one flat JSON object.")] = False,
    skip_bad_rows: Annotated[
        bool,
        typer.Option(
            "--skip-bad-rows",
            help="Leave out lines of the SOURCE that are no pair.",
            rich_help_panel=options.TRANSLATORS,
        ),
    ] = False,
    beam: options.BeamSize = None,
    length_penalty: options.LengthPenalty = None,
    coverage_penalty: options.CoveragePenalty = None,
    no_repeat: options.NoRepeat = None,
) -> None:
    """Measures a trained model exactly.

    A language model over every token, with the state carried from beginning to end; a classifier over every
    text, with a confusion matrix and the mistakes it was most sure of; a translator over every sentence, with
    BLEU and chrF of its translations.

    Example: ostinato evaluate runs/lm-001 --json

    Example: ostinato evaluate runs/classify-001 more-reviews.csv

    Example: ostinato evaluate runs/translate-001 --split test --beam 10
    """
    flags = dict(locals())
    if split is not None and source is not None:
        raise typer.BadParameter(
            "--split names a part of the run's own source; leave it out when giving a SOURCE"
        )
    if split not in (None, "train", "validation", "test"):
        hint = hint_after(split, ("train", "validation", "test"))
        raise typer.BadParameter(f"--split {split}: expected train, validation or test{hint}")
    from ostinato.cli import runs
    from ostinato.cli.settings import search

    opened = runs.open_for(None, run, checkpoint)
    directory = opened.directory
    searched = search(flags, directory)
    if beam := searched.get("beam"):
        beam.checked(runs.target_sentences(directory).size)
    if target is not None or skip_bad_rows:
        asked = _pairs(flags, directory)
    elif source is not None:
        asked = runs.open_source(directory, source)
    else:
        runs.check_own_source(directory)
        asked = None
    import_tensorflow()
    from rich.console import Console
    from rich.progress import Progress

    from ostinato.tasks.base import Evaluates
    from ostinato.training.judging import evaluate as measure
    from ostinato.training.judging import judge

    trained = opened.loaded()
    judges = isinstance(trained.task, Evaluates)
    with Progress(
        console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty()
    ) as progress:
        bar = progress.add_task("reading")
        arguments: dict[str, Any] = {
            "split": split,
            "on_batch": lambda done, total: progress.update(bar, completed=done, total=total),
            **searched,
        }
        judgement = judge(trained, asked, **arguments) if judges else None
        figures = judgement.figures if judgement else measure(trained, asked, **arguments)
    for note in judgement.notes if judgement else ():
        print(note, file=sys.stderr)
    if as_json:
        # JSON has no NaN: undefined figures become null.
        print(json.dumps({name: None if math.isnan(value) else value for name, value in figures.items()}))
        return
    part = judgement.part if judgement else split or "validation"
    what = source if source is not None else f"the {part} part"
    print(f"{run} on {what}, {checkpoint} checkpoint")
    for name, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        print(f"  {name.replace('_', ' '):<20}{shown}")
    if judgement:
        from ostinato.cli import labels, translations

        (translations if directory.task == "translator" else labels).show(judgement)


def _pairs(flags: dict[str, Any], directory: Any) -> Any:
    """The sentence pairs that a translator is judged on.

    Raises:
        ConfigError: the run is of another task.
        SourceError: they cannot be read.
    """
    from ostinato.data.sources.pairs import open_pairs
    from ostinato.errors import ConfigError

    source, target = flags["source"], flags["target"]
    if source is None:
        raise typer.BadParameter("--skip-bad-rows is about the lines of a SOURCE; give one")
    if directory.task != "translator":
        what = "--skip-bad-rows" if target is None else f"a second file, {target}"
        raise ConfigError(f"{directory.path} is a {directory.task} run, which is judged without {what}")
    return open_pairs(source if target is None else (source, target), skip_bad_rows=flags["skip_bad_rows"])

"""ostinato evaluate"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable

import typer

from ostinato.cli import flags, uses
from ostinato.cli.flags import Parameter, Values
from ostinato.cli.quiet import import_tensorflow
from ostinato.cli.usage import Command, click_command
from ostinato.errors import ConfigError
from ostinato.runs.opened import OpenedRun, open_to_use, source_of
from ostinato.tasks import registry
from ostinato.tasks.base import PARTS, Evaluation, Given, Opened, TaskSpec
from ostinato.wording import hint_after

_Each = Annotated[
    bool,
    typer.Option(
        "--each",
        help="Print the loss of every line instead, in nats and in nats per token, before the line, "
        "parted by tabs (language models trained with --lines); with --json an object for each.",
    ),
]


@runtime_checkable
class Detailed(Protocol):
    """An evaluation with more than plain numbers, which --json adds to the figures."""

    @property
    def details(self) -> dict[str, object]: ...


def command() -> Command:
    """What Click runs."""
    return click_command(
        uses.with_flags(evaluate, flags.union(each for spec in registry.specs() for each in flags_of(spec)))
    )


def flags_of(spec: TaskSpec) -> list[Parameter]:
    """The flags of a task's sources, and of its evaluations."""
    return [*_of_source(spec), *uses.of_task(spec, "evaluate")]


def _of_source(spec: TaskSpec) -> list[Parameter]:
    """The flags of a task's source that are not about training only."""
    return [each for each in flags.of_function(spec.source)[1] if not each.flag.training]


def evaluate(
    run: Annotated[Path, typer.Argument(help="The run directory, for example runs/lm-001.")],
    source: Annotated[
        list[str] | None,
        typer.Argument(
            help="Evaluate on the whole of this text, table or file of pairs, instead of a part of the run's "
            "own source. A translator also takes a second file with the translations."
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="The part of the run's own source: train, validation or test.",
            show_default="validation; for a classifier or translator with a test part: test",
        ),
    ] = None,
    checkpoint: uses.Checkpoint = "best",
    each: _Each = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    given: Values | None = None,
) -> None:
    """Measures a trained model exactly.

    A language model is evaluated on every token, with the state carried from beginning to end. A classifier
    is evaluated on every text, with a confusion matrix and its most confident mistakes. A translator is
    evaluated on every sentence, with BLEU and chrF of its translations.

    Example: ostinato evaluate runs/lm-001 --json

    Example: ostinato evaluate runs/lm-001 names.txt --each

    Example: ostinato evaluate runs/classify-001 more-reviews.csv

    Example: ostinato evaluate runs/translate-001 --split test --beam 10
    """
    if split is not None and source:
        raise typer.BadParameter(
            "--split chooses a part of the run's own source; leave out --split or the SOURCE"
        )
    if split not in (None, *PARTS):
        raise typer.BadParameter(
            f"--split must be train, validation or test, got {split}{hint_after(split, PARTS)}"
        )
    opened = open_to_use(run, checkpoint)
    given = given or {}
    uses.check_own(opened, given, flags_of)
    of_source = {each.name for each in _of_source(opened.spec)}
    options, show = {}, None
    if "evaluate" in opened.spec.output:
        own = {name: given[name] for name in given if name not in of_source}
        options, show = uses.checked(opened, "evaluate", own)
    asked = _source(opened, source or [], {name: given[name] for name in given if name in of_source})
    import_tensorflow()
    if each:
        _print_each(opened, asked, split, as_json)
        return
    evaluation = _evaluate(opened, asked, split, options)
    figures = evaluation.figures
    if as_json:
        # JSON has no NaN: undefined figures become null.
        answer = {name: None if math.isnan(value) else value for name, value in figures.items()}
        print(json.dumps(answer | (evaluation.details if isinstance(evaluation, Detailed) else {})))
        return
    what = " and ".join(source) if source else f"the {evaluation.part} part"
    print(f"{run} on {what}, {checkpoint} checkpoint")
    width = max(20, *(2 + len(name) for name in figures))
    for name, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        print(f"  {name.replace('_', ' '):<{width}}{shown}")
    if show:
        show(evaluation)


def _print_each(opened: OpenedRun, source: Opened | None, split: str | None, as_json: bool) -> None:
    """Prints the loss of every line."""
    from ostinato.training.evaluation import line_losses

    for found in line_losses(opened.loaded(), source, split=split):
        if as_json:
            about = {"loss": found.loss, "loss_per_token": found.per_token, "tokens": found.tokens}
            print(json.dumps({"line": found.line, **about}, ensure_ascii=False))
        else:
            print(f"{found.loss:.4f}\t{found.per_token:.4f}\t{found.line}")


def _source(opened: OpenedRun, given: list[str], options: Values) -> Opened | None:
    """The source to evaluate on; None is the run's own source, checked to exist.

    Raises:
        ConfigError: when the run's task does not take so many files.
        SourceError: when the source does not exist.
    """
    if not given:
        if options:
            raise typer.BadParameter(f"{flags.dashed(next(iter(options)))} needs a SOURCE; give one")
        source_of(opened.directory)
        return None
    arguments, _ = flags.of_function(opened.spec.source)
    if len(given) > len(arguments):
        raise ConfigError(
            f"{opened.directory.path} is a {opened.directory.task} run; it is evaluated without {given[-1]}"
        )
    source = Given(tuple(given), options)
    return Opened(opened.spec.open(source, opened.directory.vocabulary))


def _evaluate(opened: OpenedRun, source: Opened | None, split: str | None, options: Values) -> Evaluation:
    """The evaluation, with a bar and notes on standard error."""
    from rich.console import Console
    from rich.progress import Progress

    from ostinato.training.evaluation import evaluate_in_detail

    trained = opened.loaded()
    with Progress(
        console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty()
    ) as progress:
        bar = progress.add_task("reading")

        def on_batch(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)

        evaluation = evaluate_in_detail(trained, source, split=split, on_batch=on_batch, **options)
    for note in evaluation.notes:
        print(note, file=sys.stderr)
    return evaluation

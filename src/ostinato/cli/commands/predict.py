"""ostinato predict"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from ostinato.cli import uses
from ostinato.cli.flags import Values
from ostinato.cli.lines import waiting_lines
from ostinato.cli.quiet import import_tensorflow
from ostinato.cli.usage import Command, click_command
from ostinato.errors import SourceError
from ostinato.runs.opened import open_to_use
from ostinato.tasks.base import Printer


def command() -> Command:
    """What Click runs."""
    return click_command(uses.with_flags(predict, uses.of_all_tasks("predict")))


def predict(
    run: Annotated[Path, typer.Argument(help="The run directory, for example runs/classify-001.")],
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT…", help="Texts; - reads standard input, one text on each line."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Read texts from a file, one on each line.")
    ] = None,
    checkpoint: uses.Checkpoint = "best",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each text.")] = False,
    given: Values | None = None,
) -> None:
    """Classifies or translates texts, and prints each result at once.

    A classifier prints the label and its probability. With --attribute it also prints the text with the
    contribution of each word to the score of the label: on a terminal in colours (green for the label, red
    against it), elsewhere as numbers. A translator prints the translation; with --n-best it prints several,
    each after its score.

    Example: ostinato predict runs/classify-001 "This film is a joy from start to end."

    Example: ostinato predict runs/classify-001 --file reviews.txt --html reviews.html

    Example: ostinato predict runs/translate-001 "Where is the station?" --n-best 3

    Example: tail -f support.log | ostinato predict runs/classify-001 - --json
    """
    texts = texts or []
    sources = bool(file) + ("-" in texts) + bool(set(texts) - {"-"})
    if sources != 1 or texts.count("-") > 1:
        raise typer.BadParameter(
            "give texts, or - for standard input, or --file FILE"
            + ("; only one of them" if sources else "; there is nothing to predict")
        )
    opened = open_to_use(run, checkpoint, "predict")
    alone = None if file or texts == ["-"] else texts
    printer = uses.checked(opened, "predict", given or {}, texts=alone, as_json=as_json)
    if file is None:
        import_tensorflow()
        groups = waiting_lines(sys.stdin.buffer, "standard input") if alone is None else [texts]
        _print_all(printer(opened.loaded().use), groups)
        return
    try:
        with open(file, "rb") as stream:
            import_tensorflow()
            _print_all(printer(opened.loaded().use), waiting_lines(stream, str(file)))
    except OSError as error:
        raise SourceError(f"cannot read {file} ({error.strerror or error})") from None


def _print_all(printer: Printer, groups: Iterable[list[str]]) -> None:
    for group in groups:
        printer.say(group)
        sys.stdout.flush()
    printer.end()

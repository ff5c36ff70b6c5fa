"""ostinato predict"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ostinato.cli import uses
from ostinato.cli.flags import Values
from ostinato.cli.lines import waiting_lines
from ostinato.cli.quiet import import_tensorflow
from ostinato.cli.tables import TextColumn, open_text_column, write_answers
from ostinato.cli.usage import Command, click_command
from ostinato.data.sources.grids import is_grid
from ostinato.data.sources.standard_input import spooled_input
from ostinato.files.atomic import check_place
from ostinato.files.encodings import checked
from ostinato.files.lines import encoding_of, reading
from ostinato.runs.opened import OpenedRun, open_to_use
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
        Path | None,
        typer.Option(
            metavar="FILE", help="Read texts from a file, one on each line, or from a column of a table."
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The column of the texts in a table, by name or number."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv", help="Write a table: all columns of --file, and those of the predictions."
        ),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="The character encoding of the texts.", show_default="recognised")
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

    Example: ostinato predict runs/classify-001 --file new.csv --text review --out labelled.csv

    Example: tail -f support.log | ostinato predict runs/classify-001 - --json
    """
    texts = texts or []
    sources = bool(file) + ("-" in texts) + bool(set(texts) - {"-"})
    if sources != 1 or texts.count("-") > 1:
        raise typer.BadParameter(
            "give texts, or - for standard input, or --file FILE"
            + ("; only one of them" if sources else "; there is nothing to predict")
        )
    typed = texts == ["-"]
    if (text is not None or out is not None) and file is None and not typed:
        raise typer.BadParameter("--text and --out are for --file FILE and for standard input")
    if out is not None and as_json:
        raise typer.BadParameter("--out writes a table and --json prints objects; choose one")
    check_place("--out", out)
    encoding = None if encoding is None else checked(encoding)
    opened = open_to_use(run, checkpoint, "predict")
    alone = None if file or typed else texts
    printer = uses.checked(opened, "predict", given or {}, texts=alone, as_json=as_json)
    table = _table(opened, file, text, encoding)
    if table is None:
        with _lines(alone, file, encoding) as groups:
            import_tensorflow()
            _answer_lines(printer(opened.loaded().use), groups, out)
        return
    import_tensorflow()
    answers = printer(opened.loaded().use)
    if as_json:
        _print_all(answers, ([text] for _, text in table.rows()))
    else:
        write_answers(answers, table.grid.names, table.rows(), out)


def _answer_lines(printer: Printer, groups: Iterable[list[str]], out: Path | None) -> None:
    """Prints the answers to lines, or writes them beside the lines."""
    if out is None:
        _print_all(printer, groups)
    else:
        write_answers(printer, ("text",), (([line], line) for group in groups for line in group), out)


def _table(opened: OpenedRun, file: Path | None, text: str | None, encoding: str | None) -> TextColumn | None:
    """The table whose texts are asked for; None for lines and for texts of the command line."""
    name = None
    if file is None:
        if text is None:
            return None
        file, name = spooled_input(), "standard input"
    elif text is None and not is_grid(str(file)):
        return None
    columns = opened.directory.vocabulary.get("columns")
    known = columns[0] if isinstance(columns, list) and columns and isinstance(columns[0], str) else None
    return open_text_column(file, text, known, encoding, name)


@contextmanager
def _lines(alone: list[str] | None, file: Path | None, encoding: str | None) -> Iterator[Iterable[list[str]]]:
    """Groups of texts: those of the command line, or the lines of a file or of standard input."""
    if alone is not None:
        yield [alone]
    elif file is None:
        yield waiting_lines(sys.stdin.buffer, "standard input", encoding)
    else:
        # A pipe cannot be read twice.
        if encoding is None and file.is_file():
            encoding, note = encoding_of(file, str(file), None)
            if note is not None:
                print(note, file=sys.stderr)
        with reading(str(file)), open(file, "rb") as stream:
            yield waiting_lines(stream, str(file), encoding)


def _print_all(printer: Printer, groups: Iterable[list[str]]) -> None:
    for group in groups:
        printer.say(group)
        sys.stdout.flush()
    printer.end()

"""Predictions of tables: all columns of a file and those of the answers, as CSV."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ostinato.data.sources.columns import choose_text
from ostinato.data.sources.delimited import RAGGED
from ostinato.data.sources.grids import Grid, open_grid
from ostinato.data.sources.rows import is_missing
from ostinato.errors import ConfigError, SourceError
from ostinato.files.atomic import replace
from ostinato.files.lines import check_text
from ostinato.tasks.abilities import Tabulates
from ostinato.tasks.base import Printer
from ostinato.wording import shown

_TOGETHER = 1024
_RAGGED_SHOWN = 10


class TextColumn(NamedTuple):
    """A table with a column of texts.

    Attributes:
        grid: the table.
        at: the place of the column, from 0 on.
    """

    grid: Grid
    at: int

    def rows(self) -> Iterator[tuple[Sequence[object], str]]:
        """(all values, the text) of every row, in order; a missing text is empty. Raises SourceError."""
        for number, values in self.grid.records(None):
            if values is None:
                continue
            text = "" if is_missing(values[self.at]) else str(values[self.at])
            check_text(text, f"{self.grid.name}, {self.grid.place} {number}")
            yield values, text


def open_text_column(
    path: Path, text: str | None, known: str | None, encoding: str | None, name: str | None = None
) -> TextColumn:
    """The column of texts of a table. All rows are read once, so that nothing is wrong when the answers
    begin.

    Args:
        path: the file.
        text: the column that the user named, by name or number; None takes `known` or guesses, and says so
            on standard error.
        known: the text column of the run's training table.
        encoding: of the file; None recognises it.
        name: what messages call the file; its path if None.

    Raises:
        SourceError: the file cannot be read, has no such column, or has rows with too many or too few fields.
    """
    grid = open_grid(
        str(path),
        shown(name or str(path)),
        encoding=encoding,
        wanted=[each for each in (text, known) if each],
    )
    at, notes = choose_text(grid.name, grid.names, grid.sample, text, known)
    for note in (*grid.notes, *notes):
        print(note, file=sys.stderr)
    found = TextColumn(grid, at)
    ragged = [number for number, values in grid.records(None) if values is None]
    if ragged:
        listed = ", ".join(map(str, ragged[:_RAGGED_SHOWN])) + (", …" if len(ragged) > _RAGGED_SHOWN else "")
        raise SourceError(
            f"{grid.name} has {len(ragged):,} row{'s' if len(ragged) > 1 else ''} {RAGGED} ({grid.place} "
            f"{listed}); "
            "correct them"
        )
    for _ in found.rows():
        pass
    return found


def write_answers(
    printer: Printer, names: Sequence[str], rows: Iterable[tuple[Sequence[object], str]], out: Path | None
) -> None:
    """Writes a table with all columns of another and those of the answers, its rows in their order.

    Args:
        printer: answers texts.
        names: of the columns.
        rows: the values and the text of each row.
        out: the file, which is written whole or not at all; None prints.

    Raises:
        ConfigError: the run's task has no answers in columns.
        RunError: the file cannot be written.
    """
    if not isinstance(printer, Tabulates):
        raise ConfigError(
            "this run's task has no answers in columns; give a text file with a text on each line"
        )
    target = sys.stdout if out is None else io.StringIO()
    writer, heads = csv.writer(target, lineterminator="\n"), None
    rows = iter(rows)
    while some := list(islice(rows, _TOGETHER)):
        answers = printer.cells([text for _, text in some])
        if heads is None:
            heads = list(answers[0])
            writer.writerow([*names, *_new_names(names, heads)])
        for (values, _), answer in zip(some, answers, strict=True):
            writer.writerow([*map(_cell, values), *(answer[head] for head in heads)])
        target.flush()
    if heads is None:
        raise SourceError("there is nothing to predict: the table has no rows")
    if isinstance(target, io.StringIO) and out is not None:
        replace(out, target.getvalue().encode())
    printer.end()


def _new_names(names: Sequence[str], heads: Sequence[str]) -> list[str]:
    """The names of the answers' columns: with a number where the table has a column of the name."""
    new: list[str] = []
    for head in heads:
        number, name = 1, head
        while name in names:
            number += 1
            name = f"{head} {number}"
        new.append(name)
    return new


def _cell(value: object) -> object:
    return "" if is_missing(value) else value

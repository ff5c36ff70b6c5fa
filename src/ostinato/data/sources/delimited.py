"""Files of fields with a separator between: CSV, TSV and the like. Errors name the line."""

import csv
import os
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from ostinato.data.sources.faults import Fault
from ostinato.data.sources.rows import NO_LABEL, NO_TEXT, Row
from ostinato.errors import SourceError
from ostinato.files.encodings import UTF8
from ostinato.files.lines import OnRead, read_lines
from ostinato.files.plain import LARGEST_TEXT, open_plain

RAGGED = "with more or fewer fields than columns"
LARGEST_FIELD = LARGEST_TEXT
"""Characters in a field of a CSV; a longer field comes from a quote that was never closed."""
SAMPLE, TAB_SAMPLE = 500, 20_000
"""The number of records to guess the separator from, and of those to guess from whether a TSV has quotes."""
SEPARATORS = ",;\t|"
_LARGE, _PIECE = 1 << 18, 1 << 14
"""Bytes of a file that is also looked into further on, and those that are read at each place."""


class Dialect(NamedTuple):
    """How a file separates and quotes fields."""

    delimiter: str
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL
    quote: str = '"'


def csv_dialect(path: Path, name: str, encoding: str = UTF8) -> Dialect:
    """The dialect of a .csv: commas, or what spreadsheets write where a comma is the decimal point.

    That is the separator that gives the first rows equal widths; where none does, one that the first row has.
    """
    lines = list(islice(read_lines(path, name, encoding=encoding), SAMPLE))
    first = next(iter(lines), "")
    usual = Dialect("," if "," in first else max(",;\t", key=first.count))
    others = [Dialect(separator) for separator in SEPARATORS if separator != usual.delimiter]
    apostrophes = [
        Dialect(each.delimiter, quote="'")
        for each in (usual, *others)
        if any(line.startswith("'") or f"{each.delimiter}'" in line for line in lines)
    ]
    for dialect in (usual, *others, *apostrophes):
        if _width(path, name, dialect, encoding) > 1:
            return dialect
    return usual


def tsv_dialect(path: Path, name: str, encoding: str = UTF8) -> Dialect:
    """The dialect of a .tsv: that of a .csv, unless only plain quotes give its first rows equal widths."""
    quoted, plain = Dialect("\t"), Dialect("\t", csv.QUOTE_NONE)
    width = partial(_width, path, name, encoding=encoding, records=TAB_SAMPLE)
    return plain if not width(quoted) and width(plain) else quoted


def text_dialect(path: Path, name: str, encoding: str = UTF8) -> Dialect | None:
    """The dialect of a text file whose name does not say it; None when its lines have no separator in
    common."""
    dialects = [Dialect("\t"), Dialect("\t", csv.QUOTE_NONE)]
    dialects += [Dialect(each, quoting) for each in ";,|" for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE)]
    for dialect in dialects:
        if _width(path, name, dialect, encoding, TAB_SAMPLE) > 1:
            return dialect
    lines = list(islice(read_lines(path, name, encoding=encoding), SAMPLE))
    if lines and sum("\t" in line for line in lines) > len(lines) / 2:
        return Dialect("\t", csv.QUOTE_NONE)
    return None


def _width(path: Path, name: str, dialect: Dialect, encoding: str, records: int = SAMPLE) -> int:
    """The number of fields of the first records; 0 when they differ, or are broken."""
    try:
        read = read_records(path, name, dialect, encoding=encoding)
        widths = {len(fields) for _, fields in islice(read, records)}
    except SourceError:
        return 0
    return widths.pop() if len(widths) == 1 else 0


def read_records(
    path: Path, name: str, dialect: Dialect, on_read: OnRead | None = None, encoding: str = UTF8
) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of every record, the header included; blank lines are left out.

    The arguments are those of `read_lines`.

    Raises:
        SourceError: as `read_lines` does; or quotes are broken.
    """
    csv.field_size_limit(LARGEST_FIELD)
    delimiter, quoting, quote = dialect
    lines = read_lines(path, name, on_read, encoding)
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, quotechar=quote, strict=True)
    line = 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        if "end of data" in str(error):
            what = "a quote in the row that begins here is not closed"
        elif "field larger" in str(error):
            what = (
                f"the row that begins here has a field of more than {LARGEST_FIELD:,} characters; "
                "is a quote not closed?"
            )
        elif "expected after" in str(error):
            what = (
                "text follows a closing quote in the row that begins here; double the quotes inside a field"
            )
        else:
            what = f"the row that begins here is broken ({error})"
        raise SourceError(f"{name}, line {line}: {what}") from error


def rows_further_on(path: Path, dialect: Dialect, encoding: str, width: int) -> list[list[str]]:
    """Some records of `width` fields from three places in a large file, to guess from.

    A file may be sorted, and its first rows alike. There are none of a file that is packed or whose line
    ends have several bytes. Raises OSError when it cannot be read.
    """
    found: list[list[str]] = []
    if path.suffix.lower() in (".gz", ".zip") or encoding.startswith(("utf-16", "utf-32")):
        return found
    with open_plain(path) as file:
        size = file.seek(0, os.SEEK_END)
        for quarter in (1, 2, 3) if size > _LARGE else ():
            file.seek(quarter * size // 4)
            lines = file.read(_PIECE).decode(encoding, "replace").splitlines(keepends=True)[1:-1]
            try:
                delimiter, quoting, quote = dialect
                reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, quotechar=quote)
                found += [fields for fields in reader if len(fields) == width]
            except csv.Error:
                continue
    return found


def rows_of_records(
    records: Iterator[tuple[int, list[str]]], width: int, text_at: int, label_at: int, *, header: bool = True
) -> Iterator[Row | Fault]:
    """The rows of a file.

    Args:
        records: from `read_records`.
        width: the number of columns.
        text_at, label_at: the places of the text and the label column, from 0 on.
        header: whether the first record names the columns.
    """
    if header:
        next(records, None)
    for number, fields in records:
        if len(fields) != width:
            yield Fault(RAGGED, number)
        elif not fields[text_at]:
            yield Fault(NO_TEXT, number)
        elif not (label := fields[label_at].strip()):
            yield Fault(NO_LABEL, number)
        else:
            yield Row(fields[text_at], label, number)

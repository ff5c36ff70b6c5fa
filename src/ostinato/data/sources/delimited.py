"""Files of fields with a separator between: CSV and TSV. Errors name the line."""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from ostinato.data.sources.faults import Fault
from ostinato.data.sources.rows import NO_TEXT, Row
from ostinato.errors import SourceError
from ostinato.files.lines import OnRead, read_lines
from ostinato.files.plain import LARGEST_TEXT

RAGGED = "with more or fewer fields than columns"
LARGEST_FIELD = LARGEST_TEXT
"""Characters in a field of a CSV; a longer field comes from a quote that was never closed."""
SAMPLE = 500
"""The number of records to guess the quoting of a .tsv from."""


class Dialect(NamedTuple):
    """How a file separates and quotes fields."""

    delimiter: str
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL


def csv_dialect(path: Path, name: str) -> Dialect:
    """The dialect of a .csv: commas, or what spreadsheets write where a comma is the decimal point."""
    first = next(read_lines(path, name), "")
    return Dialect("," if "," in first else max(",;\t", key=first.count))


def tsv_dialect(path: Path, name: str) -> Dialect:
    """The dialect of a .tsv: that of a .csv, unless only plain quotes give its first rows equal widths."""

    def fits(dialect: Dialect) -> bool:
        try:
            widths = {len(fields) for _, fields in islice(read_records(path, name, dialect), SAMPLE)}
        except SourceError:
            return False
        return len(widths) == 1

    quoted, plain = Dialect("\t"), Dialect("\t", csv.QUOTE_NONE)
    return plain if not fits(quoted) and fits(plain) else quoted


def read_records(
    path: Path, name: str, dialect: Dialect, on_read: OnRead | None = None
) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of every record, the header included; blank lines are left out.

    The arguments are those of `read_lines`.

    Raises:
        SourceError: as `read_lines` does; or quotes are broken.
    """
    csv.field_size_limit(LARGEST_FIELD)
    delimiter, quoting = dialect
    lines = read_lines(path, name, on_read)
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
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


def rows_of_records(
    records: Iterator[tuple[int, list[str]]], width: int, text_at: int, label_at: int
) -> Iterator[Row | Fault]:
    """The rows of a file whose first record is the header.

    Args:
        records: from `read_records`.
        width: the number of columns.
        text_at, label_at: the places of the text and the label column, from 0 on.
    """
    next(records, None)
    for number, fields in records:
        if len(fields) != width:
            yield Fault(RAGGED, number)
        elif not fields[text_at]:
            yield Fault(NO_TEXT, number)
        else:
            yield Row(fields[text_at], fields[label_at].strip(), number)

"""Files of rows and columns of any form, not read yet: CSV, TSV, JSON, spreadsheets, lines that begin with
labels.

A `Grid` says what its columns are called and gives its rows. Which column is what, tables and pairs decide.
"""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from zipfile import BadZipFile

from ostinato.data.sources import frames, json_lines, tagged
from ostinato.data.sources.columns import USUAL_NAMES
from ostinato.data.sources.content import is_header
from ostinato.data.sources.delimited import (
    Dialect,
    csv_dialect,
    read_records,
    rows_further_on,
    text_dialect,
    tsv_dialect,
)
from ostinato.data.sources.rows import BETWEEN
from ostinato.errors import ConfigError, RunError, SourceError
from ostinato.files.atomic import JsonObject
from ostinato.files.encodings import UTF8, checked
from ostinato.files.lines import OnRead, encoding_of, reading
from ostinato.files.plain import inner_name, open_plain, unpacked

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
}
ENDINGS = (*FORMATS, *frames.ENDINGS)
"""The endings of names of tables; a .txt or another ending is looked into."""
SAMPLE = 500
"""The number of rows to guess columns from."""
Record = tuple[int, Sequence[object] | None]
"""The number of a row, and a value for every column; None in place of these where it has too many or too
few."""
_BINARY = (
    (b"\x1f\x8b", "packed by gzip; its name must end in .gz"),
    (b"PK\x03\x04", "packed by zip; its name must end in .zip, or in .xlsx for an Excel file"),
    (b"BZh", "packed by bzip2; unpack it"),
    (b"\xfd7zXZ", "packed by xz; unpack it"),
    (b"SQLite format", "a database of SQLite; export its table as CSV"),
    (b"%PDF", "a PDF; copy its table into a spreadsheet and save that as CSV"),
)


@dataclass(frozen=True)
class Grid:
    """A file of rows and columns, not read yet; made by `open_grid`.

    Attributes:
        path: the file.
        name: what messages call it.
        names: of the columns: "1", "2", … where the file does not name them.
        form: JSON-able: how the file is read, for `open_grid`.
        sample: some rows, each with a value for every column; None where it is missing.
        place: what the number of a row counts: "line" or "row".
        notes: sentences about what was guessed.
        texts: whether every value is a text, and an empty one is missing.
        records: called with `OnRead` or None; reads the rows.
    """

    path: Path
    name: str
    names: tuple[str, ...]
    form: JsonObject
    sample: Sequence[Sequence[object]] = field(repr=False)
    place: str = "line"
    notes: tuple[str, ...] = ()
    texts: bool = False
    records: Callable[[OnRead | None], Iterator[Record]] = field(repr=False, default=lambda on_read: iter(()))


def is_grid(path: str) -> bool:
    """Whether the name of a file is that of a table: .csv, .xlsx, also with .gz, or .zip with such a file
    in it."""
    try:
        return inner_name(Path(path)).endswith(ENDINGS)
    except (OSError, ValueError, NotImplementedError, BadZipFile) as error:
        return not isinstance(error, FileNotFoundError) and path.lower().endswith(".zip")


def open_grid(
    given: str,
    name: str,
    *,
    encoding: str | None = None,
    form: JsonObject | None = None,
    wanted: Collection[str] = (),
) -> Grid:
    """A file of rows and columns; only the first rows are read yet.

    Args:
        given: the path of the file.
        name: what messages call it.
        encoding: of a text file; None recognises it.
        form: `Grid.form` of a grid that was opened before; the file is then read in the same way.
        wanted: names of columns that the user gave; where the first row has one of them it is the header.

    Raises:
        SourceError: it cannot be read, is empty, or has no columns.
        ConfigError: there is no such encoding.
        RunError: the form is damaged.
    """
    path = Path(os.path.abspath(given))
    with reading(name):
        inner = inner_name(path)
        with open_plain(path) as raw:
            start = unpacked(raw, path).read(1 << 12)
    if form is not None:
        return _reopened(path, name, form)
    if ending := frames.ending_of(inner, start):
        if encoding is not None:
            raise ConfigError(f"{name} is no file of text; leave out its encoding")
        return _of_frame(path, name, ending)
    for beginning, what in _BINARY:
        if start.startswith(beginning):
            raise SourceError(f"{name} is {what}")
    known = encoding_of(path, name, None if encoding is None else checked(encoding))
    notes = () if known.note is None else (known.note,)
    kind = FORMATS.get(Path(inner).suffix) or _kind_of_text(path, name, start, known.encoding)
    if kind == "json":
        kind = "array" if json_lines.is_array(path, name, known.encoding) else "jsonl"
    if kind in ("array", "jsonl"):
        return _of_objects(path, name, kind, known.encoding, notes)
    if kind in ("fasttext", "first word"):
        return _of_tagged(path, name, kind, known.encoding, notes)
    dialect = {"csv": csv_dialect, "tsv": tsv_dialect, "text": text_dialect}[kind](path, name, known.encoding)
    if dialect is None:
        raise SourceError(
            f"{name} has no columns: its lines have no TAB, comma or semicolon in common; give a table with "
            "a row of names such as text,label before its rows (.csv)"
        )
    return _of_fields(path, name, known.encoding, dialect, None, wanted, notes)


def _kind_of_text(path: Path, name: str, start: bytes, encoding: str) -> str:
    """What a file contains whose name does not say it."""
    text = start.decode(encoding, "replace").lstrip("\ufeff \t\r\n")
    if text.startswith(('{"', "[{", "{\n", "[\n")):
        return "json"
    return tagged.form_of(path, name, encoding) or "text"


def _reopened(path: Path, name: str, form: JsonObject) -> Grid:
    """The grid of a form that was kept; of older versions CSV, TSV or JSON lines in UTF-8, with a header."""
    kind, encoding = form.get("format"), form.get("encoding", UTF8)
    try:
        encoding = checked(str(encoding))
        if kind is None:
            kind = FORMATS[Path(inner_name(path)).suffix]
        if kind in ("csv", "tsv"):
            dialect = (csv_dialect if kind == "csv" else tsv_dialect)(path, name, encoding)
            return _of_fields(path, name, encoding, dialect, True, (), ())
        if kind in ("array", "jsonl"):
            return _of_objects(path, name, kind, encoding, ())
        if kind in ("fasttext", "first word"):
            return _of_tagged(path, name, kind, encoding, ())
        if kind == "delimited":
            dialect = Dialect(str(form["delimiter"]), 3 if form["quoting"] == 3 else 0, str(form["quote"]))
            return _of_fields(path, name, encoding, dialect, form["header"] is True, (), ())
        if kind in frames.ENDINGS:
            return _of_frame(path, name, str(kind))
        raise KeyError("format")
    except (KeyError, TypeError) as error:
        raise RunError(f"the description of the table {name} is damaged: {error!r}") from None


def _of_fields(
    path: Path,
    name: str,
    encoding: str,
    dialect: Dialect,
    header: bool | None,
    wanted: Collection[str],
    notes: tuple[str, ...],
) -> Grid:
    """A file of fields; `header` says whether its first row has the names of the columns, None guesses."""
    rows = [fields for _, fields in islice(read_records(path, name, dialect, encoding=encoding), SAMPLE + 1)]
    if not rows:
        raise SourceError(f"{name} is empty: it has no row with the names of the columns")
    first = [column.strip() for column in rows[0]]
    if header is None:
        below = [fields for fields in rows[1:] if len(fields) == len(first)]
        header = bool({*first} & {*wanted}) or is_header(first, below, USUAL_NAMES)
        if not header:
            notes = (
                *notes,
                f"{name}: the first row is like the others, so the columns have numbers as names",
            )
    if header:
        names = tuple(first)
        rows = rows[1:]
    else:
        width, _ = Counter(map(len, rows)).most_common(1)[0]
        names = tuple(str(number) for number in range(1, width + 1))

    def records(on_read: OnRead | None) -> Iterator[Record]:
        read = read_records(path, name, dialect, on_read, encoding)
        if header:
            next(read, None)
        for number, fields in read:
            yield number, fields if len(fields) == len(names) else None

    form: JsonObject = {"format": "delimited", "encoding": encoding, "header": header, **dialect._asdict()}
    rows = [fields for fields in rows[:SAMPLE] if len(fields) == len(names)]
    with reading(name):
        rows += rows_further_on(path, dialect, encoding, len(names))
    sample = [[value or None for value in fields] for fields in rows]
    return Grid(path, name, names, form, sample, notes=notes, texts=True, records=records)


def _of_objects(path: Path, name: str, kind: str, encoding: str, notes: tuple[str, ...]) -> Grid:
    read = json_lines.read_array if kind == "array" else json_lines.read_objects
    sample = [record for _, record in islice(read(path, name, None, encoding), SAMPLE)]
    names = tuple(dict.fromkeys(key for record in sample for key in record))
    if not names:
        raise SourceError(f"{name} is empty: it has no rows")

    def records(on_read: OnRead | None) -> Iterator[Record]:
        for number, record in read(path, name, on_read, encoding):
            yield number, [record.get(column) for column in names]

    form: JsonObject = {"format": kind, "encoding": encoding}
    values = [[record.get(column) for column in names] for record in sample]
    place = "row" if kind == "array" else "line"
    return Grid(path, name, names, form, values, place, notes, records=records)


def _of_tagged(path: Path, name: str, kind: str, encoding: str, notes: tuple[str, ...]) -> Grid:
    """Lines that begin with labels; where one has several, every value of the column is a list."""
    form = "fasttext" if kind == "fasttext" else "first word"
    head = islice(tagged.read_tagged(path, name, form, encoding), SAMPLE)
    several = form == "fasttext" and any(BETWEEN in (labels or "") for _, (_, labels) in head)

    def records(on_read: OnRead | None) -> Iterator[Record]:
        for number, (text, labels) in tagged.read_tagged(path, name, form, encoding, on_read):
            if several or BETWEEN in (labels or ""):
                yield number, (text, labels.split(BETWEEN) if labels else [])
            else:
                yield number, (text, labels)

    sample = [values for _, values in islice(records(None), SAMPLE) if values is not None]
    if not sample:
        raise SourceError(f"{name} is empty: it has no rows")
    said = "of __label__" if form == "fasttext" else "that each line begins with"
    notes = (*notes, f"{name}: took the words {said} as the labels")
    return Grid(
        path,
        name,
        tagged.COLUMNS,
        {"format": form, "encoding": encoding},
        sample,
        notes=notes,
        records=records,
    )


def _of_frame(path: Path, name: str, ending: str) -> Grid:
    frame = frames.read_frame(path, name, ending)
    names = tuple(str(column).strip() for column in frame.columns)
    if not len(frame):
        raise SourceError(f"{name} is empty: it has no rows")
    records = frames.frame_records(frame, path.stat().st_size, as_text=ending in frames.SHEETS)
    sample = [values for _, values in islice(records(None), SAMPLE)]
    return Grid(path, name, names, {"format": ending}, sample, "row", records=records)

"""Sources of labelled texts: CSV, TSV and JSON-lines files, a folder per label, pairs, DataFrames.

A `Table` is rows of (text, label) somewhere, not read yet. It has a JSON-able description with which a later
process finds it again.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from ostinato.data.sources import imdb, json_lines, label_folders
from ostinato.data.sources.base import RowSource, is_description
from ostinato.data.sources.columns import choose_columns
from ostinato.data.sources.delimited import csv_dialect, read_records, rows_of_records, tsv_dialect
from ostinato.data.sources.faults import Fault
from ostinato.data.sources.rows import JOINED, NO_LABEL, Row, row_of_values
from ostinato.errors import ConfigError, RunError, SourceError
from ostinato.files.atomic import JsonObject
from ostinato.files.lines import OnRead, mode_of, reading
from ostinato.wording import shown

__all__ = ["JOINED", "Row", "Table", "open_table", "open_table_like"]

FORMATS = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
SAMPLE = 500
"""The number of rows to guess columns from."""


@runtime_checkable
class Frame(Protocol):
    """A DataFrame of pandas or another library."""

    @property
    def columns(self) -> Iterable[object]: ...
    def __getitem__(self, column: object, /) -> Iterable[object]: ...


@dataclass(frozen=True)
class Table(RowSource[Row]):
    """Labelled texts somewhere, not read yet; made by `open_table`.

    Attributes:
        columns: the names of the text and the label column, guessed ones included; None where there are none.
        several: whether a row has several labels or none; `Row.label` joins them with `JOINED`.
        unlabelled: whether a row without a label is a text with none of several labels; else it is a fault.
    """

    contents: ClassVar[str] = "rows with a text and a label"
    columns: tuple[str, str] | None = None
    several: bool = False
    unlabelled: bool = False

    def taking_unlabelled(self) -> "Table":
        """The same table, in which a row without a label is a text with none of several labels."""
        return replace(self, unlabelled=True)

    def identity(self) -> str:
        return f"{super().identity()}{'-unlabelled' if self.unlabelled else ''}"

    def _checked(self, items: Iterator[Row | Fault]) -> Iterator[Row | Fault]:
        if self.several or self.unlabelled:
            return items
        return (
            Fault(NO_LABEL, item.number) if isinstance(item, Row) and not item.label else item
            for item in items
        )

    def at(self, number: int) -> str:
        """The place of a row, for messages: "reviews.csv, line 7", or the path of its file."""
        return str(self.files[number - 1]) if self.place == "file" else super().at(number)


def open_table(
    source: object, *, text: str | None = None, label: str | None = None, skip_bad_rows: bool = False
) -> Table:
    """The table that a source names. Only the rows from which columns are guessed are read yet.

    Args:
        source: a path to a .csv, .tsv or .jsonl file, also .gz; a folder with a folder per label and in it a
            file per text; "imdb" unless a file or folder has that name; (text, label) pairs; a DataFrame; or
            `Table.description`, which includes the options below.
        text, label: the columns; None to guess them.
        skip_bad_rows: leave out rows without text or label, or with too many or too few fields, and count
            them.

    Raises:
        SourceError: there is no such source, or it has no such columns.
        ConfigError: columns are named for a source without columns, or both are the same.
        RunError: the description is damaged.
    """
    if is_description(source):
        return _reopen(source)
    if text is not None and text == label:
        raise ConfigError(f"text and label must be two columns, got {text!r} for both")
    if isinstance(source, str | os.PathLike):
        return _open_path(os.fspath(source), text, label, skip_bad_rows)
    if isinstance(source, Frame):
        return _open_frame(source, text, label, skip_bad_rows)
    _refuse_columns("(text, label) pairs have", text, label)
    if not isinstance(source, Iterable):
        raise SourceError(f"expected a path, (text, label) pairs or a DataFrame, got {type(source).__name__}")
    pairs: Sequence[object] = source if isinstance(source, list | tuple) else list(source)
    return _open_pairs(
        "<pairs>", lambda: map(_text_and_label, pairs, range(1, len(pairs) + 1)), skip_bad_rows
    )


def open_table_like(source: object, columns: tuple[str, str] | None, *, skip_bad_rows: bool) -> Table:
    """The table that a source names, with the text and label `columns` of another table.

    Where it has no such columns, they are guessed. Arguments and errors are those of `open_table`.
    """
    if columns is not None:
        try:
            return open_table(source, text=columns[0], label=columns[1], skip_bad_rows=skip_bad_rows)
        except (ConfigError, SourceError):
            pass  # a table of another kind, or with other names
    return open_table(source, skip_bad_rows=skip_bad_rows)


def _reopen(description: JsonObject) -> Table:
    damaged = RunError(f"the description of the table is damaged: {shown(repr(description))}")
    kind, path, skip = (description.get(key) for key in ("kind", "path", "skip_bad_rows"))
    text, label, content = (description.get(key) for key in ("text", "label", "content"))
    if not isinstance(skip, bool) or not isinstance(text, str | None) or not isinstance(label, str | None):
        raise damaged
    if kind == "pairs":
        if not isinstance(content, str) or not re.fullmatch("[0-9a-f]{64}", content):
            raise damaged
        return Table("<pairs>", description, content=content, place="row")
    if not isinstance(path, str) or not path:
        raise damaged
    if kind == "named" and path == imdb.IMDB:
        return _open_imdb(skip)
    is_file = kind == "file" and isinstance(text, str) and isinstance(label, str)
    if not is_file and kind != "folder":
        raise damaged
    mode = mode_of(path)
    if mode is None:
        raise SourceError(f"there is no {kind} {shown(path)!r} any more")
    if not (stat.S_ISREG if is_file else stat.S_ISDIR)(mode):
        raise SourceError(f"{shown(path)} was a {kind} when training began, and is not one now")
    return _open_file(path, text, label, skip) if is_file else _open_folder(path, skip)


def _open_path(name: str, text: str | None, label: str | None, skip: bool) -> Table:
    mode = mode_of(name)
    if mode is None:
        if name == imdb.IMDB:
            _refuse_columns("the table imdb has", text, label)
            return _open_imdb(skip)
        raise SourceError(
            f"there is no file or folder {shown(name)!r}; give a .csv, .tsv or .jsonl file, a folder "
            "with a folder per label, or the name imdb"
        )
    if stat.S_ISDIR(mode):
        _refuse_columns("a folder of texts has", text, label)
        return _open_folder(name, skip)
    if not stat.S_ISREG(mode):
        raise SourceError(f"{shown(name)} is neither a file nor a folder; write it to a file first")
    return _open_file(name, text, label, skip)


def _refuse_columns(what: str, text: str | None, label: str | None) -> None:
    if text is not None or label is not None:
        raise ConfigError(f"{what} no columns to choose; leave out the names of the text and label columns")


# Files.


def _open_file(given: str, text: str | None, label: str | None, skip: bool) -> Table:
    path, name = Path(os.path.abspath(given)), shown(given)
    kind = FORMATS.get(Path(path.name.lower().removesuffix(".gz")).suffix)
    if kind is None:
        raise SourceError(
            f"the name of {name} must end in {', '.join(FORMATS)}, or in one of these and .gz; rename it"
        )
    with reading(name):
        size = path.stat().st_size
    if kind == "jsonl":
        sample = [record for _, record in islice(json_lines.read_objects(path, name), SAMPLE)]
        names = list(dict.fromkeys(key for record in sample for key in record))
        if not names:
            raise SourceError(f"{name} is empty: it has no rows")
        values = [[record.get(column) for column in names] for record in sample]
        chosen, notes = choose_columns(name, names, values, text, label, header=False)

        def read(on_read: OnRead | None) -> Iterator[Row | Fault]:
            for number, record in json_lines.read_objects(path, name, on_read):
                pair = record.get(chosen[0]), record.get(chosen[1])
                yield row_of_values(*pair, number, lambda n: f"{name}, line {n}")

    else:
        dialect = csv_dialect(path, name) if kind == "csv" else tsv_dialect(path, name)
        records = read_records(path, name, dialect)
        header = next(records, None)
        if header is None:
            raise SourceError(f"{name} is empty: it has no row with the names of the columns")
        names = [column.strip() for column in header[1]]
        values = [fields for _, fields in islice(records, SAMPLE) if len(fields) == len(names)]
        chosen, notes = choose_columns(name, names, values, text, label, header=True)
        places = names.index(chosen[0]), names.index(chosen[1])

        def read(on_read: OnRead | None) -> Iterator[Row | Fault]:
            return rows_of_records(read_records(path, name, dialect, on_read), len(names), *places)

    description = {
        "kind": "file",
        "path": str(path),
        "text": chosen[0],
        "label": chosen[1],
        "skip_bad_rows": skip,
    }
    return Table(name, description, size, notes, (path,), _read=read, columns=chosen)


def _open_folder(given: str, skip: bool) -> Table:
    root = Path(os.path.abspath(given))
    files = label_folders.find_files(root, given)
    with reading(shown(given)):
        size = sum(file.stat().st_size for file in files)

    def read(on_read: OnRead | None) -> Iterator[Row | Fault]:
        return label_folders.read_rows(root, files, on_read)

    description = {"kind": "folder", "path": str(root), "skip_bad_rows": skip}
    return Table(shown(given), description, size, files=tuple(files), place="file", _read=read)


def _open_imdb(skip: bool) -> Table:
    path = imdb.find_imdb()

    def read(on_read: OnRead | None) -> Iterator[Row | Fault]:
        return imdb.read_imdb(path, on_read)

    description = {"kind": "named", "path": imdb.IMDB, "skip_bad_rows": skip}
    size = path.stat().st_size
    return Table(imdb.IMDB, description, size, files=(path,), _read=read, columns=imdb.COLUMNS)


# Python data.


def _open_frame(frame: Frame, text: str | None, label: str | None, skip: bool) -> Table:
    own = list(frame.columns)
    names = [str(column) for column in own]
    heads = [list(islice(iter(frame[column]), SAMPLE)) for column in own if own.count(column) == 1]
    values = [list(row) for row in zip(*heads, strict=True)] if len(heads) == len(own) else []
    columns, notes = choose_columns("the DataFrame", names, values, text, label, header=False)
    first, second = (frame[own[names.index(column)]] for column in columns)
    return _open_pairs("the DataFrame", lambda: zip(first, second, strict=True), skip, columns, notes)


def _text_and_label(pair: object, number: int) -> tuple[object, object]:
    if isinstance(pair, str | bytes) or not isinstance(pair, Iterable) or len(two := list(pair)) != 2:
        raise SourceError(f"expected (text, label) pairs, but number {number} is {shown(repr(pair))}")
    return two[0], two[1]


def _open_pairs(
    name: str,
    pairs: Callable[[], Iterator[tuple[object, object]]],
    skip: bool,
    columns: tuple[str, str] | None = None,
    notes: tuple[str, ...] = (),
) -> Table:
    """The table of pairs in memory, identified by their hash."""

    def read(on_read: OnRead | None) -> Iterator[Row | Fault]:
        for number, (text, label) in enumerate(pairs(), 1):
            yield row_of_values(text, label, number, lambda n: f"{name}, row {n}")

    digest = hashlib.sha256()
    for item in read(None):
        digest.update(json.dumps(item).encode())
    content = digest.hexdigest()
    description = {"kind": "pairs", "content": content, "skip_bad_rows": skip}
    return Table(name, description, notes=notes, content=content, place="row", _read=read, columns=columns)

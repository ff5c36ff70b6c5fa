"""Where labelled texts come from: CSV, TSV and JSON-lines files, a folder per label, pairs, DataFrames.

A `Table` is rows of (text, label) somewhere that are not read yet. It gives them one after another, as often
as asked, and a JSON-able description by which a later process finds it again.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ostinato.data.sources import imdb, json_lines, label_folders
from ostinato.data.sources.columns import choose_columns
from ostinato.data.sources.delimited import csv_dialect, read_records, rows_of_records, tsv_dialect
from ostinato.data.sources.faults import Fault, without_faults
from ostinato.data.sources.rows import Row, row_of_values
from ostinato.errors import ConfigError, RunError, SourceError
from ostinato.files.lines import OnRead, files_identity, reading, unreadable
from ostinato.wording import shown

__all__ = ["Row", "Table", "open_table", "open_table_like"]

FORMATS = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
SAMPLE = 500
"""Rows that are looked at to guess columns."""

Read = Callable[[OnRead | None], Iterator[Row | Fault]]


@dataclass(frozen=True)
class Table:
    """Labelled texts somewhere, not read yet; made by `open_table`.

    Attributes:
        name: what the user gave, for messages.
        description: JSON-able; `open_table` of it gives the same table in another process.
        columns: the names of the text and the label column, guessed ones included; None where there are none.
        size: bytes of its files; None for Python data.
        notes: sentences about what was guessed.
        files: what it reads.
        content: SHA-256 (hex) of its rows, where that is known without reading.
        place: what a row's number counts: "line", "row" or "file".
        skipped: after a pass over the rows, how many were left out, by reason.
    """

    name: str
    description: dict[str, Any]
    columns: tuple[str, str] | None = None
    size: int | None = None
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = field(default=(), repr=False)
    content: str | None = None
    place: str = "line"
    skipped: dict[str, int] = field(default_factory=dict, compare=False)
    _read: Read | None = field(default=None, repr=False, compare=False)

    @property
    def skips_bad_rows(self) -> bool:
        """Whether rows that cannot be used are left out; else they are an error."""
        return bool(self.description.get("skip_bad_rows"))

    def rows(self, on_read: OnRead | None = None) -> Iterator[Row]:
        """The rows in order, one at a time.

        Args:
            on_read: called with the bytes read so far, now and then.

        Raises:
            SourceError: it cannot be read, is not UTF-8, holds NUL bytes or broken rows, or no rows at all.
                Rows without text or label, and with too many or too few fields, are counted to the end and
                reported then, unless they are to be skipped.
        """
        if self._read is None:
            raise SourceError(
                "the source was pairs given in Python, which are not kept; give them again, or give a file"
            )
        items = self._read(on_read)
        empty = True
        for row in without_faults(
            items, self.skipped, name=self.name, place=self.place, skip=self.skips_bad_rows
        ):
            empty = False
            yield row
        if empty:
            raise SourceError(f"{self.name} holds no rows with a text and a label")

    def identity(self) -> str:
        """What its rows depend on; see `files_identity`."""
        return files_identity(self.description, self.files, self.name, self.content)

    def at(self, number: int) -> str:
        """Where a row is, for messages: "reviews.csv, line 7"."""
        if self.place == "file":
            return str(self.files[number - 1])
        return f"{self.name}, {self.place} {number}"


def open_table(
    source: Any, *, text: str | None = None, label: str | None = None, skip_bad_rows: bool = False
) -> Table:
    """The table that a source names. Its rows are not read yet, but for those that columns are guessed from.

    Args:
        source: a path to a .csv, .tsv or .jsonl file, perhaps .gz; a folder that holds a folder per label
            with a file per text; "imdb" unless a file or folder is called so; (text, label) pairs; a
            DataFrame; or `Table.description`, which brings the options below with it.
        text, label: the columns; None to guess them.
        skip_bad_rows: leave out rows without text or label, or with too many or too few fields, and count
            them.

    Raises:
        SourceError: there is no such source, or it has no such columns.
        ConfigError: columns are named for a source without columns, or the same one twice.
        RunError: the description is damaged.
    """
    if isinstance(source, dict):
        return _reopen(source)
    if text is not None and text == label:
        raise ConfigError(f"text and label are the same column, {text!r}; name two")
    if isinstance(source, str | os.PathLike):
        return _open_path(os.fspath(source), text, label, skip_bad_rows)
    if hasattr(source, "columns") and hasattr(source, "__getitem__"):
        return _open_frame(source, text, label, skip_bad_rows)
    _refuse_columns("(text, label) pairs have", text, label)
    if not isinstance(source, Iterable):
        raise SourceError(f"expected a path, (text, label) pairs or a DataFrame, got {type(source).__name__}")
    pairs: Sequence[Any] = source if isinstance(source, list | tuple) else list(source)
    return _open_pairs("<pairs>", lambda: map(_two, pairs, range(1, len(pairs) + 1)), skip_bad_rows)


def open_table_like(source: Any, columns: tuple[str, str] | None, *, skip_bad_rows: bool) -> Table:
    """The table that a source names, opened as another was whose text and label `columns` are called so.

    Where it has no such columns, they are guessed. Arguments and errors are those of `open_table`.
    """
    if columns is not None:
        try:
            return open_table(source, text=columns[0], label=columns[1], skip_bad_rows=skip_bad_rows)
        except (ConfigError, SourceError):
            pass  # a table of another kind, or with other names
    return open_table(source, skip_bad_rows=skip_bad_rows)


def _reopen(description: dict[str, Any]) -> Table:
    damaged = RunError(f"the description of the table is damaged: {shown(repr(description))}")
    kind, path, skip = (description.get(key) for key in ("kind", "path", "skip_bad_rows"))
    text, label, content = (description.get(key) for key in ("text", "label", "content"))
    if not isinstance(skip, bool) or not all(isinstance(name, str | None) for name in (text, label)):
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
    mode = _mode(path)
    if mode is None:
        raise SourceError(f"there is no {kind} {shown(path)!r} any more")
    if not (stat.S_ISREG if is_file else stat.S_ISDIR)(mode):
        raise SourceError(f"{shown(path)} was a {kind} when training began, and is none now")
    return _open_file(path, text, label, skip) if is_file else _open_folder(path, skip)


def _open_path(name: str, text: str | None, label: str | None, skip: bool) -> Table:
    mode = _mode(name)
    if mode is None:
        if name == imdb.IMDB:
            _refuse_columns("the table imdb has", text, label)
            return _open_imdb(skip)
        raise SourceError(
            f"there is no file or folder {shown(name)!r}; give a .csv, .tsv or .jsonl file, a folder "
            "that holds a folder per label, or the name imdb"
        )
    if stat.S_ISDIR(mode):
        _refuse_columns("a folder of texts has", text, label)
        return _open_folder(name, skip)
    if not stat.S_ISREG(mode):
        raise SourceError(f"{shown(name)} is neither a file nor a folder; write it to a file first")
    return _open_file(name, text, label, skip)


def _mode(name: str) -> int | None:
    """The type of what is at a path, as `os.stat` gives it; None when nothing is there."""
    try:
        return os.stat(name).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise unreadable(name, error) from error


def _refuse_columns(what: str, text: str | None, label: str | None) -> None:
    if text is not None or label is not None:
        raise ConfigError(f"{what} no columns to choose; leave the names of text and label column out")


# Files.


def _open_file(given: str, text: str | None, label: str | None, skip: bool) -> Table:
    path, name = Path(os.path.abspath(given)), shown(given)
    kind = FORMATS.get(Path(path.name.lower().removesuffix(".gz")).suffix)
    if kind is None:
        raise SourceError(
            f"{name} does not say what it is; rename it to end in {', '.join(FORMATS)}, or one of these and "
            ".gz"
        )
    with reading(name):
        size = path.stat().st_size
    if kind == "jsonl":
        sample = [record for _, record in islice(json_lines.read_objects(path, name), SAMPLE)]
        names = list(dict.fromkeys(key for record in sample for key in record))
        if not names:
            raise SourceError(f"{name} is empty: there are no rows to read")
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
            raise SourceError(f"{name} is empty: there is no row with the names of the columns")
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
    return Table(name, description, chosen, size, notes, (path,), _read=read)


def _open_folder(given: str, skip: bool) -> Table:
    root = Path(os.path.abspath(given))
    files = label_folders.find_files(root, given)
    with reading(shown(given)):
        size = sum(file.stat().st_size for file in files)

    def read(on_read: OnRead | None) -> Iterator[Row | Fault]:
        return label_folders.read_rows(root, files, on_read)

    description = {"kind": "folder", "path": str(root), "skip_bad_rows": skip}
    return Table(shown(given), description, None, size, (), tuple(files), place="file", _read=read)


def _open_imdb(skip: bool) -> Table:
    path = imdb.find_imdb()

    def read(on_read: OnRead | None) -> Iterator[Row | Fault]:
        return imdb.read_imdb(path, on_read)

    description = {"kind": "named", "path": imdb.IMDB, "skip_bad_rows": skip}
    return Table(imdb.IMDB, description, imdb.COLUMNS, path.stat().st_size, (), (path,), _read=read)


# Python data.


def _open_frame(frame: Any, text: str | None, label: str | None, skip: bool) -> Table:
    """A DataFrame of pandas, or of another library with `columns` and `frame[column]`."""
    own = list(frame.columns)
    names = [str(column) for column in own]
    heads = [list(islice(iter(frame[column]), SAMPLE)) for column in own if own.count(column) == 1]
    values = [list(row) for row in zip(*heads, strict=True)] if len(heads) == len(own) else []
    columns, notes = choose_columns("the DataFrame", names, values, text, label, header=False)
    first, second = (frame[own[names.index(column)]] for column in columns)
    return _open_pairs("the DataFrame", lambda: zip(first, second, strict=True), skip, columns, notes)


def _two(pair: Any, number: int) -> tuple[Any, Any]:
    if isinstance(pair, str | bytes) or not isinstance(pair, Iterable) or len(two := list(pair)) != 2:
        raise SourceError(f"expected (text, label) pairs, but number {number} is {shown(repr(pair))}")
    return two[0], two[1]


def _open_pairs(
    name: str,
    pairs: Callable[[], Iterator[tuple[Any, Any]]],
    skip: bool,
    columns: tuple[str, str] | None = None,
    notes: tuple[str, ...] = (),
) -> Table:
    """The table of pairs held in memory, known by the hash of what they are."""

    def read(on_read: OnRead | None) -> Iterator[Row | Fault]:
        for number, (text, label) in enumerate(pairs(), 1):
            yield row_of_values(text, label, number, lambda n: f"{name}, row {n}")

    digest = hashlib.sha256()
    for item in read(None):
        digest.update(json.dumps(item).encode())
    content = digest.hexdigest()
    description = {"kind": "pairs", "content": content, "skip_bad_rows": skip}
    return Table(name, description, columns, notes=notes, content=content, place="row", _read=read)

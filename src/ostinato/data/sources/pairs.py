"""Sources of sentence pairs: a file with source TAB target on each line, tables, two aligned files, Python.

`Pairs` are pairs of (source, target) somewhere, not read yet. They have a JSON-able description with which a
later process finds them again.
"""

import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeGuard

from ostinato.data.sources.base import Frame, RowSource, is_description
from ostinato.data.sources.columns import two_columns
from ostinato.data.sources.delimited import RAGGED
from ostinato.data.sources.faults import Fault
from ostinato.data.sources.grids import SAMPLE, Grid, is_grid, open_grid
from ostinato.data.sources.pair_columns import USUAL_PAIR_NAMES, choose_pair_columns
from ostinato.data.sources.rows import is_missing
from ostinato.data.sources.standard_input import INPUT, spooled_input
from ostinato.errors import ConfigError, RunError, SourceError
from ostinato.files.atomic import JsonObject
from ostinato.files.encodings import UTF8, checked
from ostinato.files.lines import OnRead, check_text, encoding_of, mode_of, read_lines
from ostinato.wording import option, shown

NO_TAB, SEVERAL_TABS, EMPTY_SIDE = "without a TAB", "with several TABs", "with an empty side"


class Pair(NamedTuple):
    """A sentence and its translation.

    Attributes:
        source, target: as the file has them; neither is blank.
        number: their line, or the place of the pair among the others; from 1 on.
    """

    source: str
    target: str
    number: int


@dataclass(frozen=True)
class Pairs(RowSource[Pair]):
    """Sentence pairs somewhere, not read yet; made by `open_pairs`.

    Attributes:
        validation: further pairs, which are the validation part; None takes that part from these.
    """

    contents: ClassVar[str] = "pairs of a source and a target"
    validation: "Pairs | None" = None


def open_pairs(
    source: object,
    *,
    columns: str | Sequence[str] | None = None,
    encoding: str | None = None,
    skip_bad_rows: bool = False,
) -> Pairs:
    """The pairs that a source names; at the most some rows are read yet.

    Args:
        source: a path to a file with source TAB target on every line, or to a table (see `grids`) with a
            column of each; "-" for one of these on standard input; a tuple of two paths to aligned files;
            (source, target) pairs of strings; dicts with a "source" and a "target"; a DataFrame; or
            `Pairs.description`, which includes the options below. Files may be .gz or .zip.
        columns: of a table: "source,target" or a tuple of two, by name or by number from 1 on; None guesses.
        encoding: of the files; None recognises it.
        skip_bad_rows: leave out rows without a TAB, with several, or with a blank side, and count them.

    Raises:
        SourceError: there is no such source, or its columns cannot be guessed.
        ConfigError: columns are named for a source without columns; there is no such encoding.
        RunError: the description is damaged.
    """
    if is_description(source):
        return _reopen(source)
    named = two_columns(columns, None, None, ("source", "target"))
    chosen = None if columns is None else (str(named[0]), str(named[1]))
    encoding = None if encoding is None else checked(encoding)
    if isinstance(source, str | os.PathLike):
        return _open_path(os.fspath(source), chosen, encoding, skip_bad_rows)
    if isinstance(source, Frame):
        return _open_frame(source, chosen, skip_bad_rows)
    if chosen is not None:
        raise ConfigError(f"only a table has columns to choose; leave out {option('columns')}")
    if isinstance(source, tuple) and len(source) == 2 and all(map(_is_path, source)):
        return _open_two((os.fspath(source[0]), os.fspath(source[1])), encoding, skip_bad_rows)
    if not isinstance(source, Iterable):
        raise SourceError(
            f"expected a path, a tuple of two paths or (source, target) pairs, got {type(source).__name__}"
        )
    return _open_python(list(source), skip_bad_rows)


def _is_path(value: object) -> bool:
    return isinstance(value, str | os.PathLike)


def _reopen(description: JsonObject) -> Pairs:
    damaged = RunError(f"the description of the pairs is damaged: {shown(repr(description))}")
    kind, skip = (description.get(key) for key in ("kind", "skip_bad_rows"))
    path, paths, content = (description.get(key) for key in ("path", "paths", "content"))
    if not isinstance(skip, bool):
        raise damaged
    if kind == "pairs" and isinstance(content, str) and re.fullmatch("[0-9a-f]{64}", content):
        return Pairs("<pairs>", description, content=content, place="pair")
    form, encoding, names = (description.get(key) for key in ("form", "encoding", "columns"))
    encodings = description.get("encodings", [UTF8, UTF8])
    if kind == "file" and isinstance(path, str) and path and isinstance(encoding, str | None):
        return _open_lines(path, path, encoding or UTF8, skip, ())
    if kind == "table" and isinstance(path, str) and isinstance(form, dict) and _is_two(names):
        grid = open_grid(str(_found(path)[0]), shown(path), form=form)
        return _of_grid(grid, (names[0], names[1]), skip)
    if kind == "files" and _is_two(paths) and _is_two(encodings):
        return _open_two((paths[0], paths[1]), (encodings[0], encodings[1]), skip)
    raise damaged


def _is_two(values: object) -> TypeGuard[list[str]]:
    """Whether a value of a description is two texts."""
    return (
        isinstance(values, list)
        and len(values) == 2
        and all(isinstance(each, str) and each for each in values)
    )


# Files.


def _open_path(name: str, columns: tuple[str, str] | None, encoding: str | None, skip: bool) -> Pairs:
    """A file of lines with TABs or, if its name or its lines say so, a table."""
    given = str(spooled_input()) if name == INPUT else name
    name = "standard input" if name == INPUT else name
    path, _ = _found(given)
    tabs = path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab"))
    known = None
    if columns is None and (tabs or not is_grid(given)):
        known = encoding_of(path, shown(name), encoding)
        if not _has_columns(path, shown(name), known.encoding):
            return _open_lines(given, name, known.encoding, skip, (known.note,) if known.note else ())
        encoding = encoding or known.encoding
    wanted = {*(columns or ()), *USUAL_PAIR_NAMES}
    grid = open_grid(given, shown(name), encoding=encoding, wanted=wanted)
    pairs = _of_grid(grid, columns, skip)
    return replace(pairs, notes=(known.note, *pairs.notes)) if known and known.note else pairs


def _has_columns(path: Path, name: str, encoding: str) -> bool:
    """Whether most of the first lines have more fields than two; or no TAB, as where they are JSON."""
    widths = Counter(line.count("\t") for line in islice(read_lines(path, name, encoding=encoding), SAMPLE))
    if not widths:
        return False
    most, count = widths.most_common(1)[0]
    first = next(read_lines(path, name, encoding=encoding))
    return (most > 1 and 2 * count > widths.total()) or (most == 0 and first.lstrip().startswith(("{", "[")))


def _open_lines(given: str, name: str, encoding: str, skip: bool, notes: tuple[str, ...]) -> Pairs:
    path, size = _found(given)

    def read(on_read: OnRead | None) -> Iterator[Pair | Fault]:
        return _separated(read_lines(path, shown(name), on_read, encoding))

    description: JsonObject = {"kind": "file", "path": str(path), "skip_bad_rows": skip, "encoding": encoding}
    return Pairs(shown(name), description, size, notes, files=(path,), _read=read)


def _of_grid(grid: Grid, columns: tuple[str, str] | None, skip: bool) -> Pairs:
    chosen = choose_pair_columns(grid.name, grid.names, grid.sample, columns)

    def read(on_read: OnRead | None) -> Iterator[Pair | Fault]:
        for number, values in grid.records(on_read):
            if values is None:
                yield Fault(RAGGED, number)
            else:
                sides = [values[at] for at in chosen.places]
                yield _pair_of_values(sides, number, f"{grid.name}, {grid.place} {number}")

    description: JsonObject = {
        "kind": "table",
        "path": str(grid.path),
        "columns": list(chosen.names),
        "form": grid.form,
        "skip_bad_rows": skip,
    }
    size, notes = os.path.getsize(grid.path), (*grid.notes, *chosen.notes)
    return Pairs(grid.name, description, size, notes, (grid.path,), place=grid.place, _read=read)


def _separated(lines: Iterator[str]) -> Iterator[Pair | Fault]:
    """The pairs of lines of source TAB target; blank lines at the end are left out."""
    blank: list[int] = []
    for number, line in enumerate(lines, 1):
        sides = line.rstrip("\r\n").split("\t")
        if len(sides) == 1 and not line.strip():
            blank.append(number)
            continue
        yield from (Fault(NO_TAB, before) for before in blank)
        blank.clear()
        if len(sides) == 2:
            yield _pair(sides[0], sides[1], number)
        else:
            yield Fault(NO_TAB if len(sides) == 1 else SEVERAL_TABS, number)


def _open_two(names: tuple[str, str], encoding: str | tuple[str, str] | None, skip: bool) -> Pairs:
    """Two aligned files; `encoding` is that of both, or of each."""
    first, second = names
    (source, source_size), (target, target_size) = _found(first), _found(second)
    given = encoding if isinstance(encoding, tuple) else (encoding, encoding)
    known = [
        encoding_of(path, shown(name), one)
        for path, name, one in zip((source, target), names, given, strict=True)
    ]

    def read(on_read: OnRead | None) -> Iterator[Pair | Fault]:
        done = [0, 0]

        def lines(side: int, path: Path, name: str) -> Iterator[str]:
            def told(read: int) -> None:
                done[side] = read
                if on_read is not None:
                    on_read(sum(done))

            return read_lines(path, shown(name), told, known[side].encoding)

        return _aligned(lines(0, source, first), lines(1, target, second), (shown(first), shown(second)))

    description: JsonObject = {
        "kind": "files",
        "paths": [str(source), str(target)],
        "encodings": [one.encoding for one in known],
        "skip_bad_rows": skip,
    }
    name = f"{shown(first)} and {shown(second)}"
    notes = tuple(one.note for one in known if one.note is not None)
    return Pairs(name, description, source_size + target_size, notes, (source, target), _read=read)


def _aligned(
    sources: Iterator[str], targets: Iterator[str], names: tuple[str, str]
) -> Iterator[Pair | Fault]:
    """The pairs of lines with the same number; lines at the end that are blank on both sides are left out."""
    counts, blank, uneven = [0, 0], 0, False
    for number, sides in enumerate(zip_longest(sources, targets, fillvalue=""), 1):
        # A line includes its line end, so only a line beyond the end of its file is empty.
        counts = [count + bool(side) for count, side in zip(counts, sides, strict=True)]
        if not any(side.strip() for side in sides):
            blank += 1
            continue
        uneven = uneven or "" in sides
        if not uneven:
            yield from (Fault(EMPTY_SIDE, before) for before in range(number - blank, number))
            blank = 0
            yield _pair(sides[0].rstrip("\r\n"), sides[1].rstrip("\r\n"), number)
    if uneven:
        raise SourceError(
            f"{names[0]} and {names[1]} must have equally many lines, got {counts[0]:,} and {counts[1]:,}"
        )


def _found(name: str) -> tuple[Path, int]:
    """The absolute path of a file, and its size in bytes."""
    mode = mode_of(name)
    if mode is None:
        raise SourceError(
            f"there is no file {shown(name)!r}; give a file with source TAB target on each line, or two "
            "aligned files"
        )
    if stat.S_ISDIR(mode):
        raise SourceError(f"{shown(name)} is a folder; give a file with source TAB target on each line")
    if not stat.S_ISREG(mode):
        raise SourceError(f"{shown(name)} is not a regular file; write it to a file first")
    return Path(os.path.abspath(name)), os.path.getsize(name)


def _pair(source: str, target: str, number: int) -> Pair | Fault:
    if not source.strip() or not target.strip():
        return Fault(EMPTY_SIDE, number)
    return Pair(source, target, number)


# Python data.


def _open_frame(frame: Frame, columns: tuple[str, str] | None, skip: bool) -> Pairs:
    own = list(frame.columns)
    names = [str(column) for column in own]
    heads = [list(islice(iter(frame[column]), SAMPLE)) for column in own]
    chosen = choose_pair_columns("the DataFrame", names, list(zip(*heads, strict=True)), columns)
    source, target = (frame[own[at]] for at in chosen.places)
    pairs = list(zip(source, target, strict=True))
    return replace(_open_python(pairs, skip, "the DataFrame"), notes=chosen.notes)


def _open_python(pairs: Sequence[object], skip: bool, name: str = "<pairs>") -> Pairs:
    """Pairs in memory, identified by their hash."""

    def read(on_read: OnRead | None) -> Iterator[Pair | Fault]:
        for number, pair in enumerate(pairs, 1):
            yield _pair_of_values(_sides(pair, number), number, f"{name}, pair {number}")

    content = PairsDigest()
    for item in read(None):
        content.add(*(("", item.problem) if isinstance(item, Fault) else item[:2]))
    description = {"kind": "pairs", "content": content.hex(), "skip_bad_rows": skip}
    return Pairs(name, description, content=content.hex(), place="pair", _read=read)


class PairsDigest:
    """The SHA-256 of pairs that are added one by one."""

    def __init__(self):
        self._digest = hashlib.sha256()

    def add(self, source: str, target: str) -> None:
        first, second = source.encode(), target.encode()
        self._digest.update(b"%d %d " % (len(first), len(second)))
        self._digest.update(first + second)

    def hex(self) -> str:
        return self._digest.hexdigest()


def _sides(pair: object, number: int) -> Sequence[object]:
    """The source and the target of a pair or a dict from Python."""
    if isinstance(pair, Mapping):
        if not {"source", "target"} <= {*pair}:
            raise SourceError(
                f"expected dicts with a 'source' and a 'target', but number {number} is {shown(repr(pair))}"
            )
        return pair["source"], pair["target"]
    if _is_path(pair) or not isinstance(pair, Iterable) or len(sides := list(pair)) != 2:
        raise SourceError(
            f"expected (source, target) pairs, but number {number} is {shown(repr(pair))}; give two files as "
            "a tuple of two paths"
        )
    return sides


def _pair_of_values(sides: Sequence[object], number: int, place: str) -> Pair | Fault:
    """The pair of two values from a table or Python."""
    if any(map(is_missing, sides)):
        return Fault(EMPTY_SIDE, number)
    for side in sides:
        if not isinstance(side, str):
            raise SourceError(f"{place}: expected a sentence, got {type(side).__name__} {shown(repr(side))}")
        check_text(side, place)
    return _pair(str(sides[0]), str(sides[1]), number)

"""Sources of sentence pairs: a file with source TAB target on each line, two aligned files, Python.

`Pairs` are pairs of (source, target) somewhere, not read yet. They have a JSON-able description with which a
later process finds them again.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import ClassVar, NamedTuple

from ostinato.data.sources.base import RowSource, is_description
from ostinato.data.sources.faults import Fault
from ostinato.data.sources.rows import is_missing
from ostinato.errors import RunError, SourceError
from ostinato.files.atomic import JsonObject
from ostinato.files.lines import OnRead, check_text, mode_of, read_lines
from ostinato.wording import shown

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


def open_pairs(source: object, *, skip_bad_rows: bool = False) -> Pairs:
    """The pairs that a source names; they are not read yet.

    Args:
        source: a path to a file of UTF-8 with source TAB target on every line; a tuple of two paths to
            aligned files; (source, target) pairs of strings; or `Pairs.description`, which includes the
            option below. Files may be .gz.
        skip_bad_rows: leave out rows without a TAB, with several, or with a blank side, and count them.

    Raises:
        SourceError: there is no such source.
        RunError: the description is damaged.
    """
    if is_description(source):
        return _reopen(source)
    if isinstance(source, str | os.PathLike):
        return _open_file(os.fspath(source), skip_bad_rows)
    if isinstance(source, tuple) and len(source) == 2 and all(map(_is_path, source)):
        return _open_two(os.fspath(source[0]), os.fspath(source[1]), skip_bad_rows)
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
    if kind == "file" and isinstance(path, str) and path:
        return _open_file(path, skip)
    if kind == "files" and isinstance(paths, list) and len(paths) == 2:
        first, second = paths
        if isinstance(first, str) and isinstance(second, str) and first and second:
            return _open_two(first, second, skip)
    raise damaged


# Files.


def _open_file(name: str, skip: bool) -> Pairs:
    path, size = _found(name)

    def read(on_read: OnRead | None) -> Iterator[Pair | Fault]:
        return _separated(read_lines(path, shown(name), on_read))

    description = {"kind": "file", "path": str(path), "skip_bad_rows": skip}
    return Pairs(shown(name), description, size, files=(path,), _read=read)


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


def _open_two(first: str, second: str, skip: bool) -> Pairs:
    (source, source_size), (target, target_size) = _found(first), _found(second)

    def read(on_read: OnRead | None) -> Iterator[Pair | Fault]:
        done = [0, 0]

        def lines(side: int, path: Path, name: str) -> Iterator[str]:
            def told(read: int) -> None:
                done[side] = read
                if on_read is not None:
                    on_read(sum(done))

            return read_lines(path, shown(name), told)

        return _aligned(lines(0, source, first), lines(1, target, second), (shown(first), shown(second)))

    description = {"kind": "files", "paths": [str(source), str(target)], "skip_bad_rows": skip}
    name = f"{shown(first)} and {shown(second)}"
    return Pairs(name, description, source_size + target_size, files=(source, target), _read=read)


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


def _open_python(pairs: Sequence[object], skip: bool) -> Pairs:
    """Pairs in memory, identified by their hash."""

    def read(on_read: OnRead | None) -> Iterator[Pair | Fault]:
        for number, pair in enumerate(pairs, 1):
            yield _pair_of_values(pair, number)

    content = PairsDigest()
    for item in read(None):
        content.add(*(("", item.problem) if isinstance(item, Fault) else item[:2]))
    description = {"kind": "pairs", "content": content.hex(), "skip_bad_rows": skip}
    return Pairs("<pairs>", description, content=content.hex(), place="pair", _read=read)


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


def _pair_of_values(pair: object, number: int) -> Pair | Fault:
    place = f"<pairs>, pair {number}"
    if _is_path(pair) or not isinstance(pair, Iterable) or len(sides := list(pair)) != 2:
        raise SourceError(
            f"expected (source, target) pairs, but number {number} is {shown(repr(pair))}; give two files as "
            "a tuple of two paths"
        )
    if any(map(is_missing, sides)):
        return Fault(EMPTY_SIDE, number)
    for side in sides:
        if not isinstance(side, str):
            raise SourceError(f"{place}: expected a sentence, got {type(side).__name__} {shown(repr(side))}")
        check_text(side, place)
    return _pair(str(sides[0]), str(sides[1]), number)

"""Folders of texts: a folder per label with a file per text, or a .txt per label with a text on each line."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ostinato.data.sources.faults import Fault
from ostinato.data.sources.rows import Row
from ostinato.errors import SourceError
from ostinato.files.lines import SURROGATE, OnRead, encoding_of, read_lines, read_whole, reading
from ostinato.wording import option, shown

_ENDINGS = (".txt", ".txt.gz")
_PART = re.compile(r"(train|training|test|testing|val|valid|validation|dev|eval)([_.-].*)?")
"""The name of a part of a data set, which is no label."""
EXPECTED = (
    "it must have a folder per label with a file per text, or a .txt file per label with a text on each line"
)


def find_files(root: Path, name: str) -> tuple[list[Path], bool]:
    """The files of all labels, sorted by name, and whether every line is a text; hidden files are left out.

    Args:
        root: the folder, absolute.
        name: what messages call it.

    Raises:
        SourceError: the folder cannot be read, has no such files, or the name of one is not UTF-8.
    """
    files: list[Path] = []
    with reading(shown(name)):
        inside = sorted(entry.name for entry in os.scandir(root) if not entry.name.startswith("."))
        for label in filter(lambda label: (root / label).is_dir(), inside):
            for place, folders, texts in os.walk(root / label, onerror=_stop):
                folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
                files += [Path(place, file) for file in sorted(texts) if not file.startswith(".")]
    lists = [root / file for file in inside if file.lower().endswith(_ENDINGS)]
    if not files and len(lists) < 2:
        others = [file for file in inside if (root / file).is_file()]
        has = (
            f"has {', '.join(map(repr, others[:5]))}{', …' if len(others) > 5 else ''}"
            if others
            else "has no files"
        )
        raise SourceError(f"the folder {shown(name)} {has}; {EXPECTED}; give a table by the path of its file")
    labels = {file.relative_to(root).parts[0].lower() for file in files or lists}
    parts = sorted(label for label in labels if _PART.fullmatch(label))
    if parts and 2 * len(parts) >= len(labels):
        raise SourceError(
            f"the folder {shown(name)} has {' and '.join(parts[:3])}, which are parts and no labels; give "
            f"the file of the training part, and that of another with {option('validation')}"
        )
    for file in files or lists:
        if SURROGATE.search(str(file)):
            raise SourceError(f"the name of {str(file)!r} is not UTF-8; rename it")
    return (files, False) if files else (lists, True)


def read_rows(
    root: Path, files: Sequence[Path], encoding: str | None, on_read: OnRead | None = None
) -> Iterator[Row | Fault]:
    """The texts of files below `root`, numbered from 1 on.

    Args:
        root: the folder, absolute.
        files: from `find_files`.
        encoding: of all files; None recognises that of each.
        on_read: see `read_lines`.

    Raises:
        SourceError: as `read_whole` does.
    """
    done, depth = 0, len(root.parts)
    for number, file in enumerate(files, 1):
        text, label = read_whole(file, encoding), file.parts[depth].strip()
        done += len(text)
        if on_read is not None and (number % 256 == 0 or number == len(files)):
            on_read(done)
        yield Row(text, label, number)


def read_lists(
    files: Sequence[Path], encoding: str | None, on_read: OnRead | None = None
) -> Iterator[Row | Fault]:
    """The lines of files as texts, numbered from 1 on over all files, but for blank ones. See `read_rows`."""
    done = number = 0
    for file in files:
        label = file.name[: file.name.lower().rindex(".txt")].strip()
        known = encoding_of(file, str(file), encoding).encoding
        for line in read_lines(file, str(file), encoding=known):
            if not (text := line.strip()):
                continue
            number += 1
            yield Row(text, label, number)
        done += file.stat().st_size
        if on_read is not None:
            on_read(done)


def _stop(error: OSError) -> None:
    raise error

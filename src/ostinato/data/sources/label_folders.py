"""A folder with a folder per label, and in it a file per text."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ostinato.data.sources.faults import Fault
from ostinato.data.sources.rows import NO_LABEL, Row
from ostinato.errors import SourceError
from ostinato.files.lines import SURROGATE, OnRead, read_whole, reading
from ostinato.wording import shown


def find_files(root: Path, name: str) -> list[Path]:
    """The files of all labels, sorted by name; hidden ones are left out.

    Args:
        root: the folder, absolute.
        name: what messages call it.

    Raises:
        SourceError: the folder cannot be read, has no such files, or the name of one is not UTF-8.
    """
    files: list[Path] = []
    with reading(shown(name)):
        labels = sorted(
            entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")
        )
        for label in labels:
            for place, folders, inside in os.walk(root / label, onerror=_stop):
                folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
                files += [Path(place, file) for file in sorted(inside) if not file.startswith(".")]
    if not files:
        raise SourceError(
            f"the folder {shown(name)} has no files; it must have a folder per label with a file per text"
        )
    for file in files:
        if SURROGATE.search(str(file)):
            raise SourceError(f"the name of {str(file)!r} is not UTF-8; rename it")
    return files


def read_rows(root: Path, files: Sequence[Path], on_read: OnRead | None = None) -> Iterator[Row | Fault]:
    """The texts of files below `root`, numbered from 1 on. Raises SourceError as `read_whole` does."""
    done, depth = 0, len(root.parts)
    for number, file in enumerate(files, 1):
        text, label = read_whole(file), file.parts[depth].strip()
        done += len(text)
        if on_read is not None and (number % 256 == 0 or number == len(files)):
            on_read(done)
        yield Row(text, label, number) if label else Fault(NO_LABEL, number)


def _stop(error: OSError) -> None:
    raise error

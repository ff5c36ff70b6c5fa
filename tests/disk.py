"""What would be on the disk after a power cut: what the system was told to flush, and when."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_Content = tuple[int, ...] | tuple[str, ...]


class Disk:
    """Follows the system's calls that flush and rename, which do what they always do.

    A file is safe while it is as long as when it was last flushed, a folder while it has the entries it had
    then. A rename is safe once the folder in which the new name stands is flushed after it.

    Attributes:
        renamed: the new names, in order.
        too_early: what was renamed before it, and all that lies in it, was safe.
    """

    def __init__(self, monkeypatch: Any):
        self.renamed: list[Path] = []
        self.too_early: list[Path] = []
        self._safe: dict[tuple[int, int], _Content] = {}
        self._owed: dict[tuple[int, int], Path] = {}
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self._flush)
        for name in ("rename", "replace"):
            monkeypatch.setattr(os, name, self._renaming(getattr(os, name)))

    @property
    def owed(self) -> list[Path]:
        """The folders that were not flushed since something in them got its name."""
        return list(self._owed.values())

    def unsafe(self, path: Path) -> list[Path]:
        """What would be lost of a file, or of a folder and all that lies in it."""
        return [each for each in _all_of(path) if self._safe.get(_identity(each)) != _content(each)]

    def entries(self, folder: Path) -> tuple[Any, ...]:
        """The names in a folder when it was last flushed."""
        return self._safe[_identity(folder)]

    def _flush(self, descriptor: int) -> None:
        self._fsync(descriptor)
        identity = _identity(descriptor)
        self._safe[identity] = _content(descriptor)
        self._owed.pop(identity, None)

    def _renaming(self, rename: Any) -> Any:
        def renaming(source: Any, destination: Any) -> None:
            self.too_early += self.unsafe(Path(source))
            rename(source, destination)
            self.renamed.append(Path(destination))
            folder = Path(destination).parent
            self._owed[_identity(folder)] = folder

        return renaming


def _all_of(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir():
        yield from sorted(path.rglob("*"))


def _identity(place: Path | int) -> tuple[int, int]:
    found = os.stat(place)
    return found.st_dev, found.st_ino


def _content(place: Path | int) -> _Content:
    found = os.stat(place)
    return tuple(sorted(os.listdir(place))) if stat.S_ISDIR(found.st_mode) else (found.st_size,)

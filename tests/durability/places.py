"""Every place where a training writes, counted; and a death at one of them.

A place is what is done, and to which file below the watched folder, numbers left out:
`fsync run/checkpoints/.writing-N/weights.safetensors`. `half …` stands for a write that stops in the middle.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from ostinato.files import atomic as files
from ostinato.runs.directory import RunDirectory

_NUMBERS = re.compile(r"\b[0-9a-f]{12,}\b|\d+")  # steps, processes, hashes
_CALLS = ("fsync", "mkdir", "rename", "replace", "rmdir", "unlink")


class Places:
    """Counts what this process does to the files below `root`, from `watch` on.

    Args:
        root: the folder that holds the run.
        death: (place, number): die just before that place is passed for the number-th time.

    Attributes:
        passed: how often each place was passed.
    """

    def __init__(self, root: Path, death: tuple[str, int] | None):
        self.passed: Counter[str] = Counter()
        self._root, self._death = os.path.realpath(root), death

    def watch(self) -> None:
        for name in _CALLS:
            setattr(os, name, self._watched(name, getattr(os, name)))
        files.write_synced = self._write_synced
        os.write = self._watched_write(os.write)
        RunDirectory.append_metrics = self._watched_append(RunDirectory.append_metrics)  # type: ignore
        RunDirectory.cut_metrics = self._watched_cut(RunDirectory.cut_metrics)  # type: ignore

    def _reached(self, what: str, path: str | os.PathLike[str]) -> bool:
        """Counts a place; whether this is the one to die at."""
        absolute = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if not absolute.startswith(self._root + os.sep):
            return False
        place = f"{what} {_NUMBERS.sub('N', os.path.relpath(absolute, self._root))}"
        self.passed[place] += 1
        return self._death == (place, self.passed[place])

    def _watched(self, name: str, call: Any) -> Any:
        def watched(path: Any, *arguments: Any, **options: Any) -> Any:
            if self._reached(name, _path(path, options.get("dir_fd"))):
                _die()
            return call(path, *arguments, **options)

        return watched

    def _watched_write(self, call: Any) -> Any:
        def watched(descriptor: int, data: bytes) -> int:
            if self._reached("half", _path(descriptor)):
                call(descriptor, data[: len(data) // 2])
                _die()
            return call(descriptor, data)

        return watched

    def _write_synced(self, path: Path, data: bytes, _write: Any = files.write_synced) -> None:
        if self._reached("half", path):
            path.write_bytes(data[: len(data) // 2])
            _die()
        _write(path, data)

    def _watched_append(self, call: Any) -> Any:
        def watched(run: RunDirectory, row: dict[str, Any]) -> None:
            dies = self._reached("half", run.metrics)
            before = run.metrics.stat().st_size if dies and run.metrics.exists() else 0
            call(run, row)
            if dies:
                os.truncate(run.metrics, (before + run.metrics.stat().st_size) // 2)
                _die()

        return watched

    def _watched_cut(self, call: Any) -> Any:
        def watched(run: RunDirectory, length: int) -> None:
            if self._reached("cut", run.metrics):
                _die()
            call(run, length)

        return watched


def _path(path: int | str | os.PathLike[str], folder: int | None = None) -> str:
    """The path that a call means by a path, or a descriptor, or a name in an open folder."""
    if isinstance(path, int):
        return os.readlink(f"/proc/self/fd/{path}")
    return (
        os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path) if folder is not None else os.fspath(path)
    )


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")

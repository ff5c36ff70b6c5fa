"""Reading untrusted run directories.

Only regular files of the run itself are opened, never links that lead out of it, and their sizes are checked
before they are read.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from ostinato.errors import RunError
from ostinato.files.plain import read_plain
from ostinato.wording import quoted

LARGEST_SETTINGS = 1 << 20
"""Bytes of a config or a manifest; usual ones have some thousand."""
LARGEST_VOCABULARY = 1 << 28
"""Bytes of a vocabulary; one of two times a million subwords has about 200 MB."""
MOST_FILES = 100_000
"""Files and folders in a run directory."""
_DEEPEST = 50
"""Nested objects and arrays in a JSON file; ours have up to six levels."""


def read_json(path: Path, largest: int) -> object:
    """The content of a JSON file of a run.

    Args:
        path: the file.
        largest: the most bytes it may have.

    Raises:
        RunError: it is missing, not a regular file, too large, or not JSON.
    """
    try:
        value = json.loads(read_plain(path, largest))
    except FileNotFoundError:
        raise RunError(f"{path} is missing; the run directory is damaged") from None
    except OSError as error:
        raise RunError(f"could not read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: {quoted(error)}") from None
    if _is_deep(value):
        raise RunError(f"{path} is damaged: it has more than {_DEEPEST} nested levels")
    return value


def refuse_what_leads_out(folder: Path) -> None:
    """Refuses a run directory that contains anything but regular files and folders.

    Resuming writes into a run; through a link it would write elsewhere.

    Raises:
        RunError: with the first such path.
    """
    places, count = [folder], 0
    while places:
        # A running training may remove old checkpoints and rename new ones meanwhile.
        with suppress(FileNotFoundError), _reading(folder), os.scandir(places.pop()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    count += 1
                    mode = entry.stat(follow_symlinks=False).st_mode
                    if stat.S_ISDIR(mode):
                        places.append(Path(entry.path))
                    elif not stat.S_ISREG(mode):
                        what = "a link" if stat.S_ISLNK(mode) else "not a regular file"
                        raise RunError(f"{entry.path} is {what}, which no run directory contains; remove it")
        if count > MOST_FILES:
            raise RunError(f"{folder} has more than {MOST_FILES:,} files, which no run directory has")


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"could not read {folder}: {error.strerror or error}") from None


def memory() -> int:
    """The memory of this machine in bytes."""
    return psutil.virtual_memory().total


def _is_deep(value: object) -> bool:
    """Whether there are so many nested levels that recursion over them may fail."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True

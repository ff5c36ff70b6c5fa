"""Reading run directories, which may come from anyone.

What is opened is a plain file of the run itself, no link that leads out of it, and its size is known to be
sensible before any of it is read.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from ostinato.errors import RunError
from ostinato.files.plain import read_plain
from ostinato.wording import quoted

LARGEST_SETTINGS = 1 << 20
"""Bytes of a config or a manifest, which have some thousand."""
LARGEST_VOCABULARY = 1 << 28
"""Bytes of a vocabulary; one of two times a million subwords has about 200 MB."""
MOST_FILES = 100_000
"""Files and folders in a run directory."""
_DEEPEST = 50
"""Objects and arrays within another in a JSON file of ours have up to six."""


def read_json(path: Path, largest: int) -> Any:
    """What a JSON file of a run holds.

    Args:
        path: the file.
        largest: how many bytes it may have.

    Raises:
        RunError: when it is missing, not a regular file, too large, or not JSON.
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
        raise RunError(f"{path} is damaged: it holds more than {_DEEPEST} objects within another")
    return value


def refuse_what_leads_out(folder: Path) -> None:
    """Refuses a run directory in which anything is neither a plain file nor a folder.

    Resuming writes into a run: through a link it would write into whatever the link leads to.

    Raises:
        RunError: naming the first of them.
    """
    places, count = [folder], 0
    while places:
        # A training under way removes old checkpoints meanwhile, and renames what it has written.
        with suppress(FileNotFoundError), _reading(folder), os.scandir(places.pop()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    count += 1
                    mode = entry.stat(follow_symlinks=False).st_mode
                    if stat.S_ISDIR(mode):
                        places.append(Path(entry.path))
                    elif not stat.S_ISREG(mode):
                        what = "a link" if stat.S_ISLNK(mode) else "not a regular file"
                        raise RunError(f"{entry.path} is {what}, which no run directory holds; remove it")
        if count > MOST_FILES:
            raise RunError(f"{folder} holds more than {MOST_FILES:,} files, as no run directory does")


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


def _is_deep(value: Any) -> bool:
    """Whether there are so many levels that whatever walks over them may fail."""
    level: list[Any] = [value]
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

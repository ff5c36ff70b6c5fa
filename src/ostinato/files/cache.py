"""The cache folder: downloaded corpora, the rows of tables, fitted vocabularies and tokens.

A file appears in it complete or not at all: it is written under another name beside its place and then
renamed. A kill, a full disk or a second process at the same work leaves nothing half-written. Everything in
the folder can be made again; deleting it costs only time.
"""

import errno
import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar

import numpy as np
import platformdirs

from ostinato.errors import SourceError
from ostinato.files.atomic import sync_folder

PARTIAL = ".partial"
STALE_SECONDS = 24 * 3600
"""A partial file that is untouched for so long was left by a killed process, and is removed."""
Progress = Callable[[int, int | None], None]
"""Called while an entry is made, with the bytes done and in all (None while unknown)."""
_Entry = TypeVar("_Entry")


def folder() -> Path:
    """The cache folder: the environment variable OSTINATO_CACHE, else the platform's folder for caches."""
    chosen = os.environ.get("OSTINATO_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else platformdirs.user_cache_path("ostinato")


def found_or_made(path: Path, find: Callable[[], _Entry | None], make: Callable[[], None]) -> _Entry:
    """An entry of the cache.

    Args:
        path: its place, for messages.
        find: reads it; None when it is missing or damaged.
        make: writes it.

    Raises:
        SourceError: it cannot be written, or is still missing after that.
    """
    found = find()
    if found is None:
        make()
        found = find()
    if found is None:
        raise SourceError(f"cannot read {path} back from the cache; set OSTINATO_CACHE to another folder")
    return found


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Opens a file of the cache for writing; it takes its place when the block ends without an exception.

    Raises:
        SourceError: the folder cannot be written, or the disk is full.
    """
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path.parent)
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(error) from error
        raise


def with_ending(base: Path, ending: str) -> Path:
    """One of the files of an entry: the path with a dot and this ending added."""
    return base.with_name(f"{base.name}.{ending}")


def write_json(path: Path, data: Mapping[str, object]) -> None:
    """Writes a JSON object into the cache. Raises SourceError as `writing` does."""
    with writing(path) as file:
        file.write(json.dumps(data).encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file of the cache; None when the file is missing or damaged."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def map_array(path: Path, dtype: np.dtype, count: int) -> np.ndarray:
    """The array in a file of the cache, shape (count,), memory-mapped and read-only.

    Raises:
        OSError: the file is missing.
        ValueError: it has another size.
    """
    if path.stat().st_size != count * dtype.itemsize:
        raise ValueError(f"{path} does not have {count} entries")
    if not count:
        return np.empty(0, dtype)
    return np.memmap(path, dtype, "r", shape=(count,)).view(np.ndarray)


def temporary_file() -> IO[bytes]:
    """A named file in the cache that is removed when it is closed. Raises SourceError as `writing` does."""
    try:
        place = folder() / "spool"
        place.mkdir(parents=True, exist_ok=True)
        _remove_stale(place)
        return tempfile.NamedTemporaryFile(dir=place, suffix=PARTIAL)
    except OSError as error:
        raise unwritable(error) from error


def unwritable(error: OSError) -> SourceError:
    """The error of a write into the cache, in one sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SourceError(
            f"the disk of the cache {folder()} is full; free some space, "
            "or set OSTINATO_CACHE to a folder on another disk"
        )
    return SourceError(
        f"cannot write to the cache {folder()} ({error.strerror or error}); "
        "set OSTINATO_CACHE to a folder that can be written"
    )


def _remove_stale(place: Path) -> None:
    for partial in place.glob(f"*{PARTIAL}"):
        with suppress(OSError):
            if time.time() - partial.stat().st_mtime > STALE_SECONDS:
                partial.unlink()

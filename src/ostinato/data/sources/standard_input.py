"""A table or pairs on standard input: kept in the cache under the hash of their bytes, so that a run can
resume."""

import hashlib
import sys
import uuid
from pathlib import Path

from ostinato.errors import SourceError
from ostinato.files import cache
from ostinato.files.lines import unreadable

INPUT = "-"
_BLOCK = 1 << 20


def spooled_input() -> Path:
    """The path of all that comes on standard input, read to its end.

    Raises:
        SourceError: there is no standard input, it is empty, or the cache cannot be written.
    """
    if sys.stdin is None:
        raise SourceError("there is no standard input to read")
    folder, digest = cache.folder() / "input", hashlib.sha256()
    waiting = folder / f"{uuid.uuid4().hex[:12]}"
    try:
        with cache.writing(waiting) as file:
            for block in iter(lambda: _read(_BLOCK), b""):
                digest.update(block)
                file.write(block)
        path = folder / f"{digest.hexdigest()[:32]}.txt"
        if not waiting.stat().st_size:
            raise SourceError("standard input is empty")
        if path.exists():
            return path  # its time stays, and with it what is known of the file
        waiting.rename(path)
    finally:
        waiting.unlink(missing_ok=True)
    return path


def _read(size: int) -> bytes:
    try:
        return sys.stdin.buffer.read(size)
    except OSError as error:
        raise unreadable("standard input", error) from error

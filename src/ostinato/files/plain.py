"""Reading untrusted files: only regular files, and only up to a size.

A pipe waits for a writer, a device may never end, and a file may be larger than memory.
"""

import errno
import gzip
import io
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

LARGEST_TEXT = 1 << 24
"""Characters of a text, or bytes of a file with one text: several times the longest novels."""
_EXPANDS, _HARMLESS = 200, 1 << 28
"""A .gz may expand by this factor, or to this many bytes; text expands by 2 to 20."""


def open_plain(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a file for reading; never waits.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is not a regular file", os.fspath(path))
    return file


def read_plain(path: str | os.PathLike[str], largest: int) -> bytes:
    """The bytes of a file.

    Args:
        path: the file.
        largest: the most bytes it may have.

    Raises:
        OSError: it cannot be read, is not a regular file, or has more bytes.
    """
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > largest:
            raise OSError(errno.EFBIG, f"it must have at most {largest:,} bytes, got {size:,}")
        return file.read(size)


def unpacked(raw: BinaryIO, path: Path) -> BinaryIO:
    """The content of a file, unpacked when its name ends in .gz.

    Reading raises OSError when it expands so much that it cannot be text.
    """
    if path.suffix.lower() != ".gz":
        return raw
    return io.BufferedReader(_Unpacked(raw), 1 << 17)


class _Unpacked(io.RawIOBase):
    """An unpacked .gz that refuses to expand too much."""

    def __init__(self, raw: BinaryIO):
        self._raw, self._packed, self._count = raw, gzip.GzipFile(fileobj=raw), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer") -> int:
        count = self._packed.readinto(buffer)
        self._count += count
        if self._count > max(_HARMLESS, _EXPANDS * self._raw.tell()):
            raise OSError(
                errno.EFBIG, f"it unpacks to more than {_EXPANDS} times its size, which no text does"
            )
        return count


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))

"""Reading untrusted files: only regular files, and only up to a size.

A pipe waits for a writer, a device may never end, and a file may be larger than memory.
"""

import errno
import gzip
import io
import os
import stat
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

LARGEST_TEXT = 1 << 24
"""Characters of a text, or bytes of a file with one text: several times the longest novels."""
_EXPANDS, _HARMLESS = 200, 1 << 28
"""A .gz or .zip may expand by this factor, or to this many bytes; text expands by 2 to 20."""


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
    """The content of a file, unpacked when its name ends in .gz or .zip.

    Reading raises OSError when it expands so much that it cannot be text, and zipfile.BadZipFile when it is
    damaged.

    Raises:
        OSError: a .zip contains no file, or several.
        zipfile.BadZipFile: it is no .zip.
    """
    ending = path.suffix.lower()
    if ending == ".gz":
        return io.BufferedReader(_Unpacked(raw, gzip.GzipFile(fileobj=raw)), 1 << 17)
    if ending == ".zip":
        archive = zipfile.ZipFile(raw)
        return io.BufferedReader(_Unpacked(raw, archive.open(_only_member(archive))), 1 << 17)
    return raw


def inner_name(path: Path) -> str:
    """The lower-case name of a file without .gz, or that of the file in a .zip; the errors are those of
    `unpacked`."""
    name = path.name.lower()
    if name.endswith(".zip"):
        with open_plain(path) as raw, zipfile.ZipFile(raw) as archive:
            return _only_member(archive).lower()
    return name.removesuffix(".gz")


def _only_member(archive: zipfile.ZipFile) -> str:
    """The only file in an archive, besides hidden ones and those that macOS adds."""
    found = [
        info
        for info in archive.infolist()
        if not info.is_dir() and not info.filename.startswith("__MACOSX/") and "/." not in f"/{info.filename}"
    ]
    if len(found) != 1:
        some = ", ".join(info.filename for info in found[:5]) + (", …" if len(found) > 5 else "")
        what = f"{len(found)} files ({some})" if found else "no file"
        raise OSError(errno.EINVAL, f"it must contain one file, got {what}; unpack it and give one of them")
    if found[0].flag_bits & 1:
        raise OSError(errno.EACCES, "the file in it is encrypted; unpack it")
    return found[0].filename


class _Unpacked(io.RawIOBase):
    """An unpacked file that refuses to expand too much."""

    def __init__(self, raw: BinaryIO, packed: IO[bytes] | gzip.GzipFile):
        self._raw, self._packed, self._count = raw, packed, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer") -> int:
        view = memoryview(buffer)
        data = self._packed.read1(len(view))  # pyright: ignore[reportAttributeAccessIssue]
        view[: len(data)] = data
        self._count += len(data)
        if self._count > max(_HARMLESS, _EXPANDS * self._raw.tell()):
            raise OSError(
                errno.EFBIG, f"it unpacks to more than {_EXPANDS} times its size, which no text does"
            )
        return len(data)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))

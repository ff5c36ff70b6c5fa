"""Files of text, read line by line. Errors name the file, and the line that is not text."""

import errno
import gzip
import hashlib
import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ostinato.errors import SourceError
from ostinato.files.atomic import JsonObject
from ostinato.files.encodings import UTF8, Recognised, recognise, recognise_blocks
from ostinato.files.plain import LARGEST_TEXT, open_plain, read_plain, unpacked
from ostinato.wording import option, shown

OnRead = Callable[[int], None]
"""Called with the bytes of a source read so far."""
SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of the pair that is one character in UTF-16; Python strings may contain it alone, UTF-8 may not."""
MARK = "\ufeff"
"""A byte order mark, which is no text."""
_UNDECODED = re.compile("[\udc80-\udcff]")


def read_lines(path: Path, name: str, on_read: OnRead | None = None, encoding: str = UTF8) -> Iterator[str]:
    """The lines of a file with their ends, unpacked from .gz or .zip, without byte order marks.

    Args:
        path: the file.
        name: what messages call it.
        on_read: called with the bytes read so far, now and then; those of the packed file for a .gz.
        encoding: of the file, see `files.encodings`.

    Raises:
        SourceError: the file cannot be read, is not in its encoding, or contains NUL bytes or a line too
            long for any text; the message gives the line.
    """
    number = 0
    try:
        with reading(name), open_plain(path) as raw:
            data = unpacked(raw, path)
            text = io.TextIOWrapper(data, encoding, "surrogateescape", newline="")
            for number, line in enumerate(iter(lambda: text.readline(LARGEST_TEXT), ""), 1):
                if not line.isascii():
                    line = line.removeprefix(MARK)
                _check_bytes(line, name, number, encoding)
                if len(line) == LARGEST_TEXT:
                    raise SourceError(
                        f"{name}, line {number} has {LARGEST_TEXT:,} characters or more, which no text does"
                    )
                if on_read is not None and number % 4096 == 0:
                    on_read(raw.tell())
                if line:
                    yield line
            if on_read is not None:
                on_read(raw.tell())
    except UnicodeError as error:
        raise _undecodable(name, number + 1, encoding, error) from None


def read_whole(path: Path, encoding: str | None = None) -> str:
    """The text of a small file, with the checks and errors of `read_lines`.

    Args:
        path: the file.
        encoding: of the file; None recognises it.
    """
    name = str(path)
    with reading(name):
        data = read_plain(path, LARGEST_TEXT)
        if path.suffix.lower() == ".gz":
            data = unpacked(io.BytesIO(data), path).read(LARGEST_TEXT + 1)
            if len(data) > LARGEST_TEXT:
                raise SourceError(f"{name} unpacks to more than {LARGEST_TEXT:,} bytes; split the text")
    encoding = encoding or recognise_blocks([data], name).encoding
    try:
        text = data.decode(encoding, "surrogateescape").removeprefix(MARK)
    except UnicodeError as error:
        raise _undecodable(name, 1, encoding, error) from None
    if "\0" in text or (not text.isascii() and _UNDECODED.search(text)):
        for number, line in enumerate(text.split("\n"), 1):
            _check_bytes(line, name, number, encoding)
    return text


def encoding_of(path: Path, name: str, encoding: str | None) -> Recognised:
    """The encoding of a file: the given one, else what its bytes say.

    Raises SourceError when it cannot be read.
    """
    if encoding is not None:
        return Recognised(encoding)
    with reading(name):
        return recognise(path, name)


def check_text(text: str, place: str) -> None:
    """Refuses NUL bytes and halves of surrogate pairs in a text from Python or JSON. Raises SourceError."""
    if "\0" in text:
        raise _nul_byte(place)
    if not text.isascii() and (half := SURROGATE.search(text)):
        raise SourceError(f"{place} contains {half[0]!r}, half of a surrogate pair; remove it")


def _check_bytes(text: str, name: str, line: int, encoding: str) -> None:
    """Refuses NUL bytes and surrogate escapes, which stand for bytes that are not in the encoding."""
    if "\0" in text:
        raise _nul_byte(f"{name}, line {line}")
    if not text.isascii() and (found := _UNDECODED.search(text)):
        byte = ord(found[0]) - 0xDC00
        raise SourceError(
            f"{name}, line {line} is not {spelled(encoding)}: byte 0x{byte:02x} at character "
            f"{found.start() + 1}; "
            f"give its encoding with {option('encoding')}, or convert the file to UTF-8"
        )


def spelled(encoding: str) -> str:
    """The name of an encoding in a sentence."""
    return encoding.upper() if encoding.startswith("utf") else encoding


def _undecodable(name: str, line: int, encoding: str, error: UnicodeError) -> SourceError:
    """The error of bytes that stand for no character, near a line."""
    at = f"byte 0x{error.object[error.start]:02x}" if isinstance(error, UnicodeDecodeError) else str(error)
    return SourceError(
        f"{name}, line {line} or one soon after is not {spelled(encoding)}: {at}; give its encoding with "
        f"{option('encoding')}, or convert the file to UTF-8"
    )


def undecodable_at(name: str, offset: int, encoding: str, error: UnicodeError) -> SourceError:
    """The error of bytes of a text that stand for no character.

    Args:
        name: what messages call the text.
        offset: the place of the first byte that was to be decoded.
        encoding: how it was read.
        error: what Python raised.
    """
    what = str(error)
    if isinstance(error, UnicodeDecodeError):
        what = f"byte 0x{error.object[error.start]:02x} at offset {offset + error.start} ({error.reason})"
    return SourceError(
        f"{name} is not {spelled(encoding)} text: {what}; give its encoding with {option('encoding')}, "
        f"convert it, or use {option('encoder', 'byte')}, which reads any bytes"
    )


def _nul_byte(place: str) -> SourceError:
    return SourceError(f"{place} contains a NUL byte, which no text does; remove it")


def file_stamps(files: Sequence[Path], name: str) -> list[tuple[str, int, int]]:
    """Path, size and modification time (ns) of files: while these stay, their content is taken to stay, too.

    Args:
        files: the files.
        name: what messages call them.

    Raises:
        SourceError: a file is gone.
    """
    try:
        return [(str(file), (s := file.stat()).st_size, s.st_mtime_ns) for file in files]
    except OSError as error:
        raise unreadable(error.filename or name, error) from error


def files_identity(
    description: JsonObject, files: Sequence[Path], name: str, content: str | None = None
) -> str:
    """SHA-256 (hex) of all that the rows of some files depend on, found without reading the files.

    Args:
        description: JSON-able: how the files are read.
        files, name: see `file_stamps`.
        content: SHA-256 (hex) of rows that are in no file.

    Raises:
        SourceError: a file is gone.
    """
    known = [*([content] if content else []), *file_stamps(files, name)]
    return hashlib.sha256(json.dumps([description, known], sort_keys=True).encode()).hexdigest()


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turns what reading raises into one sentence. Raises SourceError."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SourceError(f"{name} is not a complete gzip file ({error})") from error
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise SourceError(f"{name} is not a zip file that can be read ({error})") from error
    except OSError as error:
        raise unreadable(name, error) from error


def mode_of(name: str) -> int | None:
    """The type of what is at a path, as `os.stat` gives it; None when nothing is there.

    Raises:
        SourceError: the system does not say, for example for want of permission.
    """
    try:
        return os.stat(name).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise unreadable(name, error) from error


def unreadable(name: str, error: OSError) -> SourceError:
    """The error of a file that cannot be read."""
    return SourceError(f"cannot read {shown(name)} ({error.strerror or error})")

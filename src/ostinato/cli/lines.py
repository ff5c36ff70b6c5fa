"""The lines of a file or of standard input, as they arrive."""

from __future__ import annotations

import codecs
import io
import queue
import threading
from collections.abc import Iterator
from itertools import chain
from typing import IO, cast

from ostinato.errors import SourceError
from ostinato.files.encodings import UTF8
from ostinato.files.lines import MARK, spelled

_TOGETHER = 1024
_Item = str | Exception | None
"""A line, an error, or None at the end."""


def waiting_lines(stream: IO[bytes], name: str, encoding: str | None = None) -> Iterator[list[str]]:
    """The lines of a stream, in groups of those that are ready, so a slow stream is answered at once.

    Args:
        stream: the bytes.
        name: what messages call it.
        encoding: of the bytes; None is UTF-8, or UTF-16 after its byte order mark.

    Raises:
        SourceError: if a line is not in its encoding, or contains a NUL byte.
    """
    waiting: queue.Queue[_Item] = queue.Queue(8 * _TOGETHER)
    ended = threading.Event()

    def put(item: _Item) -> None:
        while not ended.is_set():
            try:
                return waiting.put(item, timeout=0.1)
            except queue.Full:
                continue

    def read() -> None:
        try:
            for number, line in enumerate(_texts(stream, name, encoding), 1):
                if "\0" in line:
                    raise SourceError(
                        f"{name}, line {number} holds a NUL byte, which no text does; remove it"
                    )
                put(line.rstrip("\r\n"))
                if ended.is_set():
                    return
            put(None)
        except (SourceError, OSError) as error:
            put(error)

    threading.Thread(target=read, daemon=True).start()
    try:
        end: _Item = ""
        while end == "":
            group: list[str] = []
            item = waiting.get()
            while isinstance(item, str):
                group.append(item)
                if len(group) == _TOGETHER:
                    break
                try:
                    item = waiting.get_nowait()
                except queue.Empty:
                    break
            if not isinstance(item, str):
                end = item
            if group:
                yield group
        if end is not None:
            raise end
    finally:
        ended.set()


def _texts(stream: IO[bytes], name: str, encoding: str | None) -> Iterator[str]:
    """The lines of a stream as text, without byte order marks."""
    if encoding is None:
        first = stream.readline()
        marked = first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        stream, encoding = cast(IO[bytes], chain([first] if first else [], stream)), UTF8
        if marked:
            stream, encoding = io.BytesIO(b"".join(stream)), "utf-16"
    if encoding != UTF8:
        yield from _decoded(stream, name, encoding)
        return
    for number, line in enumerate(stream, 1):
        try:
            yield line.decode().removeprefix(MARK)
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise SourceError(
                f"{name}, line {number} is not UTF-8: byte 0x{byte:02x} at offset {error.start}; "
                "give its encoding with --encoding, or convert it to UTF-8"
            ) from None


def _decoded(stream: IO[bytes], name: str, encoding: str) -> Iterator[str]:
    """The lines of a stream in another encoding, whose line ends may have more bytes than one."""
    number = 0
    try:
        for line in io.TextIOWrapper(stream, encoding, newline="\n"):
            number += 1
            yield line.removeprefix(MARK)
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{name}, line {number + 1} or one soon after is not {spelled(encoding)}: byte "
            f"0x{error.object[error.start]:02x}; give its encoding with --encoding"
        ) from None

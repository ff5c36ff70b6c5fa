"""The lines of a file or of standard input, as they arrive."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import IO

from ostinato.errors import SourceError

_TOGETHER = 1024
_Item = str | Exception | None
"""A line, an error, or None at the end."""


def waiting_lines(stream: IO[bytes], name: str) -> Iterator[list[str]]:
    """The lines of a stream, in groups of those that are ready, so a slow stream is answered at once.

    Raises:
        SourceError: if a line is not UTF-8, or contains a NUL byte.
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
            for number, line in enumerate(stream, 1):
                put(_decoded(line, number, name))
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


def _decoded(line: bytes, number: int, name: str) -> str:
    try:
        text = line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise SourceError(
            f"{name}, line {number} is not UTF-8: byte 0x{byte:02x} at offset {error.start}; "
            "convert it to UTF-8"
        ) from None
    if "\0" in text:
        raise SourceError(f"{name}, line {number} holds a NUL byte, which no text does; remove it")
    return text

"""The character encoding of a file: UTF-8 unless its bytes say otherwise.

A byte order mark decides. Bytes that are UTF-8 are UTF-8. Of the rest charset-normalizer tells how much each
encoding makes noise of them (https://charset-normalizer.readthedocs.io). Where nothing is clearly better
than cp1252 it is cp1252, as in the WHATWG's encoding standard (https://encoding.spec.whatwg.org).
"""

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ostinato.errors import ConfigError
from ostinato.files.plain import open_plain, unpacked
from ostinato.wording import option

UTF8 = "utf-8"
SCANNED_BYTES = 64 << 20
"""The bytes of a file that are read to recognise its encoding."""
_BLOCK, _SAMPLE = 1 << 20, 1 << 15
_MARKS = (
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WEB = "cp1252"
_CANDIDATES = (
    *("gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1251", "koi8_r", _WEB, "cp1250", "cp1253", "cp1254"),
    *("cp1255", "cp1256", "iso8859_2", "cp874"),
)
_CLEARLY = 0.15
"""By so much less noise another encoding is clearly better than cp1252."""
_NUL_SHARE, _FEWEST_NULS = 8, 3
"""UTF-16 has a NUL in one of so many characters or more, the spaces, commas and line ends of any script;
and so many."""


class Recognised(NamedTuple):
    """The encoding of a file.

    Attributes:
        encoding: its name in Python.
        note: a sentence that says it where it was guessed; None for UTF-8 and a byte order mark.
    """

    encoding: str
    note: str | None = None


def checked(encoding: str) -> str:
    """The name of an encoding as Python writes it. Raises ConfigError when it is none of text."""
    try:
        found = codecs.lookup(encoding)
        "a".encode(found.name).decode(found.name)
    except (LookupError, ValueError, TypeError):
        raise ConfigError(
            "encoding must be one that Python knows, such as utf-8, cp1252, gb18030 or utf-16, got "
            f"{encoding!r}"
        ) from None
    return {"utf-8-sig": UTF8, "ascii": UTF8}.get(found.name, found.name)


def recognise(path: Path, name: str) -> Recognised:
    """The encoding of a file, unpacked from .gz or .zip, from its first `SCANNED_BYTES`.

    Args:
        path: the file.
        name: what the note calls it.

    Raises:
        OSError: it cannot be read.
    """
    with open_plain(path) as raw:
        data = unpacked(raw, path)
        return recognise_blocks(_blocks(data.read), name)


def recognise_blocks(blocks: Iterable[bytes], name: str) -> Recognised:
    """The encoding of bytes that come in blocks; see `recognise`."""
    decoder = codecs.getincrementaldecoder(UTF8)()
    sample, is_utf8, first = bytearray(), True, True
    for block in blocks:
        if first:
            for mark, encoding in _MARKS:
                if block.startswith(mark):
                    return Recognised(encoding)
            if encoding := _utf16(block[:_SAMPLE]):
                return _guessed(encoding, name)
            first = False
        if is_utf8:
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                is_utf8 = False
        if not block.isascii() and len(sample) < _SAMPLE:
            sample += _telling(block, _SAMPLE - len(sample))
        if not is_utf8 and len(sample) >= _SAMPLE:
            break
    if is_utf8 or _mostly_utf8(bytes(sample)):
        return Recognised(UTF8)
    return _guessed(_legacy(bytes(sample)), name)


def _guessed(encoding: str, name: str) -> Recognised:
    return Recognised(encoding, f"{name}: read as {encoding}; give another with {option('encoding')}")


def _blocks(read) -> Iterator[bytes]:
    done = 0
    while done < SCANNED_BYTES and (block := read(_BLOCK)):
        done += len(block)
        yield block


def _utf16(start: bytes) -> str | None:
    """UTF-16 without a byte order mark: text whose NULs are on one side of its byte pairs."""
    start = start[: len(start) // 2 * 2]
    even, odd = start[::2].count(0), start[1::2].count(0)
    most, least = max(even, odd), min(even, odd)
    if most < _FEWEST_NULS or most * 2 * _NUL_SHARE < len(start) or least * 4 > most:
        return None
    encoding = "utf-16-le" if odd > even else "utf-16-be"
    text = start.decode(encoding, "replace")
    strange = sum(c == "\ufffd" or (ord(c) < 32 and c not in "\t\r\n\f") for c in text)
    return encoding if strange * 50 <= len(text) else None


def _telling(block: bytes, at_most: int) -> bytes:
    """The lines of a block with bytes that are not ASCII, whole where that is possible."""
    found = bytearray()
    for line in block.split(b"\n"):
        if not line.isascii():
            found += line + b"\n"
            if len(found) > at_most:
                # Bytes below 0x30 are no part of a longer character in any of the encodings.
                cut = max(found.rfind(bytes([byte]), 0, at_most) for byte in b" \n,.\t")
                return bytes(found[: cut if cut > at_most // 2 else at_most])
    return bytes(found)


def _mostly_utf8(sample: bytes) -> bool:
    """Whether more characters of a sample are UTF-8 than bytes are not: UTF-8 with a few broken bytes."""
    text = sample.decode(UTF8, "surrogateescape")
    broken = sum("\udc80" <= c <= "\udcff" for c in text)
    return sum(c > "\x7f" for c in text) - broken >= broken


def _legacy(sample: bytes) -> str:
    """The encoding with the least noise; cp1252 unless another has clearly less."""
    from charset_normalizer import from_bytes

    found = from_bytes(
        sample,
        cp_isolation=list(_CANDIDATES),
        threshold=1.0,
        preemptive_behaviour=False,
        enable_fallback=False,
    )
    web = next((match.chaos for match in found if _WEB in match.could_be_from_charset), None)
    best = found.best()
    if best is None or (web is not None and web - best.chaos < _CLEARLY):
        return _WEB
    named = [encoding for encoding in _CANDIDATES if encoding in best.could_be_from_charset]
    return codecs.lookup(named[0] if named else best.encoding).name

"""Text before it is encoded: normalised, and cut between words."""

import re
from collections.abc import Iterable, Iterator
from typing import Literal, get_args

Normalize = Literal["none", "letters", "lower"]
NORMALIZATIONS: tuple[str, ...] = get_args(Normalize)
SEGMENT = 1 << 16
LONGEST = 1 << 20

_LETTERS = bytes(ord(chr(byte).lower()) if chr(byte).isalpha() and byte < 128 else 32 for byte in range(256))
_SPACES = re.compile(b"  +")
_UP_TO_A_GAP = re.compile(r"(?s:.*)\S(?=[ \t\n\r])")


def normalize_text(text: str, normalize: Normalize) -> str:
    """The text, normalised.

    "none" changes nothing. "letters", as in the textbook, replaces every run of characters outside A-Z and
    a-z with one space and makes the letters lower-case. "lower" makes letters of every script lower-case.
    """
    if normalize == "none":
        return text
    if normalize == "lower":
        return text.lower()
    return _SPACES.sub(b" ", text.encode("ascii", "replace").translate(_LETTERS)).decode("ascii")


def normalize_chunks(chunks: Iterable[str], normalize: Normalize) -> Iterator[str]:
    """`normalize_text` of the whole text, chunk by chunk; a run over the end of a chunk is one space, too."""
    after_space = False
    for chunk in chunks:
        text = normalize_text(chunk, normalize)
        if normalize == "letters":
            text = text.removeprefix(" ") if after_space else text
            after_space = text.endswith(" ") if text else after_space
        if text:
            yield text


def segments(chunks: Iterable[str], length: int = SEGMENT, longest: int = LONGEST) -> Iterator[str]:
    """The same text in segments of about `length` characters, cut only before white space after a word.

    Words and byte-level BPE never join characters across such a place, so encoding the segments equals
    encoding the whole. A text without such a place is cut after `longest` characters.
    """
    rest = ""
    for chunk in chunks:
        rest += chunk
        at = 0
        while len(rest) - at > length:
            gap = _UP_TO_A_GAP.match(rest, at, at + length + 1) or _UP_TO_A_GAP.match(
                rest, at, at + longest + 1
            )
            if gap is None and len(rest) - at <= longest:
                break  # the next chunk may bring a gap
            end = gap.end() if gap else at + longest
            yield rest[at:end]
            at = end
        rest = rest[at:]
    if rest:
        yield rest

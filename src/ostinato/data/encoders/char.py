"""Characters as symbols: every character of the corpus is one id, in the order of code points."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ostinato.data.encoders.base import Encoder, check, damaged, nothing_to_predict, unseen
from ostinato.data.encoders.normalize import Normalize, normalize_chunks
from ostinato.data.sources.corpora import Corpus
from ostinato.wording import printable


@dataclass(frozen=True)
class CharEncoder(Encoder):
    """Characters of `alphabet`, sorted by code point, to ids 0, 1, 2 …"""

    alphabet: str
    normalize: Normalize = "none"
    name: ClassVar[str] = "char"

    @property
    def size(self) -> int:
        return len(self.alphabet)

    @property
    def start(self) -> int:
        return next((self.alphabet.index(symbol) for symbol in "\n " if symbol in self.alphabet), 0)

    @property
    def symbols(self) -> list[str]:
        return [printable(symbol) for symbol in self.alphabet]

    def decode(self, ids: ArrayLike) -> str:
        return self._codes[np.asarray(ids, np.int64)].tobytes().decode("utf-32-le")

    def encode_chunks(self, corpus: Corpus) -> Iterator[np.ndarray]:
        return map(self._encode, normalize_chunks(corpus.chunks(), self.normalize))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "normalize": self.normalize, "symbols": list(self.alphabet)}

    @cached_property
    def _codes(self) -> np.ndarray:
        return np.array([ord(symbol) for symbol in self.alphabet], "<u4")

    @cached_property
    def _ids(self) -> np.ndarray:
        """From code point to id; `size` where there is none, and last, for all code points beyond."""
        table = np.full(max(128, int(self._codes[-1]) + 2), self.size, np.min_scalar_type(self.size))
        table[self._codes] = np.arange(self.size)
        return table

    def _encode(self, text: str, strict: bool = False) -> np.ndarray:
        codes = _code_points(text)
        ids = np.take(self._ids, codes, mode="clip")
        if len(ids) and ids.max() == self.size:
            raise unseen("symbols", {chr(code) for code in np.unique(codes[ids == self.size])})
        return ids.astype(self.dtype, copy=False)

    def _lengths(self) -> list[float]:
        return [1.0] * self.size


def fit_char(corpus: Corpus, normalize: Normalize) -> CharEncoder:
    """The encoder of the characters that occur in the corpus. Raises SourceError when there is only one."""
    seen = np.zeros(0x110000, bool)
    for text in normalize_chunks(corpus.chunks(), normalize):
        seen[_code_points(text)] = True
    codes = np.flatnonzero(seen)
    if len(codes) < 2:
        raise nothing_to_predict(corpus.name, normalize)
    return CharEncoder("".join(map(chr, codes)), normalize)


def char_from_json(data: dict[str, Any]) -> CharEncoder:
    """The inverse of `CharEncoder.to_json`. Raises RunError when the data is malformed."""
    normalize = check(data, {"name", "normalize", "symbols"})
    symbols = data["symbols"]
    if not isinstance(symbols, list) or not symbols:
        raise damaged("its symbols are not a list of characters")
    for symbol in symbols:
        if not isinstance(symbol, str) or len(symbol) != 1 or "\ud800" <= symbol <= "\udfff":
            raise damaged(f"its symbol {str(symbol)[:20]!r} is not one character")
    if any(a >= b for a, b in pairwise(symbols)):
        raise damaged("its symbols are not in the order of code points")
    return CharEncoder("".join(symbols), normalize)


def _code_points(text: str) -> np.ndarray:
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")

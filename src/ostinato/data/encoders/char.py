"""Characters as symbols: one id for every character of the corpus, in the order of code points."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from ostinato.data.encoders.base import (
    STAND_INS,
    Encoder,
    Lenient,
    check,
    damaged,
    nothing_to_predict,
    unseen,
)
from ostinato.data.encoders.normalize import Normalize, normalize_chunks
from ostinato.data.sources.corpora import Corpus
from ostinato.errors import ConfigError, SourceError
from ostinato.files.atomic import JsonObject
from ostinato.wording import printable


@dataclass(frozen=True)
class CharEncoder(Encoder):
    """Characters of `alphabet`, sorted by code point, to ids 0, 1, 2 …"""

    alphabet: str
    normalize: Normalize = "none"
    lenient: Lenient = "error"
    name: ClassVar[str] = "char"
    fixed_alphabet: ClassVar[bool] = True

    @classmethod
    def fit(cls, corpus: Corpus, normalize: Normalize, *, min_count: int, vocabulary_size: int) -> Self:
        seen = np.zeros(0x110000, bool)
        for text in normalize_chunks(corpus.chunks(), normalize):
            seen[_code_points(text)] = True
        codes = np.flatnonzero(seen)
        if len(codes) < 2:
            raise nothing_to_predict(corpus.name, normalize)
        return cls("".join(map(chr, codes)), normalize)

    @classmethod
    def fit_sentences(cls, corpus: Corpus, *, min_count: int, vocabulary_size: int) -> Self:
        """The encoder of the characters that occur at least `min_count` times; one is enough.

        Raises:
            SourceError: none occurs so often.
        """
        counts = Counter[str]()
        for chunk in corpus.chunks():
            counts.update(chunk)
        known = sorted(symbol for symbol, count in counts.items() if count >= min_count)
        if not known:
            raise SourceError(
                f"no character of {corpus.name} occurs {min_count} times, the most frequent "
                f"{max(counts.values())} times"
            )
        return cls("".join(known))

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        normalize = check(data, {"name", "normalize", "symbols"})
        symbols = data["symbols"]
        if not isinstance(symbols, list) or not symbols:
            raise damaged("its symbols are not a list of characters")
        for symbol in symbols:
            if not isinstance(symbol, str) or len(symbol) != 1 or "\ud800" <= symbol <= "\udfff":
                raise damaged(f"its symbol {str(symbol)[:20]!r} is not one character")
        if any(a >= b for a, b in pairwise(symbols)):
            raise damaged("its symbols are not in the order of code points")
        return cls("".join(symbols), normalize)

    def to_json(self) -> JsonObject:
        return {"name": self.name, "normalize": self.normalize, "symbols": list(self.alphabet)}

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

    def missing(self, text: str) -> frozenset[str]:
        return frozenset() if self._known.issuperset(text) else frozenset(text) - self._known

    def with_symbol(self, symbol: str) -> Self:
        return replace(self, alphabet=symbol + self.alphabet)

    def leniently(self, how: Lenient) -> Self:
        if how == "replace" and not self._stand_in:
            raise ConfigError(
                "unknown characters cannot be replaced: the model knows none of "
                f"{', '.join(map(repr, STAND_INS))}; drop them instead"
            )
        return replace(self, lenient=how)

    def extended(self, other: Encoder) -> tuple[Self, np.ndarray]:
        assert isinstance(other, CharEncoder)
        alphabet = "".join(sorted({*self.alphabet, *other.alphabet}))
        places = {symbol: place for place, symbol in enumerate(alphabet)}
        return replace(self, alphabet=alphabet), np.array([places[symbol] for symbol in self.alphabet])

    @property
    def _stand_in(self) -> str:
        """The character that takes the place of unknown ones; "" if there is none."""
        return next((symbol for symbol in STAND_INS if symbol in self.alphabet), "")

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.alphabet)

    @cached_property
    def _codes(self) -> np.ndarray:
        return np.array([ord(symbol) for symbol in self.alphabet], "<u4")

    @cached_property
    def _ids(self) -> np.ndarray:
        """From code point to id; `size` for an unknown one; the last entry is for all beyond."""
        table = np.full(max(128, int(self._codes[-1]) + 2), self.size, np.min_scalar_type(self.size))
        table[self._codes] = np.arange(self.size)
        return table

    def _encode(self, text: str, strict: bool = False) -> np.ndarray:
        codes = _code_points(text)
        ids = np.take(self._ids, codes, mode="clip")
        if len(ids) and ids.max() == self.size:
            if self.lenient == "drop":
                return ids[ids < self.size].astype(self.dtype)
            if self.lenient == "replace":
                return np.where(ids < self.size, ids, self.alphabet.index(self._stand_in)).astype(self.dtype)
            raise unseen("symbols", {chr(code) for code in np.unique(codes[ids == self.size])})
        return ids.astype(self.dtype, copy=False)

    def _lengths(self) -> list[float]:
        return [1.0] * self.size


def _code_points(text: str) -> np.ndarray:
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")

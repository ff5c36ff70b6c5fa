"""Words as symbols: each with the space before it, so that the words of a text join to exactly that text."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from ostinato.data.encoders.base import UNKNOWN, Encoder, check, damaged, nothing_to_predict, unseen
from ostinato.data.encoders.normalize import Normalize, normalize_chunks, segments
from ostinato.data.sources.corpora import Corpus
from ostinato.errors import SourceError
from ostinato.files.atomic import JsonObject
from ostinato.files.lines import SURROGATE
from ostinato.wording import printable, shown

_PIECES = re.compile(r" ?\w+| ?[^\w\s]|\s")


def pieces_of(text: str) -> list[str]:
    """The words, punctuation marks and white space of a text, in order; they join to exactly it."""
    return _PIECES.findall(text)


def counted(corpus: Corpus, normalize: Normalize) -> Counter[str]:
    """How often each piece of a corpus occurs. Raises SourceError when it repeats one."""
    counts: Counter[str] = Counter()
    for text in segments(normalize_chunks(corpus.chunks(), normalize)):
        counts.update(pieces_of(text))
    if len(counts) < 2:
        raise nothing_to_predict(corpus.name, normalize, "word")
    return counts


def most_frequent(counts: Counter[str], min_count: int) -> list[str]:
    """The words that occur at least `min_count` times, by falling counts, ties in alphabetical order."""
    known = (word for word, n in counts.items() if n >= min_count)
    return sorted(known, key=lambda word: (-counts[word], word))


def checked_words(words: object) -> tuple[str, ...]:
    """The words of a saved vocabulary. Raises RunError unless they are distinct, and each is one piece."""
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise damaged("its words are not a list of strings")
    if strange := [word for word in words if not _PIECES.fullmatch(word) or SURROGATE.search(word)]:
        raise damaged(f"{shown(repr(strange[0]))} is not one word")
    if len(set(words)) < len(words):
        raise damaged("a word occurs in it twice")
    return tuple(words)


@dataclass(frozen=True)
class WordEncoder(Encoder):
    """Words, punctuation marks and white space of `words` to ids 1, 2, 3 …; all others are <unk>, id 0.

    Attributes:
        words: the known pieces of text, most frequent first.
        unknown_length: mean length, in characters, of the words that <unk> replaces in the training text.
    """

    words: tuple[str, ...]
    normalize: Normalize = "none"
    unknown_length: float = 1.0
    name: ClassVar[str] = "word"
    unknown: ClassVar[int | None] = 0
    spaced: ClassVar[bool] = True
    whole_words: ClassVar[bool] = True
    smallest_vocabulary: ClassVar[int | None] = 2  # <unk> and one word

    @classmethod
    def fit(cls, corpus: Corpus, normalize: Normalize, *, min_count: int, vocabulary_size: int) -> Self:
        """The encoder of all words that occur at least `min_count` times.

        They are in the order of falling counts, ties in alphabetical order.

        Raises:
            SourceError: the corpus repeats one word, or none occurs often enough.
        """
        counts = counted(corpus, normalize)
        known = most_frequent(counts, min_count)
        if not known:
            most = max(counts.values())
            raise SourceError(
                f"no word of {corpus.name} occurs {min_count} times, the most frequent {most} times"
            )
        replaced = {word: n for word, n in counts.items() if n < min_count} or counts
        mean_length = sum(len(word) * n for word, n in replaced.items()) / sum(replaced.values())
        return cls(tuple(known), normalize, mean_length)

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        normalize = check(data, {"name", "normalize", "unknown_length", "words"})
        words, length = checked_words(data["words"]), data["unknown_length"]
        if not words:
            raise damaged("it has no words")
        if isinstance(length, bool) or not isinstance(length, int | float) or not 0 < length < 1e9:
            raise damaged("its 'unknown_length' is not a positive number")
        return cls(words, normalize, float(length))

    def to_json(self) -> JsonObject:
        return {
            "name": self.name,
            "normalize": self.normalize,
            "unknown_length": self.unknown_length,
            "words": list(self.words),
        }

    def limited(self, size: int) -> Self:
        return replace(self, words=self.words[: size - 1])

    def extended(self, other: Encoder) -> tuple[Self, np.ndarray]:
        assert isinstance(other, WordEncoder)
        new = tuple(word for word in other.words if word not in self._ids)
        return replace(self, words=self.words + new), np.arange(self.size)

    @property
    def size(self) -> int:
        return 1 + len(self.words)

    @property
    def start(self) -> int:
        return self._ids.get("\n") or self._ids.get(" ") or 1

    @property
    def symbols(self) -> list[str]:
        return [UNKNOWN, *map(printable, self.words)]

    def decode(self, ids: ArrayLike) -> str:
        pieces = (UNKNOWN, *self.words)
        return "".join(pieces[i] for i in np.asarray(ids, np.int64).tolist())

    def encode_chunks(self, corpus: Corpus) -> Iterator[np.ndarray]:
        return map(self._encode, segments(normalize_chunks(corpus.chunks(), self.normalize)))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words, 1)}

    def _encode(self, text: str, strict: bool = False) -> np.ndarray:
        pieces, ids = pieces_of(text), self._ids
        if strict and (strange := set(pieces) - ids.keys()):
            raise unseen("words", strange)
        return np.array([ids.get(piece, 0) for piece in pieces], self.dtype)

    def _lengths(self) -> list[float]:
        return [self.unknown_length, *map(len, self.words)]

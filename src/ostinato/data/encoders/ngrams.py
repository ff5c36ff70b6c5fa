"""The n-grams of a text: words and pairs of words, and characters within words, without their order.

They are what a linear model of text sees. A text is a set of n-grams; each known one has an id, from 1 on,
those of words first. Which are known is decided by the training texts: all n-grams of words; those of
characters within words that occur in two texts or more; the most frequent of each kind.

An n-gram is kept as a hash of 31 bits and its kind, so that a hundred thousand of them are small. Two n-grams
with one hash would share an id; of a hundred thousand, two pairs are expected to.

Source: bag of n-grams beside a network as in Cheng et al. 2016, "Wide & deep learning for recommender
systems", arXiv:1606.07792; characters within words as in `TfidfVectorizer(analyzer="char_wb")` of
scikit-learn, whose inverse document frequency this is, too.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np

from ostinato.data.encoders.base import damaged
from ostinato.files.atomic import JsonObject

LONGEST_OF_WORDS, LONGEST_IN_WORDS, LONGEST_ACROSS = 2, 5, 4
"""The most words of an n-gram, and the most characters: within a word, and where words have no spaces."""
_SHORTEST_IN_WORDS = 2  # characters; single letters say little where there are words
_WORD = re.compile(r"\w+|[^\w\s]")
_FACTOR, _FIRST, _SECOND = (
    np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
_OF_WORDS, _OF_CHARACTERS = np.uint64(1) << np.uint64(40), np.uint64(1) << np.uint64(41)
_CHARACTERS = np.uint32(1 << 31)  # the bit of the kind
_GAP = ord(" ")
_TOGETHER = 1 << 22  # n-grams that are counted at once


class Spans(NamedTuple):
    """Where n-grams occur.

    Attributes:
        hashes: uint32, shape (occurrences,).
        starts, stops: the characters of each in the text, int64, shape (occurrences,).
    """

    hashes: np.ndarray
    starts: np.ndarray
    stops: np.ndarray


@dataclass(frozen=True, eq=False)
class NGrams:
    """The known n-grams of a vocabulary.

    Attributes:
        hashes: uint32, rising, shape (known,); n-gram i has the id i + 1.
        counts: the number of training texts with each, int64, shape (known,).
        texts: the number of training texts.
        spaced: whether spaces separate words; where they do not, only characters are taken.
    """

    hashes: np.ndarray = field(repr=False)
    counts: np.ndarray = field(repr=False)
    texts: int
    spaced: bool = True

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def of_words(self) -> int:
        """The number of n-grams of words; their ids come before those of characters."""
        return int(np.searchsorted(self.hashes, _CHARACTERS))

    @property
    def rarity(self) -> np.ndarray:
        """The inverse document frequency of each n-gram, ln((1 + texts) / (1 + count)) + 1, float32."""
        return (np.log((1 + self.texts) / (1 + self.counts)) + 1).astype(np.float32)

    def encode(self, text: str) -> np.ndarray:
        """The ids of the known n-grams of a text, each once, int32, rising; may be empty."""
        ids = self.ids_of(np.unique(spans(text, spaced=self.spaced).hashes))
        return ids[ids > 0]

    def ids_of(self, hashes: np.ndarray) -> np.ndarray:
        """The ids of hashes, int32, of the same shape; 0 for those that are not known."""
        if not len(self):
            return np.zeros(hashes.shape, np.int32)
        places = np.minimum(np.searchsorted(self.hashes, hashes), len(self) - 1)
        return np.where(self.hashes[places] == hashes, places + 1, 0).astype(np.int32)

    @classmethod
    def fit(cls, texts: Iterator[str], most: int, *, spaced: bool) -> Self:
        """The most frequent n-grams of some texts.

        Args:
            texts: the training texts.
            most: the number that may be known. Where there are more, words and characters get half of it
                each, and what one of them does not need.
            spaced: whether spaces separate words.
        """
        known, counts = np.zeros(0, np.uint32), np.zeros(0, np.int64)
        waiting: list[np.ndarray] = []
        size = number = 0
        for text in texts:
            waiting.append(np.unique(spans(text, spaced=spaced).hashes))
            size, number = size + len(waiting[-1]), number + 1
            if size > _TOGETHER:
                known, counts = _counted(known, counts, waiting)
                waiting, size = [], 0
        known, counts = _counted(known, counts, waiting)
        of_characters = known >= _CHARACTERS
        words = np.flatnonzero(~of_characters)
        characters = np.flatnonzero(of_characters & ((counts > 1) | (not spaced)))
        half = most // 2
        kept = (
            _most(words, counts, max(most - half, most - len(characters))),
            _most(characters, counts, max(half, most - len(words))),
        )
        chosen = np.sort(np.concatenate(kept))
        return cls(known[chosen], counts[chosen], number, spaced)

    def to_json(self) -> JsonObject:
        return {
            "hashes": self.hashes.tolist(),
            "counts": self.counts.tolist(),
            "texts": self.texts,
            "spaced": self.spaced,
        }

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Raises RunError when it is damaged."""
        if not isinstance(data, dict) or data.keys() != {"hashes", "counts", "texts", "spaced"}:
            raise damaged("its n-grams must be an object with hashes, counts, texts and spaced")
        hashes, counts, texts, spaced = (data[name] for name in ("hashes", "counts", "texts", "spaced"))
        if not _are_numbers(hashes, 0, 2**32 - 1) or any(a >= b for a, b in pairwise(hashes)):
            raise damaged("the hashes of its n-grams must be rising numbers of 32 bits")
        if not _are_numbers([texts], 0, 2**53):
            raise damaged(f"the number of texts of its n-grams must be a whole number, got {texts!r}")
        if not _are_numbers(counts, 1, texts) or len(counts) != len(hashes):
            raise damaged("its n-grams must have one count each, from 1 to the number of texts")
        if not isinstance(spaced, bool):
            raise damaged("whether its n-grams are of words must be true or false")
        return cls(np.array(hashes, np.uint32), np.array(counts, np.int64), texts, spaced)


def _are_numbers(values: object, least: int, most: int) -> bool:
    """Whether it is a list of whole numbers within bounds."""
    return isinstance(values, list) and all(type(each) is int and least <= each <= most for each in values)


def _most(part: np.ndarray, counts: np.ndarray, share: int) -> np.ndarray:
    """The places of the n-grams of a part with the largest counts, at most so many."""
    return part[np.argsort(-counts[part], kind="stable")[:share]]


def _counted(known: np.ndarray, counts: np.ndarray, more: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of both, rising, and how often each occurs."""
    hashes, of_more = np.unique(np.concatenate([*more, known[:0]]), return_counts=True)
    both = np.union1d(known, hashes)
    sums = np.zeros(len(both), np.int64)
    sums[np.searchsorted(both, known)] += counts
    sums[np.searchsorted(both, hashes)] += of_more
    return both, sums


def spans(text: str, *, spaced: bool) -> Spans:
    """All n-grams of a text, in lower case, with their places.

    Args:
        text: any text.
        spaced: take words and pairs of words, and characters within a word and the spaces around it; else
            characters alone, across spaces.
    """
    lower = text.lower()
    text = lower if len(lower) == len(text) else text  # a few letters change their number in lower case
    pieces = [*_of_characters(text, spaced=spaced)]
    if spaced:
        pieces += _of_words(text)
    return Spans(*(np.concatenate(each) for each in zip(*pieces, strict=True)))


def _of_words(text: str) -> Iterator[Spans]:
    found = list(_WORD.finditer(text))
    codes = np.array([zlib.crc32(word[0].encode("utf-8", "surrogatepass")) for word in found], np.uint64)
    starts = np.array([word.start() for word in found], np.int64)
    stops = np.array([word.end() for word in found], np.int64)
    hashes = _mixed(codes + _OF_WORDS)
    for size in range(1, LONGEST_OF_WORDS + 1):
        if size > 1:
            hashes = _extended(hashes, codes, size)
        yield Spans(
            _short(hashes, characters=False), starts[: len(hashes)], stops[size - 1 : size - 1 + len(hashes)]
        )


def _of_characters(text: str, *, spaced: bool) -> Iterator[Spans]:
    codes = np.frombuffer(f" {text} ".encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    gaps = (
        np.fromiter(map(str.isspace, f" {text} "), bool, len(codes)) if spaced else np.zeros(len(codes), bool)
    )
    codes = np.where(gaps, np.uint64(_GAP), codes)
    before = np.concatenate([[0], np.cumsum(gaps)])
    hashes = _mixed(codes + _OF_CHARACTERS)
    for size in range(1, (LONGEST_IN_WORDS if spaced else LONGEST_ACROSS) + 1):
        if size > 1:
            hashes = _extended(hashes, codes, size)
        starts = np.arange(len(hashes))
        # A gap may be the first or the last character, not one between, nor all of it.
        inner = before[starts + size - 1] - before[np.minimum(starts + 1, len(before) - 1)] if size > 2 else 0
        whole = ~gaps[starts] | ~gaps[np.minimum(starts + size - 1, len(gaps) - 1)]
        taken = (inner == 0) & whole if size >= (_SHORTEST_IN_WORDS if spaced else 1) else whole & False
        # The text begins after the space that was put before it.
        yield Spans(
            _short(hashes[taken], characters=True),
            np.clip(starts[taken] - 1, 0, len(text)),
            np.clip(starts[taken] - 1 + size, 0, len(text)),
        )


def _extended(hashes: np.ndarray, codes: np.ndarray, size: int) -> np.ndarray:
    """The hashes of n-grams of a size, from those that are one shorter."""
    return _mixed(hashes[:-1] * _FACTOR + codes[size - 1 :]) if len(hashes) > 1 else hashes[:0]


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """A hash of 64 bits: the finaliser of SplitMix64 (Steele et al. 2014), with wrap-around."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * _FIRST
    numbers = (numbers ^ (numbers >> np.uint64(27))) * _SECOND
    return numbers ^ (numbers >> np.uint64(31))


def _short(hashes: np.ndarray, *, characters: bool) -> np.ndarray:
    return (hashes >> np.uint64(33)).astype(np.uint32) | (_CHARACTERS if characters else np.uint32(0))

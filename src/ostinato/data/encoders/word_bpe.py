"""Frequent words as symbols, and all others spelt in subwords: a vocabulary of words that knows every text.

The subwords are byte-pair encoding of the distinct words of the training text, each counted once, because a
word that is not known is rarely a frequent one (Sennrich et al. 2016, arXiv:1508.07909, section 3.1; a short
list of words with a way to spell the others is that of Luong & Manning 2016, arXiv:1604.00788).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from ostinato.data.encoders.base import Encoder, check
from ostinato.data.encoders.bpe import BpeEncoder, text_of
from ostinato.data.encoders.normalize import Normalize, normalize_chunks, segments
from ostinato.data.encoders.word import checked_words, counted, most_frequent, pieces_of
from ostinato.data.sources.corpora import Corpus
from ostinato.files.atomic import JsonObject
from ostinato.wording import printable

SUBWORDS = 4
"""One id of so many is a subword, 257 ids at least."""


@dataclass(frozen=True)
class WordBpeEncoder(Encoder):
    """Words to one id each, words that are not known to the ids of their subwords.

    Attributes:
        words: the known pieces of text, most frequent first; their ids follow those of `spelling`.
        spelling: the encoder of all other pieces.
    """

    words: tuple[str, ...]
    spelling: BpeEncoder
    normalize: Normalize = "none"
    name: ClassVar[str] = "word_bpe"
    spaced: ClassVar[bool] = True
    smallest_vocabulary: ClassVar[int | None] = 258  # the subwords, and one word

    @classmethod
    def fit(cls, corpus: Corpus, normalize: Normalize, *, min_count: int, vocabulary_size: int) -> Self:
        """The encoder of the most frequent words that occur at least `min_count` times, and of subwords.

        Raises:
            SourceError: the corpus repeats one word.
        """
        counts = counted(corpus, normalize)
        size = max(257, vocabulary_size // SUBWORDS)
        spelling = BpeEncoder.fit_texts(sorted(counts), normalize, size)
        frequent = most_frequent(counts, min_count)
        return cls(tuple(frequent[: vocabulary_size - spelling.size]), spelling, normalize)

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        normalize = check(data, {"name", "normalize", "tokenizer", "words"})
        spelling = {"name": "bpe", "normalize": normalize, "tokenizer": data["tokenizer"]}
        return cls(checked_words(data["words"]), BpeEncoder.from_json(spelling), normalize)

    def to_json(self) -> JsonObject:
        tokenizer = self.spelling.to_json()["tokenizer"]
        return {
            "name": self.name,
            "normalize": self.normalize,
            "tokenizer": tokenizer,
            "words": list(self.words),
        }

    @property
    def size(self) -> int:
        return self.spelling.size + len(self.words)

    @property
    def start(self) -> int:
        first = " " if self.normalize == "letters" else "\n"
        return self._ids.get(first, self.spelling.start)

    @property
    def symbols(self) -> list[str]:
        return [*self.spelling.symbols, *map(printable, self.words)]

    def decode(self, ids: ArrayLike) -> str:
        return text_of(self._bytes, ids)

    def encode_chunks(self, corpus: Corpus) -> Iterator[np.ndarray]:
        return map(self._encode, segments(normalize_chunks(corpus.chunks(), self.normalize)))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words, self.spelling.size)}

    @cached_property
    def _bytes(self) -> list[bytes]:
        return [*self.spelling.piece_bytes, *(word.encode() for word in self.words)]

    def _encode(self, text: str, strict: bool = False) -> np.ndarray:
        pieces, known = pieces_of(text), self._ids
        others = sorted(set(pieces) - known.keys())
        spelt = dict(zip(others, self.spelling.encode_texts(others), strict=True))
        ids = (spelt[piece] if piece in spelt else (known[piece],) for piece in pieces)
        return np.fromiter(chain.from_iterable(ids), self.dtype)

    def _lengths(self) -> list[float]:
        return [*self.spelling.characters.tolist(), *map(len, self.words)]

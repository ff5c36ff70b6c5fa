"""Byte-pair encoding: bytes, merged into pieces that are frequent in the corpus.

Sennrich et al. 2016, arXiv:1508.07909, on bytes instead of characters as in GPT-2, so it can encode every
text and decode it exactly. The `tokenizers` library trains and applies it; a run keeps that library's JSON.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from ostinato.data.encoders.base import Encoder, check, damaged
from ostinato.data.encoders.byte import ByteEncoder, started_characters
from ostinato.data.encoders.normalize import Normalize, normalize_chunks, segments
from ostinato.data.sources.corpora import Corpus
from ostinato.errors import EncodingError
from ostinato.files.atomic import JsonObject
from ostinato.wording import printable, quoted

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TRAINING_SEGMENT = 1 << 14
"""Characters; the library gathers 256 segments before it counts them."""
_SEGMENTS_AT_ONCE = 16

# As in GPT-2, JSON has one printable character for each byte: the byte's own, or one from 256 on.
_THEMSELVES = [*range(33, 127), *range(161, 173), *range(174, 256)]
_CHARACTER_OF = {byte: chr(byte) for byte in _THEMSELVES} | {
    byte: chr(256 + i) for i, byte in enumerate(sorted(set(range(256)) - set(_THEMSELVES)))
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_BYTE_OF = {character: byte for byte, character in _CHARACTER_OF.items()}


@dataclass(frozen=True)
class BpeEncoder(Encoder):
    """Pieces of text, made of bytes, to ids.

    Attributes:
        pieces: the piece of every id, with one character of `_CHARACTER_OF` for each byte.
        merges: the pairs of pieces to join, in this order.
    """

    pieces: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]
    normalize: Normalize = "none"
    name: ClassVar[str] = "bpe"
    spaced: ClassVar[bool] = True
    smallest_vocabulary: ClassVar[int | None] = 257  # every byte, and one merge

    @classmethod
    def fit(cls, corpus: Corpus, normalize: Normalize, *, min_count: int = 1, vocabulary_size: int) -> Self:
        """The encoder of the 256 bytes and of frequent pairs merged, at most `vocabulary_size` pieces."""
        ByteEncoder.fit(corpus, normalize)  # raises where there is nothing to predict
        texts = segments(normalize_chunks(corpus.chunks(), normalize), TRAINING_SEGMENT)
        return cls.fit_texts(texts, normalize, vocabulary_size)

    @classmethod
    def fit_texts(cls, texts: Iterable[str], normalize: Normalize, vocabulary_size: int) -> Self:
        """The encoder of the 256 bytes and of pairs that are frequent in normalised texts."""
        from tokenizers import pre_tokenizers, trainers

        tokenizer = _tokenizer({}, [])
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        tokenizer.train_from_iterator(texts, trainer)
        model = json.loads(tokenizer.to_str())["model"]
        pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
        return cls(tuple(pieces), tuple((a, b) for a, b in model["merges"]), normalize)

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        normalize = check(data, {"name", "normalize", "tokenizer"})
        saved = data["tokenizer"] if isinstance(data["tokenizer"], dict) else {}
        encoder = cls(*_pieces_and_merges(saved), normalize)
        try:
            encoder._tokenizer  # noqa: B018 - made here, so that the library's objections become a RunError
        except BaseException as error:
            # A panic in the library is not an Exception.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise damaged(f"its 'tokenizer' cannot be made: {quoted(error)}") from None
        return encoder

    def to_json(self) -> JsonObject:
        tokenizer = json.loads(self._tokenizer.to_str())
        return {"name": self.name, "normalize": self.normalize, "tokenizer": tokenizer}

    @property
    def size(self) -> int:
        return len(self.pieces)

    @property
    def start(self) -> int:
        return self.piece_bytes.index(b" " if self.normalize == "letters" else b"\n")

    @property
    def symbols(self) -> list[str]:
        return [printable(piece.decode(errors="backslashreplace")) for piece in self.piece_bytes]

    def decode(self, ids: ArrayLike) -> str:
        return text_of(self.piece_bytes, ids)

    def encode_chunks(self, corpus: Corpus) -> Iterator[np.ndarray]:
        texts = segments(normalize_chunks(corpus.chunks(), self.normalize))
        while some := list(islice(texts, _SEGMENTS_AT_ONCE)):
            yield np.concatenate(self.encode_texts(some))

    @cached_property
    def piece_bytes(self) -> list[bytes]:
        """The bytes of every id."""
        return [bytes(_BYTE_OF[character] for character in piece) for piece in self.pieces]

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        return _tokenizer({piece: i for i, piece in enumerate(self.pieces)}, list(self.merges))

    def _encode(self, text: str, strict: bool = False) -> np.ndarray:
        return np.concatenate(self.encode_texts([text]))

    def encode_texts(self, texts: list[str]) -> list[np.ndarray]:
        """The ids of each of some normalised texts, that of each of shape (ids,).

        Raises:
            EncodingError: one has half of a surrogate pair.
        """
        for text in texts:
            if half := _SURROGATE.search(text):
                raise EncodingError(f"the text has {half[0]!r}, half of a surrogate pair; leave it out")
        return [np.array(part.ids, self.dtype) for part in self._tokenizer.encode_batch_fast(texts)]

    def _lengths(self) -> list[float]:
        return [started_characters(piece) for piece in self.piece_bytes]


def text_of(pieces: list[bytes], ids: ArrayLike) -> str:
    """The text of ids of shape (ids,), whose bytes are `pieces`; � where they are not UTF-8."""
    return b"".join(pieces[i] for i in np.asarray(ids, np.int64).tolist()).decode(errors="replace")


def _pieces_and_merges(saved: JsonObject) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The pieces and merges of a tokenizer's JSON. Raises RunError unless it is a BPE of all bytes."""
    model, before = saved.get("model"), saved.get("pre_tokenizer")
    if not isinstance(model, dict) or model.get("type") != "BPE":
        raise damaged("its 'tokenizer' is not a BPE tokenizer")
    if not isinstance(before, dict) or before.get("type") != "ByteLevel":
        raise damaged("its 'tokenizer' does not work on bytes")
    if before.get("add_prefix_space") is not False or saved.get("normalizer") is not None:
        raise damaged("its 'tokenizer' changes the text")
    vocabulary, merges = model.get("vocab"), model.get("merges")
    if not isinstance(vocabulary, dict) or not all(type(i) is int for i in vocabulary.values()):
        raise damaged("its 'vocab' does not map pieces to ids")
    pieces = sorted(vocabulary, key=vocabulary.__getitem__)
    if [vocabulary[piece] for piece in pieces] != list(range(len(pieces))):
        raise damaged("its ids are not 0, 1, 2, …")
    if not all(piece and set(piece) <= _BYTE_OF.keys() for piece in pieces):
        raise damaged("its pieces are not made of bytes")
    if not vocabulary.keys() >= _BYTE_OF.keys():
        raise damaged("a byte is missing in it")
    if not isinstance(merges, list) or not all(_joins(merge, vocabulary) for merge in merges):
        raise damaged("a merge in it does not join two pieces")
    return tuple(pieces), tuple((a, b) for a, b in merges)


def _joins(merge: object, vocabulary: dict[str, int]) -> bool:
    if not isinstance(merge, list) or len(merge) != 2 or not all(isinstance(piece, str) for piece in merge):
        return False
    return merge[0] in vocabulary and merge[1] in vocabulary and "".join(merge) in vocabulary


def _tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> "Tokenizer":
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer

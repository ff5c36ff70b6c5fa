"""Bytes as symbols: 256 ids that can encode every text, and every other file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from ostinato.data.encoders.base import Encoder, check, nothing_to_predict
from ostinato.data.encoders.normalize import Normalize, normalize_chunks
from ostinato.data.sources.corpora import Corpus
from ostinato.errors import EncodingError
from ostinato.files.atomic import JsonObject


@dataclass(frozen=True)
class ByteEncoder(Encoder):
    """The bytes of a text in UTF-8, or of any file."""

    normalize: Normalize = "none"
    name: ClassVar[str] = "byte"

    @classmethod
    def fit(
        cls, corpus: Corpus, normalize: Normalize, *, min_count: int = 1, vocabulary_size: int = 256
    ) -> Self:
        """The byte encoder; the corpus is read only until two different bytes are found.

        Raises:
            SourceError: there is only one.
        """
        encoder = cls(normalize)
        seen: set[int] = set()
        for chunk in encoder.encode_chunks(corpus):
            seen.update(np.unique(chunk).tolist())
            if len(seen) > 1:
                return encoder
        raise nothing_to_predict(corpus.name, normalize)

    @classmethod
    def fit_sentences(cls, corpus: Corpus, *, min_count: int, vocabulary_size: int) -> Self:
        return cls()

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        return cls(check(data, {"name", "normalize"}))

    def to_json(self) -> JsonObject:
        return {"name": self.name, "normalize": self.normalize}

    @property
    def size(self) -> int:
        return 256

    @property
    def start(self) -> int:
        return ord(" " if self.normalize == "letters" else "\n")

    @property
    def symbols(self) -> list[str]:
        return [chr(byte) if 32 <= byte < 127 else f"0x{byte:02x}" for byte in range(256)]

    def decode(self, ids: ArrayLike) -> str:
        return np.asarray(ids).astype(np.uint8).tobytes().decode(errors="replace")

    def encode_chunks(self, corpus: Corpus) -> Iterator[np.ndarray]:
        if self.normalize == "none":
            return (np.frombuffer(chunk, np.uint8) for chunk in corpus.byte_chunks())
        return map(self._encode, normalize_chunks(corpus.chunks(), self.normalize))

    def _encode(self, text: str, strict: bool = False) -> np.ndarray:
        try:  # a surrogate escape is a byte that a terminal could not decode
            return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)
        except UnicodeEncodeError as error:
            half = text[error.start]
            raise EncodingError(f"the text has {half!r}, half of a surrogate pair; leave it out") from error

    def _lengths(self) -> list[float]:
        return [started_characters(bytes([byte])) for byte in range(256)]


def started_characters(data: bytes) -> int:
    """The number of characters that begin in these bytes: of bytes that do not continue a UTF-8 sequence."""
    return sum(byte & 0xC0 != 0x80 for byte in data)

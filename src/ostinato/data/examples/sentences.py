"""One side of a translation: its way from a sentence to ids, and back.

sentence → Unicode normalisation → lower case → single spaces → encoder → ids from 3 or 4 on
"""

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from ostinato.data.encoders.base import Encoder, damaged
from ostinato.data.encoders.byte import ByteEncoder
from ostinato.data.encoders.char import CharEncoder
from ostinato.data.encoders.registry import encoder_from_json, fit_encoder
from ostinato.data.encoders.word import UNKNOWN, WordEncoder
from ostinato.data.sources.corpora import Corpus
from ostinato.data.store.encoded_texts import encode_text, spaced
from ostinato.data.store.texts import StoredTexts
from ostinato.data.store.vocabularies import fitted_once
from ostinato.errors import SourceError
from ostinato.files.cache import Progress

PAD, BOS, EOS, UNK = 0, 1, 2, 3
"""The ids that every vocabulary of sentences begins with: padding, begin, end, and what is not known."""
Unicode = Literal["nfkc", "nfc", "none"]

FORMAT = 1
"""Counts up when equal sentences give another vocabulary than before, so that old ones are not used."""
SAMPLE = 1000
"""Sentences that `auto` tells the script from."""
_BLOCK = 4096

_MARKS = ("<pad>", "<bos>", "<eos>", UNKNOWN)
_SPACE = "▁"  # as pictures show it
_STRANGE = "\0"  # stands for characters that are not known; no text holds it


def normalize_sentence(text: str, unicode: Unicode, lowercase: bool) -> str:
    """The sentence as its encoder reads it: with single spaces between its words, and none around them."""
    if unicode != "none":
        text = unicodedata.normalize(unicode.upper(), text)  # pyright: ignore[reportArgumentType]
    if lowercase:
        text = text.lower()
    return " ".join(text.split())


@dataclass(frozen=True)
class Sentences:
    """One side's way from sentence to ids and back. A value: equal ones encode equally.

    Ids begin with PAD, BOS, EOS and UNK. The encoder's own <unk> is UNK, so that its word i is id 3 + i; of
    an encoder that has none, id i is 4 + i.

    Attributes:
        encoder: what cuts a sentence into tokens.
        unicode: the normalisation before.
        lowercase: whether letters are made lower-case before.
    """

    encoder: Encoder
    unicode: Unicode = "nfkc"
    lowercase: bool = False

    @property
    def size(self) -> int:
        """How many ids there are, the four marks included."""
        return self._first + self.encoder.size

    @property
    def _first(self) -> int:
        """The id that the encoder's 0 is."""
        return UNK if self.encoder.unknown is not None else UNK + 1

    # From sentence to ids.

    def encode(self, text: str) -> np.ndarray:
        """The ids of a sentence, int32 (ids,), without marks.

        White space around it is left out, and other white space is one space. Characters and words that are
        not known are UNK.

        Raises:
            EncodingError: it holds half of a surrogate pair.
        """
        return self.shifted(encode_text(self.reader, self.normalized(text)))

    def normalized(self, text: str) -> str:
        """The sentence as `reader` takes it."""
        text = normalize_sentence(text, self.unicode, self.lowercase)
        if self._known is None or self._known.issuperset(text):
            return text
        return "".join(symbol if symbol in self._known else _STRANGE for symbol in text)

    @cached_property
    def reader(self) -> Encoder:
        """What encodes normalised sentences: the encoder; one of characters, with a character more, id 0, for
        all that it does not know."""
        if isinstance(self.encoder, CharEncoder):
            return replace(self.encoder, alphabet=_STRANGE + self.encoder.alphabet)
        return self.encoder

    def shifted(self, ids: np.ndarray) -> np.ndarray:
        """The ids, int32 (ids,), that those of `reader` are, int32 (ids,)."""
        return ids + np.int32(self.size - self.reader.size)

    @cached_property
    def _known(self) -> frozenset[str] | None:
        """The characters there are; None where all are known."""
        return frozenset(self.encoder.alphabet) if isinstance(self.encoder, CharEncoder) else None

    # From ids to sentence.

    def decode(self, ids: ArrayLike) -> str:
        """The sentence of ids of shape (ids,): UNK is <unk>, the other marks are left out; � for what is not
        UTF-8."""
        ids = np.asarray(ids, np.int64)
        ids = ids[ids >= UNK]
        strange = np.flatnonzero(ids == UNK)
        known = np.split(ids, np.stack([strange, strange + 1], axis=1).ravel())[::2]
        # A word has the space before it.
        unknown = f" {UNKNOWN}" if isinstance(self.encoder, WordEncoder) else UNKNOWN
        return unknown.join(self.encoder.decode(some - self._first) for some in known).strip()

    def pieces(self, ids: ArrayLike) -> list[str]:
        """A printable name for each id of (ids,): words without the space before them; else a space is ▁."""
        return [self._names[i] for i in np.asarray(ids, np.int64).tolist()]

    @cached_property
    def _names(self) -> list[str]:
        symbols = self.encoder.symbols[UNK + 1 - self._first :]
        if isinstance(self.encoder, WordEncoder):
            symbols = [symbol.removeprefix(" ") or symbol for symbol in symbols]
        return [*_MARKS, *(symbol.replace(" ", _SPACE) for symbol in symbols)]

    def to_json(self) -> dict[str, Any]:
        """What `sentences_from_json` makes the same of."""
        return {"encoder": self.encoder.to_json(), "unicode": self.unicode, "lowercase": self.lowercase}


def sentences_from_json(data: dict[str, Any]) -> Sentences:
    """The inverse of `Sentences.to_json`. Raises RunError when the data is malformed."""
    if not isinstance(data, dict) or data.keys() != {"encoder", "unicode", "lowercase"}:
        raise damaged("a side of it does not have 'encoder', 'unicode' and 'lowercase', and these only")
    unicode, lowercase = data["unicode"], data["lowercase"]
    if not isinstance(unicode, str) or unicode not in get_args(Unicode):
        raise damaged(f"its 'unicode' is none of {', '.join(get_args(Unicode))}")
    if not isinstance(lowercase, bool):
        raise damaged("its 'lowercase' is neither true nor false")
    encoder = encoder_from_json(data["encoder"])
    if isinstance(encoder, CharEncoder) and _STRANGE in encoder.alphabet:
        raise damaged("a NUL byte is in it, which no text holds")
    return Sentences(encoder, unicode, lowercase)  # pyright: ignore[reportArgumentType]


# Ids for the network.


def marked(ids: np.ndarray) -> np.ndarray:
    """The ids, int32 (ids + 2,), between BOS and EOS."""
    return np.concatenate([[BOS], ids, [EOS]]).astype(np.int32)


def padded(rows: list[np.ndarray], time: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ids as one array.

    Args:
        rows: ids of each, int (ids,).
        time: how long to make them, at least as long as the longest; None takes that.

    Returns:
        ids, int32 (rows, time), PAD at the end; lengths, int32 (rows,).
    """
    lengths = np.array([len(row) for row in rows], np.int32)
    longest = int(lengths.max(initial=0)) if time is None else time
    ids = np.full((len(rows), longest), PAD, np.int32)
    for row, of_row in zip(ids, rows, strict=True):
        row[: len(of_row)] = of_row
    return ids, lengths


# Which encoder, and its fit.

_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # Han: iteration mark, zero
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana
    (0x3400, 0x9FFF),  # Han
    (0xA9E0, 0xA9FF),  # Myanmar
    (0xAA60, 0xAA7F),  # Myanmar
    (0xF900, 0xFAFF),  # Han
    (0xFF66, 0xFF9F),  # Katakana, half as wide
    (0x1AFF0, 0x1B16F),  # Katakana, Hiragana
    (0x20000, 0x3FFFF),  # Han
)


def script_encoder(texts: Iterable[str]) -> Literal["char", "bpe"]:
    """The encoder for a script: `char` when most letters of the texts are of scripts without spaces between
    words (Han, Hiragana, Katakana, Thai, Lao, Khmer, Myanmar), else `bpe`."""
    counts = Counter[str]()
    for text in texts:
        counts.update(text)
    letters = unspaced = 0
    for symbol, count in counts.items():
        if symbol.isalpha():
            letters += count
            unspaced += count * any(first <= ord(symbol) <= last for first, last in _UNSPACED)
    return "char" if 2 * unspaced > letters else "bpe"


def fitted_sentences(
    texts: tuple[StoredTexts, ...],
    part: np.ndarray,
    encoder: str,
    *,
    drawn_from: list[Any],
    source: str,
    vocabulary: int,
    spaced: Literal["word", "bpe"] = "bpe",
    min_count: int = 1,
    unicode: Unicode = "nfkc",
    lowercase: bool = False,
    on_progress: Progress | None = None,
) -> Sentences:
    """The way to ids fitted to some of the sentences, from the cache where it has it.

    Args:
        texts: the sentences of one side, or of two that have one vocabulary.
        part: the numbers of those to fit to, of each side, rising.
        encoder: "char", "byte", "word", "bpe", or "auto": "char" where `script_encoder` says so of the first
            side, else what `spaced` says.
        drawn_from: JSON-able: all that texts and part follow from, such as a hash and fractions.
        source: what messages call the texts.
        spaced: what "auto" takes for a script with spaces between words.
        vocabulary: how many words or pieces to know at most (word, bpe); 257 or more, as every byte is one.
        min_count: how often a word or character must occur to be known (word, char).
        unicode, lowercase: see `Sentences`.
        on_progress: called with the bytes of `texts` that are read so far, and in all.

    Raises:
        ConfigError: an option does not exist or is out of range.
        SourceError: nothing occurs often enough; there is one word only; the cache cannot be written.
    """
    name = encoder
    if name == "auto":
        some = (texts[0].text(i) for i in part[:SAMPLE].tolist())
        name = "char" if script_encoder(some) == "char" else spaced

    def fit() -> Encoder:
        corpus = _Training(source, "text", sides=texts, part=part, on_progress=on_progress)
        corpus = replace(corpus, unicode=unicode, lowercase=lowercase, spaced=name in ("word", "bpe"))
        if name == "byte":
            return ByteEncoder()
        if name == "char":
            return _fit_char(corpus, min_count)
        if name == "bpe":
            return fit_encoder(name, corpus, vocabulary_size=vocabulary)
        words = fit_encoder(name, corpus, min_count=min_count)
        assert isinstance(words, WordEncoder)
        return replace(words, words=words.words[:vocabulary])

    options = json.dumps([FORMAT, *drawn_from, name, vocabulary, min_count, unicode, lowercase])
    fitted = fitted_once(hashlib.sha256(options.encode()).hexdigest(), fit)
    return Sentences(fitted, unicode, lowercase)


def _fit_char(corpus: Corpus, min_count: int) -> CharEncoder:
    counts = Counter[str]()
    for chunk in corpus.chunks():
        counts.update(chunk)
    known = sorted(symbol for symbol, count in counts.items() if count >= min_count)
    if not known:
        raise SourceError(
            f"no character of {corpus.name} occurs {min_count} times, the most frequent "
            f"{max(counts.values())} times"
        )
    return CharEncoder("".join(known))


@dataclass(frozen=True)
class _Training(Corpus):
    """Some of the sentences of each side, one after another as they are encoded."""

    sides: tuple[StoredTexts, ...] = ()
    part: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64), repr=False)
    unicode: Unicode = "none"
    lowercase: bool = False
    spaced: bool = False
    on_progress: Progress | None = field(default=None, repr=False)

    def chunks(self) -> Iterator[str]:
        total, before = sum(len(texts.data) for texts in self.sides), 0
        for texts in self.sides:
            for at in range(0, len(self.part), _BLOCK):
                some = self.part[at : at + _BLOCK].tolist()
                read = (normalize_sentence(texts.text(i), self.unicode, self.lowercase) for i in some)
                yield "".join(map(spaced, read) if self.spaced else read)
                if self.on_progress is not None:
                    self.on_progress(before + int(texts.ends[some[-1]]), total)
            before += len(texts.data)

    def byte_chunks(self) -> Iterator[bytes]:
        return (chunk.encode() for chunk in self.chunks())

"""One side of a translation: from a sentence to ids, and back.

sentence → Unicode normalisation → lower case → single spaces → encoder → ids from 3 or 4 on
"""

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import ArrayLike

from ostinato.data.encoders.base import UNKNOWN, Encoder, damaged
from ostinato.data.encoders.registry import check_vocabulary_size, encoder_class, encoder_from_json
from ostinato.data.sources.corpora import Corpus
from ostinato.data.store.encoded_texts import encode_text, spaced
from ostinato.data.store.texts import StoredTexts
from ostinato.data.store.vocabularies import fitted_once
from ostinato.errors import ConfigError
from ostinato.files.atomic import JsonObject
from ostinato.files.cache import Progress

PAD, BOS, EOS, UNK = 0, 1, 2, 3
"""The first ids of every vocabulary of sentences: padding, begin, end, unknown."""
Unicode = Literal["nfkc", "nfc", "none"]

FORMAT = 1
"""Increased when equal sentences give another vocabulary than before, so that old files are not used."""
SAMPLE = 1000
"""The number of sentences in which `auto` looks at the script."""
MOST_SYMBOLS, LONGEST_SYMBOL = 200, 4
"""Different symbols of a notation such as that of pronunciations, and the characters of one."""
MOST_WORDS = 8_000
"""The size of a vocabulary of words, and of subwords for many sentences, where none is given."""
_BLOCK = 4096

_MARKS = ("<pad>", "<bos>", "<eos>", UNKNOWN)
_SPACE = "▁"  # as figures show it
_UNKNOWN_CHARACTER = "\0"  # stands for unknown characters; no text contains it


def normalize_sentence(text: str, unicode: Unicode, lowercase: bool) -> str:
    """The sentence with single spaces between its words, and none around them."""
    if unicode != "none":
        text = unicodedata.normalize("NFKC" if unicode == "nfkc" else "NFC", text)
    if lowercase:
        text = text.lower()
    return " ".join(text.split())


@dataclass(frozen=True)
class Sentences:
    """From a sentence to ids and back. A value: equal ones encode equally.

    Ids begin with PAD, BOS, EOS and UNK. The encoder's own <unk> becomes UNK, so that its id i becomes 3 + i;
    without an <unk>, id i becomes 4 + i.

    Attributes:
        encoder: splits a sentence into tokens.
        unicode: the Unicode normalisation before that.
        lowercase: whether letters are made lower-case before that.
    """

    encoder: Encoder
    unicode: Unicode = "nfkc"
    lowercase: bool = False

    @property
    def size(self) -> int:
        """The number of ids, the four marks included."""
        return self._first + self.encoder.size

    @property
    def _first(self) -> int:
        """The id that the encoder's id 0 becomes."""
        return UNK if self.encoder.unknown is not None else UNK + 1

    # From sentence to ids.

    def encode(self, text: str) -> np.ndarray:
        """The ids of a sentence, int32 (ids,), without marks.

        White space around it is left out, and other white space becomes one space. Unknown characters and
        words become UNK.

        Raises:
            EncodingError: it contains half of a surrogate pair.
        """
        return self.shifted(encode_text(self.reader, self.normalized(text)))

    def normalized(self, text: str) -> str:
        """The sentence as `reader` reads it."""
        text = normalize_sentence(text, self.unicode, self.lowercase)
        missing = self.encoder.missing(text)
        if not missing:
            return text
        return "".join(_UNKNOWN_CHARACTER if symbol in missing else symbol for symbol in text)

    @cached_property
    def reader(self) -> Encoder:
        """What encodes normalised sentences: `encoder`, with id 0 for all that a fixed alphabet lacks."""
        return self.encoder.with_symbol(_UNKNOWN_CHARACTER)

    def shifted(self, ids: np.ndarray) -> np.ndarray:
        """Ids from ids of `reader`, both int32 (ids,)."""
        return ids + np.int32(self.size - self.reader.size)

    # From ids to sentence.

    def decode(self, ids: ArrayLike) -> str:
        """The sentence of ids of shape (ids,), with <unk> for UNK and without the other marks.

        Bytes that are not UTF-8 become �.
        """
        ids = np.asarray(ids, np.int64)
        ids = ids[ids >= UNK]
        strange = np.flatnonzero(ids == UNK)
        known = np.split(ids, np.stack([strange, strange + 1], axis=1).ravel())[::2]
        unknown = f" {UNKNOWN}" if self.encoder.whole_words else UNKNOWN
        return unknown.join(self.encoder.decode(some - self._first) for some in known).strip()

    def pieces(self, ids: ArrayLike) -> list[str]:
        """A printable name for each id of shape (ids,): ▁ for a space, words without the space before."""
        return [self._names[i] for i in np.asarray(ids, np.int64).tolist()]

    @cached_property
    def _names(self) -> list[str]:
        symbols = self.encoder.symbols[UNK + 1 - self._first :]
        if self.encoder.whole_words:
            symbols = [symbol.removeprefix(" ") or symbol for symbol in symbols]
        return [*_MARKS, *(symbol.replace(" ", _SPACE) for symbol in symbols)]

    def to_json(self) -> JsonObject:
        """As JSON; `sentences_from_json` reads it."""
        return {"encoder": self.encoder.to_json(), "unicode": self.unicode, "lowercase": self.lowercase}


def sentences_from_json(data: JsonObject) -> Sentences:
    """The inverse of `Sentences.to_json`. Raises RunError when the data is malformed."""
    if not isinstance(data, dict) or data.keys() != {"encoder", "unicode", "lowercase"}:
        raise damaged("the keys of a side must be 'encoder', 'unicode' and 'lowercase'")
    encoder, unicode, lowercase = data["encoder"], data["unicode"], data["lowercase"]
    if unicode not in get_args(Unicode):
        raise damaged(f"'unicode' must be one of {', '.join(get_args(Unicode))}")
    if not isinstance(lowercase, bool):
        raise damaged("'lowercase' must be true or false")
    encoder = encoder_from_json(cast(JsonObject, encoder))
    if encoder.fixed_alphabet and not encoder.missing(_UNKNOWN_CHARACTER):
        raise damaged("it contains a NUL byte, which no text does")
    return Sentences(encoder, cast(Unicode, unicode), lowercase)


# Ids for the network.


def marked(ids: np.ndarray) -> np.ndarray:
    """The ids, int32 (ids + 2,), between BOS and EOS."""
    return np.concatenate([[BOS], ids, [EOS]]).astype(np.int32)


def padded(rows: list[np.ndarray], time: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ids as one array.

    Args:
        rows: the ids of each row, int (ids,).
        time: the length to pad to, at least that of the longest row; None for that of the longest row.

    Returns:
        ids, int32 (rows, time), with PAD at the end; lengths, int32 (rows,).
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
    """The encoder for the script of some texts: "char" where it `lacks_spaces`, else "bpe"."""
    return "char" if lacks_spaces(texts) else "bpe"


def lacks_spaces(texts: Iterable[str]) -> bool:
    """Whether most letters of the texts belong to scripts without spaces between words.

    These scripts are Han, Hiragana, Katakana, Thai, Lao, Khmer and Myanmar.
    """
    counts = Counter[str]()
    for text in texts:
        counts.update(text)
    letters = unspaced = 0
    for symbol, count in counts.items():
        if symbol.isalpha():
            letters += count
            unspaced += count * any(first <= ord(symbol) <= last for first, last in _UNSPACED)
    return 2 * unspaced > letters


def single_words(texts: Sequence[str]) -> bool:
    """Whether most texts are single words: names, dates as 2024-05-01, words to pronounce."""
    return 2 * sum(len(text.split()) == 1 for text in texts) > len(texts)


def symbols(texts: Sequence[str]) -> bool:
    """Whether texts are symbols with spaces between, such as the sounds HH AH0 L OW1.

    They are short, few for the length of the texts, and most texts have several.
    """
    split = [text.split() for text in texts]
    counts = Counter(chain.from_iterable(split))
    several = 2 * sum(len(some) > 1 for some in split) > len(split)
    return several and len(counts) <= MOST_SYMBOLS and max(map(len, counts), default=0) <= LONGEST_SYMBOL


def pieces_for(sentences: int) -> int:
    """How many subwords suit so many sentences: 3,000 up to 50,000 sentences, 8,000 from 500,000 on.

    Few sentences show the rarer subwords too seldom (Sennrich & Zhang 2019, arXiv:1905.11901, section 4.2).
    """
    return round(float(np.interp(np.log(max(sentences, 1)), np.log([50_000, 500_000]), [3_000, MOST_WORDS])))


def fitted_sentences(
    texts: tuple[StoredTexts, ...],
    part: np.ndarray,
    encoder: str,
    *,
    drawn_from: list[object],
    source: str,
    vocabulary: int | None = None,
    min_count: int = 1,
    unicode: Unicode = "nfkc",
    lowercase: bool = False,
    on_progress: Progress | None = None,
) -> Sentences:
    """`Sentences` with an encoder fitted to some of the sentences, from the cache where it has it.

    Args:
        texts: the sentences of one side, or of both sides with a joint vocabulary.
        part: the numbers of the sentences to fit to, of each side, rising.
        encoder: the name of an encoder, or "auto": "char" where the first side `lacks_spaces`, else "bpe".
        drawn_from: JSON-able: what determines texts and part, such as a hash and fractions.
        source: what messages call the texts.
        vocabulary: the most words or pieces (word, bpe); 257 or more for bpe, where every byte is a piece.
            None is 8,000 words, and as many pieces as `pieces_for` says.
        min_count: how often a word or character must occur to be known (word, char).
        unicode, lowercase: see `Sentences`.
        on_progress: called with the bytes of `texts` read so far, and in all.

    Raises:
        ConfigError: an option does not exist or is out of range.
        SourceError: nothing occurs often enough; there is only one word; the cache cannot be written.
    """
    name = encoder
    if name == "auto":
        some = (texts[0].text(i) for i in part[:SAMPLE].tolist())
        name = "char" if lacks_spaces(some) else "bpe"
    kind = encoder_class(name)
    if vocabulary is None:
        vocabulary = MOST_WORDS if name == "word" else pieces_for(len(part))
    size = vocabulary + (kind.unknown is not None)
    check_vocabulary_size(name, size)
    if min_count < 1:
        raise ConfigError(f"min_count must be 1 or more, got {min_count}")

    def fit() -> Encoder:
        corpus = _Training(source, "text", sides=texts, part=part, on_progress=on_progress)
        corpus = replace(corpus, unicode=unicode, lowercase=lowercase, spaced=kind.spaced)
        return kind.fit_sentences(corpus, min_count=min_count, vocabulary_size=size).limited(size)

    options = json.dumps([FORMAT, *drawn_from, name, vocabulary, min_count, unicode, lowercase])
    fitted = fitted_once(hashlib.sha256(options.encode()).hexdigest(), fit)
    return Sentences(fitted, unicode, lowercase)


@dataclass(frozen=True)
class _Training(Corpus):
    """Some of the sentences of each side, concatenated as they are encoded."""

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

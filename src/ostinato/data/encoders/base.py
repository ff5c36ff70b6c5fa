"""What an encoder is, and what all encoders share: their errors, and the checks of a saved vocabulary."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import ClassVar, Literal, Self, cast

import numpy as np
from numpy.typing import ArrayLike

from ostinato.data.encoders.normalize import NORMALIZATIONS, Normalize, normalize_text
from ostinato.data.sources.corpora import Corpus
from ostinato.errors import ConfigError, EncodingError, RunError, SourceError
from ostinato.files.atomic import JsonObject
from ostinato.wording import option, shown

SHOWN = 10
UNKNOWN = "<unk>"
"""How the unknown symbol is printed."""
Lenient = Literal["error", "drop", "replace"]
"""What becomes of an unknown character: an error names it, or it is left out, or another takes its place."""
STAND_INS = "\ufffd?_* "
"""The characters that take the place of unknown ones; the first that an encoder knows is taken."""


class Encoder(ABC):
    """From text to ids and back. A value: equal encoders encode equally.

    The class says how its encoders behave; `ostinato.data.encoders.registry` lists the classes.

    Attributes:
        name: what settings and saved vocabularies call it.
        kind: what an id is: "categorical", one of `size` (softmax); "multi-hot", a set of them (Bernoulli).
        unknown: the id of the unknown symbol; None when there is none.
        spaced: an example is read with a space before its first word, so that a word has the same id
            everywhere.
        whole_words: an id is a whole word, together with the space before it.
        fixed_alphabet: only the characters of the training text have ids; others are left out of examples.
        smallest_vocabulary: the smallest vocabulary size; None when the size cannot be chosen.
        lenient: what becomes of characters without an id where `fixed_alphabet`: see `Lenient`.
        normalize: the normalisation of every text before it is encoded.
    """

    name: ClassVar[str]
    kind: ClassVar[Literal["categorical", "multi-hot"]] = "categorical"
    unknown: ClassVar[int | None] = None
    spaced: ClassVar[bool] = False
    whole_words: ClassVar[bool] = False
    fixed_alphabet: ClassVar[bool] = False
    smallest_vocabulary: ClassVar[int | None] = None
    lenient: Lenient = "error"
    normalize: Normalize

    # How an encoder is made.

    @classmethod
    @abstractmethod
    def fit(cls, corpus: Corpus, normalize: Normalize, *, min_count: int, vocabulary_size: int) -> Self:
        """The encoder of a corpus.

        Args:
            corpus: the text.
            normalize: the normalisation of every text.
            min_count: how often a word must occur to be known, where words are counted.
            vocabulary_size: the most pieces to make, where pieces are made.

        Raises:
            SourceError: the corpus cannot be read, or repeats one symbol.
        """

    @classmethod
    def fit_sentences(cls, corpus: Corpus, *, min_count: int, vocabulary_size: int) -> Self:
        """The encoder of normalised sentences; they may be as few and as uniform as they like.

        Arguments and errors are those of `fit`.
        """
        return cls.fit(corpus, "none", min_count=min_count, vocabulary_size=vocabulary_size)

    @classmethod
    @abstractmethod
    def from_json(cls, data: JsonObject) -> Self:
        """The inverse of `to_json`. Raises RunError when the data is malformed."""

    @abstractmethod
    def to_json(self) -> JsonObject:
        """The encoder as JSON; `encoder_from_json` reads it."""

    def limited(self, size: int) -> Self:
        """The encoder with its first `size` ids where a fit keeps all words, else itself."""
        return self

    # What its ids are.

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of ids."""

    @property
    @abstractmethod
    def start(self) -> int:
        """The id that begins a text without a prompt: the line end if known, else a space, else the first."""

    @property
    @abstractmethod
    def symbols(self) -> list[str]:
        """A printable name for every id."""

    @cached_property
    def characters(self) -> np.ndarray:
        """The number of characters that each id stands for, float32 (size,).

        Over the ids of a text they sum to its length. The unknown symbol counts the mean length of the words
        that it replaces.
        """
        return np.array(self._lengths(), np.float32)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned integers that hold every id."""
        return np.min_scalar_type(self.size - 1)

    def missing(self, text: str) -> frozenset[str]:
        """The characters of a normalised text that have no id; empty unless `fixed_alphabet`."""
        return frozenset()

    def with_symbol(self, symbol: str) -> Self:
        """The encoder with one character more, as id 0, where `fixed_alphabet`; else itself."""
        return self

    def leniently(self, how: Lenient) -> Self:
        """The encoder that treats characters without an id like this; itself where there are none.

        Raises:
            ConfigError: they cannot be replaced, because no character of `STAND_INS` has an id.
        """
        return self

    def extended(self, other: "Encoder") -> tuple[Self, np.ndarray]:
        """The encoder that also knows the symbols of another one of its class.

        Returns:
            The encoder, and the new ids of the old symbols, int64 (size,).

        Raises:
            ConfigError: an encoder of this class knows every text.
        """
        raise ConfigError(
            f"the {self.name} encoder knows every text, so its vocabulary cannot be extended; leave out "
            f"{option('extend_vocabulary')}"
        )

    # From text to ids and back.

    def encode(self, text: str, strict: bool = False) -> np.ndarray:
        """The ids of a text, shape (ids,), of type `dtype`.

        Args:
            text: any text; it is normalised first.
            strict: refuse unknown words, too, although they have an id.

        Raises:
            EncodingError: the text has unknown symbols; the message names them.
        """
        return self._encode(normalize_text(text, self.normalize), strict)

    @abstractmethod
    def decode(self, ids: ArrayLike) -> str:
        """The text of ids of shape (ids,); � where their bytes are not UTF-8."""

    @abstractmethod
    def encode_chunks(self, corpus: Corpus) -> Iterator[np.ndarray]:
        """`encode` of the whole corpus, chunk by chunk.

        Words and BPE cut a stretch of a million characters without white space, even inside a word.

        Raises:
            SourceError: the corpus cannot be read.
            EncodingError: it has unknown symbols.
        """

    @abstractmethod
    def _encode(self, text: str, strict: bool = False) -> np.ndarray:
        """`encode` of a normalised text."""

    @abstractmethod
    def _lengths(self) -> list[float]:
        """`characters`, as a list."""


def unseen(what: str, symbols: Iterable[str]) -> EncodingError:
    """The error for a text with unknown `what` ("symbols", "words"); it names the first few."""
    named = sorted(set(symbols))
    more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    return EncodingError(
        f"the text has {what} that were not in the training text: {', '.join(map(repr, named[:SHOWN]))}"
        f"{more}; leave them out ({option('unknown', 'drop')} does so, {option('unknown', 'replace')} puts "
        f"another symbol in their place), or train with {option('encoder', 'byte')}, which knows every text"
    )


def nothing_to_predict(name: str, normalize: Normalize, what: str = "symbol") -> SourceError:
    """The error for a corpus that repeats one symbol (or one `what`)."""
    of = " (letters and spaces only)" if normalize == "letters" else ""
    return SourceError(f"{name} consists of one {what}{of}: there is nothing to predict; give it more text")


def damaged(detail: str) -> RunError:
    """The error for a malformed vocabulary."""
    return RunError(f"the vocabulary is damaged: {detail}")


def check(data: JsonObject, keys: set[str]) -> Normalize:
    """The normalisation of a saved vocabulary. Raises RunError unless its keys are exactly these."""
    if missing := keys - data.keys():
        raise damaged(f"it has no {min(missing)!r}")
    if extra := data.keys() - keys:
        raise damaged(f"it has an unknown key {shown(repr(min(extra)))}")
    normalize = data["normalize"]
    if normalize not in NORMALIZATIONS:
        raise damaged(f"'normalize' must be one of {', '.join(NORMALIZATIONS)}")
    return cast(Normalize, normalize)

"""What an encoder is, and what they all share: the errors, and the checks of a saved vocabulary."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from ostinato.data.encoders.normalize import NORMALIZATIONS, Normalize, normalize_text
from ostinato.data.sources.corpora import Corpus
from ostinato.errors import EncodingError, RunError, SourceError
from ostinato.wording import shown

SHOWN = 10


class Encoder(ABC):
    """From text to ids and back. A value: equal encoders encode equally.

    Attributes:
        name: "char", "byte", "word" or "bpe".
        kind: what an id is: "categorical", one of `size` (softmax); "multi-hot", a set of them (Bernoulli).
        unknown: the id that stands for whatever is not known; None when there is none.
        normalize: what is done to every text before it is encoded.
    """

    name: ClassVar[str]
    kind: ClassVar[Literal["categorical", "multi-hot"]] = "categorical"
    unknown: ClassVar[int | None] = None
    normalize: Normalize

    @property
    @abstractmethod
    def size(self) -> int:
        """How many ids there are."""

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
        """How many characters of text each id stands for, float32 (size,).

        Summed over the ids of a text, exactly its length (the mean length of what it replaces, for the
        unknown).
        """
        return np.array(self._lengths(), np.float32)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned integers that hold every id."""
        return np.min_scalar_type(self.size - 1)

    def encode(self, text: str, strict: bool = False) -> np.ndarray:
        """Ids of the text, shape (ids,), of type `dtype`.

        Args:
            text: any text; it is normalised first.
            strict: raise also where there is an id for the unknown.

        Raises:
            EncodingError: the text has symbols that are not known; the message names them.
        """
        return self._encode(normalize_text(text, self.normalize), strict)

    @abstractmethod
    def decode(self, ids: ArrayLike) -> str:
        """The text that ids of shape (ids,) stand for; � where their bytes are not UTF-8."""

    @abstractmethod
    def encode_chunks(self, corpus: Corpus) -> Iterator[np.ndarray]:
        """`encode` of the whole corpus, piece by piece.

        Words and BPE cut a stretch of a million characters without white space, and the word at the cut with
        it.

        Raises:
            SourceError: the corpus cannot be read.
            EncodingError: it has symbols that are not known.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """What `encoder_from_json` makes the same encoder of."""

    @abstractmethod
    def _encode(self, text: str, strict: bool = False) -> np.ndarray:
        """`encode` of text that is normalised already."""

    @abstractmethod
    def _lengths(self) -> list[float]:
        """`characters`, as a list."""


def unseen(what: str, symbols: Iterable[str]) -> EncodingError:
    """The error for text with `what` ("symbols", "words") that are not known; it names the first few."""
    named = sorted(set(symbols))
    more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    return EncodingError(
        f"the text has {what} that were not in the training text: {', '.join(map(repr, named[:SHOWN]))}"
        f"{more}; leave them out, or train with --encoder byte, which knows every text"
    )


def nothing_to_predict(name: str, normalize: Normalize, what: str = "symbol") -> SourceError:
    """The error for a corpus of one symbol (or `what` the encoder takes for one)."""
    of = " (letters and spaces only)" if normalize == "letters" else ""
    return SourceError(f"{name} consists of one {what}{of}: there is nothing to predict; give it more text")


def damaged(detail: str) -> RunError:
    """The error for a saved vocabulary that is malformed."""
    return RunError(f"the vocabulary is damaged: {detail}")


def check(data: dict[str, Any], keys: set[str]) -> Normalize:
    """The normalisation of a saved vocabulary. Raises RunError unless it has these and exactly these keys."""
    if missing := keys - data.keys():
        raise damaged(f"it has no {min(missing)!r}")
    if extra := data.keys() - keys:
        raise damaged(f"it has an unknown key {shown(repr(min(extra)))}")
    normalize = data["normalize"]
    if not isinstance(normalize, str) or normalize not in NORMALIZATIONS:
        raise damaged(f"its 'normalize' is none of {', '.join(NORMALIZATIONS)}")
    return normalize  # pyright: ignore[reportReturnType]

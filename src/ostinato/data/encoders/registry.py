"""The encoders by name: how one is fitted to a corpus, saved and read again."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from ostinato.data.encoders.base import Encoder, damaged
from ostinato.data.encoders.bpe import SMALLEST_VOCABULARY, bpe_from_json, fit_bpe
from ostinato.data.encoders.byte import byte_from_json, fit_byte
from ostinato.data.encoders.char import char_from_json, fit_char
from ostinato.data.encoders.normalize import NORMALIZATIONS, Normalize
from ostinato.data.encoders.word import fit_word, word_from_json
from ostinato.data.sources.corpora import Corpus
from ostinato.errors import ConfigError
from ostinato.wording import hint_after

__all__ = ["ENCODERS", "Encoder", "encoder_digest", "encoder_from_json", "fit_encoder"]

ENCODERS = ("char", "byte", "word", "bpe")


def fit_encoder(
    name: str,
    corpus: Corpus,
    *,
    normalize: Normalize = "none",
    min_count: int = 1,
    vocabulary_size: int = 2048,
) -> Encoder:
    """The encoder of a corpus, from a count over the whole of it.

    Args:
        name: "char", "byte", "word" or "bpe".
        corpus: the text.
        normalize: "none", or "letters" for lower-case letters and single spaces only.
        min_count: how often a word must occur to be known (word only).
        vocabulary_size: how many pieces to make at most, 256 of them the bytes (bpe only).

    Raises:
        ConfigError: an option does not exist or is out of range.
        SourceError: the corpus cannot be read, or repeats one symbol.
    """
    _one_of("encoder", name, ENCODERS)
    _one_of("normalization", normalize, NORMALIZATIONS)
    if min_count < 1:
        raise ConfigError(f"the minimum count of a word is {min_count}; it must be 1 or more")
    if vocabulary_size < SMALLEST_VOCABULARY:
        raise ConfigError(
            f"the vocabulary size is {vocabulary_size}; bpe needs {SMALLEST_VOCABULARY} or more, "
            "as every byte is in the vocabulary"
        )
    if name == "char":
        return fit_char(corpus, normalize)
    if name == "byte":
        return fit_byte(corpus, normalize)
    if name == "word":
        return fit_word(corpus, normalize, min_count)
    return fit_bpe(corpus, normalize, vocabulary_size)


def encoder_from_json(data: dict[str, Any]) -> Encoder:
    """The encoder that `Encoder.to_json` described.

    Raises:
        RunError: the data is malformed.
    """
    readers: dict[str, Callable[[dict[str, Any]], Encoder]] = {
        "char": char_from_json,
        "byte": byte_from_json,
        "word": word_from_json,
        "bpe": bpe_from_json,
    }
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str) or name not in readers:
        raise damaged(f"its name is none of {', '.join(readers)}")
    return readers[name](data)


def encoder_digest(encoder: Encoder) -> str:
    """SHA-256 (hex) of all that the encoder is."""
    canonical = json.dumps(encoder.to_json(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _one_of(what: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise ConfigError(f"there is no {what} {name!r}, only {', '.join(names)}{hint_after(name, names)}")


def check_encoder(name: str) -> None:
    """Refuses what names no encoder. Raises ConfigError."""
    _one_of("encoder", name, ENCODERS)

"""The encoders by name: the only place that lists them.

An encoder is one file with a subclass of `Encoder`, and one entry in `CLASSES`.
"""

import hashlib
import json

from ostinato.data.encoders.base import Encoder, damaged
from ostinato.data.encoders.bpe import BpeEncoder
from ostinato.data.encoders.byte import ByteEncoder
from ostinato.data.encoders.char import CharEncoder
from ostinato.data.encoders.normalize import NORMALIZATIONS, Normalize
from ostinato.data.encoders.word import WordEncoder
from ostinato.data.encoders.word_bpe import WordBpeEncoder
from ostinato.data.sources.corpora import Corpus
from ostinato.errors import ConfigError
from ostinato.files.atomic import JsonObject
from ostinato.wording import hint_after

__all__ = [
    "ENCODERS",
    "Encoder",
    "check_encoder",
    "check_vocabulary_size",
    "encoder_class",
    "encoder_digest",
    "encoder_from_json",
    "fit_encoder",
]

CLASSES: dict[str, type[Encoder]] = {
    encoder.name: encoder for encoder in (CharEncoder, ByteEncoder, WordEncoder, BpeEncoder, WordBpeEncoder)
}
ENCODERS = tuple(CLASSES)
"""The names: char, byte, word, bpe, word_bpe."""


def check_encoder(name: str) -> str:
    """The name. Raises ConfigError when no encoder has it."""
    return _one_of("encoder", name, tuple(CLASSES))


def encoder_class(name: str) -> type[Encoder]:
    """The class of an encoder by its name. Raises ConfigError when no encoder has it."""
    return CLASSES[check_encoder(name)]


def check_vocabulary_size(name: str, size: int) -> None:
    """Raises ConfigError when the vocabulary of this encoder cannot be as small as `size`."""
    smallest = encoder_class(name).smallest_vocabulary
    if smallest is not None and size < smallest:
        raise ConfigError(f"the vocabulary size of {name} must be {smallest} or more, got {size}")


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
        name: one of `ENCODERS`.
        corpus: the text.
        normalize: "none", or "letters" for lower-case letters and single spaces only.
        min_count: how often a word must occur to be known (word, word_bpe).
        vocabulary_size: the most pieces to make, 256 of them the bytes (bpe, word_bpe).

    Raises:
        ConfigError: an option does not exist or is out of range.
        SourceError: the corpus cannot be read, or repeats one symbol.
    """
    encoder = encoder_class(name)
    _one_of("normalization", normalize, NORMALIZATIONS)
    if min_count < 1:
        raise ConfigError(f"the minimum count of a word must be 1 or more, got {min_count}")
    check_vocabulary_size(name, vocabulary_size)
    return encoder.fit(corpus, normalize, min_count=min_count, vocabulary_size=vocabulary_size)


def encoder_from_json(data: JsonObject) -> Encoder:
    """The encoder that `Encoder.to_json` described. Raises RunError when the data is malformed."""
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str) or name not in CLASSES:
        raise damaged(f"its name must be one of {', '.join(CLASSES)}")
    return CLASSES[name].from_json(data)


def encoder_digest(encoder: Encoder) -> str:
    """SHA-256 (hex) of all that its ids depend on: its JSON, and how lenient it is."""
    canonical = json.dumps(encoder.to_json(), sort_keys=True, separators=(",", ":"))
    canonical += "" if encoder.lenient == "error" else encoder.lenient
    return hashlib.sha256(canonical.encode()).hexdigest()


def _one_of(what: str, name: str, names: tuple[str, ...]) -> str:
    if name not in names:
        raise ConfigError(f"{what} must be one of {', '.join(names)}, got {name!r}{hint_after(name, names)}")
    return name

"""Encoders fitted once, to a whole corpus or to the training part of some texts, and kept in the cache.

The folder `vocabularies` holds each encoder as JSON; the name of its file is a hash of everything that the
fit depends on.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from ostinato.data.encoders.normalize import Normalize, normalize_text
from ostinato.data.encoders.registry import (
    Encoder,
    check_vocabulary_size,
    encoder_class,
    encoder_from_json,
    fit_encoder,
)
from ostinato.data.sources.corpora import Corpus
from ostinato.data.store.encoded_texts import spaced
from ostinato.data.store.texts import StoredTexts
from ostinato.errors import RunError
from ostinato.files import cache
from ostinato.files.cache import Progress

FORMAT = 1
"""Increased when equal texts give another vocabulary than before, so that old files are not used."""


def fitted_once(key: str, fit: Callable[[], Encoder]) -> Encoder:
    """An encoder, from the cache where it has it.

    Args:
        key: determines everything that the fit depends on; part of a file's name.
        fit: makes the encoder; its errors pass through.

    Raises:
        SourceError: the cache cannot be written.
    """
    path = cache.folder() / "vocabularies" / f"{key}.json"
    known = cache.read_json(path)
    if known is not None:
        try:
            return encoder_from_json(known)
        except RunError:
            pass  # damaged: fit it again
    encoder = fit()
    cache.write_json(path, encoder.to_json())
    return encoder


def fitted_to_part(
    texts: StoredTexts,
    part: np.ndarray,
    name: str,
    *,
    drawn_from: list[object],
    source: str,
    normalize: Normalize = "none",
    min_count: int = 1,
    vocabulary_size: int | None = None,
    on_progress: Progress | None = None,
) -> Encoder:
    """The encoder fitted to some texts as `encode_text` reads them, from the cache where it has it.

    Args:
        texts: training texts and others.
        part: the numbers of the texts to fit to, rising.
        name: the name of the encoder.
        drawn_from: JSON-able: what determines texts and part, such as a hash and a seed.
        source: what messages call the texts.
        normalize, min_count: see `fit_encoder`.
        vocabulary_size: the most ids: for words <unk> and the most frequent words (None for all), for bpe its
            pieces (None for the default of `fit_encoder`).
        on_progress: called with the bytes of `texts` read so far, and in all.

    Raises:
        ConfigError: an option does not exist or is out of range.
        SourceError: the texts repeat one symbol; the cache cannot be written.
    """
    if vocabulary_size is not None:
        check_vocabulary_size(name, vocabulary_size)

    def fit() -> Encoder:
        corpus = _Part(source, "text", texts=texts, part=part, on_progress=on_progress)
        if encoder_class(name).spaced:
            corpus = replace(corpus, spaced=normalize)
        if vocabulary_size is None:
            return fit_encoder(name, corpus, normalize=normalize, min_count=min_count)
        encoder = fit_encoder(
            name, corpus, normalize=normalize, min_count=min_count, vocabulary_size=vocabulary_size
        )
        return encoder.limited(vocabulary_size)

    options = json.dumps([FORMAT, *drawn_from, name, normalize, min_count, vocabulary_size])
    return fitted_once(hashlib.sha256(options.encode()).hexdigest(), fit)


@dataclass(frozen=True)
class _Part(Corpus):
    """Some of the texts, concatenated as they are encoded.

    Attributes:
        spaced: the normalisation of each text before its space; None for a text without a space before it.
    """

    texts: StoredTexts | None = field(default=None, repr=False)
    part: np.ndarray | None = field(default=None, repr=False)
    on_progress: Progress | None = field(default=None, repr=False)
    spaced: Normalize | None = None

    def chunks(self) -> Iterator[str]:
        assert self.texts is not None
        assert self.part is not None
        at = 0
        for done, texts in self.texts.blocks():
            chosen = self.part[slice(*np.searchsorted(self.part, (at, at + len(texts))))] - at
            some = [texts[i] for i in chosen.tolist()]
            if self.spaced is not None:
                some = [spaced(normalize_text(text, self.spaced)) for text in some]
            at += len(texts)
            if self.on_progress is not None:
                self.on_progress(done, len(self.texts.data))
            if chunk := "".join(some):
                yield chunk

    def byte_chunks(self) -> Iterator[bytes]:
        return (chunk.encode() for chunk in self.chunks())

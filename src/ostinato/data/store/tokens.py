"""A corpus as ids in a memory-mapped file of the cache, so that it may be larger than memory.

    index/         the content hash of the text at a path, while the size and time of its files stay
    vocabularies/  the encoders fitted to a text
    tokens/        the ids of a text by an encoder, as .npy

All three are found without reading the text again, and made again when they are missing or damaged.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypedDict, Unpack

import numpy as np

from ostinato.data.encoders.normalize import Normalize
from ostinato.data.encoders.registry import Encoder, encoder_digest, fit_encoder
from ostinato.data.sources.corpora import Corpus
from ostinato.data.store.vocabularies import fitted_once
from ostinato.errors import ConfigError, SourceError
from ostinato.files import cache
from ostinato.files.cache import Progress

FORMAT = 2
"""Increased when an encoder of equal JSON gives other ids than before, so that old files are not used."""
Stamps = list[tuple[str, int, int]]
"""See `Corpus.stamps`."""


class Tokens(NamedTuple):
    """A corpus as ids.

    Attributes:
        ids: read-only memory-mapped array, shape (ids,), of the encoder's dtype.
        encoder: what made the ids.
        content: SHA-256 (hex) of the bytes of the corpus, decompressed and concatenated.
    """

    ids: np.ndarray
    encoder: Encoder
    content: str


class FitOptions(TypedDict, total=False):
    """The options of `fit_encoder`."""

    name: str
    normalize: Normalize
    min_count: int
    vocabulary_size: int


def prepare_tokens(
    corpus: Corpus,
    *,
    encoder: Encoder | None = None,
    on_progress: Progress | None = None,
    **fit_options: Unpack[FitOptions],
) -> Tokens:
    """The ids of a corpus, from the cache where it has them.

    Args:
        corpus: the text.
        encoder: what encodes it; None to fit one.
        on_progress: called with the bytes read so far and in all (None while unknown); starts again with each
            pass over the text: for its hash, its vocabulary and its ids.
        **fit_options: `name` ("char" if not given) and the options of `fit_encoder`, without `encoder`.

    Raises:
        SourceError: the corpus cannot be read, repeats one symbol, or changes meanwhile; the cache cannot be
            written.
        EncodingError: it has symbols unknown to the given encoder.
        ConfigError: an option does not exist or is out of range.
    """
    if encoder is not None and fit_options:
        raise ConfigError(f"an encoder is given, so nothing is fitted with {', '.join(fit_options)}")
    stamps = corpus.stamps()
    content, total = content_and_size(corpus, stamps, on_progress)
    if encoder is None:
        encoder = _fitted(watched(corpus, total, on_progress), content + corpus.read_as, fit_options)
    path = (
        cache.folder() / "tokens" / f"{content}{corpus.read_as}-{encoder_digest(encoder)[:16]}-{FORMAT}.npy"
    )

    def make() -> None:
        with cache.writing(path) as file:
            _write(file, encoder, watched(corpus, total, on_progress))
            _refuse_change(corpus, stamps)

    ids = cache.found_or_made(path, lambda: _open(path, encoder.dtype), make)
    return Tokens(ids, encoder, content)


def content_hash(corpus: Corpus) -> str:
    """SHA-256 (hex) of the bytes of a corpus; read only if its files have changed. Raises SourceError."""
    return content_and_size(corpus, corpus.stamps(), None)[0]


def content_and_size(corpus: Corpus, stamps: Stamps, on_progress: Progress | None) -> tuple[str, int | None]:
    """The content hash of a corpus and its size in bytes, where that is known."""
    if corpus.content is not None:
        return corpus.content, None if corpus.data is None else len(corpus.data)
    path = cache.folder() / "index" / f"{digest_of(stamps)}.json"
    known = cache.read_json(path) or {}
    content, total = known.get("content"), known.get("bytes")
    if isinstance(content, str) and re.fullmatch("[0-9a-f]{64}", content) and isinstance(total, int):
        return content, total
    digest, total = hashlib.sha256(), 0
    compressed = any(file.suffix == ".gz" for file in corpus.files)
    expected = None if compressed else sum(size for _, size, _ in stamps)
    for block in watched(corpus, expected, on_progress).byte_chunks():
        digest.update(block)
        total += len(block)
    _refuse_change(corpus, stamps)
    content = digest.hexdigest()
    cache.write_json(path, {"content": content, "bytes": total, "files": stamps})
    return content, total


def _fitted(corpus: Corpus, content: str, options: FitOptions) -> Encoder:
    """The encoder fitted to a corpus with these options, from the cache where it has it."""
    name = options.get("name", "char")
    rest = {option: value for option, value in options.items() if option != "name"}
    key = digest_of([name, sorted(rest.items()), FORMAT])[:16]

    def fit() -> Encoder:
        return fit_encoder(name, corpus, **rest)  # pyright: ignore[reportArgumentType]

    return fitted_once(f"{content}-{key}", fit)


def _write(file: BinaryIO, encoder: Encoder, corpus: Corpus) -> None:
    """Writes the ids as .npy. Their number is known only at the end; the header leaves room for it."""
    header = {"descr": np.lib.format.dtype_to_descr(encoder.dtype), "fortran_order": False, "shape": (0,)}
    np.lib.format.write_array_header_1_0(file, header)
    start, count = file.tell(), 0
    for ids in encoder.encode_chunks(corpus):
        file.write(ids.data)
        count += len(ids)
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, header | {"shape": (count,)})
    if file.tell() != start:
        raise RuntimeError("numpy wrote a header of another length")


def _open(path: Path, dtype: np.dtype) -> np.ndarray | None:
    """The ids in a file of the cache; None when the file is missing or damaged."""
    try:
        ids = np.load(path, mmap_mode="r", allow_pickle=False)
        whole = path.stat().st_size == ids.offset + ids.nbytes
    except (OSError, ValueError, EOFError, AttributeError):
        return None
    return ids if whole and ids.dtype == dtype and ids.ndim == 1 else None


def watched(corpus: Corpus, total: int | None, on_progress: Progress | None) -> Corpus:
    """The same corpus, which reports what is read of it: (bytes so far, `total`)."""
    if on_progress is None:
        return corpus
    done = 0

    def on_read(count: int) -> None:
        nonlocal done
        done += count
        on_progress(done, total)

    return replace(corpus, on_read=on_read)


def _refuse_change(corpus: Corpus, stamps: Stamps) -> None:
    if corpus.stamps() != stamps:
        raise SourceError(f"{corpus.name} changed while it was read; try again when nothing writes to it")


def digest_of(data: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()

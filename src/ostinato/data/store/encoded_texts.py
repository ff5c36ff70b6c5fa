"""Texts as ids in memory-mapped files of the cache, each text encoded by itself.

The folder `examples` holds the ids (.ids), the start of each text among them (.starts), and its number of ids
(.lengths).
"""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ostinato.data.encoders.ngrams import NGrams
from ostinato.data.encoders.normalize import SEGMENT, normalize_text, segments
from ostinato.data.encoders.registry import Encoder, encoder_digest
from ostinato.data.store.texts import StoredTexts
from ostinato.errors import EncodingError
from ostinato.files import cache
from ostinato.files.cache import Progress

FORMAT = 1
"""Increased when equal texts and encoders give other files than before, so that old files are not used."""


class EncodedTexts(NamedTuple):
    """The ids of texts, memory-mapped and read-only.

    Attributes:
        ids: the ids of all texts, int32 (ids,).
        starts: where each text begins in `ids`, and where the last one ends, int64 (texts + 1,).
        lengths: the number of ids of each text, int32 (texts,); 0 without known symbols.
    """

    ids: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray


def encode_text(encoder: Encoder, text: str) -> np.ndarray:
    """The ids of an example, int32 (ids,).

    A `spaced` encoder reads it without white space around it and with one space before its first word. A
    character without an id is left out; an unknown word becomes <unk>.
    """
    text = read_text(encoder, text)
    if not text:
        return np.empty(0, np.int32)
    pieces = (text,) if len(text) <= SEGMENT else segments((text,))
    ids = [_encode_known(encoder, piece) for piece in pieces]
    return (ids[0] if len(ids) == 1 else np.concatenate(ids)).astype(np.int32)


def read_text(encoder: Encoder, text: str) -> str:
    """The text of an example as an encoder reads it: normalised, with a space before it if it is `spaced`."""
    text = normalize_text(text, encoder.normalize)
    return spaced(text) if encoder.spaced else text


def spaced(text: str) -> str:
    """The text with one space before its first word, and none at its end."""
    text = text.strip()
    return " " + text if text else ""


def _encode_known(encoder: Encoder, text: str) -> np.ndarray:
    try:
        return encoder.encode(text)
    except EncodingError:
        missing = encoder.missing(text)
        if not missing:
            raise
        return encoder.encode("".join(symbol for symbol in text if symbol not in missing))


def encoded_texts(
    texts: tuple[StoredTexts, ...], content: str, encoder: Encoder, on_progress: Progress | None = None
) -> EncodedTexts:
    """The ids of texts by `encode_text`, from the cache where it has them.

    Args:
        texts: the texts of one or several tables, in order.
        content: a hash that determines the texts.
        encoder: what encodes them.
        on_progress: called with the bytes encoded so far, and in all.

    Raises:
        SourceError: the cache cannot be written.
    """
    return _ids(
        texts, f"{content}-{encoder_digest(encoder)[:16]}", partial(encode_text, encoder), on_progress
    )


def ngrams_of_texts(
    texts: tuple[StoredTexts, ...],
    content: str,
    ngrams: NGrams,
    encoder: Encoder,
    on_progress: Progress | None = None,
) -> EncodedTexts:
    """The ids of the known n-grams of each text as `read_text` gives it.

    Arguments and errors are those of `encoded_texts`.
    """
    known = ngrams.hashes.tobytes() + f"{ngrams.spaced} {encoder.spaced} {encoder.normalize}".encode()

    def encode(text: str) -> np.ndarray:
        return ngrams.encode(read_text(encoder, text))

    return _ids(texts, f"{content}-ngrams-{hashlib.sha256(known).hexdigest()[:16]}", encode, on_progress)


def _ids(
    texts: tuple[StoredTexts, ...],
    key: str,
    encode: Callable[[str], np.ndarray],
    on_progress: Progress | None,
) -> EncodedTexts:
    base = cache.folder() / "examples" / f"{key}-{FORMAT}"
    count = sum(map(len, texts))
    return cache.found_or_made(
        base, lambda: _find(base, count), lambda: _write(base, texts, encode, on_progress)
    )


def _find(base: Path, count: int) -> EncodedTexts | None:
    try:
        starts = cache.map_array(cache.with_ending(base, "starts"), np.dtype(np.int64), count + 1)
        lengths = cache.map_array(cache.with_ending(base, "lengths"), np.dtype(np.int32), count)
        ids = cache.map_array(cache.with_ending(base, "ids"), np.dtype(np.int32), int(starts[-1]))
    except (OSError, ValueError):
        return None
    return EncodedTexts(ids, starts, lengths)


def _write(
    base: Path,
    texts: tuple[StoredTexts, ...],
    encode: Callable[[str], np.ndarray],
    on_progress: Progress | None,
) -> None:
    total, before, end = sum(len(stored.data) for stored in texts), 0, 0
    with (
        cache.writing(cache.with_ending(base, "ids")) as ids,
        cache.writing(cache.with_ending(base, "lengths")) as lengths,
        cache.writing(cache.with_ending(base, "starts")) as starts,
    ):
        _put(starts, np.zeros(1, np.int64))
        for stored in texts:
            for done, some in stored.blocks():
                sizes = np.empty(len(some), np.int32)
                for at, text in enumerate(some):
                    of_text = encode(text)
                    sizes[at] = len(of_text)
                    _put(ids, of_text)
                _put(lengths, sizes)
                _put(starts, end + np.cumsum(sizes, dtype=np.int64))
                end += int(sizes.sum(dtype=np.int64))
                if on_progress is not None:
                    on_progress(before + done, total)
            before += len(stored.data)


def _put(file: BinaryIO, values: np.ndarray) -> None:
    file.write(values.data)

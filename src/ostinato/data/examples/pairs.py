"""Sentence pairs as ids in memory-mapped files of the cache, so that more of them than memory holds train.

    pairs.py          the pairs, read once
    sentences.py      a side's way from sentence to ids, fitted to the training part
    encoded_texts.py  the ids of all sentences of a side

Whatever is in the cache is found without reading the pairs again, and made again when it is missing or
damaged. In the folder `pairs`: the sentences of each side (.sources, .targets), where each ends, its number
and what its part follows from (.rows), and what all of that is (.json).
"""

import hashlib
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from ostinato.data.examples.sentences import Sentences, Unicode, fitted_sentences
from ostinato.data.examples.splits import PARTS, check_fractions
from ostinato.data.sources.pairs import Pair, Pairs, PairsDigest
from ostinato.data.store.encoded_texts import EncodedTexts, encoded_texts
from ostinato.data.store.texts import StoredTexts
from ostinato.errors import ConfigError, SourceError
from ostinato.files import cache
from ostinato.files.cache import Progress

FORMAT = 1
"""Counts up when equal pairs give other files than before, so that old ones are not used."""
_ROW = np.dtype([("source_end", "<i8"), ("target_end", "<i8"), ("number", "<i8"), ("draw", "<u8")])
_BLOCK = 4096
_SIDES = ("sources", "targets")

Lowercase = Literal["none", "source", "both"]


@dataclass(frozen=True, eq=False)
class PairExamples:
    """Sentence pairs as ids, made by `prepare_pairs`.

    Example i is pair i, counted from 0 without those left out as bad rows.

    Attributes:
        source_sentences, target_sentences: what made the ids of each side.
        hash: SHA-256 (hex) of all pairs.
        lengths: ids of source and target, without marks, int32 (pairs, 2).
        numbers: the line of each, or its place, int64 (pairs,), from 1 on.
        notes: sentences about what was left out.
    """

    source_sentences: Sentences
    target_sentences: Sentences
    hash: str
    lengths: np.ndarray = field(repr=False)
    numbers: np.ndarray = field(repr=False)
    notes: tuple[str, ...]
    _parts: dict[str, np.ndarray] = field(repr=False)
    _sides: tuple[EncodedTexts, EncodedTexts] = field(repr=False)
    _texts: tuple[StoredTexts, StoredTexts] = field(repr=False)

    def __len__(self) -> int:
        return len(self.numbers)

    def part(self, name: str) -> np.ndarray:
        """The numbers of the pairs in "train", "validation" or "test", int64, rising; perhaps none.

        Raises:
            ConfigError: there is no such part.
        """
        if name not in PARTS:
            raise ConfigError(f"there is no part {name!r}, only {', '.join(PARTS)}")
        return self._parts[name]

    def source(self, i: int) -> np.ndarray:
        """The ids of source i, int32 (ids,), without marks."""
        ids, starts, _ = self._sides[0]
        return self.source_sentences.shifted(ids[starts[i] : starts[i + 1]])

    def target(self, i: int) -> np.ndarray:
        """The ids of target i, int32 (ids,), without marks."""
        ids, starts, _ = self._sides[1]
        return self.target_sentences.shifted(ids[starts[i] : starts[i + 1]])

    def texts(self, i: int) -> tuple[str, str]:
        """Source and target of pair i, as they stood."""
        return self._texts[0].text(i), self._texts[1].text(i)


def prepare_pairs(
    pairs: Pairs,
    *,
    sentences: tuple[Sentences, Sentences] | None = None,
    source_encoder: str = "auto",
    target_encoder: str = "auto",
    source_vocabulary: int = 8_000,
    target_vocabulary: int = 8_000,
    joint_vocabulary: bool = False,
    min_count: int = 1,
    unicode: Unicode = "nfkc",
    lowercase: Lowercase = "none",
    max_tokens: int | None = None,
    validation_fraction: float = 0.0,
    test_fraction: float = 0.0,
    on_progress: Progress | None = None,
) -> PairExamples:
    """Sentence pairs as ids, from the cache where it has them.

    The part of a pair follows from its source alone, by SHA-256, so that equal sources are never in two parts
    and a pair stays in its part whatever else is in the file.

    Args:
        pairs: what to read.
        sentences: how source and target become ids; None fits that to the training part by all options but
            the last four.
        source_encoder, target_encoder: "char", "byte", "word", "bpe", or "auto": characters for a script
            without spaces between words (`script_encoder`), else words of the source and bpe for the target,
            which is to be written without unknown words; a joint vocabulary is bpe then.
        source_vocabulary, target_vocabulary: see `fitted_sentences`.
        joint_vocabulary: one vocabulary of both sides, with the encoder and the size of the source.
        min_count: see `fitted_sentences`.
        unicode: the normalisation of both sides.
        lowercase: which side's letters are made lower-case.
        max_tokens: pairs with more tokens on a side, or with none, are left out of training; None leaves
            nothing out.
        validation_fraction, test_fraction: what to keep for these parts, of the whole, about.
        on_progress: called with the bytes read so far and in all (None while unknown); starts again at each
            pass: over the pairs, for each vocabulary, for the ids of each side.

    Raises:
        SourceError: the pairs cannot be read or have bad rows; none is left to train on; the cache cannot be
            written.
        ConfigError: an option does not exist, is out of range, or contradicts another.
    """
    check_fractions(validation_fraction, test_fraction, None)
    if joint_vocabulary and lowercase == "source":
        raise ConfigError("with a joint vocabulary both sides are made lower-case or none is; choose one")
    stored = _stored_pairs(pairs, on_progress)
    parts = _parts(stored.draws, validation_fraction, test_fraction)
    if not len(parts["train"]):
        raise SourceError(
            f"none of the {len(stored.draws):,} pairs of {pairs.name} is left to train on; give more pairs, "
            "or keep less for validation and testing"
        )
    if sentences is None:

        def fitted(sides: tuple[int, ...], encoder: str, vocabulary: int, lowercase: bool) -> Sentences:
            return fitted_sentences(
                tuple(stored.sides[side] for side in sides),
                parts["train"],
                encoder,
                drawn_from=[stored.content, [validation_fraction, test_fraction], sides],
                source=f"{pairs.name} ({' and '.join(_SIDES[side] for side in sides)})",
                vocabulary=vocabulary,
                spaced="word" if sides == (0,) else "bpe",
                min_count=min_count,
                unicode=unicode,
                lowercase=lowercase,
                on_progress=on_progress,
            )

        if joint_vocabulary:
            both = fitted((0, 1), source_encoder, source_vocabulary, lowercase == "both")
            sentences = both, both
        else:
            sentences = (
                fitted((0,), source_encoder, source_vocabulary, lowercase != "none"),
                fitted((1,), target_encoder, target_vocabulary, lowercase == "both"),
            )
    sides = (
        _encoded(stored, 0, sentences[0], on_progress),
        _encoded(stored, 1, sentences[1], on_progress),
    )
    lengths = np.stack([side.lengths for side in sides], axis=1)
    parts["train"], left_out = _usable(pairs, parts["train"], lengths, max_tokens)
    skipped = (_left_out(count, "row", problem) for problem, count in pairs.skipped.items())
    notes = (*pairs.notes, *skipped, *left_out)
    return PairExamples(
        *sentences, stored.content, lengths, stored.numbers, notes, parts, sides, stored.sides
    )


# The pairs in the cache.


@dataclass(frozen=True, eq=False)
class _StoredPairs:
    """Pairs, memory-mapped: the texts of both sides, the number and the draw of each, SHA-256 of all."""

    sides: tuple[StoredTexts, StoredTexts]
    numbers: np.ndarray
    draws: np.ndarray
    content: str


def _stored_pairs(pairs: Pairs, on_progress: Progress | None) -> _StoredPairs:
    identity = pairs.identity()
    base = cache.folder() / "pairs" / f"{identity}-{FORMAT}"

    def make() -> None:
        _write(base, pairs, on_progress)
        if pairs.identity() != identity:
            base.with_name(f"{base.name}.json").unlink(missing_ok=True)
            raise SourceError(f"{pairs.name} changed while it was read; try again when nothing writes to it")

    return cache.found_or_made(base, lambda: _find(base, pairs), make)


def _find(base: Path, pairs: Pairs) -> _StoredPairs | None:
    known = cache.read_json(base.with_name(f"{base.name}.json"))
    if known is None:
        return None
    try:
        rows = cache.map_array(base.with_name(f"{base.name}.rows"), _ROW, known["pairs"])
        sources, targets = (
            cache.map_array(base.with_name(f"{base.name}.{side}"), np.dtype(np.uint8), known[side])
            for side in _SIDES
        )
        content = str(known["content"])
        skipped = {str(reason): int(count) for reason, count in known["skipped"].items()}
    except (KeyError, TypeError, ValueError, OSError, AttributeError):
        return None
    pairs.skipped.clear()
    pairs.skipped.update(skipped)
    sides = StoredTexts(sources, rows["source_end"]), StoredTexts(targets, rows["target_end"])
    return _StoredPairs(sides, rows["number"], rows["draw"], content)


def _write(base: Path, pairs: Pairs, on_progress: Progress | None) -> None:
    digest, ends, count = PairsDigest(), [0, 0], 0
    read = pairs.rows(None if on_progress is None else lambda at: on_progress(at, pairs.size))
    with (
        cache.writing(base.with_name(f"{base.name}.sources")) as sources,
        cache.writing(base.with_name(f"{base.name}.targets")) as targets,
        cache.writing(base.with_name(f"{base.name}.rows")) as rows,
    ):
        while some := list(islice(read, _BLOCK)):
            waiting = []
            for pair in some:
                digest.add(pair.source, pair.target)
                ends[0] += sources.write(pair.source.encode())
                ends[1] += targets.write(pair.target.encode())
                waiting.append((*ends, pair.number, _draw(pair)))
            rows.write(np.array(waiting, _ROW).tobytes())
            count += len(some)
    known = {"pairs": count, "sources": ends[0], "targets": ends[1], "content": digest.hex()}
    cache.write_json(base.with_name(f"{base.name}.json"), known | {"skipped": pairs.skipped})


# Parts.


def _draw(pair: Pair) -> int:
    """A number below 2**64 that follows from the source, as if drawn: the same on every machine."""
    source = unicodedata.normalize("NFKC", pair.source).strip()
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "big")


def _parts(draws: np.ndarray, validation_fraction: float, test_fraction: float) -> dict[str, np.ndarray]:
    """The numbers of the pairs in each part, int64, rising."""
    uniform = draws / 2.0**64
    ends = test_fraction, test_fraction + validation_fraction
    return {
        "train": np.flatnonzero(uniform >= ends[1]),
        "validation": np.flatnonzero((uniform >= ends[0]) & (uniform < ends[1])),
        "test": np.flatnonzero(uniform < ends[0]),
    }


def _usable(
    pairs: Pairs, train: np.ndarray, lengths: np.ndarray, max_tokens: int | None
) -> tuple[np.ndarray, list[str]]:
    """The pairs of training that are not too long and have something on both sides; notes on the others."""
    if max_tokens is None:
        return train, []
    longest = lengths[train].max(axis=1)
    empty, long = lengths[train].min(axis=1) == 0, longest > max_tokens
    if (empty | long).all():
        shortest = (
            f"; the shortest has {longest[~empty].min():,} on its longer side" if not empty.all() else ""
        )
        raise SourceError(
            f"no pair of {pairs.name} with up to {max_tokens:,} tokens on each side is left to train on"
            f"{shortest}; raise max_tokens, or take larger tokens"
        )
    notes = []
    if several := int(long.sum()):
        notes.append(
            _left_out(several, "pair", f"of training with more than {max_tokens:,} tokens on a side")
        )
    if several := int((empty & ~long).sum()):
        notes.append(_left_out(several, "pair", "of training without a token on a side"))
    return train[~(empty | long)], notes


def _left_out(count: int, what: str, which: str) -> str:
    return f"left out {count:,} {what}{'s' if count > 1 else ''} {which}"


# Ids.


@dataclass(frozen=True, eq=False)
class _Normalized(StoredTexts):
    """Texts as `Sentences.normalized` gives them."""

    sentences: Sentences

    def blocks(self) -> Iterator[tuple[int, list[str]]]:
        for done, texts in super().blocks():
            yield done, [self.sentences.normalized(text) for text in texts]


def _encoded(
    stored: _StoredPairs, side: int, sentences: Sentences, on_progress: Progress | None
) -> EncodedTexts:
    """The ids of a side by `Sentences.reader`."""
    texts = stored.sides[side]
    known = json.dumps([FORMAT, stored.content, side, sentences.unicode, sentences.lowercase])
    return encoded_texts(
        (_Normalized(texts.data, texts.ends, sentences),),
        hashlib.sha256(known.encode()).hexdigest(),
        sentences.reader,
        on_progress,
    )

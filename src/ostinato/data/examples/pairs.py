"""Sentence pairs as ids in memory-mapped files of the cache, so that they may be larger than memory.

    store/pairs.py          the pairs, read once
    sentences.py            from a sentence to ids, fitted to the training part
    store/encoded_texts.py  the ids of all sentences of a side

What is in the cache is found without reading the pairs again, and made again when it is missing or damaged.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np

from ostinato.data.examples.sentences import (
    SAMPLE,
    Sentences,
    Unicode,
    fitted_sentences,
    lacks_spaces,
    single_words,
    symbols,
)
from ostinato.data.examples.splits import PARTS, check_fractions
from ostinato.data.sources.pairs import Pairs
from ostinato.data.store.encoded_texts import EncodedTexts, encoded_texts
from ostinato.data.store.pairs import FORMAT, SIDES, StoredPairs, stored_pairs
from ostinato.data.store.texts import StoredTexts, content_of_all
from ostinato.errors import ConfigError, SourceError
from ostinato.files.cache import Progress

Lowercase = Literal["none", "source", "both"]


@dataclass(frozen=True, eq=False)
class PairExamples:
    """Sentence pairs as ids, made by `prepare_pairs`.

    Example i is pair i, counted from 0 without bad rows; pairs of their own for validation follow.

    Attributes:
        source_sentences, target_sentences: what made the ids of each side.
        hash: SHA-256 (hex) of all pairs.
        single_words: whether most sources are single words.
        lengths: the number of ids of source and target, without marks, int32 (pairs, 2).
        numbers: the line or place of each pair, int64 (pairs,), from 1 on.
        notes: sentences about what was left out.
    """

    source_sentences: Sentences
    target_sentences: Sentences
    hash: str
    single_words: bool
    lengths: np.ndarray = field(repr=False)
    numbers: np.ndarray = field(repr=False)
    notes: tuple[str, ...]
    _parts: dict[str, np.ndarray] = field(repr=False)
    _sides: tuple[EncodedTexts, EncodedTexts] = field(repr=False)
    _stored: tuple[StoredPairs, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.numbers)

    def part(self, name: str) -> np.ndarray:
        """The numbers of the pairs in "train", "validation" or "test", int64, rising; may be empty.

        Raises:
            ConfigError: there is no such part.
        """
        if name not in PARTS:
            raise ConfigError(f"part must be one of {', '.join(PARTS)}, got {name!r}")
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
        """Source and target of pair i, as they were read."""
        for stored in self._stored:
            if i < len(stored.draws):
                return stored.sides[0].text(i), stored.sides[1].text(i)
            i -= len(stored.draws)
        raise IndexError(f"there is no pair {i} after the last one")


def prepare_pairs(
    pairs: Pairs,
    *,
    sentences: tuple[Sentences, Sentences] | None = None,
    source_encoder: str = "auto",
    target_encoder: str = "auto",
    source_vocabulary: int | None = None,
    target_vocabulary: int | None = None,
    joint_vocabulary: bool = False,
    min_count: int = 1,
    unicode: Unicode = "nfkc",
    lowercase: Lowercase = "none",
    max_tokens: int | None = None,
    validation_fraction: float = 0.0,
    test_fraction: float = 0.0,
    max_validation: int | None = None,
    on_progress: Progress | None = None,
) -> PairExamples:
    """Sentence pairs as ids, from the cache where it has them.

    The SHA-256 of its source decides the part of a pair: equal sources are never in two parts, and a pair
    stays in its part when the file changes. With `max_validation` it may go from validation to training when
    the file grows.

    Args:
        pairs: what to read.
        sentences: what turns sources and targets into ids; None to fit both to the training part with all
            options but the last five.
        source_encoder, target_encoder: the name of an encoder, or "auto": characters for a script that
            `lacks_spaces` and for lists of single words; else bpe, so that no word is unknown. What single
            words become is read by words if it is `symbols`, such as those of a pronunciation.
        source_vocabulary, target_vocabulary: see `fitted_sentences`.
        joint_vocabulary: one vocabulary for both sides, with the encoder and the size of the source.
        min_count: see `fitted_sentences`.
        unicode: the Unicode normalisation of both sides.
        lowercase: the sides whose letters are made lower-case.
        max_tokens: pairs with more tokens on a side, or with none, are left out of training; None leaves
            nothing out.
        validation_fraction, test_fraction: the approximate share of each part in the whole. The first is 0 if
            the pairs have others for validation.
        max_validation: about the most pairs for validation: if there are many, their share is less; None has
            no limit.
        on_progress: called with the bytes read so far and in all (None while unknown); starts again with each
            pass: over the pairs, for each vocabulary, for the ids of each side.

    Raises:
        SourceError: the pairs cannot be read or have bad rows; none is left for training; the cache cannot be
            written.
        ConfigError: an option does not exist, is out of range, or contradicts another.
    """
    own = pairs.validation
    check_fractions(validation_fraction, test_fraction, None if own is None else own.name)
    if joint_vocabulary and lowercase == "source":
        raise ConfigError("lowercase must be none or both with a joint vocabulary, got source")
    every = tuple(stored_pairs(one, on_progress) for one in (pairs, own) if one is not None)
    stored = every[0]
    if max_validation is not None:
        validation_fraction = min(validation_fraction, max_validation / max(len(stored.draws), 1))
    parts = _parts(pairs.name, every, validation_fraction, test_fraction)
    chosen, single = _chosen(stored, parts["train"], (source_encoder, target_encoder), joint=joint_vocabulary)
    notes = [] if sentences else _choices((source_encoder, target_encoder), chosen)
    if sentences is None:
        fitted = partial(
            _fitted,
            stored,
            pairs.name,
            parts["train"],
            fractions=[validation_fraction, test_fraction],
            min_count=min_count,
            unicode=unicode,
            on_progress=on_progress,
        )
        if joint_vocabulary:
            both = fitted((0, 1), chosen[0], source_vocabulary, lowercase == "both")
            sentences = both, both
        else:
            sentences = (
                fitted((0,), chosen[0], source_vocabulary, lowercase != "none"),
                fitted((1,), chosen[1], target_vocabulary, lowercase == "both"),
            )
    content = content_of_all([one.content for one in every])
    sides = (
        _encoded(every, content, 0, sentences[0], on_progress),
        _encoded(every, content, 1, sentences[1], on_progress),
    )
    lengths = np.stack([side.lengths for side in sides], axis=1)
    parts["train"], left_out = _usable(pairs, parts["train"], lengths, max_tokens)
    notes = (*notes, *_of_reading(pairs), *left_out)
    numbers = stored.numbers if own is None else np.concatenate([one.numbers for one in every])
    return PairExamples(*sentences, content, single, lengths, numbers, notes, parts, sides, every)


def _of_reading(pairs: Pairs) -> list[str]:
    """Notes about what was guessed and left out when the pairs, and those for validation, were read."""
    notes = [*pairs.notes, *(_left_out(count, "row", problem) for problem, count in pairs.skipped.items())]
    return notes if pairs.validation is None else notes + _of_reading(pairs.validation)


# Which encoders.


def _chosen(
    stored: StoredPairs, train: np.ndarray, encoders: tuple[str, str], *, joint: bool
) -> tuple[tuple[str, str], bool]:
    """The encoders with "auto" replaced where words are single; and whether most sources are single words."""
    some = train[:SAMPLE].tolist()
    sources, targets = ([side.text(i) for i in some] for side in stored.sides)
    single = single_words(sources) and not lacks_spaces(sources)
    if not single or (joint and not single_words(targets)):
        return encoders, single
    apart = single_words(targets) and not lacks_spaces(targets)
    of_target = "char" if apart else "word" if symbols(targets) else "auto"
    source, target = (
        found if given == "auto" else given
        for given, found in zip(encoders, ("char", of_target), strict=True)
    )
    return (source, target), single


def _choices(given: tuple[str, str], chosen: tuple[str, str]) -> list[str]:
    """A note about what "auto" has chosen for single words."""
    whys = {"char": "single words", "word": "symbols with spaces between"}
    said = [
        f"the {side} are {whys[found]}, read by {found}"
        for side, asked, found in zip(SIDES, given, chosen, strict=True)
        if asked != found
    ]
    return [", and ".join(said)] if said else []


def _fitted(
    stored: StoredPairs,
    name: str,
    train: np.ndarray,
    sides: tuple[int, ...],
    encoder: str,
    vocabulary: int | None,
    lowercase: bool,
    *,
    fractions: list[float],
    min_count: int,
    unicode: Unicode,
    on_progress: Progress | None,
) -> Sentences:
    """`Sentences` fitted to the training part of one side or of both."""
    return fitted_sentences(
        tuple(stored.sides[side] for side in sides),
        train,
        encoder,
        drawn_from=[stored.content, fractions, sides],
        source=f"{name} ({' and '.join(SIDES[side] for side in sides)})",
        vocabulary=vocabulary,
        min_count=min_count,
        unicode=unicode,
        lowercase=lowercase,
        on_progress=on_progress,
    )


# Parts.


def _parts(
    name: str, every: tuple[StoredPairs, ...], validation_fraction: float, test_fraction: float
) -> dict[str, np.ndarray]:
    """The numbers of the pairs in each part, int64, rising. Raises SourceError if none is for training."""
    draws = every[0].draws
    uniform = draws / 2.0**64
    ends = test_fraction, test_fraction + validation_fraction
    parts = {
        "train": np.flatnonzero(uniform >= ends[1]),
        "validation": np.flatnonzero((uniform >= ends[0]) & (uniform < ends[1])),
        "test": np.flatnonzero(uniform < ends[0]),
    }
    if not len(parts["train"]):
        raise SourceError(
            f"none of the {len(draws):,} pairs of {name} is left for training; give more pairs, or keep less "
            "for validation and testing"
        )
    if len(every) > 1:
        parts["validation"] = len(draws) + np.arange(len(every[1].draws))
    return parts


def _usable(
    pairs: Pairs, train: np.ndarray, lengths: np.ndarray, max_tokens: int | None
) -> tuple[np.ndarray, list[str]]:
    """The pairs of training with 1 to `max_tokens` tokens on both sides, and notes about the others."""
    if max_tokens is None:
        return train, []
    longest = lengths[train].max(axis=1)
    empty, long = lengths[train].min(axis=1) == 0, longest > max_tokens
    if (empty | long).all():
        shortest = (
            f"; the shortest has {longest[~empty].min():,} on its longer side" if not empty.all() else ""
        )
        raise SourceError(
            f"no training pair of {pairs.name} has 1 to {max_tokens:,} tokens on each side"
            f"{shortest}; raise max_tokens, or choose an encoder with larger tokens"
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
    """Texts normalised by `Sentences.normalized`."""

    sentences: Sentences

    def blocks(self) -> Iterator[tuple[int, list[str]]]:
        for done, texts in super().blocks():
            yield done, [self.sentences.normalized(text) for text in texts]


def _encoded(
    every: tuple[StoredPairs, ...],
    content: str,
    side: int,
    sentences: Sentences,
    on_progress: Progress | None,
) -> EncodedTexts:
    """The ids of a side by `Sentences.reader`."""
    known = json.dumps([FORMAT, content, side, sentences.unicode, sentences.lowercase])
    texts = (stored.sides[side] for stored in every)
    return encoded_texts(
        tuple(_Normalized(some.data, some.ends, sentences) for some in texts),
        hashlib.sha256(known.encode()).hexdigest(),
        sentences.reader,
        on_progress,
    )

"""Sentence pairs as a translator reads them: parts, and batches of ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import numpy as np

from ostinato.data.batches.buckets import batch_numbers
from ostinato.data.encoders.base import damaged
from ostinato.data.examples.pairs import PairExamples, prepare_pairs
from ostinato.data.examples.sentences import Sentences, marked, padded, sentences_from_json
from ostinato.data.sources.pairs import Pairs, open_pairs
from ostinato.tasks.base import PARTS, Batch, Json, OnProgress
from ostinato.tasks.config import DATA
from ostinato.tasks.examples import IndependentExamples
from ostinato.tasks.translator.config import TranslatorConfig

if TYPE_CHECKING:
    import tensorflow as tf

FREE_TOKENS = 10
"""So many more tokens than its length accounts for may any translation have."""
_MOST_GROWTH = 100_000  # a word whose translation is as long as any that training takes


def open_source(
    source: Annotated[
        object,
        "A file (or its .gz) with a sentence, a TAB and its translation on every line; or a file with one "
        "sentence on every line, if TARGET has the translations.",
    ],
    target: Annotated[object, "A file with the translation of each line of SOURCE."] = None,
    *,
    skip_bad_rows: Annotated[bool, DATA, "Leave out lines that are not a pair."] = False,
) -> Pairs:
    """Opens sentence pairs, which are not read yet.

    Args:
        source: see above; in Python also a tuple of two paths, (source, target) pairs, `Pairs`, or what
            describes them.
        target: a file with the translation of each line of SOURCE.
        skip_bad_rows: leave out lines that are not a pair.

    Raises:
        SourceError: there is no such source.
    """
    if isinstance(source, Pairs):
        return source
    return open_pairs(source if target is None else (source, target), skip_bad_rows=skip_bad_rows)


@dataclass(frozen=True, eq=False)
class TranslatorVocabulary:
    """What a translator keeps of the pairs that it was trained on.

    Attributes:
        source, target: how a sentence of each side becomes ids.
        growth: how many target tokens there are for a source token, at most, but for `FREE_TOKENS` of them.
    """

    source: Sentences
    target: Sentences
    growth: float

    def to_json(self) -> Json:
        """What `from_json` makes an equal vocabulary of."""
        return {"source": self.source.to_json(), "target": self.target.to_json(), "growth": self.growth}

    @classmethod
    def from_json(cls, vocabulary: Json) -> TranslatorVocabulary:
        """The vocabulary of a run, which anyone may have written.

        Raises:
            RunError: it is damaged.
        """
        try:
            source, target, growth = (vocabulary[key] for key in ("source", "target", "growth"))
        except (KeyError, TypeError) as error:
            raise damaged(f"it has no {error}") from None
        if type(growth) not in (int, float) or not 1 <= growth <= _MOST_GROWTH:
            raise damaged(f"its 'growth' must be a number from 1 to {_MOST_GROWTH:,}")
        return cls(sentences_from_json(source), sentences_from_json(target), float(growth))


@dataclass(frozen=True, eq=False)
class TranslatorData:
    """Sentence pairs as ids; see `ostinato.tasks.base.Data`.

    Attributes:
        config: how they are read.
        words: the vocabulary of both sides.
        pairs: where they came from.
        examples: the ids.
        notes: sentences for the user.
    """

    config: TranslatorConfig
    words: TranslatorVocabulary
    pairs: Pairs
    examples: PairExamples = field(repr=False)
    notes: tuple[str, ...]

    @property
    def vocabulary(self) -> Json:
        """All that translating needs to know of the training pairs."""
        return self.words.to_json()

    @property
    def source(self) -> Json:
        """Where the pairs came from, and their hash."""
        return {"description": self.pairs.description, "sha256": self.examples.hash}

    def part(self, name: str) -> IndependentExamples | None:
        """The pairs of a part; batches are of about equal target, then of equal source length."""
        order, config = self.examples.part(name), self.config
        if not len(order):
            return None
        sources, targets = self.examples.lengths[order].T

        def numbers(epoch: int | None) -> Iterator[np.ndarray]:
            seed = None if epoch is None else (config.seed, epoch)
            return batch_numbers(order, (targets, sources), batch=config.batch, seed=seed)

        return IndependentExamples(
            order,
            config.batch,
            signature(),
            numbers,
            lambda numbers, first, stop, training: self._batch(numbers, first, stop),
        )

    def _batch(self, numbers: np.ndarray, first: int, stop: int) -> Batch:
        """{"source", "source_lengths", "target", "target_lengths", "first_row"} of these pairs.

        Ids are (rows, time), time being that of the longest sentence in the global batch; targets begin with
        BOS and end with EOS, and their lengths count both.
        """
        examples, cut = self.examples, self.config.max_tokens
        sources, targets = examples.lengths[numbers].max(axis=0)
        mine = [int(number) for number in numbers[first:stop]]
        source, source_lengths = padded([examples.source(n)[:cut] for n in mine], min(int(sources), cut))
        target, target_lengths = padded([marked(examples.target(n)) for n in mine], int(targets) + 2)
        return {
            "source": source,
            "source_lengths": source_lengths,
            "target": target,
            "target_lengths": target_lengths,
            "first_row": first,
        }


def read(
    config: TranslatorConfig,
    source: Pairs,
    vocabulary: Json | None,
    whole: bool,
    on_progress: OnProgress | None,
) -> TranslatorData:
    """Reads sentence pairs; see `ostinato.tasks.base.Task.read`.

    Raises:
        SourceError: they cannot be read, or none is left to train on.
    """
    known = None if vocabulary is None else TranslatorVocabulary.from_json(vocabulary)
    examples = prepare_pairs(
        source,
        sentences=None if known is None else (known.source, known.target),
        source_encoder=config.source_encoder,
        target_encoder=config.target_encoder,
        source_vocabulary=config.source_vocabulary,
        target_vocabulary=config.target_vocabulary,
        joint_vocabulary=config.joint_vocabulary,
        min_count=config.min_count,
        unicode=config.unicode,
        lowercase=config.lowercase,
        max_tokens=None if whole else config.max_tokens,
        validation_fraction=0.0 if whole else config.validation_fraction,
        test_fraction=0.0 if whole else config.test_fraction,
        on_progress=on_progress,
    )
    growth = 1.0 if known is None else known.growth
    if not whole:
        # The growth of a run that training starts from is kept where it is the larger one.
        sources, targets = examples.lengths[examples.part("train")].T
        growth = max(growth, float(((targets - FREE_TOKENS) / np.maximum(sources, 1)).max()))
    words = TranslatorVocabulary(examples.source_sentences, examples.target_sentences, growth)
    return TranslatorData(config, words, source, examples, () if whole else _notes(examples))


def signature() -> dict[str, tf.TensorSpec]:
    """The type of a batch."""
    import tensorflow as tf

    return {
        "source": tf.TensorSpec((None, None), tf.int32),
        "source_lengths": tf.TensorSpec((None,), tf.int32),
        "target": tf.TensorSpec((None, None), tf.int32),
        "target_lengths": tf.TensorSpec((None,), tf.int32),
        "first_row": tf.TensorSpec((), tf.int32),
    }


def _notes(examples: PairExamples) -> tuple[str, ...]:
    """What the user should know: the sides, the parts, what is left out."""
    source, target = examples.source_sentences, examples.target_sentences
    counts = {part: len(examples.part(part)) for part in PARTS}
    sizes = [f"{count:,} for {part}" for part, count in counts.items() if count]
    return (
        f"source: {source.encoder.name}, {source.size:,} tokens; "
        f"target: {target.encoder.name}, {target.size:,} tokens; pairs: {', '.join(sizes)}",
        *examples.notes,
    )

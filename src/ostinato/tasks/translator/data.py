"""The sentence pairs of a translator: parts, and batches of ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

import numpy as np

from ostinato.data.batches.buckets import batch_numbers
from ostinato.data.encoders.base import damaged
from ostinato.data.examples.pairs import PairExamples, prepare_pairs
from ostinato.data.examples.sentences import Sentences, marked, padded, sentences_from_json
from ostinato.data.sources.pairs import Pairs, open_pairs
from ostinato.errors import ConfigError
from ostinato.tasks.base import PARTS, Batch, Json, OnProgress
from ostinato.tasks.config import COMMON_DATA, DATA, ENCODING_HELP, Flag
from ostinato.tasks.examples import IndependentExamples
from ostinato.tasks.translator.config import TranslatorConfig
from ostinato.wording import option

if TYPE_CHECKING:
    import tensorflow as tf

FREE_TOKENS = 10
"""A translation may have this many tokens more than `growth` times its source length."""
_MOST_GROWTH = 100_000  # one source token with the longest target that training takes


def open_source(
    source: Annotated[
        object,
        "A file with a sentence, a TAB and its translation on every line; a table (.csv, .jsonl, .json, "
        ".xlsx, .parquet) "
        "with a column of each; also as .gz or .zip, or - for standard input; or a file with one sentence on "
        "every "
        "line, if TARGET has the translations.",
    ],
    target: Annotated[object, "A file with the translation of each line of SOURCE."] = None,
    *,
    columns: Annotated[
        str | None,
        COMMON_DATA,
        "The two columns of a table, SOURCE,TARGET, by name or number: --columns 2,1. By default they are "
        "guessed and "
        "printed.",
    ] = None,
    encoding: Annotated[str | None, COMMON_DATA, ENCODING_HELP] = None,
    skip_bad_rows: Annotated[bool, DATA, "Leave out lines that are not a pair."] = False,
    validation: Annotated[
        object, Flag("Data", common=True, training=True), "A separate file of pairs for validation."
    ] = None,
    validation_target: Annotated[
        object, Flag("Data", training=True), "A file with the translation of each line of --validation."
    ] = None,
) -> Pairs:
    """Opens sentence pairs without reading them.

    Args:
        source: see above; in Python also a tuple of two paths, (source, target) pairs, dicts with a "source"
            and a "target", a DataFrame, `Pairs`, or their description.
        target: a file with the translation of each line of SOURCE.
        columns: of a table, "source,target" or a tuple.
        encoding: of the files; None recognises it.
        skip_bad_rows: leave out lines that are not a pair.
        validation, validation_target: other such sources, for validation.

    Raises:
        SourceError: if the source does not exist.
        ConfigError: if there are translations for validation, and nothing that they translate.
    """
    if isinstance(source, Pairs):
        return source
    if isinstance(source, dict) and "pairs" in source:
        return replace(open_pairs(source["pairs"]), validation=open_pairs(source["validation"]))

    def opened(given: object) -> Pairs:
        return open_pairs(given, columns=columns, encoding=encoding, skip_bad_rows=skip_bad_rows)

    pairs = opened(source if target is None else (source, target))
    if validation is None:
        if validation_target is not None:
            raise ConfigError(f"{option('validation_target')} needs {option('validation')}; give both")
        return pairs
    given = validation if validation_target is None else (validation, validation_target)
    return replace(pairs, validation=opened(given))


@dataclass(frozen=True, eq=False)
class TranslatorVocabulary:
    """What a translator keeps of its training pairs.

    Attributes:
        source, target: turn a sentence of each side into ids.
        growth: the largest number of target tokens per source token in training, after `FREE_TOKENS` target
            tokens were subtracted.
        penalties: the penalties of a beam search that were best on the validation part, for length and for
            coverage; None before they are chosen.
    """

    source: Sentences
    target: Sentences
    growth: float
    penalties: tuple[float, float] | None = None

    def to_json(self) -> Json:
        """The vocabulary as JSON, for `from_json`."""
        chosen = {} if self.penalties is None else {"penalties": list(self.penalties)}
        sides = {"source": self.source.to_json(), "target": self.target.to_json()}
        return {**sides, "growth": self.growth, **chosen}

    @classmethod
    def from_json(cls, vocabulary: Json) -> TranslatorVocabulary:
        """The vocabulary of a run, read from a file that is not trusted.

        Raises:
            RunError: if it is damaged.
        """
        try:
            source, target, growth = (vocabulary[key] for key in ("source", "target", "growth"))
        except (KeyError, TypeError) as error:
            raise damaged(f"it has no {error}") from None
        if type(growth) not in (int, float) or not 1 <= growth <= _MOST_GROWTH:
            raise damaged(f"its 'growth' must be a number from 1 to {_MOST_GROWTH:,}")
        penalties = penalties_of(vocabulary)
        return cls(sentences_from_json(source), sentences_from_json(target), float(growth), penalties)


def penalties_of(vocabulary: Json) -> tuple[float, float] | None:
    """The chosen penalties for length and coverage; None if there are none. Raises RunError if damaged."""
    saved = vocabulary.get("penalties")
    if saved is None:
        return None
    numbers = isinstance(saved, list) and all(
        type(each) in (int, float) and 0 <= each <= 10 for each in saved
    )
    if not numbers or len(saved) != 2:
        raise damaged("its 'penalties' must be two numbers from 0 to 10")
    return float(saved[0]), float(saved[1])


@dataclass(frozen=True, eq=False)
class TranslatorData:
    """Sentence pairs as ids; see `ostinato.tasks.base.Data`.

    Attributes:
        config: the settings of the task.
        words: the vocabulary of both sides.
        pairs: the source of the pairs.
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
        """The vocabulary as JSON."""
        return self.words.to_json()

    @property
    def source(self) -> Json:
        """The description of the source, and the hash of the pairs."""
        description, validation = self.pairs.description, self.pairs.validation
        if validation is not None:
            description = {"pairs": description, "validation": validation.description}
        return {"description": description, "sha256": self.examples.hash}

    def with_config(self, config: TranslatorConfig) -> TranslatorData:
        """See `ostinato.tasks.fitting.TakesConfig`."""
        return replace(self, config=config)

    def part(self, name: str) -> IndependentExamples | None:
        """The pairs of a part. Pairs in a batch have similar target lengths, then similar source lengths."""
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

        Ids have the shape (rows, time), where time is the length of the longest sentence in the global batch.
        Targets begin with BOS and end with EOS, and their lengths include both.
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
        SourceError: if they cannot be read, or no pair is left to train on.
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
        validation_fraction=0.0 if whole or source.validation is not None else config.validation_fraction,
        test_fraction=0.0 if whole else config.test_fraction,
        max_validation=config.max_validation,
        on_progress=on_progress,
    )
    growth = 1.0 if known is None else known.growth
    if not whole:
        # If training starts from another run, the larger growth is kept.
        sources, targets = examples.lengths[examples.part("train")].T
        growth = max(growth, float(((targets - FREE_TOKENS) / np.maximum(sources, 1)).max()))
    words = TranslatorVocabulary(examples.source_sentences, examples.target_sentences, growth)
    return TranslatorData(config, words, source, examples, () if whole else _notes(config, examples))


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


def _notes(config: TranslatorConfig, examples: PairExamples) -> tuple[str, ...]:
    """Notes for the user: the vocabularies, the parts, and what was left out."""
    source, target = examples.source_sentences, examples.target_sentences
    counts = {part: len(examples.part(part)) for part in PARTS}
    made_for_sentences = examples.single_words and not config.bidirectional
    advice = ["the recipe strings is made for single words"] if made_for_sentences else []
    sizes = [f"{count:,} for {part}" for part, count in counts.items() if count]
    return (
        f"source: {source.encoder.name}, {source.size:,} tokens; "
        f"target: {target.encoder.name}, {target.size:,} tokens; pairs: {', '.join(sizes)}",
        *examples.notes,
        *advice,
    )

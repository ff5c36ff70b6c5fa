"""Labelled texts as a classifier reads them: tables, parts, and batches of ids with their labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

import numpy as np

from ostinato.data.batches.buckets import batch_numbers
from ostinato.data.examples.labelled import Examples, prepare_examples
from ostinato.data.examples.labels import UNSEEN
from ostinato.data.sources.tables import Table, open_table, open_table_like
from ostinato.errors import ConfigError
from ostinato.tasks.base import Batch, Json, OnProgress
from ostinato.tasks.classifier.config import ClassifierConfig
from ostinato.tasks.classifier.labels import Labels
from ostinato.tasks.classifier.notes import notes_of_rows, reading_notes
from ostinato.tasks.classifier.padding import padded_grams, padded_texts
from ostinato.tasks.classifier.vocabulary import SEPARATOR, ClassifierVocabulary, columns_of
from ostinato.tasks.config import COMMON_DATA, DATA, ENCODING_HELP, Flag
from ostinato.tasks.examples import IndependentExamples

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Tables:
    """A table to train on, and one to validate on.

    Attributes:
        table: the texts and labels.
        validation: the table of the validation part; None takes that part from `table`.
        label_named: whether the column of the labels was named, not guessed.
    """

    table: Table
    validation: Table | None = None
    label_named: bool = False

    @property
    def name(self) -> str:
        """The name in messages."""
        return self.table.name

    def taking_unlabelled(self) -> Tables:
        """The same tables, in which a row without a label is a text with none of several labels."""
        validation = None if self.validation is None else self.validation.taking_unlabelled()
        return replace(self, table=self.table.taking_unlabelled(), validation=validation)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Sentences about the rows that were left out when the tables were read."""
        return tuple(
            f"{table.name}: left out {count:,} row{'s' if count > 1 else ''} {problem}"
            for table in (self.table, self.validation)
            if table is not None
            for problem, count in table.skipped.items()
        )


def open_source(
    source: Annotated[
        object,
        "A table with a column of texts and one of labels: .csv, .tsv, .jsonl, .json, .txt, .xlsx, .parquet, "
        "also as "
        ".gz or .zip, or - for standard input; a folder with one folder for each label and one file for each "
        "text, or "
        "with one .txt for each label and one text on each line; or imdb.",
    ],
    *,
    text: Annotated[
        str | None,
        COMMON_DATA,
        "The column of the texts, by name or number. By default it is guessed and printed.",
    ] = None,
    label: Annotated[
        str | tuple[str, ...] | None,
        COMMON_DATA,
        "The column of the labels, by name or number; several with --label for each, if they are 0 or 1. By "
        "default "
        "it is guessed and printed.",
    ] = None,
    columns: Annotated[
        str | None, COMMON_DATA, "Both columns at once, TEXT,LABEL, by name or number: --columns 2,1."
    ] = None,
    encoding: Annotated[str | None, COMMON_DATA, ENCODING_HELP] = None,
    skip_bad_rows: Annotated[bool, DATA, "Leave out rows without a text or a label."] = False,
    validation: Annotated[
        object, Flag("Data", common=True, training=True), "A separate table for validation."
    ] = None,
    vocabulary: Json | None = None,
) -> Tables:
    """Opens tables, which are not read yet.

    Args:
        source: see above; in Python also (text, label) pairs, dicts with a "text" and a "label", a
            DataFrame, a `Table`, `Tables`, or what describes them.
        text, label: the columns; None guesses. Several label columns, in a list, have 0 or 1 in each row.
        columns: both at once, "text,label" or a tuple.
        encoding: of the files; None recognises it.
        skip_bad_rows: leave out rows without a text or a label.
        validation: another such source, for validation.
        vocabulary: of a run: the columns of its table are taken where they have the same names, and bad rows
            are left out if they were there.

    Raises:
        SourceError: there is no such source, or its columns cannot be guessed.
    """
    if isinstance(source, Tables):
        return source
    if isinstance(source, Table):
        return Tables(source)
    if isinstance(source, dict) and "table" in source:
        return _described(source)
    if vocabulary is not None and text is None and not label and columns is None:
        skip = skip_bad_rows or vocabulary.get("skip_bad_rows", False) is True
        return Tables(open_table_like(source, columns_of(vocabulary), encoding=encoding, skip_bad_rows=skip))
    table = open_table(
        source, text=text, label=label, columns=columns, encoding=encoding, skip_bad_rows=skip_bad_rows
    )
    named = bool(label) or columns is not None
    tables, names = Tables(table, label_named=named), table.columns or (text, label)
    if validation is None:
        return tables
    other = open_table(
        validation, text=names[0], label=names[1], encoding=encoding, skip_bad_rows=skip_bad_rows
    )
    return replace(tables, validation=other)


def _described(description: Json) -> Tables:
    opened = []
    for name in ("table", "validation"):
        one = description[name]
        if not isinstance(one, dict) and (name, one) != ("validation", None):
            raise TypeError(f"its {name} must be an object, got {type(one).__name__}")
        opened.append(None if one is None else open_table(one))
    return Tables(*opened)


@dataclass(frozen=True, eq=False)
class ClassifierData:
    """Labelled texts as ids; see `ostinato.tasks.base.Data`.

    Attributes:
        config: how they are read.
        words: the vocabulary.
        tables: where they came from.
        examples: the ids and classes.
        notes: sentences for the user.
    """

    config: ClassifierConfig
    words: ClassifierVocabulary
    tables: Tables
    examples: Examples = field(repr=False)
    notes: tuple[str, ...]

    @property
    def vocabulary(self) -> Json:
        """All that predicting needs to know of the training texts."""
        return self.words.to_json()

    @property
    def source(self) -> Json:
        """Where the texts came from, and their hash."""
        validation = self.tables.validation
        description = {
            "table": self.tables.table.description,
            "validation": None if validation is None else validation.description,
        }
        return {"description": description, "sha256": self.examples.hash}

    def with_config(self, config: ClassifierConfig) -> ClassifierData:
        """See `ostinato.tasks.fitting.TakesConfig`."""
        return replace(self, config=config)

    @property
    def table_notes(self) -> tuple[str, ...]:
        """Sentences about rows that were left out, and about rows with labels that were not in training."""
        return notes_of_rows(self.tables, self.examples)

    def part(self, name: str) -> IndependentExamples | None:
        """The texts of a part.

        Where padding is skipped, texts are sorted by length, so that there is little of it: in an epoch
        within each hundred batches, after shuffling, and the batches are shuffled again. Where it is read,
        every row has the same length whatever the order.
        """
        order, config = self.examples.part(name), self.config
        if not len(order):
            return None
        lengths = ()
        if config.masked:
            lengths = (np.minimum(self.examples.lengths[order], self.words.max_tokens),)

        def numbers(epoch: int | None) -> Iterator[np.ndarray]:
            seed = None if epoch is None else (config.seed, epoch)
            return batch_numbers(order, lengths, batch=config.batch, seed=seed)

        weights = _class_weights(config, self.examples, self.words.labels)
        return IndependentExamples(
            order,
            config.batch,
            _signature(config, several=self.words.labels.several),
            numbers,
            lambda numbers, first, stop, training: self._batch(
                numbers, first, stop, weights if training else None
            ),
        )

    def _batch(self, numbers: np.ndarray, first: int, stop: int, weights: np.ndarray | None) -> Batch:
        """{"tokens", "lengths", "targets", "weights", "first_row"} of some texts; "grams" with n-grams.

        Grams are (rows, n-grams), 0 being padding. Tokens are (rows, time), time being that of the longest
        text in the global batch, or `max_tokens` where padding is read; targets are class numbers (rows,) or
        0.0 and 1.0 (rows, labels).

        Args:
            numbers: of the texts in the global batch.
            first, stop: which of them.
            weights: of each class, (classes,); None weighs all texts the same.
        """
        config, examples, mine = self.config, self.examples, numbers[first:stop]
        longest = int(min(examples.lengths[numbers].max(), self.words.max_tokens))
        rows = [examples.tokens(int(number)) for number in mine]
        tokens, lengths = padded_texts(config, self.words.max_tokens, rows, longest)
        targets = examples.targets[mine]
        grams = {}
        if examples.grams is not None:
            some = [examples.grams_of(int(number)) for number in mine]
            grams = {"grams": padded_grams(some, int(examples.grams.lengths[numbers].max()))}
        return grams | {
            "tokens": tokens,
            "lengths": lengths,
            "targets": targets.astype(np.float32 if self.words.labels.several else np.int32),
            "weights": np.ones(len(mine), np.float32) if weights is None else weights[targets],
            "first_row": first,
        }


def read(
    config: ClassifierConfig,
    source: Tables,
    vocabulary: Json | None,
    whole: bool,
    on_progress: OnProgress | None,
) -> ClassifierData:
    """Reads tables; see `ostinato.tasks.base.Task.read`.

    Raises:
        SourceError: they cannot be read, have rows without text or label, or only one label.
    """
    known = None if vocabulary is None else ClassifierVocabulary.from_json(config, vocabulary)
    several = config.label_separator is not None or source.table.several
    if known is not None:
        several = known.labels.several
    if several and config.class_weights != "none":
        raise ConfigError("class_weights need one label for each text, but these texts may have several")
    unlabelled = several if known is None else known.unlabelled
    if unlabelled:
        source = source.taking_unlabelled()
    cut = not whole and source.validation is None
    examples = prepare_examples(
        source.table,
        _encoder(config) if known is None else known.encoder,
        validation_fraction=config.validation_fraction if cut else 0.0,
        test_fraction=0.0 if whole else config.test_fraction,
        seed=config.seed,
        validation=source.validation,
        labels=None if known is None else known.labels.names,
        label_separator=None if source.table.several and whole else config.label_separator,
        several=several,
        take_unseen=whole,
        questions_numbers=not source.label_named,
        normalize=config.normalize,
        min_count=config.min_count,
        vocabulary_size=config.vocabulary_size,
        ngrams=config.ngrams if known is None or known.ngrams is None else known.ngrams,
        on_progress=on_progress,
    )
    words = _vocabulary(config, source, examples, known, whole, unlabelled=unlabelled)
    notes = notes_of_rows(source, examples) if whole else reading_notes(config, source, examples, words)
    return ClassifierData(config, words, source, examples, notes)


def _encoder(config: ClassifierConfig) -> str:
    """The encoder of a new vocabulary; vectors are of words."""
    return "word" if config.vectors is not None and config.encoder == "auto" else config.encoder


def _vocabulary(
    config: ClassifierConfig,
    tables: Tables,
    examples: Examples,
    known: ClassifierVocabulary | None,
    whole: bool,
    *,
    unlabelled: bool,
) -> ClassifierVocabulary:
    """What is known of texts before, or learned of these; the shares of the labels are always of these."""
    train = examples.part("train")
    if known is None:
        several = config.label_separator is not None or tables.table.several
        labels = Labels(examples.labels, config.label_separator or (SEPARATOR if several else None))
    else:
        labels = known.labels
    columns = tables.table.columns if known is None else known.columns
    if isinstance(config.max_tokens, int):
        max_tokens = config.max_tokens
    elif known is not None:
        max_tokens = known.max_tokens
    else:
        lengths = examples.lengths[train]
        max_tokens = max(1, int(lengths.mean() + 2 * lengths.std()))
    if whole and known is not None:
        prior, skip = known.prior, known.skip_bad_rows
    else:
        targets = examples.targets[train]
        prior = targets.mean(axis=0) if labels.several else _counts(targets, labels) / len(targets)
        skip = tables.table.skips_bad_rows
    encoder = examples.encoder if known is None else known.encoder
    return ClassifierVocabulary(
        encoder, labels, max_tokens, prior, columns, skip, unlabelled, examples.ngrams
    )


def _counts(targets: np.ndarray, labels: Labels) -> np.ndarray:
    known = targets[targets != UNSEEN]
    return np.bincount(known, minlength=len(labels.names)).astype(np.float64)


def _class_weights(config: ClassifierConfig, examples: Examples, labels: Labels) -> np.ndarray | None:
    """Of each label, float32; their mean over the training texts is 1. None where all weigh the same."""
    if config.class_weights == "none":
        return None
    counts = _counts(examples.targets[examples.part("train")], labels)
    return (counts.sum() / len(counts) / np.maximum(counts, 1)).astype(np.float32)


def _signature(config: ClassifierConfig, *, several: bool) -> dict[str, tf.TensorSpec]:
    import tensorflow as tf

    targets = ((None, None), tf.float32) if several else ((None,), tf.int32)
    grams = {"grams": tf.TensorSpec((None, None), tf.int32)} if config.ngrams else {}
    return grams | {
        "tokens": tf.TensorSpec((None, None), tf.int32),
        "lengths": tf.TensorSpec((None,), tf.int32),
        "targets": tf.TensorSpec(*targets),
        "weights": tf.TensorSpec((None,), tf.float32),
        "first_row": tf.TensorSpec((), tf.int32),
    }

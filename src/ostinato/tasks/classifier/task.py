"""The classifier's data, loss, metrics and use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from ostinato.data.batches.buckets import batch_numbers
from ostinato.data.encoders.base import damaged
from ostinato.data.encoders.registry import Encoder, encoder_from_json
from ostinato.data.examples.labelled import Examples, encode_text, prepare_examples
from ostinato.data.sources.tables import Table, open_table, open_table_like
from ostinato.errors import ConfigError
from ostinato.files.lines import SURROGATE
from ostinato.layers.dropout import DropoutKey
from ostinato.tasks.base import Batch, Loss, Metric, Metrics, OnProgress, State
from ostinato.tasks.classifier.config import ClassifierConfig
from ostinato.tasks.classifier.explanation import STEPS, Explanation, explanations
from ostinato.tasks.classifier.judgement import (
    MISTAKES,
    Decisions,
    Judgement,
    Mistake,
    figures_of,
    sureness,
)
from ostinato.tasks.classifier.metrics import confusion_matrix
from ostinato.tasks.classifier.neighbors import neighbors
from ostinato.tasks.classifier.network import PADDING, RecurrentClassifier
from ostinato.tasks.classifier.predictions import Labels, Prediction, Scorer
from ostinato.tasks.standalone import StandaloneExamples

_PREDICTED_TOGETHER = 4096
_PREDICTION_BATCH = 256
_MOST_TOKENS, _MOST_PADDED = 2**31 - 1, 1_000_000  # of a text; where it is padded, all of them are made


@dataclass(frozen=True)
class Tables:
    """A table to train on, and one to validate on.

    Attributes:
        table: the texts and labels.
        validation: its rows are the validation part; None cuts one off `table`.
    """

    table: Table
    validation: Table | None = None


class Classifier(StandaloneExamples):
    """The task: see `ostinato.tasks.base.Task` for what each method promises."""

    name: ClassVar[str] = "classifier"
    prefix: ClassVar[str] = "classify"
    unit: ClassVar[str] = "texts"
    judged_first: ClassVar[tuple[str, ...]] = ("test", "validation")

    def __init__(self, config: ClassifierConfig):
        self.config = config
        self.encoder: Encoder | None = None
        self.labels: tuple[str, ...] = ()
        self.max_tokens = 0
        self.prior = np.zeros(0)
        self.notes: tuple[str, ...] = ()
        self._columns: tuple[str, str] | None = None
        self._skip_bad_rows = False
        self._tables: Tables | None = None
        self._examples: Examples | None = None
        self._weights: np.ndarray | None = None
        self._splits = True
        self._scorer: Scorer | None = None

    @property
    def _labels(self) -> Labels:
        """The labels, and how scores decide for them."""
        return Labels(self.labels, self.config.label_separator)

    @property
    def several(self) -> bool:
        """Whether a text may have several labels."""
        return self.config.label_separator is not None

    def for_evaluation(self, *, whole: bool) -> Classifier:
        """The same task for judging.

        Args:
            whole: take the source as one part, `train`, instead of splitting it as in training.
        """
        task = Classifier(self.config)
        task.encoder, task.labels, task.max_tokens = self.encoder, self.labels, self.max_tokens
        task.prior, task._columns, task._splits = self.prior, self._columns, not whole
        task._skip_bad_rows = self._skip_bad_rows
        return task

    # Data.

    def prepare(self, source: Any, on_progress: OnProgress | None = None) -> None:
        """Reads a table.

        Args:
            source: `Tables`, a table from `ostinato.data.sources.tables`, or what its `open_table` takes.
            on_progress: called with (bytes read, bytes in all or None).

        Raises:
            SourceError: when it cannot be read, has rows without text or label, or only one label.
        """
        config = self.config
        self._tables = source if isinstance(source, Tables) else Tables(self._open(source))
        cut = self._splits and self._tables.validation is None
        self._examples = examples = prepare_examples(
            self._tables.table,
            self.encoder if self.encoder is not None else config.encoder,
            validation_fraction=config.validation_fraction if cut else 0.0,
            test_fraction=config.test_fraction if self._splits else 0.0,
            seed=config.seed,
            validation=self._tables.validation,
            labels=self.labels or None,
            label_separator=config.label_separator,
            normalize=config.normalize,
            min_count=config.min_count,
            vocabulary_size=config.vocabulary_size,
            on_progress=on_progress,
        )
        train = examples.part("train")
        lengths = examples.lengths[train]
        if self.encoder is None:
            self.encoder, self.labels = examples.encoder, tuple(examples.labels)
            self._columns = self._tables.table.columns
            self.max_tokens = max(1, int(lengths.mean() + 2 * lengths.std()))
        if isinstance(config.max_tokens, int):
            self.max_tokens = config.max_tokens
        if self._splits:
            targets = examples.targets[train]
            self.prior = targets.mean(axis=0) if self.several else self._counts(targets) / len(targets)
            self.notes = self._notes(lengths)
            self._weights = self._class_weights()
            self._skip_bad_rows = self._tables.table.skips_bad_rows
        else:
            self.notes = self._left_out()

    def _open(self, source: Any) -> Table:
        """A table, opened as the one trained on.

        Where its columns have the same names, these are taken; bad rows are left out if they were there.
        """
        if isinstance(source, Table):
            return source
        return open_table_like(source, self._columns, skip_bad_rows=self._skip_bad_rows)

    def _counts(self, targets: np.ndarray) -> np.ndarray:
        return np.bincount(targets, minlength=len(self.labels)).astype(np.float64)

    def _notes(self, lengths: np.ndarray) -> tuple[str, ...]:
        """What whoever trains should know: the labels, the columns that were taken, what is cut."""
        assert self._examples is not None
        assert self._tables is not None
        named = ", ".join(self.labels[:6]) + (", …" if len(self.labels) > 6 else "")
        sizes = [
            f"{len(self._examples.part(part)):,} for {part}"
            for part in ("train", "validation", "test")
            if self.has(part)
        ]
        notes = [f"{len(self.labels)} labels ({named}); texts: {', '.join(sizes)}"]
        for table in (self._tables.table, self._tables.validation):
            if table is not None:
                notes += table.notes
        notes += self._left_out()
        cut = int((lengths > self.max_tokens).sum())
        longest = f"; {cut:,} longer texts are cut, the longest has {lengths.max():,}" if cut else ""
        notes.append(f"reading up to {self.max_tokens:,} tokens of a text{longest}")
        return tuple(notes)

    def _left_out(self) -> tuple[str, ...]:
        """What was skipped of the tables."""
        assert self._tables is not None
        return tuple(
            f"{table.name}: left out {count:,} row{'s' if count > 1 else ''} {problem}"
            for table in (self._tables.table, self._tables.validation)
            if table is not None
            for problem, count in table.skipped.items()
        )

    @property
    def source(self) -> dict[str, Any]:
        assert self._tables is not None
        assert self._examples is not None
        validation = self._tables.validation
        description = {
            "table": self._tables.table.description,
            "validation": None if validation is None else validation.description,
        }
        return {"description": description, "sha256": self._examples.hash}

    def reopen(self, description: dict[str, Any]) -> tuple[Tables, str]:
        """The tables that `source` described, and their name.

        Raises:
            SourceError: when they are not there any more.
            KeyError, TypeError: when it is no description.
        """
        opened = []
        for name in ("table", "validation"):
            one = description[name]
            if not isinstance(one, dict) and (name, one) != ("validation", None):
                raise TypeError(f"its {name} is none")
            opened.append(None if one is None else open_table(one))
        tables = Tables(*opened)
        return tables, tables.table.name

    def vocabulary(self) -> dict[str, Any]:
        """All that predicting needs to know of the training texts, JSON-able."""
        assert self.encoder is not None
        return {
            "encoder": self.encoder.to_json(),
            "labels": list(self.labels),
            "max_tokens": self.max_tokens,
            "prior": self.prior.tolist(),
            "columns": None if self._columns is None else list(self._columns),
            "skip_bad_rows": self._skip_bad_rows,
        }

    def restore(self, vocabulary: dict[str, Any]) -> None:
        try:
            encoder, labels = vocabulary["encoder"], vocabulary["labels"]
            max_tokens, prior, columns = (vocabulary[key] for key in ("max_tokens", "prior", "columns"))
        except (KeyError, TypeError) as error:
            raise damaged(f"it has no {error}") from None
        named = isinstance(labels, list) and all(
            isinstance(label, str) and label and not SURROGATE.search(label) for label in labels
        )
        if not named or len(set(labels)) != len(labels) or len(labels) < 1 + (not self.several):
            raise damaged("its labels are no list of different strings")
        if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
            raise damaged("its 'max_tokens' is no positive number")
        if max_tokens > (_MOST_TOKENS if self.config.masked else _MOST_PADDED):
            raise damaged(f"its 'max_tokens' is {max_tokens:,}, more than any text has")
        numbers = isinstance(prior, list) and all(type(p) in (int, float) and 0 <= p <= 1 for p in prior)
        if not numbers or len(prior) != len(labels):
            raise damaged("its 'prior' is no list of one probability a label")
        strings = isinstance(columns, list) and [type(name) for name in columns] == [str, str]
        if columns is not None and not strings:
            raise damaged("its 'columns' are not two names")
        skip = vocabulary.get("skip_bad_rows", False)  # older runs do not say
        if not isinstance(skip, bool):
            raise damaged("its 'skip_bad_rows' is neither true nor false")
        self.encoder, self.labels = encoder_from_json(encoder), tuple(labels)
        self.max_tokens, self.prior = max_tokens, np.array(prior, np.float64)
        self._columns = None if columns is None else (columns[0], columns[1])
        self._skip_bad_rows = skip

    def signature(self) -> dict[str, tf.TensorSpec]:
        targets = ((None, None), tf.float32) if self.several else ((None,), tf.int32)
        return {
            "tokens": tf.TensorSpec((None, None), tf.int32),
            "lengths": tf.TensorSpec((None,), tf.int32),
            "targets": tf.TensorSpec(*targets),
            "weights": tf.TensorSpec((None,), tf.float32),
            "first_row": tf.TensorSpec((), tf.int32),
        }

    def _batch_numbers(self, split: str, epoch: int | None) -> Iterator[np.ndarray]:
        """The numbers of the examples in each batch: a pure function of (seed, epoch).

        Where padding is skipped, texts are sorted by length, so that there is little of it: in an epoch
        within each hundred batches, after shuffling, and the batches are shuffled again. Where it is read,
        every row has the same length whatever the order.
        """
        assert self._examples is not None
        order, lengths = self._examples.part(split), ()
        if self.config.masked:
            lengths = (np.minimum(self._examples.lengths[order], self.max_tokens),)
        seed = None if epoch is None else (self.config.seed, epoch)
        return batch_numbers(order, lengths, batch=self.config.batch, seed=seed)

    def _batch(self, numbers: np.ndarray, first: int, stop: int, *, training: bool) -> Batch:
        """{"tokens", "lengths", "targets", "weights", "first_row"} of these texts.

        Tokens are (rows, time), time being that of the longest text in the global batch, or `max_tokens`
        where padding is read; targets are class numbers (rows,) or 0.0 and 1.0 (rows, labels). Class weights
        apply in training only.
        """
        assert self._examples is not None
        examples, mine = self._examples, numbers[first:stop]
        longest = int(min(examples.lengths[numbers].max(), self.max_tokens))
        tokens, lengths = self._pad([examples.tokens(int(number)) for number in mine], longest)
        targets = examples.targets[mine]
        weights = self._weights if training else None
        return {
            "tokens": tokens,
            "lengths": lengths,
            "targets": targets.astype(np.float32 if self.several else np.int32),
            "weights": np.ones(len(mine), np.float32) if weights is None else weights[targets],
            "first_row": first,
        }

    def _pad(
        self, rows: list[np.ndarray], longest: int, *, whole: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Texts cut and padded to one length: ids, shape (rows, time), and their lengths, (rows,).

        Skipped padding is always at the end, where it costs the engine nothing: a recurrence that skips it
        ends in the same state wherever it stands.

        Args:
            rows: the ids of each text.
            longest: how many tokens of the longest are read.
            whole: pad to `max_tokens` where padding is read.
        """
        config = self.config
        time = self.max_tokens if whole and not config.masked else max(1, longest)
        tokens = np.full((len(rows), time), PADDING, np.int32)
        lengths = np.zeros(len(rows), np.int32)
        for row, ids in enumerate(rows):
            if len(ids) > self.max_tokens:
                ids = ids[-self.max_tokens :] if config.truncation == "pre" else ids[: self.max_tokens]
            lengths[row] = len(ids)
            place = time - len(ids) if config.padding == "pre" and not config.masked else 0
            tokens[row, place : place + len(ids)] = ids
            tokens[row, place : place + len(ids)] += 1 + PADDING
        return tokens, lengths

    def _class_weights(self) -> np.ndarray | None:
        """Of each label, float32; their mean over the training texts is 1."""
        assert self._examples is not None
        if self.config.class_weights == "none":
            return None
        counts = self._counts(self._examples.targets[self._examples.part("train")])
        return (counts.sum() / len(counts) / np.maximum(counts, 1)).astype(np.float32)

    # Network and loss.

    def build(self) -> RecurrentClassifier:
        assert self.encoder is not None
        model = RecurrentClassifier(self.config, self.encoder.size, self._labels.scores)
        model.make_weights()
        return model

    def loss(
        self, model: RecurrentClassifier, batch: Batch, state: State, *, step: tf.Tensor | None = None
    ) -> Loss:
        key = None
        if step is not None:
            key = DropoutKey(tf.constant(self.config.seed), step, batch["first_row"])
        logits = model(batch["tokens"], batch["lengths"] if self.config.masked else None, key)
        targets, weights = batch["targets"], batch["weights"]
        if self.several:
            each = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
            nats = tf.reduce_mean(each, axis=1)
            right = tf.reduce_all((logits > 0) == (targets > 0.5), axis=1)
        elif model.outputs == 1:
            nats = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(targets, tf.float32), logits[:, 0])
            right = (logits[:, 0] > 0) == (targets > 0)
        else:
            nats = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
            right = tf.argmax(logits, axis=1, output_type=tf.int32) == targets
        sums = {
            "right": tf.reduce_sum(tf.cast(right, tf.float32)),
            "texts": tf.cast(tf.size(weights), tf.float32),
        }
        return Loss(tf.reduce_sum(weights * nats), tf.reduce_sum(weights), sums, state)

    def metrics(self, sums: Loss) -> Metrics:
        """Mean loss in nats per text, and the fraction of texts that all labels are right for."""
        accuracy = sums.sums["right"] / sums.sums["texts"]
        return (
            Metric("loss", sums.total / sums.weight, "nats per text"),
            Metric("accuracy", accuracy, better="higher"),
        )

    # Use.

    def judge(
        self,
        model: RecurrentClassifier,
        split: str,
        on_batch: Callable[[int, int], None] | None = None,
    ) -> Judgement:
        """Judges a trained model on every text of a part.

        Args:
            model: a trained model.
            split: `train`, `validation` or `test`, one that `has` texts.
            on_batch: called with (batches done, batches in all).
        """
        assert self._examples is not None
        examples, steps = self._examples, self.steps(split)
        pieces, loss, order = [], 0.0, list(self._batch_numbers(split, None))
        for number, batch in enumerate(self.batches(split)):
            logits = self._scores(model, batch["tokens"], batch["lengths"])
            loss += self._labels.nats(logits, batch["targets"])
            pieces.append(self._labels.probabilities(logits))
            if on_batch is not None:
                on_batch(number + 1, steps)
        numbers, probabilities = np.concatenate(order), np.concatenate(pieces)
        targets = examples.targets[numbers]
        truth = targets > 0 if self.several else np.eye(len(self.labels), dtype=bool)[targets]
        decisions = Decisions(numbers, truth, self._labels.chosen(probabilities), probabilities)
        figures = {"loss": loss / len(numbers), **figures_of(decisions, several=self.several)}
        confusion = None
        if not self.several:
            confusion = confusion_matrix(targets, decisions.chosen.argmax(axis=1), len(self.labels))
        return Judgement(
            split,
            figures | {"examples": len(numbers)},
            self.labels,
            decisions,
            confusion,
            self._mistakes(decisions, split),
            self._left_out(),
        )

    judge_quickly = judge

    def draw(self, judgement: Judgement, folder: Path) -> list[Path]:
        """Draws a judgement into PNG files of a folder, and says which."""
        from ostinato.tasks.classifier import pictures

        return pictures.draw(judgement, folder)

    def _mistakes(self, decisions: Decisions, split: str) -> list[Mistake]:
        assert self._examples is not None
        assert self._tables is not None
        table = (split == "validation" and self._tables.validation) or self._tables.table
        sure = sureness(decisions, several=self.several)
        wrong = np.flatnonzero(~decisions.right)
        worst = wrong[np.argsort(-sure[wrong], kind="stable")][:MISTAKES]
        return [
            Mistake(
                table.at(int(self._examples.numbers[decisions.examples[place]])),
                self._examples.text(int(decisions.examples[place])),
                self._labels.joined(decisions.truth[place]),
                self._labels.joined(decisions.chosen[place]),
                float(sure[place]),
            )
            for place in worst
        ]

    def predict(self, model: RecurrentClassifier, texts: Iterable[str]) -> list[Prediction]:
        """What the model says about each text; see `predictions`."""
        return list(self.predictions(model, texts))

    def predictions(self, model: RecurrentClassifier, texts: Iterable[str]) -> Iterator[Prediction]:
        """What the model says about each text, in their order, a few thousand at a time.

        Args:
            model: a trained model.
            texts: any texts; a single string is a mistake.

        Raises:
            ConfigError: when `texts` is a string, or something in it is none.
        """
        if isinstance(texts, str):
            raise ConfigError("texts is a string; give a list of texts, [text] for one")
        texts = iter(texts)
        while some := list(islice(texts, _PREDICTED_TOGETHER)):
            yield from self._predict_some(model, some)

    def _predict_some(self, model: RecurrentClassifier, texts: list[str]) -> Iterator[Prediction]:
        encoder, labels = self.encoder, self._labels
        assert encoder is not None
        if strange := [text for text in texts if not isinstance(text, str)]:
            raise ConfigError(f"one of the texts is a {type(strange[0]).__name__}, not a string")
        rows = [encode_text(encoder, text) for text in texts]
        sizes = np.array([len(ids) for ids in rows])
        probabilities = np.repeat(self.prior[np.newaxis], len(rows), axis=0)
        full = np.flatnonzero(sizes)
        order = full[np.argsort(sizes[full], kind="stable")]
        for at in range(0, len(order), _PREDICTION_BATCH):
            mine = order[at : at + _PREDICTION_BATCH]
            longest = min(int(sizes[mine].max()), self.max_tokens)
            before = self.max_tokens - longest if self._shares_padding else 0
            tokens, lengths = self._pad([rows[n] for n in mine], longest, whole=not before)
            probabilities[mine] = labels.probabilities(self._scores(model, tokens, lengths, before))
        chosen = labels.chosen(probabilities)
        decisions = Decisions(np.arange(len(rows)), chosen, chosen, probabilities)
        sure = sureness(decisions, several=self.several)
        for number, size in enumerate(sizes.tolist()):
            each = dict(zip(self.labels, probabilities[number].tolist(), strict=True))
            yield Prediction(
                labels.joined(chosen[number]),
                float(sure[number]),
                each,
                size,
                size > self.max_tokens,
                size == 0,
            )

    @property
    def _shares_padding(self) -> bool:
        """Whether all texts of a batch begin with padding that leaves nothing but a state behind."""
        config = self.config
        reads_first = not config.masked and config.padding == "pre" and not config.bidirectional
        return reads_first and config.pooling == "last" and config.engine != "scratch"

    def _scores(
        self, model: RecurrentClassifier, tokens: np.ndarray, lengths: np.ndarray, before: int = 0
    ) -> np.ndarray:
        """See `Scorer.scores`; that of this model is kept."""
        if self._scorer is None or self._scorer.model is not model:
            self._scorer = Scorer(model, self.config)
        return self._scorer.scores(tokens, lengths, before)

    def explain(
        self, model: RecurrentClassifier, texts: Iterable[str], steps: int = STEPS
    ) -> Iterator[Explanation]:
        """How each word of each text moved what `predictions` says about it; see `explanation`.

        Args:
            model: a trained model.
            texts: any texts; a single string is a mistake.
            steps: how many intervals the integral is cut into; more are more exact.

        Raises:
            ConfigError: when `texts` is a string, something in it is none, or there are no steps.
        """
        return explanations(self, model, texts, steps)

    def neighbors(
        self, model: RecurrentClassifier, word: str, count: int = 10
    ) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
        """The tokens whose embeddings are nearest to a word's, and those farthest; see `neighbors`."""
        assert self.encoder is not None
        vectors = model.embedding.get_weights()[0][1 + PADDING :]
        return neighbors(self.encoder, vectors, word, count)

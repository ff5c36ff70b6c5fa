"""Using a classifier: predictions, evaluations, attributions, and the neighbors of words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import tensorflow as tf

from ostinato.data.examples.labels import UNSEEN
from ostinato.data.store.encoded_texts import encode_text, read_text
from ostinato.errors import ConfigError
from ostinato.tasks.base import Json, OnBatch
from ostinato.tasks.classifier import baseline as linear
from ostinato.tasks.classifier.attribution import STEPS, Attribution, Attributor
from ostinato.tasks.classifier.config import ClassifierConfig
from ostinato.tasks.classifier.data import ClassifierData
from ostinato.tasks.classifier.decision import decision_for
from ostinato.tasks.classifier.evaluation import (
    MISTAKES,
    Decisions,
    Evaluation,
    Mistake,
    figures_of,
    sureness,
)
from ostinato.tasks.classifier.metrics import confusion_matrix
from ostinato.tasks.classifier.neighbors import neighbors
from ostinato.tasks.classifier.network import RecurrentClassifier
from ostinato.tasks.classifier.padding import PADDING, padded_grams, padded_texts
from ostinato.tasks.classifier.predictions import Prediction, Scorer
from ostinato.tasks.classifier.shares import best_shares
from ostinato.tasks.classifier.thresholds import USUAL, best_thresholds
from ostinato.tasks.classifier.vocabulary import ClassifierVocabulary
from ostinato.tasks.exported import Exported, ExportedInput

_PREDICTED_TOGETHER = 4096
_PREDICTION_BATCH = 256


class Answers:
    """The answers of a trained classifier.

    Args:
        model: the network.
        config: its settings.
        words: its vocabulary of texts and labels.
    """

    def __init__(self, model: RecurrentClassifier, config: ClassifierConfig, words: ClassifierVocabulary):
        self._model, self._config, self._words = model, config, words
        self._scorer, self._decision = Scorer(model, config, words.shares), decision_for(words.labels)
        self._attributor = Attributor(model, config, words)

    def evaluate(
        self, data: ClassifierData, part: str, on_batch: OnBatch | None = None, *, baseline: bool = False
    ) -> Evaluation:
        """Evaluates on every text of a part.

        Args:
            data: the texts and labels.
            part: `train`, `validation` or `test`; the data must have it.
            on_batch: called with (batches done, total batches).
            baseline: add the figures of a linear model to those of the test part, or of the validation part,
                where scikit-learn is installed; see `baseline`.
        """
        decisions, loss = self._decisions(data, part, on_batch)
        labels, targets = self._words.labels, data.examples.targets[decisions.examples]
        figures = {"loss": loss, **figures_of(decisions, several=labels.several)}
        if baseline and not labels.several and part != "train":
            figures |= self._baseline(data, part)
        confusion = None
        if not labels.several:
            known = targets != UNSEEN
            predicted = decisions.chosen[known].argmax(axis=1)
            confusion = confusion_matrix(targets[known], predicted, len(labels.names))
        return Evaluation(
            part,
            figures | {"examples": len(targets)},
            labels.names,
            decisions,
            confusion,
            self._mistakes(data, decisions, part),
            data.table_notes,
            (labels.thresholds or (USUAL,) * len(labels.names)) if labels.several else (),
        )

    evaluate_quickly = evaluate

    def _baseline(self, data: ClassifierData, part: str) -> dict[str, float]:
        """The figures of a linear model; none without scikit-learn, or where training has one label."""
        if not linear.available() or len(np.unique(data.examples.targets[data.examples.part("train")])) < 2:
            return {}
        examples = data.examples

        def texts(name: str) -> tuple[list[str], np.ndarray]:
            numbers = examples.part(name)
            return [examples.text(int(number)) for number in numbers], examples.targets[numbers]

        validation = texts("validation") if part == "test" and len(examples.part("validation")) else None
        return linear.figures(texts("train"), validation, texts(part), len(examples.labels))

    def with_choices(self, data: ClassifierData, part: str) -> Json | None:
        """The vocabulary with what is chosen on a part; None if there is nothing to choose.

        Those are the shares of the recurrent layers and of the n-grams and, of several labels, the threshold
        of each. Runs with several labels that an older version began keep one half.
        """
        words = self._words
        if words.ngrams is not None:
            words = replace(words, shares=self._best_shares(data, part))
        if words.labels.several and words.unlabelled:
            decisions, _ = Answers(self._model, self._config, words)._decisions(data, part, None)
            found = best_thresholds(decisions.truth, decisions.probabilities)
            words = replace(words, labels=replace(words.labels, thresholds=found))
        return None if words is self._words else words.to_json()

    def _best_shares(self, data: ClassifierData, part: str) -> tuple[float, float]:
        chosen = data.part(part)
        assert chosen is not None
        pieces, targets = [], []
        for batch in chosen.batches():
            pieces.append(self._scorer.parts(batch["tokens"], batch["lengths"], grams=batch["grams"]))
            targets.append(batch["targets"])
        read, added = (np.concatenate(each) for each in zip(*pieces, strict=True))
        truth = np.concatenate(targets)
        known = slice(None) if self._words.labels.several else truth != UNSEEN
        return best_shares(lambda a, b: self._decision.nats(truth[known], a * read[known] + b * added[known]))

    def _decisions(
        self, data: ClassifierData, part: str, on_batch: OnBatch | None
    ) -> tuple[Decisions, float]:
        """The decisions for a part, and the mean loss of the texts whose labels are known, in nats."""
        chosen, examples, labels = data.part(part), data.examples, self._words.labels
        if chosen is None:
            raise ValueError(f"the data has no {part} part")
        pieces, loss, order = [], 0.0, list(chosen.batch_numbers(None))
        for number, batch in enumerate(chosen.batches()):
            logits = self._scorer.scores(batch["tokens"], batch["lengths"], grams=batch.get("grams"))
            known = slice(None) if labels.several else batch["targets"] != UNSEEN
            loss += self._decision.nats(batch["targets"][known], logits[known])
            pieces.append(self._decision.probabilities(logits))
            if on_batch is not None:
                on_batch(number + 1, chosen.steps)
        numbers, probabilities = np.concatenate(order), np.concatenate(pieces)
        targets, strange = examples.targets[numbers], examples.strange[numbers]
        if labels.several:
            truth, known = targets > 0, len(numbers)
        else:
            truth = targets[:, np.newaxis] == np.arange(len(labels.names))
            known = int((~strange).sum())
        decisions = Decisions(numbers, truth, labels.chosen(probabilities), probabilities, strange)
        return decisions, loss / known if known else float("nan")

    def draw(self, evaluation: Evaluation, folder: Path) -> list[Path]:
        """Draws an evaluation into PNG files in a folder; returns their paths."""
        from ostinato.tasks.classifier import pictures

        return pictures.draw(evaluation, folder)

    def _mistakes(self, data: ClassifierData, decisions: Decisions, part: str) -> list[Mistake]:
        tables, examples, labels = data.tables, data.examples, self._words.labels
        table = (part == "validation" and tables.validation) or tables.table
        sure = sureness(decisions, several=labels.several)
        wrong = np.flatnonzero(~decisions.right)
        worst = wrong[np.argsort(-sure[wrong], kind="stable")][:MISTAKES]
        return [
            Mistake(
                table.at(int(examples.numbers[decisions.examples[place]])),
                examples.text(int(decisions.examples[place])),
                examples.label(int(decisions.examples[place]))
                if decisions.strange[place]
                else labels.joined(decisions.truth[place]),
                labels.joined(decisions.chosen[place]),
                float(sure[place]),
            )
            for place in worst
        ]

    def predictions(self, texts: Iterable[str]) -> Iterator[Prediction]:
        """A prediction for each text, in order, a few thousand at a time.

        Args:
            texts: any texts; a single string is an error.

        Raises:
            ConfigError: when `texts` is a string, or something in it is not.
        """
        if isinstance(texts, str):
            raise ConfigError("texts must be a list of texts, got a string; give [text] for one")
        texts = iter(texts)
        while some := list(islice(texts, _PREDICTED_TOGETHER)):
            yield from self._predict_some(some)

    def _predict_some(self, texts: list[str]) -> Iterator[Prediction]:
        words, labels = self._words, self._words.labels
        if strange := [text for text in texts if not isinstance(text, str)]:
            raise ConfigError(f"one of the texts is a {type(strange[0]).__name__}, not a string")
        rows = [encode_text(words.encoder, text) for text in texts]
        sizes = np.array([len(ids) for ids in rows])
        probabilities = np.repeat(words.prior[np.newaxis], len(rows), axis=0)
        full = np.flatnonzero(sizes)
        order = full[np.argsort(sizes[full], kind="stable")]
        for at in range(0, len(order), _PREDICTION_BATCH):
            mine = order[at : at + _PREDICTION_BATCH]
            longest = min(int(sizes[mine].max()), words.max_tokens)
            before = words.max_tokens - longest if self._shares_padding else 0
            tokens, lengths = padded_texts(
                self._config, words.max_tokens, [rows[n] for n in mine], longest, whole=not before
            )
            logits = self._scorer.scores(tokens, lengths, before, self._grams([texts[n] for n in mine]))
            probabilities[mine] = self._decision.probabilities(logits)
        chosen = labels.chosen(probabilities)
        decisions = Decisions(np.arange(len(rows)), chosen, chosen, probabilities, np.zeros(len(rows), bool))
        sure = sureness(decisions, several=labels.several)
        for number, size in enumerate(sizes.tolist()):
            each = dict(zip(labels.names, probabilities[number].tolist(), strict=True))
            yield Prediction(
                labels.joined(chosen[number]),
                float(sure[number]),
                each,
                size,
                size > words.max_tokens,
                size == 0,
                labels.named(chosen[number]),
            )

    def exported(self) -> tuple[Exported, ...]:
        """The network for other programs, from ids to probabilities; see `ostinato.tasks.exported`."""
        model, config, words = self._model, self._config, self._words
        inputs = [ExportedInput("tokens", (None, None), "int32", (0, 1 + words.encoder.size))]
        if config.masked:
            inputs.append(ExportedInput("lengths", (None,), "int32", (1, 9)))
        if words.ngrams is not None:
            inputs.append(ExportedInput("grams", (None, None), "int32", (0, 1 + len(words.ngrams)), "ngrams"))

        def run(
            given: Sequence[tf.Tensor], state: Sequence[tf.Tensor]
        ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
            scores = model.read(given[0], given[1] if config.masked else None)
            if words.ngrams is not None:
                scores = words.shares[0] * scores + words.shares[1] * model.of_ngrams(given[-1])
            if words.labels.several:
                return [tf.sigmoid(scores)], []
            if model.outputs == 1:
                return [tf.concat([tf.sigmoid(-scores), tf.sigmoid(scores)], 1)], []
            return [tf.nn.softmax(scores)], []

        settings = {name: getattr(config, name) for name in ("padding", "truncation", "masked")}
        vocabulary = words.to_json() | settings
        metadata = {
            "vocabulary": json.dumps(vocabulary, ensure_ascii=False),
            "labels": json.dumps(list(words.labels.names), ensure_ascii=False),
        }
        return (Exported("", tuple(inputs), (), ("probabilities",), run, metadata),)

    def _grams(self, texts: list[str]) -> np.ndarray | None:
        """The ids of the texts' n-grams, shape (texts, n-grams); None for a network without them."""
        if self._words.ngrams is None:
            return None
        encoder, ngrams = self._words.encoder, self._words.ngrams
        rows = [ngrams.encode(read_text(encoder, text)) for text in texts]
        return padded_grams(rows, max(map(len, rows)))

    @property
    def _shares_padding(self) -> bool:
        """Whether all texts of a batch begin with padding that affects only the state."""
        config = self._config
        reads_first = not config.masked and config.padding == "pre" and not config.bidirectional
        return reads_first and config.pooling == "last" and config.engine != "scratch"

    def attributions(self, texts: Iterable[str], steps: int = STEPS) -> Iterator[Attribution]:
        """The contribution of each word of each text to its prediction; see `attribution`.

        Args:
            texts: any texts; a single string is an error.
            steps: the number of intervals of the integral; more are more exact.

        Raises:
            ConfigError: when `texts` is a string, something in it is not, or there are no steps.
        """
        if steps < 1:
            raise ConfigError(f"steps must be at least 1, got {steps}")
        texts = texts if isinstance(texts, str) else list(texts)
        for text, prediction in zip(texts, self.predictions(texts), strict=True):
            yield self._attributor.attribution(text, prediction, steps)

    def neighbors(
        self, word: str, count: int = 10
    ) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
        """The tokens whose embeddings are nearest to a word's, and those farthest; see `neighbors`."""
        vectors = self._model.embedding.get_weights()[0][1 + PADDING :]
        return neighbors(self._words.encoder, vectors, word, count)

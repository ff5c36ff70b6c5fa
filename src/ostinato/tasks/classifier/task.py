"""The classifier as a task: its network, loss and metrics."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from ostinato.cells.base import State
from ostinato.layers.dropout import DropoutKey
from ostinato.tasks.base import Batch, Json, Loss, Metric, Metrics, OnProgress, Task
from ostinato.tasks.classifier import data
from ostinato.tasks.classifier.answers import Answers
from ostinato.tasks.classifier.config import ClassifierConfig
from ostinato.tasks.classifier.decision import Decision, decision_of
from ostinato.tasks.classifier.network import RecurrentClassifier
from ostinato.tasks.classifier.shares import PAIRS, best_shares
from ostinato.tasks.classifier.vocabulary import ClassifierVocabulary

_NATS, _RIGHT = "nats_", "right_"


@dataclass(frozen=True)
class Classifier(Task):
    """The task: see `ostinato.tasks.base.Task` for what each method promises."""

    config: ClassifierConfig

    unit = "texts"

    def read(
        self,
        source: data.Tables,
        *,
        vocabulary: Json | None = None,
        whole: bool = False,
        on_progress: OnProgress | None = None,
    ) -> data.ClassifierData:
        return data.read(self.config, source, vocabulary, whole, on_progress)

    def build(self, vocabulary: Json) -> RecurrentClassifier:
        words = ClassifierVocabulary.from_json(self.config, vocabulary)
        ngrams = 0 if words.ngrams is None else len(words.ngrams)
        model = RecurrentClassifier(self.config, words.encoder.size, words.labels.scores, ngrams)
        model.make_weights()
        return model

    def loss(
        self, model: RecurrentClassifier, batch: Batch, state: State, *, step: tf.Tensor | None = None
    ) -> Loss:
        key = None
        if step is not None:
            key = DropoutKey(tf.constant(self.config.seed), step, batch["first_row"])
        lengths = batch["lengths"] if self.config.masked else None
        targets, weights = batch["targets"], batch["weights"]
        decision = decision_of(len(targets.shape) == 2, model.outputs)
        parts = [model.read(batch["tokens"], lengths, key)]
        if self.config.ngrams:
            parts.append(model.add_up(batch["grams"], key))
        logits = tf.add_n(parts)
        nats, right = decision.loss(targets, logits), decision.right(targets, logits)
        sums = {
            "right": tf.reduce_sum(tf.cast(right, tf.float32)),
            "texts": tf.cast(tf.size(weights), tf.float32),
        }
        if len(parts) > 1 and key is None:
            sums |= _weighed(decision, targets, weights, parts)
        elif len(parts) > 1:
            nats += _learned_alone([decision.loss(targets, part) for part in parts])
        return Loss(tf.reduce_sum(weights * nats), tf.reduce_sum(weights), sums, state)

    def metrics(self, sums: Loss) -> Metrics:
        """Mean loss in nats per text, and the fraction of texts that all labels are right for.

        In an evaluation of a network with n-grams they are those with the best shares of its two parts.
        """
        total, right = float(sums.total), float(sums.sums["right"])
        if any(name.startswith(_NATS) for name in sums.sums):
            pair = best_shares(lambda *pair: float(sums.sums[f"{_NATS}{PAIRS.index(pair)}"]))
            place = PAIRS.index(pair)
            total, right = (float(sums.sums[f"{name}{place}"]) for name in (_NATS, _RIGHT))
        return (
            Metric("loss", total / float(sums.weight), "nats per text"),
            Metric("accuracy", right / float(sums.sums["texts"]), better="higher"),
        )

    def use(self, model: RecurrentClassifier, vocabulary: Json) -> Answers:
        return Answers(model, self.config, ClassifierVocabulary.from_json(self.config, vocabulary))


def _weighed(
    decision: Decision, targets: tf.Tensor, weights: tf.Tensor, parts: list[tf.Tensor]
) -> dict[str, tf.Tensor]:
    """The loss and the number of right answers with each pair of shares, by name."""
    sums = {}
    for place, pair in enumerate(PAIRS):
        logits = tf.add_n([share * part for share, part in zip(pair, parts, strict=True)])
        sums[f"{_NATS}{place}"] = tf.reduce_sum(weights * decision.loss(targets, logits))
        sums[f"{_RIGHT}{place}"] = tf.reduce_sum(tf.cast(decision.right(targets, logits), tf.float32))
    return sums


def _learned_alone(losses: list[tf.Tensor]) -> tf.Tensor:
    """Zeros with the gradients of some losses: each part of the network learns to be right by itself, too.

    Without it, the part that fits the training texts sooner leaves nothing for the other to learn.
    """
    together = tf.add_n(losses)
    return together - tf.stop_gradient(together)

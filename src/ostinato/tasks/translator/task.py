"""The translator as a task: its network, loss and metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass

import tensorflow as tf

from ostinato.cells.base import State
from ostinato.data.sources.pairs import Pairs
from ostinato.heads import categorical
from ostinato.layers.dropout import DropoutKey, uniform
from ostinato.tasks.base import Batch, Json, Loss, Metric, Metrics, OnProgress, Task
from ostinato.tasks.translator import data
from ostinato.tasks.translator.answers import Answers
from ostinato.tasks.translator.config import TranslatorConfig
from ostinato.tasks.translator.data import TranslatorVocabulary
from ostinato.tasks.translator.network import RecurrentTranslator


@dataclass(frozen=True)
class Translator(Task):
    """The task; see `ostinato.tasks.base.Task` for the methods."""

    config: TranslatorConfig

    unit = "tokens"

    def read(
        self,
        source: Pairs,
        *,
        vocabulary: Json | None = None,
        whole: bool = False,
        on_progress: OnProgress | None = None,
    ) -> data.TranslatorData:
        return data.read(self.config, source, vocabulary, whole, on_progress)

    def build(self, vocabulary: Json) -> RecurrentTranslator:
        words = TranslatorVocabulary.from_json(vocabulary)
        model = RecurrentTranslator(self.config, words.source.size, words.target.size)
        model.make_weights()
        return model

    def loss(
        self, model: RecurrentTranslator, batch: Batch, state: State, *, step: tf.Tensor | None = None
    ) -> Loss:
        """The cross-entropy of every target token, with the end token, given the tokens before it.

        Of several networks each learns by itself; an evaluation measures them together. Label smoothing is
        part of the training loss, but not of the metrics.
        """
        key, smoothing = None, 0.0
        if step is not None:
            key = DropoutKey(tf.constant(self.config.seed), step, batch["first_row"])
            smoothing = self.config.label_smoothing
        given, nexts = batch["target"][:, :-1], batch["target"][:, 1:]
        if key is not None and self.config.scheduled_sampling:
            given = self._sampled(model, batch, given, key)
        features, _ = model(batch["source"], batch["source_lengths"], given, key)
        # Padding is left out before the largest matrix product, the one with the vocabulary.
        there = tf.where(tf.sequence_mask(batch["target_lengths"] - 1, tf.shape(nexts)[1]))
        features, wanted = tf.gather_nd(features, there), tf.gather_nd(nexts, there)
        scores = [model.scores(features)] if key is None else model.scores_of_each(features)
        if smoothing:
            each = [categorical.smoothed_loss(wanted, some, smoothing) for some in scores]
        else:
            each = [(tf.reduce_sum(categorical.loss(wanted, some)),) * 2 for some in scores]
        loss, nats = (tf.add_n(part) / len(scores) for part in zip(*each, strict=True))
        return Loss(loss, tf.cast(tf.shape(wanted)[0], tf.float32), {"nats": nats}, state)

    def _sampled(
        self, model: RecurrentTranslator, batch: Batch, given: tf.Tensor, key: DropoutKey
    ) -> tf.Tensor:
        """Target tokens, (rows, time); some are replaced by the predictions of the network."""
        config = self.config
        features, _ = model(batch["source"], batch["source_lengths"], given, None)
        scores = model.scores(features[:, :-1])
        own = tf.argmax(scores, axis=-1, output_type=tf.int32)
        grown = tf.minimum(tf.cast(key.step, tf.float32) / config.scheduled_sampling_steps, 1.0)
        draws = uniform(tf.shape(own), key, site="scheduled_sampling")
        mixed = tf.where(draws < config.scheduled_sampling * grown, own, given[:, 1:])
        return tf.stop_gradient(tf.concat([given[:, :1], mixed], axis=1))

    def metrics(self, sums: Loss) -> Metrics:
        """The mean cross-entropy in nats per target token, without smoothing, and the perplexity."""
        mean = float(sums.sums["nats"]) / float(sums.weight)
        return (
            Metric("loss", mean, "nats per token"),
            Metric("perplexity", math.exp(min(mean, 700.0))),
        )

    def use(self, model: RecurrentTranslator, vocabulary: Json) -> Answers:
        return Answers(model, self, TranslatorVocabulary.from_json(vocabulary))

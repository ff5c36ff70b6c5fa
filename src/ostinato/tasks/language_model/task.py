"""The language model as a task: its network, loss and metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass

import tensorflow as tf

from ostinato.cells.base import State, StateSpec
from ostinato.data.encoders.registry import encoder_from_json
from ostinato.data.sources.corpora import Corpus
from ostinato.heads import categorical
from ostinato.layers.dropout import DropoutKey
from ostinato.tasks.base import Batch, Json, Loss, Metric, Metrics, OnProgress, Task
from ostinato.tasks.language_model import data
from ostinato.tasks.language_model.answers import Answers
from ostinato.tasks.language_model.config import LanguageModelConfig
from ostinato.tasks.language_model.network import RecurrentLanguageModel


@dataclass(frozen=True)
class LanguageModel(Task):
    """The task; see `ostinato.tasks.base.Task` for the methods."""

    config: LanguageModelConfig

    unit = "tokens"
    evaluated_first = ("validation",)

    def read(
        self,
        source: Corpus,
        *,
        vocabulary: Json | None = None,
        whole: bool = False,
        on_progress: OnProgress | None = None,
    ) -> data.LanguageData:
        return data.read(self.config, source, vocabulary, whole, on_progress)

    def build(self, vocabulary: Json) -> RecurrentLanguageModel:
        model = RecurrentLanguageModel(self.config, encoder_from_json(vocabulary).size)
        model.make_weights()
        if self.config.init_stddev is not None:
            self._draw_normal(model, self.config.init_stddev)
        return model

    def _draw_normal(self, model: RecurrentLanguageModel, stddev: float) -> None:
        for number, weight in enumerate(model.trainable_variables):
            if "bias" in weight.name:
                weight.assign(tf.zeros(weight.shape))
            else:
                seed = (self.config.seed, number)
                weight.assign(tf.random.stateless_normal(weight.shape, seed, stddev=stddev))

    def states(self, model: RecurrentLanguageModel) -> tuple[StateSpec, ...]:
        return model.stack.states

    def loss(
        self, model: RecurrentLanguageModel, batch: Batch, state: State, *, step: tf.Tensor | None = None
    ) -> Loss:
        key = None
        if step is not None:
            key = DropoutKey(tf.constant(self.config.seed), step, batch["first_row"])
        logits, state = model(batch["tokens"], state, key)
        nats = categorical.loss(batch["targets"], logits)
        weights = batch["weights"]
        sums = {"characters": tf.reduce_sum(weights * batch["characters"])}
        return Loss(tf.reduce_sum(weights * nats), tf.reduce_sum(weights), sums, state)

    def metrics(self, sums: Loss) -> Metrics:
        """The mean loss in nats per token, the perplexity, and the bits per character."""
        total, characters = float(sums.total), float(sums.sums["characters"])
        mean = total / float(sums.weight)
        bits = total / math.log(2) / characters if characters else math.nan
        return (
            Metric("loss", mean, "nats per token"),
            Metric("perplexity", math.exp(min(mean, 700.0))),
            Metric("bits_per_character", bits, "bits"),
        )

    def use(self, model: RecurrentLanguageModel, vocabulary: Json) -> Answers:
        return Answers(model, encoder_from_json(vocabulary))

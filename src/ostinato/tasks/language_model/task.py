"""The language model as a task: its network, loss and metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from ostinato.cells.base import State, StateSpec, initial_state
from ostinato.errors import ConfigError
from ostinato.heads import categorical
from ostinato.layers.dropout import DropoutKey
from ostinato.tasks.base import Batch, Json, Loss, Metric, Metrics, OnProgress, Task
from ostinato.tasks.language_model import data, lines
from ostinato.tasks.language_model.answers import Answers
from ostinato.tasks.language_model.config import LanguageModelConfig
from ostinato.tasks.language_model.network import RecurrentLanguageModel
from ostinato.tasks.language_model.source import Texts
from ostinato.tasks.language_model.vocabulary import LanguageVocabulary
from ostinato.wording import option


@dataclass(frozen=True)
class LanguageModel(Task):
    """The task; see `ostinato.tasks.base.Task` for the methods."""

    config: LanguageModelConfig

    unit = "tokens"
    evaluated_first = ("validation",)

    def read(
        self,
        source: Texts,
        *,
        vocabulary: Json | None = None,
        whole: bool = False,
        on_progress: OnProgress | None = None,
    ) -> data.LanguageData | lines.LinesData:
        encoder = None if vocabulary is None else self._words(vocabulary).encoder
        read = lines.read if self.config.lines else data.read
        return read(self.config, source, encoder, whole, on_progress)

    def extended(
        self, source: Texts, vocabulary: Json, on_progress: OnProgress | None = None
    ) -> tuple[Json, np.ndarray]:
        """See `ostinato.tasks.abilities.Extends`."""
        words = self._words(vocabulary)
        config = self.config.model_copy(update={"encoder": words.encoder.name})
        fresh = LanguageModel(config).read(source, on_progress=on_progress).vocabulary
        extended, places = words.extended(self._words(fresh))
        return extended.to_json(), places

    def _words(self, vocabulary: Json) -> LanguageVocabulary:
        """The vocabulary. Raises ConfigError when it is not one of lines, but the config is, or the other way
        round."""
        words = LanguageVocabulary.from_json(vocabulary)
        if words.lines != self.config.lines:
            one, other = ("lines", "one long text")[:: 1 if words.lines else -1]
            raise ConfigError(
                f"the vocabulary is that of a model of {one}, not of {other}; start from a run "
                f"with{'' if self.config.lines else 'out'} {option('lines', True)}"
            )
        return words

    def build(self, vocabulary: Json) -> RecurrentLanguageModel:
        model = RecurrentLanguageModel(self.config, self._words(vocabulary).size)
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
        # A line begins from nothing, and batches of lines differ in their numbers of rows.
        return () if self.config.lines else model.stack.states

    def loss(
        self, model: RecurrentLanguageModel, batch: Batch, state: State, *, step: tf.Tensor | None = None
    ) -> Loss:
        key = None
        if step is not None:
            key = DropoutKey(tf.constant(self.config.seed), step, batch["first_row"])
        tokens, of_lines = batch["tokens"], self.config.lines
        begin = initial_state(model.stack.states, tf.shape(tokens)[0]) if of_lines else state
        outputs, dropped, after = model.read(tokens, begin, key)
        nats = categorical.loss(batch["targets"], model.scores(dropped))
        weights = batch["weights"]
        sums = {"characters": tf.reduce_sum(weights * batch["characters"])}
        if of_lines:
            sums["lines"] = tf.cast(tf.shape(tokens)[0], tf.float32)
        penalty = 0.0 if key is None else self._penalty(outputs, dropped, weights)
        after = state if of_lines else after
        return Loss(tf.reduce_sum(weights * nats), tf.reduce_sum(weights), sums, after, penalty)

    def _penalty(self, outputs: tf.Tensor, dropped: tf.Tensor, weights: tf.Tensor) -> tf.Tensor | float:
        """The activation regularisation, summed as the loss is (Merity et al. 2017, arXiv:1708.01009)."""
        of_size, of_change = self.config.activation_regularization, self.config.temporal_regularization
        penalty = 0.0
        if of_size:
            penalty += of_size * tf.reduce_sum(weights * tf.reduce_mean(tf.square(dropped), axis=-1))
        if of_change:
            change = tf.reduce_mean(tf.square(outputs[:, 1:] - outputs[:, :-1]), axis=-1)
            penalty += of_change * tf.reduce_sum(weights[:, 1:] * change)
        return penalty

    def metrics(self, sums: Loss) -> Metrics:
        """The mean loss in nats per token, the perplexity, and the bits per character.

        Of lines also the mean loss of a line, its end included, and its exponential.
        """
        total, characters = float(sums.total), float(sums.sums["characters"])
        mean = total / float(sums.weight)
        bits = total / math.log(2) / characters if characters else math.nan
        metrics = (
            Metric("loss", mean, "nats per token"),
            Metric("perplexity", math.exp(min(mean, 700.0))),
            Metric("bits_per_character", bits, "bits"),
        )
        if "lines" not in sums.sums:
            return metrics
        of_line = total / float(sums.sums["lines"])
        return (
            *metrics,
            Metric("loss_per_line", of_line, "nats per line"),
            Metric("perplexity_per_line", math.exp(min(of_line, 700.0))),
        )

    def use(self, model: RecurrentLanguageModel, vocabulary: Json) -> Answers:
        return Answers(model, self._words(vocabulary))

"""The classifier as a task: its network, loss and metrics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from ostinato.cells.base import State
from ostinato.data.sources import vectors
from ostinato.errors import ConfigError
from ostinato.layers.dropout import DropoutKey
from ostinato.tasks.base import Batch, Json, Loss, Metric, Metrics, OnProgress, Task
from ostinato.tasks.classifier import data
from ostinato.tasks.classifier.answers import Answers
from ostinato.tasks.classifier.config import ClassifierConfig
from ostinato.tasks.classifier.decision import Decision, decision_of
from ostinato.tasks.classifier.network import RecurrentClassifier, mean_of
from ostinato.tasks.classifier.ngram_fit import fit, gathered
from ostinato.tasks.classifier.padding import PADDING
from ostinato.tasks.classifier.shares import PAIRS, best_shares
from ostinato.tasks.classifier.vocabulary import ClassifierVocabulary
from ostinato.wording import option

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
        known = words.ngrams
        sizes = (0, 0) if known is None else (len(known), known.of_words)
        model = RecurrentClassifier(self.config, words.encoder.size, words.labels.scores, sizes)
        model.make_weights()
        if known is not None:
            model.of_ngrams.set_rarity(known.rarity)
        return model

    def prepare(self, model: RecurrentClassifier, data: data.ClassifierData) -> tuple[str, ...]:
        """Finds the weights of the n-grams, and takes embeddings from a file of vectors.

        The steps of training change the recurrent layers and the embeddings.
        """
        return (*self._take_vectors(model, data), *self._find_weights(model, data))

    def _take_vectors(self, model: RecurrentClassifier, data: data.ClassifierData) -> tuple[str, ...]:
        """Begins the embeddings with the vectors of a file.

        Raises:
            ConfigError: when its vectors have another size than the embedding.
            SourceError: when it cannot be read, or is no file of vectors.
        """
        path, encoder = self.config.vectors, data.words.encoder
        if path is None:
            return ()
        width = vectors.width_of(path)
        if width != self.config.embedding:
            raise ConfigError(
                f"{option('embedding')} must be {width}, the size of the vectors of {path}, got "
                f"{self.config.embedding}"
            )
        places: dict[str, list[int]] = {}
        for number, symbol in enumerate(encoder.symbols):
            # A piece of text has the space before it; vectors are mostly of lower-case words.
            for word in {symbol.strip(), symbol.strip().lower()}:
                places.setdefault(word, []).append(number)
        read = np.zeros((encoder.size, width), np.float32)
        found = vectors.read_vectors(path, places, read)
        for network in model.networks():
            rows = network.embedding.get_weights()[0]
            rows[1 + PADDING :][found] = read[found]
            network.embedding.set_weights([rows])
        return (f"{path} has the vectors of {found.sum():,} of {encoder.size:,} tokens",)

    def _find_weights(self, model: RecurrentClassifier, data: data.ClassifierData) -> tuple[str, ...]:
        if not self.config.ngrams:
            return ()
        part, other = data.part("train"), data.part("validation")
        assert part is not None
        train = gathered(model.of_ngrams, part.batches(epoch=0))
        validation = None if other is None else gathered(model.of_ngrams, other.batches())
        strength = fit(model.of_ngrams, train, validation)
        rows, every = len(train.targets), len(data.examples.part("train"))
        some = "" if rows == every else f" of the first {rows:,} of {every:,} training texts"
        known = f"the weights of {model.of_ngrams.ngrams:,} n-grams{some}"
        return (f"{known} are those of a linear model, C = {strength:g}",)

    def loss(
        self, model: RecurrentClassifier, batch: Batch, state: State, *, step: tf.Tensor | None = None
    ) -> Loss:
        """The loss of the recurrent layers. An evaluation measures them together with the n-grams, too.

        They learn by themselves: beside scores that know the training texts by heart there would be nothing
        left to learn.
        """
        key = None
        if step is not None:
            key = DropoutKey(tf.constant(self.config.seed), step, batch["first_row"])
        lengths = batch["lengths"] if self.config.masked else None
        targets, weights = batch["targets"], batch["weights"]
        decision = decision_of(len(targets.shape) == 2, model.outputs)
        scores = model.read_each(batch["tokens"], lengths, key)
        logits = mean_of(scores)
        right = decision.right(targets, logits)
        # Each network learns by itself; together they are measured.
        learned = [logits] if key is None else scores
        nats = mean_of([decision.loss(targets, each) for each in learned])
        sums = {
            "right": tf.reduce_sum(tf.cast(right, tf.float32)),
            "texts": tf.cast(tf.size(weights), tf.float32),
        }
        if self.config.ngrams and key is None:
            sums |= _weighed(decision, targets, weights, [logits, model.of_ngrams(batch["grams"])])
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

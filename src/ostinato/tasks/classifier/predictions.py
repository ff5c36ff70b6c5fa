"""What a classifier says about a text, and the network's scores that it rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from ostinato.tasks.classifier.config import ClassifierConfig
from ostinato.tasks.classifier.network import RecurrentClassifier


@dataclass(frozen=True)
class Prediction:
    """What a classifier says about a text.

    Attributes:
        label: the likeliest label; where a text may have several, all with a probability of at least one
            half, joined as in the training table.
        probability: of that decision (several labels are taken as independent).
        probabilities: of every label.
        tokens: how long the text is.
        cut: whether it is longer than what the network reads.
        empty: whether there is nothing in it to read; the probabilities are then those of the training texts.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    tokens: int
    cut: bool
    empty: bool


class Scorer:
    """Scores texts with one model; the functions it runs are traced once.

    Args:
        model: a trained model.
        config: its settings.
    """

    def __init__(self, model: RecurrentClassifier, config: ClassifierConfig):
        self.model = model
        self._after_none, self._after_padding = self._scorers(model, masked=config.masked)

    def scores(self, tokens: np.ndarray, lengths: np.ndarray, before: int = 0) -> np.ndarray:
        """Logits, float64, shape (rows, outputs).

        Args:
            tokens: ids, shape (rows, time).
            lengths: of the texts, (rows,).
            before: steps of padding that all rows begin with and `tokens` leaves out; they are read once for
                all rows.
        """
        if before:
            scores = self._after_padding(tf.constant(tokens), tf.constant(before))
        else:
            scores = self._after_none(tf.constant(tokens), tf.constant(lengths))
        return scores.numpy().astype(np.float64)

    @staticmethod
    def _scorers(model: RecurrentClassifier, *, masked: bool) -> tuple[Callable[..., tf.Tensor], ...]:
        """Without and with padding before the tokens."""
        ids, sizes, number = (tf.TensorSpec((None,) * rank, tf.int32) for rank in (2, 1, 0))

        @tf.function(input_signature=[ids, sizes])
        def after_none(tokens, lengths):
            return model(tokens, lengths if masked else None)

        @tf.function(input_signature=[ids, number])
        def after_padding(tokens, before):
            rows = tf.shape(tokens)[0]
            state = tf.nest.map_structure(lambda x: tf.repeat(x, rows, axis=0), model.after_padding(before))
            return model.decide(model.embedding(tokens), state=state)

        return after_none, after_padding

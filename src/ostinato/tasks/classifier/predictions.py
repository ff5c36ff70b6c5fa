"""Predictions of a classifier, and the scores of the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from ostinato.layers.tracing import traced
from ostinato.tasks.classifier.config import ClassifierConfig
from ostinato.tasks.classifier.network import RecurrentClassifier
from ostinato.tasks.classifier.shares import EVEN


@dataclass(frozen=True)
class Prediction:
    """The prediction for a text.

    Attributes:
        label: the most likely label. If a text may have several, all labels whose probability reaches their
            threshold, joined as in the training table; empty for none.
        probability: the probability of `label`; several labels are taken as independent.
        probabilities: the probability of every label.
        tokens: the length of the text in tokens.
        cut: whether the text is longer than the network reads.
        empty: whether the text has no tokens; the probabilities are then the shares in the training texts.
        labels: the labels of `label`, one by one.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    tokens: int
    cut: bool
    empty: bool
    labels: tuple[str, ...] = ()


class Scorer:
    """Scores texts with one model, whose functions are traced once.

    Args:
        model: a trained model.
        config: the settings of the model.
        shares: how much its recurrent layers and its n-grams count.
    """

    def __init__(
        self, model: RecurrentClassifier, config: ClassifierConfig, shares: tuple[float, float] = EVEN
    ):
        self.model, self._shares = model, shares
        self._after_none, self._after_padding = self._scorers(model, masked=config.masked)
        if config.ngrams:
            self._of_ngrams = traced(
                model.of_ngrams.call, input_signature=[tf.TensorSpec((None, None), tf.int32)]
            )

    def scores(
        self, tokens: np.ndarray, lengths: np.ndarray, before: int = 0, grams: np.ndarray | None = None
    ) -> np.ndarray:
        """Logits, float64, shape (rows, outputs); the arguments are those of `parts`."""
        read, added = self.parts(tokens, lengths, before, grams)
        return read if added is None else self._shares[0] * read + self._shares[1] * added

    def parts(
        self, tokens: np.ndarray, lengths: np.ndarray, before: int = 0, grams: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The logits of the recurrent layers, and those of the n-grams, each float64, shape (rows, outputs).

        Args:
            tokens: ids, shape (rows, time).
            lengths: the lengths of the texts, shape (rows,).
            before: the number of padding steps at the beginning of all rows, which are not in `tokens`. They
                are read once for all rows.
            grams: the ids of the n-grams, shape (rows, n-grams), for a network that has them.
        """
        if before:
            scores = self._after_padding(tf.constant(tokens), tf.constant(before))
        else:
            scores = self._after_none(tf.constant(tokens), tf.constant(lengths))
        read = scores.numpy().astype(np.float64)
        if grams is None:
            return read, None
        return read, self._of_ngrams(tf.constant(grams)).numpy().astype(np.float64)

    @staticmethod
    def _scorers(model: RecurrentClassifier, *, masked: bool) -> tuple[Callable[..., tf.Tensor], ...]:
        """The functions that score texts without and with padding before the tokens."""
        ids, sizes, number = (tf.TensorSpec((None,) * rank, tf.int32) for rank in (2, 1, 0))

        def after_none(tokens, lengths):
            return model.read(tokens, lengths if masked else None)

        def after_padding(tokens, before):
            rows = tf.shape(tokens)[0]
            state = tf.nest.map_structure(lambda x: tf.repeat(x, rows, axis=0), model.after_padding(before))
            return model.decide(model.embed(tokens), states=state)

        return (
            traced(after_none, input_signature=[ids, sizes]),
            traced(after_padding, input_signature=[ids, number]),
        )

"""How scores decide for labels, and the loss that follows."""

import keras
import numpy as np
import pytest

from ostinato.tasks.classifier.labels import Labels


def test_the_losses_are_kerass():
    scores = np.array([[2.0], [-1.0]])
    truth = np.array([1, 1])
    binary, several = Labels(("-", "+")), Labels(("a", "b", "c"), "|")
    expected = keras.losses.BinaryCrossentropy(from_logits=True)(truth[:, None], scores)
    assert binary.nats(scores, truth) / 2 == pytest.approx(float(expected), rel=1e-5)
    scores = np.array([[2.0, 0.5, -1.0], [-1.0, 0.1, 0.2]])
    hot = np.array([[1, 0, 1], [0, 0, 1]])
    expected = keras.losses.BinaryCrossentropy(from_logits=True)(hot, scores)
    assert several.nats(scores, hot) / 2 == pytest.approx(float(expected), rel=1e-5)
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(truth, scores)
    assert Labels(("bill", "login", "other")).nats(scores, truth) / 2 == pytest.approx(
        float(expected), rel=1e-5
    )

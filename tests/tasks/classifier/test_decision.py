"""Which head decides for labels, and the loss and probabilities that follow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato.tasks.classifier.decision import decision_for
from ostinato.tasks.classifier.labels import Labels

TWO, MANY, SEVERAL = Labels(("-", "+")), Labels(("bill", "login", "other")), Labels(("a", "b", "c"), "|")
SCORES = np.array([[2.0, 0.5, -1.0], [-1.0, 0.1, 0.2]])
CASES = [
    (TWO, SCORES[:, :1], np.array([1, 1]), keras.losses.BinaryCrossentropy, np.array([[1], [1]])),
    (SEVERAL, SCORES, np.array([[1, 0, 1], [0, 0, 1]]), keras.losses.BinaryCrossentropy, None),
    (MANY, SCORES, np.array([1, 2]), keras.losses.SparseCategoricalCrossentropy, None),
]


@pytest.mark.parametrize(("labels", "scores", "targets", "loss", "shaped"), CASES)
def test_the_losses_are_kerass(labels, scores, targets, loss, shaped):
    decision = decision_for(labels)
    expected = float(loss(from_logits=True)(targets if shaped is None else shaped, scores))
    assert decision.nats(targets, scores) / 2 == pytest.approx(expected, rel=1e-5)
    given = tf.constant(targets, tf.float32 if labels is SEVERAL else tf.int32)
    found = decision.loss(given, tf.constant(scores, tf.float32))
    assert float(tf.reduce_mean(found)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("labels", "scores"), [case[:2] for case in CASES])
def test_probabilities_are_those_of_the_head_and_decide_as_its_scores_do(labels, scores):
    found = decision_for(labels).probabilities(scores)
    assert found.shape == (2, len(labels.names))
    if labels is SEVERAL:
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-scores)))
    else:
        np.testing.assert_allclose(found.sum(axis=1), 1.0)
    right = decision_for(labels).right(
        tf.constant(
            labels.chosen(found).astype(np.float32)
            if labels is SEVERAL
            else found.argmax(axis=1).astype(np.int32)
        ),
        tf.constant(scores, tf.float32),
    )
    assert right.numpy().all()

"""One of several classes: losses, gradients and figures are those of the equations, in float64."""

import numpy as np
import pytest
import tensorflow as tf

from ostinato.heads import categorical

RANDOM = np.random.default_rng(0)
SCORES = 3 * RANDOM.normal(size=(6, 5))
TARGETS = RANDOM.integers(0, 5, size=6)
ONE_HOT = np.eye(5)[TARGETS]


def softmax(scores):
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


NATS = -np.log(softmax(SCORES)[np.arange(6), TARGETS])


def with_gradient(loss):
    """What a function of the scores gives, and the gradient of the first of it."""
    scores = tf.constant(SCORES, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        found = loss(scores)
        first = tf.reduce_sum(found[0])
    return found, tape.gradient(first, scores)


def test_the_loss_is_the_cross_entropy_of_each_target():
    (loss,), gradient = with_gradient(lambda scores: [categorical.loss(tf.constant(TARGETS), scores)])
    np.testing.assert_allclose(loss, NATS, rtol=1e-5)
    np.testing.assert_allclose(gradient, softmax(SCORES) - ONE_HOT, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_smoothing_spreads_its_share_evenly_over_all_classes_the_target_too(smoothing):
    labels = (1 - smoothing) * ONE_HOT + smoothing / 5
    (smoothed, plain), gradient = with_gradient(
        lambda scores: categorical.smoothed_loss(tf.constant(TARGETS), scores, smoothing)
    )
    np.testing.assert_allclose(smoothed, -(labels * np.log(softmax(SCORES))).sum(), rtol=1e-5)
    np.testing.assert_allclose(plain, NATS.sum(), rtol=1e-5)
    np.testing.assert_allclose(gradient, softmax(SCORES) - labels, atol=1e-6)


def test_a_class_is_right_when_no_other_scores_higher():
    found = categorical.right(tf.constant(TARGETS, tf.int32), tf.constant(SCORES))
    np.testing.assert_array_equal(found, SCORES.argmax(axis=1) == TARGETS)
    assert categorical.right(tf.constant([1, 0]), tf.constant([[-2.0, -1.0]] * 2)).numpy().tolist() == [
        True,
        False,
    ]


def test_the_figures_of_a_trained_network_are_those_of_the_loss():
    np.testing.assert_allclose(categorical.probabilities(SCORES), softmax(SCORES), rtol=1e-12)
    assert categorical.nats(TARGETS, SCORES) == pytest.approx(NATS.sum(), rel=1e-12)


def test_scores_of_any_size_give_figures_that_are_finite():
    scores = np.array([[1e4, 0.0, -1e4]])
    np.testing.assert_allclose(categorical.probabilities(scores), [[1.0, 0.0, 0.0]])
    assert categorical.nats(np.array([1]), scores) == pytest.approx(1e4)

"""A yes or no for each label: losses, gradients and figures are those of the equations, in float64."""

import numpy as np
import pytest
import tensorflow as tf

from ostinato.heads import bernoulli

RANDOM = np.random.default_rng(0)
SCORES = 3 * RANDOM.normal(size=(6, 4))
TARGETS = RANDOM.integers(0, 2, size=(6, 4)).astype(float)
YES = 1 / (1 + np.exp(-SCORES))
NATS = -(TARGETS * np.log(YES) + (1 - TARGETS) * np.log(1 - YES))


def with_gradient(loss):
    """What a function of the scores gives, and the gradient of its sum."""
    scores = tf.constant(SCORES, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        found = loss(scores)
    return found, tape.gradient(found, scores)


def test_the_loss_of_several_labels_is_the_mean_over_them():
    loss, gradient = with_gradient(lambda scores: bernoulli.loss(tf.constant(TARGETS, tf.float32), scores))
    np.testing.assert_allclose(loss, NATS.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(gradient, (YES - TARGETS) / 4, atol=1e-6)


def test_the_loss_of_one_label_is_that_of_a_single_yes_or_no():
    targets = TARGETS[:, 0].astype(np.int32)
    loss, gradient = with_gradient(lambda scores: bernoulli.loss_of_one(tf.constant(targets), scores[:, :1]))
    np.testing.assert_allclose(loss, NATS[:, 0], rtol=1e-5)
    np.testing.assert_allclose(gradient[:, 0], (YES - TARGETS)[:, 0], atol=1e-6)


def test_a_row_is_right_only_when_all_of_its_labels_are():
    targets = tf.constant([[1.0, 0.0]] * 4)
    scores = tf.constant([[2.0, -1.0], [2.0, 1.0], [-2.0, -1.0], [-2.0, 1.0]])
    assert bernoulli.right(targets, scores).numpy().tolist() == [True, False, False, False]


def test_a_yes_is_a_score_above_zero():
    scores = tf.constant([[0.1], [0.1], [-0.1], [-0.1]])
    found = bernoulli.right_of_one(tf.constant([1, 0, 1, 0]), scores)
    assert found.numpy().tolist() == [True, False, False, True]


def test_the_figures_of_a_trained_network_are_those_of_the_loss():
    np.testing.assert_allclose(bernoulli.probabilities(SCORES), YES, rtol=1e-12)
    assert bernoulli.nats(TARGETS, SCORES) == pytest.approx(NATS.mean(axis=1).sum(), rel=1e-12)
    assert bernoulli.nats_of_one(TARGETS[:, 0], SCORES) == pytest.approx(NATS[:, 0].sum(), rel=1e-12)


def test_scores_of_any_size_give_figures_that_are_finite():
    scores = np.array([[1e4, -1e4]])
    np.testing.assert_allclose(bernoulli.probabilities(scores), [[1.0, 0.0]])
    assert bernoulli.nats(np.array([[0.0, 1.0]]), scores) == pytest.approx(1e4)

"""Numbers times gates, as one operation of the native engine."""

import numpy as np
import pytest
import tensorflow as tf

from ostinato.engines.gate import gated

ACTIVATIONS = {"sigmoid": tf.sigmoid, "silu": tf.nn.silu}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(5,), (2, 3, 7), (0, 4), (3, 100, 131)])
def test_it_and_its_derivatives_are_those_of_the_formula(shape, activation):
    random = np.random.default_rng(2)
    x, gates = (tf.constant(3 * random.normal(size=shape), tf.float32) for _ in "xg")
    found = []
    for function in (
        tf.function(lambda x, gates: gated(x, gates, activation)),
        lambda x, gates: x * ACTIVATIONS[activation](gates),
    ):
        with tf.GradientTape() as second:
            second.watch([x, gates])
            with tf.GradientTape() as tape:
                tape.watch([x, gates])
                y = function(x, gates)
                loss = tf.reduce_sum(tf.sin(y))
            first = tape.gradient(loss, [x, gates])
            of_first = tf.add_n([tf.reduce_sum(each * each) for each in first])
        found.append([y, *first, *second.gradient(of_first, [x, gates])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * np.max(np.abs(other), initial=1))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_large_gates_give_no_nan(activation):
    gates = tf.constant([-3e38, -100.0, 100.0, 3e4])
    with tf.GradientTape() as tape:
        tape.watch(gates)
        y = gated(tf.ones(4), gates, activation)
    expected = [0, 0, 1, 1] if activation == "sigmoid" else [0, 0, 100, 3e4]
    np.testing.assert_allclose(y, expected, atol=1e-30)
    np.testing.assert_allclose(
        tape.gradient(y, gates), [0, 0, 0, 0] if activation == "sigmoid" else [0, 0, 1, 1], atol=1e-30
    )


def test_one_gradient_alone():
    x, gates = tf.constant([1.0, -2.0]), tf.constant([0.5, 0.25])
    for watched in (x, gates):
        with tf.GradientTape() as second:
            second.watch([x, gates])
            with tf.GradientTape() as tape:
                tape.watch(watched)
                y = gated(x, gates, "silu")
            gradient = tape.gradient(y, watched)
        assert np.all(np.isfinite(second.gradient(gradient, gates)))


def test_other_numbers_are_tensorflows():
    x = tf.constant([1.0, 2.0], tf.float64)
    np.testing.assert_allclose(gated(x, x, "silu"), x * x * tf.sigmoid(x))


def test_shapes_that_differ_are_refused():
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        gated(tf.ones(3), tf.ones(4), "silu")

"""Features times a matrix, as one product."""

import numpy as np
import pytest
import tensorflow as tf

from ostinato.engines.product import native_products, product


@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 7), (2, 1, 3, 7), (0, 4, 7)])
@pytest.mark.parametrize("transpose", [False, True])
def test_it_and_its_gradients_are_those_of_matmul(shape, transpose):
    random = np.random.default_rng(1)
    x = tf.constant(random.normal(size=shape))
    weights = tf.Variable(random.normal(size=(4, 7) if transpose else (7, 4)))
    found = []
    for function in (
        tf.function(lambda: product(x, weights, transpose=transpose)),
        lambda: tf.einsum("...i,oi->...o" if transpose else "...i,io->...o", x, weights),
    ):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function()
            loss = tf.reduce_sum(tf.sin(y))
        assert y.shape == (*shape[:-1], 4)
        found.append([y, *tape.gradient(loss, [x, weights])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_unknown_sizes_stay_unknown():
    @tf.function(input_signature=[tf.TensorSpec((None, None, 3))])
    def function(x):
        y = product(x, tf.ones((3, 2)))
        assert y.shape.as_list() == [None, None, 2]
        return y

    assert function(tf.ones((2, 5, 3))).shape == (2, 5, 2)


def test_several_products_at_once_and_their_derivatives_are_those_of_each():
    random = np.random.default_rng(2)
    x = tf.constant(random.normal(size=(3, 5, 7)), tf.float32)
    weights = [tf.constant(random.normal(size=(7, size)), tf.float32) for size in (4, 1, 33)]

    def total(found):
        return tf.add_n([tf.reduce_sum(tf.sin(each)) for each in found])

    found = []
    for function in (
        lambda: native_products(x, weights),
        tf.function(lambda: native_products(x, weights)),
        lambda: [tf.einsum("bti,io->bto", x, each) for each in weights],
    ):
        with tf.GradientTape() as second:
            second.watch([x, *weights])
            with tf.GradientTape() as tape:
                tape.watch([x, *weights])
                y = function()
                loss = total(y)
            first = tape.gradient(loss, [x, *weights])
            of_first = total(first)
        found.append([*y, *first, *second.gradient(of_first, [x, *weights])])
    for each in found[:2]:
        for one, other in zip(each, found[2], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_an_output_that_nobody_reads_and_rows_that_there_are_none():
    x, weights = tf.ones((2, 3)), [tf.ones((3, 2)), tf.ones((3, 4))]
    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss = tf.reduce_sum(native_products(x, weights)[0])
    first, second = tape.gradient(loss, weights)
    np.testing.assert_array_equal(first, np.full((3, 2), 2.0))
    assert second is None or not np.any(second)
    assert [each.shape for each in native_products(tf.ones((0, 4, 3)), weights)] == [(0, 4, 2), (0, 4, 4)]

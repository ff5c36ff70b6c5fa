"""Features times a matrix, as one product."""

import numpy as np
import pytest
import tensorflow as tf

from ostinato.engines.product import product


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

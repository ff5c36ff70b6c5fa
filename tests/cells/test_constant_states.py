"""Initial states may be one row for all, (units,) or (1, units), constants or variables."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato import layers

UNITS = 5
X = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
ROW = np.random.default_rng(1).normal(size=UNITS).astype("float32")


@pytest.mark.parametrize("shape", [(UNITS,), (1, UNITS)])
@pytest.mark.parametrize("engine", ["native", "keras"])
@pytest.mark.parametrize(("cell", "states"), [("SimpleRNN", 1), ("GRU", 1), ("LSTM", 2)])
def test_a_learned_state_gets_the_sum_of_the_gradients_of_all_rows(cell, states, engine, shape):
    layer = getattr(layers, cell)(UNITS, engine=engine)
    learned = tf.Variable(ROW.reshape(shape))
    rows = tf.constant(np.tile(ROW, (3, 1)))

    @tf.function(autograph=False)
    def gradient(x, state):
        with tf.GradientTape() as tape:
            tape.watch(state)
            y = layer(x, initial_state=[state] * states, training=True)
            loss = tf.reduce_sum(tf.sin(y))
        return y, tape.gradient(loss, state)

    layer.build(X.shape)
    expected, of_rows = gradient(X, rows)
    found, of_one = gradient(X, learned)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(of_one, tf.reshape(tf.reduce_sum(of_rows, 0), shape), atol=1e-5)
    assert np.abs(of_one).max() > 1e-3


def test_a_weight_of_kerass_is_a_state_of_a_batch_of_any_size():
    class Learned(keras.Model):
        def __init__(self):
            super().__init__()
            self.start = self.add_weight(shape=(UNITS,), initializer="ones", name="start")
            self.layer = layers.GRU(UNITS, recurrent_dropout=0.2)

        def call(self, x, training=False):
            return self.layer(x, initial_state=self.start, training=training)

    model = Learned()
    model.compile("sgd", "mse")
    expected = model.layer(X, initial_state=np.ones((3, UNITS), "float32"))
    np.testing.assert_allclose(model(X), expected, atol=1e-6)
    model.fit(X, np.zeros((3, UNITS)), batch_size=2, verbose=0)  # batches of two and of one
    assert not np.allclose(model.start, 1.0)

"""A history that is longer than the caches is stored past them, and read back as one that is not."""

import numpy as np
import pytest
import tensorflow as tf

from ostinato import layers
from ostinato.engines import native

pytestmark = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")

LONG = 12 << 20
"""Floats of a history from which on it is stored past the caches: `kCachedFloats` of the kernels."""
TIME, FEATURES = 24, 3

# How many units, and how many vectors of so many the history has at each step of each row. Where y is enough,
# the RNN has none. A row of 61 units does not end with a vector of the processor's.
CELLS = [
    ("SimpleRNN", {"return_sequences": False}, 64, 1),
    ("GRU", {"reset_after": True, "return_sequences": True}, 64, 4),
    ("GRU", {"reset_after": False, "return_sequences": True}, 64, 3),
    ("LSTM", {"return_sequences": True}, 64, 5),
    ("LSTM", {"return_sequences": True}, 61, 5),
]


def layer_of(cell, options, units):
    layer = getattr(layers, cell)(units, engine="native", return_state=True, **options)
    layer.build((None, TIME, FEATURES))
    random = np.random.default_rng(1)
    layer.set_weights([random.normal(scale=0.15, size=weight.shape) for weight in layer.weights])
    return layer


def values_and_gradients(layer, x):
    """The outputs, dx, and the gradients of the weights, which are sums over the rows."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, *states = layer(x, training=True)
        # Another weight for each step and unit, so that no gradient is the same by accident.
        pull = tf.reshape(tf.cos(tf.range(TIME * layer.units, dtype=tf.float32)), (TIME, -1))
        loss = tf.reduce_sum(tf.sin(y) * (pull if layer.return_sequences else pull[-1]))
    dx, *weights = tape.gradient(loss, [x, *(weight.value for weight in layer.trainable_weights)])
    return [y, *states, dx], weights


@pytest.mark.parametrize(("cell", "options", "units", "vectors"), CELLS)
def test_a_batch_with_a_long_history_computes_what_its_halves_do(cell, options, units, vectors):
    floats_of_a_row = TIME * units * vectors
    batch = 2 * (LONG // floats_of_a_row // 2 + 8)
    assert batch // 2 * floats_of_a_row < LONG < batch * floats_of_a_row
    layer = layer_of(cell, options, units)
    x = tf.random.stateless_normal((batch, TIME, FEATURES), seed=(1, 2))
    of_rows, of_weights = values_and_gradients(layer, x)
    halves = [values_and_gradients(layer, half) for half in tf.split(x, 2)]
    for whole, *parts in zip(of_rows, *(rows for rows, _ in halves), strict=True):
        np.testing.assert_allclose(whole, tf.concat(parts, axis=0), rtol=0, atol=1e-6)
    for whole, *parts in zip(of_weights, *(weights for _, weights in halves), strict=True):
        expected = sum(part.numpy().astype("float64") for part in parts)
        np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def keeps_history(function, *arguments):
    """Whether each of the forward ops of a traced function keeps its history, its gradients' included."""
    graph = function.get_concrete_function(*arguments).graph
    return [op.get_attr("keep_history") for op in graph.get_operations() if op.type == "OstinatoLstmV1"]


def loss_of(layer, x):
    return tf.reduce_sum(tf.sin(layer(x)[0]))


@pytest.fixture
def lstm():
    return layer_of("LSTM", {"return_sequences": True}, 8)


X = tf.random.stateless_normal((2, TIME, FEATURES), seed=(3, 4))


def test_a_graph_keeps_history_only_where_a_tape_may_record_it(lstm):
    @tf.function
    def with_tape(x):
        with tf.GradientTape() as tape:
            loss = loss_of(lstm, x)
        return tape.gradient(loss, [weight.value for weight in lstm.trainable_weights])

    @tf.function
    def after_a_tape(x):
        with tf.GradientTape():
            pass
        return loss_of(lstm, x)

    assert keeps_history(with_tape, X) == [True]  # and no second forward op
    assert keeps_history(after_a_tape, X) == [False]


def test_a_call_outside_of_training_keeps_history_only_for_a_tape_that_watches(lstm, monkeypatch):
    kept = []
    forward = native._forward

    def seen(*arguments, keep_history):
        kept.append(keep_history)
        return forward(*arguments, keep_history=keep_history)

    monkeypatch.setattr(native, "_forward", seen)
    loss_of(lstm, X)
    with tf.GradientTape(watch_accessed_variables=False):
        loss_of(lstm, X)
    with tf.GradientTape() as tape:
        loss = loss_of(lstm, X)
    tape.gradient(loss, lstm.trainable_weights[0].value)
    assert kept == [False, False, True]  # and the gradient ran no op again


@pytest.mark.parametrize("graph", ["none", "around the tape", "within the tape", "traced before"])
def test_gradients_without_training_are_those_of_keras(lstm, graph):
    def gradients(layer):
        call = (
            tf.function(lambda x: loss_of(layer, x))
            if graph in ("within the tape", "traced before")
            else None
        )
        if graph == "traced before":
            call(X)

        def of(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = call(x) if call else loss_of(layer, x)
            return tape.gradient(loss, [x, *(weight.value for weight in layer.trainable_weights)])

        return tf.function(of)(X) if graph == "around the tape" else of(X)

    keras_loop = layers.LSTM(8, engine="keras", return_state=True, return_sequences=True)
    keras_loop.build((None, TIME, FEATURES))
    keras_loop.set_weights(lstm.get_weights())
    for ours, expected in zip(gradients(lstm), gradients(keras_loop), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_a_graph_traced_within_a_tape_keeps_history(lstm):
    call = tf.function(lambda x: loss_of(lstm, x))
    with tf.GradientTape():
        assert keeps_history(call, X) == [True]

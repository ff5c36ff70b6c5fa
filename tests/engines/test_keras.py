"""A sequence of one step skips Keras' loop and gives the same bits."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import ostinato.engines.keras as keras_engine
from ostinato.layers import GRU, LSTM, SimpleRNN

LAYERS = [
    (SimpleRNN, keras.layers.SimpleRNN, {}),
    (GRU, keras.layers.GRU, {}),
    (GRU, keras.layers.GRU, {"reset_after": False}),
    (LSTM, keras.layers.LSTM, {}),
    (LSTM, keras.layers.LSTM, {"use_bias": False, "go_backwards": True}),
    (LSTM, keras.layers.LSTM, {"activation": "relu"}),
]


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize(("ours", "stock", "options"), LAYERS)
def test_one_step_equals_kerass_loop_bit_for_bit(ours, stock, options, return_sequences, graph):
    options = {**options, "return_state": True, "return_sequences": return_sequences}
    layer, reference = ours(7, engine="keras", **options), stock(7, **options)
    x = tf.constant(np.random.default_rng(0).normal(size=(4, 1, 5)), "float32")
    state = [tf.constant(np.random.default_rng(1).normal(size=(4, 7)), "float32")] * len(layer.state_size)
    for each in (layer, reference):
        each.build((None, None, 5))
    reference.set_weights(layer.get_weights())
    run = tf.function if graph else (lambda function: function)
    results = run(lambda: layer(x, initial_state=state))(), run(lambda: reference(x, initial_state=state))()
    for a, b in zip(*results, strict=True):
        assert a.shape == b.shape
        np.testing.assert_array_equal(a, b)


def operations(layer, time, **call):
    """How many nodes a layer's graph has."""
    function = tf.function(lambda x: layer(x, **call))
    return len(function.get_concrete_function(tf.TensorSpec((2, time, 3))).graph.get_operations())


def test_only_a_static_single_step_without_mask_takes_the_shortcut():
    layer, mask = LSTM(4, engine="keras"), tf.constant([[True], [False]])
    layer.build((None, None, 3))
    assert operations(layer, 1) < operations(layer, 2)
    assert operations(layer, 1) < operations(layer, None)
    assert operations(layer, 1) < operations(layer, 1, mask=mask)


@pytest.mark.parametrize(("ours", "stock"), [(SimpleRNN, keras.layers.SimpleRNN), (LSTM, keras.layers.LSTM)])
def test_one_masked_step_keeps_the_state(ours, stock):
    layer, reference = ours(4, engine="keras", return_state=True), stock(4, return_state=True)
    x, mask = tf.ones((2, 1, 3)), tf.constant([[True], [False]])
    state = [tf.fill((2, 4), 0.5)] * len(layer.state_size)
    layer.build(x.shape)
    reference.build(x.shape)
    reference.set_weights(layer.get_weights())
    kept, expected = (each(x, mask=mask, initial_state=state) for each in (layer, reference))
    np.testing.assert_array_equal(kept[-1][1], state[-1][1])
    for a, b in zip(kept, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_dropout_acts_in_the_shortcut_as_in_the_loop():
    layer, reference = GRU(5, engine="keras", dropout=0.5, seed=3), keras.layers.GRU(5, dropout=0.5, seed=3)
    x = tf.ones((2, 1, 3))
    layer.build(x.shape)
    reference.build(x.shape)
    reference.set_weights(layer.get_weights())
    for training in (True, True, False):
        np.testing.assert_array_equal(layer(x, training=training), reference(x, training=training))


def test_longer_sequences_go_through_kerass_loop(monkeypatch):
    monkeypatch.setattr(LSTM, "keras_loop", lambda layer, *arguments: arguments)
    x = tf.ones((2, 3, 5))
    assert keras_engine.run(LSTM(4), x, [], None, True) == (x, [], None, True)

"""The textbook on a layer's own weights equals Keras' layer, whatever the length and the mode."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.layers import GRU, LSTM, SimpleRNN

from ..variants import examples

LAYERS = [
    (SimpleRNN, keras.layers.SimpleRNN, {}),
    (GRU, keras.layers.GRU, {"reset_after": False}),
    (GRU, keras.layers.GRU, {"reset_after": True}),
    (LSTM, keras.layers.LSTM, {}),
]


@settings(max_examples=examples(12, thorough=25))
@given(
    layers=st.sampled_from(LAYERS),
    engine=st.sampled_from(["auto", "keras", "scratch"]),
    use_bias=st.booleans(),
    return_sequences=st.booleans(),
    batch=st.integers(1, 3),
    time=st.integers(1, 5),
    units=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_every_engine_equals_the_stock_layer_in_outputs_states_and_gradients(
    layers, engine, use_bias, return_sequences, batch, time, units, seed
):
    ours, stock, options = layers
    options = {**options, "use_bias": use_bias, "return_sequences": return_sequences, "return_state": True}
    random = np.random.default_rng(seed)
    x = tf.constant(random.normal(size=(batch, time, 3)))
    states = [tf.constant(random.normal(size=(batch, units))) for _ in range(2 if ours is LSTM else 1)]
    layer, reference = (
        ours(units, engine=engine, dtype="float64", **options),
        stock(units, dtype="float64", **options),
    )
    layer.build(x.shape)
    layer.set_weights([random.normal(size=w.shape) for w in layer.get_weights()])
    reference.build(x.shape)
    reference.set_weights(layer.get_weights())
    pull = random.normal(size=units)

    results = []
    for each in (layer, reference):
        with tf.GradientTape() as tape:
            tape.watch([x, states])
            values = each(x, initial_state=states)
            loss = tf.add_n([tf.reduce_sum(pull * tf.sin(value)) for value in values])
        weights = [weight.value for weight in each.trainable_weights]
        results.append([*values, *tape.gradient(loss, [x, *states, *weights])])
    assert len(layer.trainable_weights) == 2 + use_bias
    for a, b in zip(*results, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("ours", "stock", "options"), LAYERS)
def test_scratch_runs_sequences_of_unknown_length_and_batch(ours, stock, options):
    inputs = keras.Input((None, 3))
    layer, reference = ours(4, engine="scratch", **options), stock(4, **options)
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, 4)
    reference.build((None, None, 3))
    reference.set_weights(layer.get_weights())
    graph = tf.function(model, input_signature=[tf.TensorSpec((None, None, 3))])
    for shape in [(2, 5, 3), (1, 1, 3), (3, 7, 3)]:
        x = np.random.default_rng(0).normal(size=shape).astype("float32")
        np.testing.assert_allclose(graph(x), reference(x), rtol=1e-4, atol=1e-6)


def test_a_state_of_one_row_goes_with_a_batch_of_unknown_size():
    layer = LSTM(4, engine="scratch")

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3))])
    def run(x):
        return layer(x, initial_state=[tf.zeros((1, 4)), tf.zeros((1, 4))])

    x = tf.ones((1, 5, 3))
    np.testing.assert_allclose(run(x), layer(x), rtol=1e-5)


def test_scratch_trains_a_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([GRU(8, engine="scratch", reset_after=False), keras.layers.Dense(1)])
    model.compile("adam", "mse", run_eagerly=True)
    x = np.random.default_rng(0).normal(size=(8, 3, 2)).astype("float32")
    losses = model.fit(x, x.sum((1, 2)), epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]

"""Layers in half precision run natively, as close to exact arithmetic as Keras' loop, up to two roundings.

The oracle is Keras' layer in float64, with the numbers that the dtype policy makes of weights and inputs.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ostinato
from ostinato import layers
from ostinato.engines import choose, native

from ..variants import examples
from .test_native import CELLS, SIZES, Case

pytestmark = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")

UNIT_ROUNDOFF = {"bfloat16": 2.0**-8, "float16": 2.0**-11}
ROUNDINGS = 2
"""Our error is at most Keras' and this many unit roundoffs of the array's largest number."""
POLICIES = ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16"]
MASKS = ["none", "right padding", "gaps"]


@st.composite
def cases(draw):
    cell, options = draw(st.sampled_from(CELLS))
    flags = ("use_bias", "return_sequences", "go_backwards")
    shape = {name: draw(st.sampled_from(SIZES[:9]), label=name) for name in ("batch", "features", "units")}
    return Case(
        cell,
        {**options, **{flag: draw(st.booleans(), label=flag) for flag in flags}},
        time=draw(st.integers(1, 4)),
        **shape,
        mask=draw(st.sampled_from(MASKS)),
        training=draw(st.booleans()),
        graph=draw(st.booleans()),
        seed=draw(st.integers(0, 99)),
    )


def rounded(array, dtype):
    return tf.cast(tf.cast(array, dtype), tf.float64).numpy()


def results(case, package, policy, weights, x, states, **options):
    """Outputs, states and the gradients of a sum, for x, states and weights, as float64."""
    layer = getattr(package, case.cell)(
        case.units, dtype=policy, return_state=True, **case.options, **options
    )
    if policy == "bfloat16" and package is keras.layers:  # Keras' orthogonal initializer fails there
        layer.cell.recurrent_initializer = keras.initializers.Zeros()
    layer.build(x.shape)
    layer.set_weights(weights)
    x, *states = (tf.cast(each, layer.compute_dtype) for each in (x, *states))

    def run():
        watched = [x, *states, *(weight.value for weight in layer.trainable_weights)]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            values = layer(x, initial_state=list(states), mask=case.mask_array(), training=case.training)
            loss = tf.add_n([tf.reduce_sum(tf.cast(value, tf.float64)) for value in values])
        return values, tape.gradient(loss, watched)

    values, gradients = (tf.function(run, autograph=False) if case.graph else run)()
    assert all(value.dtype == layer.compute_dtype for value in values)
    assert [each.dtype for each in gradients[1 + len(states) :]] == [w.dtype for w in layer.trainable_weights]
    return [tf.cast(each, tf.float64).numpy() for each in (*values, *gradients)]


@settings(max_examples=examples(3, thorough=60))
@given(cases(), st.sampled_from(POLICIES))
@example(Case("LSTM", {"return_sequences": True}, 3, 4, 5, 9), "mixed_bfloat16")
@example(Case("GRU", {"reset_after": False}, 3, 4, 5, 9, graph=True), "bfloat16")
def test_errors_are_at_most_those_of_kerass_loop_and_a_rounding(case, policy):
    dtype = keras.DTypePolicy(policy).compute_dtype
    weights = [rounded(weight, dtype) for weight in case.oracle().get_weights()]
    x, *states = (rounded(array, dtype) for array in (case.x(), *case.states()))
    exact, stock, ours = (
        results(case, package, name, weights, x, states, **options)
        for package, name, options in (
            (keras.layers, "float64", {}),
            (keras.layers, policy, {}),
            (layers, policy, {"engine": "native"}),
        )
    )
    for truth, keras_has, we_have in zip(exact, stock, ours, strict=True):
        largest = np.max(np.abs(truth), initial=1e-3)
        slack = ROUNDINGS * UNIT_ROUNDOFF[dtype] * largest
        assert np.abs(we_have - truth).max(initial=0) <= np.abs(keras_has - truth).max(initial=0) + slack


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("cell", ["SimpleRNN", "GRU", "LSTM"])
def test_choose_and_report_say_that_half_precision_is_native(cell, policy):
    layer = getattr(layers, cell)(3, dtype=policy)
    assert choose("auto", layer).engine == choose("native", layer).engine == "native"
    model = keras.Sequential([keras.Input((4, 2)), layer])
    assert [row.engine for row in ostinato.report(model, measure=False)] == ["native"]


@pytest.mark.parametrize("cell", ["SimpleRNN", "GRU", "LSTM"])
@pytest.mark.parametrize("rates", [{"dropout": 0.4}, {"dropout": 0.4, "recurrent_dropout": 0.3}])
def test_dropout_masks_are_those_of_kerass_loop(cell, rates):
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    ours, stock = (
        getattr(package, cell)(6, dtype="mixed_bfloat16", seed=1, **rates)
        for package in (layers, keras.layers)
    )
    for layer in (ours, stock):
        layer.build(x.shape)
    ours.set_weights(stock.get_weights())
    for layer in (ours, stock):
        layer.cell.seed_generator.state.assign([3, 4])
    found, expected = (tf.cast(layer(x, training=True), tf.float64) for layer in (ours, stock))
    np.testing.assert_allclose(found, expected, atol=0.05)
    assert np.ptp(expected) > 0.2  # other masks would show


def test_a_stateful_stack_in_two_directions_runs_over_token_ids_and_masks_too():
    def cells():
        return [
            keras.layers.LSTMCell(4, dtype="mixed_float16"),
            keras.layers.GRUCell(3, dtype="mixed_float16"),
        ]

    x, mask = np.random.default_rng(0).normal(size=(2, 5, 3)), np.arange(5)[None] < [[5], [2]]
    pairs = []
    for package in (layers, keras.layers):
        stack = keras.layers.StackedRNNCells(cells(), dtype="mixed_float16")
        inner = package.RNN(stack, stateful=True, return_sequences=True, dtype="mixed_float16")
        pairs.append(keras.layers.Bidirectional(inner, dtype="mixed_float16"))
        pairs[-1].build(x.shape)
    pairs[0].set_weights(pairs[1].get_weights())
    assert choose("auto", pairs[0].forward_layer, masked=True).engine == "native"
    for _ in range(2):  # the second starts from the states of the first
        np.testing.assert_allclose(*(pair(x, mask=mask) for pair in pairs), atol=5e-3)
    layer = layers.LSTM(4, return_sequences=True, return_state=True, dtype="mixed_float16")
    layer.build((2, 5, 3))
    ids, states = np.array([[0, 2, 1], [1, 1, 0]]), [tf.ones((2, 4), tf.float16)] * 2
    over_ids = layer.over_ids(ids, 3, initial_state=states)
    over_vectors = layer(tf.one_hot(ids, 3), initial_state=states)
    for one, other in zip(over_ids, over_vectors, strict=True):
        assert one.dtype == tf.float16
        np.testing.assert_array_equal(one, other)


def test_second_derivatives_come_out():
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    kernels = []
    layer = layers.LSTM(4, dtype="mixed_float16")
    layer.build(x.shape)
    for policy in ("mixed_float16", "float64"):
        each = layer if policy != "float64" else keras.layers.LSTM(4, dtype=policy)
        each.build(x.shape)
        each.set_weights([rounded(weight, "float16") for weight in layer.get_weights()])
        given = tf.cast(tf.cast(x, "float16"), each.compute_dtype)
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(given)
                y = each(given, training=True)
            penalty = tf.reduce_sum(tf.square(tf.cast(inner.gradient(y, given), tf.float64)))
        kernels.append(tf.cast(outer.gradient(penalty, each.trainable_weights[0].value), tf.float64))
    np.testing.assert_allclose(*kernels, atol=1e-2 * np.abs(kernels[1]).max())


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_fit_learns_as_with_kerass_loop_and_scales_the_loss_of_float16(policy):
    random = np.random.default_rng(0)
    x = random.normal(size=(32, 5, 3)).astype("float32")
    y = x[:, :, 0].sum(1)
    losses = []
    for engine in ("native", "keras"):
        keras.utils.set_random_seed(1)
        recurrent = layers.GRU(8, dtype=policy, engine=engine)
        model = keras.Sequential([keras.Input((5, 3)), recurrent, keras.layers.Dense(1, dtype="float32")])
        optimizer = keras.optimizers.Adam(0.02)
        if policy == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**10)
        model.compile(optimizer, "mse", run_eagerly=engine == "keras")  # XLA takes long for so few steps
        losses.append(model.fit(x, y, epochs=6, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=0.03)
    assert losses[0][-1] < 0.8 * losses[0][0]


@pytest.mark.parametrize("wrap", [lambda layer: layer, lambda layer: keras.layers.Bidirectional(layer)])
def test_a_layer_in_pure_bfloat16_is_built_with_the_initial_weights_of_float32_rounded(wrap, tmp_path):
    made = []
    for dtype in ("bfloat16", "float32"):
        initial = keras.initializers.Orthogonal(seed=3)
        made.append(wrap(layers.LSTM(4, dtype=dtype, recurrent_initializer=initial)))
        made[-1].build((None, 5, 3))
    half, single = (layer.weights[1] for layer in made)
    assert half.dtype == "bfloat16"
    np.testing.assert_array_equal(tf.cast(half.value, tf.float64), rounded(single.value, "bfloat16"))
    model = keras.Sequential([keras.Input((5, 3)), made[0]])
    model.save(tmp_path / "model.keras")
    loaded, x = keras.models.load_model(tmp_path / "model.keras"), np.ones((2, 5, 3))
    np.testing.assert_array_equal(*(tf.cast(each(x), tf.float32) for each in (loaded, model)))


@pytest.mark.parametrize("policy", POLICIES[:2])
def test_an_accelerated_model_agrees_within_the_rounding_of_its_dtype(policy):
    model = keras.Sequential(
        [keras.Input((6, 3)), keras.layers.LSTM(9, dtype=policy), keras.layers.Dense(1, dtype=policy)]
    )
    model.compile("sgd", "mse")
    copy = ostinato.accelerate(model)
    x = np.random.default_rng(0).normal(size=(4, 6, 3))
    np.testing.assert_allclose(*(tf.cast(each(x), tf.float32) for each in (model, copy)), atol=0.05)


def test_a_layer_whose_dtype_was_changed_apart_from_its_cells_stays_with_kerass_loop():
    layer = layers.LSTM(3)
    layer.dtype_policy = "mixed_bfloat16"
    assert "one dtype, and it has 'mixed_bfloat16' and 'float32'" in choose("auto", layer).reason

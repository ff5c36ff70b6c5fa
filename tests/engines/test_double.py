"""Layers in float64 run natively, and compute what Keras' own loop does within the rounding of float64.

The oracle is the stock Keras layer with the same dtype, weights and inputs.
"""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ostinato import layers
from ostinato.engines import activations, choose, library, native
from ostinato.interop.keras.legacy import keras2_hard_sigmoid

from ..variants import examples, thorough
from .test_native import CELLS, Case, cases, values_and_gradients

pytestmark = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")

# Of the largest number: a few sums over the sizes here.
ROUNDING = 1e-12
GATED = [("GRU", {"reset_after": True}), ("GRU", {"reset_after": False}), ("LSTM", {})]
NAMES = list(activations.FUNCTIONS)


def both(case, **options):
    """A layer of ostinato's and one of Keras', with the same weights, which float32 does not have."""
    ours = case.layer(layers, "float64", engine="native", **options)
    stock = case.layer(keras.layers, "float64", **options)
    for layer in (ours, stock):
        layer.set_weights([weight * (1 + 1e-9) for weight in stock.get_weights()])
    return ours, stock


def inputs(case):
    return [tf.constant(np.float64(array) / 3) for array in (case.x(), *case.states())]


def assert_same(found, expected):
    for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        assert a.dtype == b.dtype == tf.float64
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=ROUNDING, atol=ROUNDING * np.abs(b).max(initial=1e-3))


def compare(case, **options):
    ours, stock = both(case, **options)
    mask, training = case.mask_array(), case.training

    def results(layer, graph):
        call = lambda given: layer(given[0], given[1:], mask=mask, training=training)  # noqa: E731
        return values_and_gradients(layer, call, inputs(case), graph)

    assert_same(results(ours, case.graph), results(stock, graph=False))


@settings(max_examples=examples(25, thorough=100))
@given(cases())
@example(Case("LSTM", {"return_sequences": True}, 33, 17, 31, 65, mask="gaps"))
@example(Case("GRU", {"reset_after": False}, 1, 1, 1, 1))
@example(Case("GRU", {"reset_after": True, "return_sequences": True}, 5, 13, 3, 130, mask="right padding"))
@example(Case("SimpleRNN", {"go_backwards": True, "return_sequences": True}, 70, 3, 90, 17, mask="gaps"))
def test_outputs_states_and_gradients_are_those_of_kerass_loop(case):
    compare(case)


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
@pytest.mark.parametrize(("cell", "own"), [("SimpleRNN", {}), *GATED])
def test_so_they_are_with_every_activation_in_each_place(cell, own, number):
    of_name = lambda name: keras2_hard_sigmoid if name.startswith("keras2") else name  # noqa: E731
    chosen = {"activation": of_name(NAMES[number])}
    if cell != "SimpleRNN":
        chosen["recurrent_activation"] = of_name(NAMES[(number + 3) % len(NAMES)])
    form = {"go_backwards": number % 2 == 0, "return_sequences": number % 3 > 0}
    masks = ("none", "gaps", "left padding")
    compare(Case(cell, {**own, **chosen, **form}, 4, 4, 3, 7, mask=masks[number % 3], seed=number))


@pytest.mark.parametrize(
    "rates", [{"dropout": 0.4}, {"recurrent_dropout": 0.3}, {"dropout": 0.4, "recurrent_dropout": 0.3}]
)
@pytest.mark.parametrize("mask", ["none", "gaps"])
@pytest.mark.parametrize(("cell", "options"), CELLS)
def test_the_dropout_masks_are_kerass(cell, options, mask, rates):
    compare(Case(cell, {**options, **rates, "return_sequences": True}, 5, 4, 3, 9, mask=mask), seed=3)


@settings(max_examples=examples(10, thorough=40))
@given(cases())
def test_token_ids_give_what_their_one_hot_vectors_give(case):
    ours, stock = both(case)
    mask = case.mask_array()
    one_hot = tf.one_hot(case.ids(), case.features, dtype=tf.float64)

    def flat(results):
        last, outputs, states = results
        return [last, outputs, *states]

    def over_ids(states):
        return flat(native.run_ids(ours, case.ids(), states, mask, case.training))

    def over_vectors(states):
        masked = None if mask is None else tf.constant(mask)
        return flat(stock.inner_loop(one_hot, states, masked, training=case.training))

    states = inputs(case)[1:]
    found = values_and_gradients(ours, over_ids, states, case.graph)
    assert_same(found, values_and_gradients(stock, over_vectors, states))


@pytest.mark.thorough
@settings(max_examples=examples(6, thorough=20))
@given(cases(), st.booleans())
def test_second_derivatives_are_those_of_kerass_loop(case, in_graph):
    case = dataclasses.replace(
        case, batch=min(case.batch, 3), time=min(case.time, 3), units=min(case.units, 9)
    )
    mask = case.mask_array()

    def penalty_gradients(layer):
        x, *states = inputs(case)
        weights = [weight.value for weight in layer.trainable_weights]

        def run():
            with tf.GradientTape() as outer:
                outer.watch([x, *states])
                with tf.GradientTape() as inner:
                    inner.watch([x, *states])
                    y, *_ = layer(x, states, mask=mask, training=case.training)
                    loss = tf.reduce_sum(tf.sin(y))
                penalty = tf.reduce_sum(tf.square(inner.gradient(loss, x)))
            return outer.gradient(penalty, [x, *states, *weights], unconnected_gradients="zero")

        return (tf.function(run, autograph=False) if in_graph else run)()

    ours, stock = both(case)
    assert_same(penalty_gradients(ours), penalty_gradients(stock))


@pytest.mark.parametrize(("cell", "options"), CELLS)
def test_results_have_the_same_bits_for_any_number_of_threads(cell, options, request):
    case = Case(cell, {**options, "return_sequences": True}, 37, 6, 20, 70, mask="gaps")
    layer, mask = case.layer(layers, "float64", engine="native"), case.mask_array()
    set_threads = library.loaded().functions.ostinato_set_threads
    request.addfinalizer(lambda: set_threads(native.threads()))

    def results(threads):
        set_threads(threads)
        call = lambda given: layer(given[0], given[1:], mask=mask, training=True)  # noqa: E731
        return tf.nest.flatten(values_and_gradients(layer, call, inputs(case)))

    one = results(1)
    for threads in (2, 3, 5):
        for a, b in zip(results(threads), one, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("batch", "time"), [(0, 3), (2, 0)])
@pytest.mark.parametrize(("cell", "options"), CELLS)
def test_without_rows_or_steps_the_state_passes_through(cell, options, batch, time):
    case = Case(cell, options, batch, time, features=3, units=4)
    layer = case.layer(layers, "float64", engine="native")
    x, *states = inputs(case)
    with tf.GradientTape() as tape:
        tape.watch(states)
        _, _, after = native.run(layer, x, states, None, training=True)
        loss = tf.add_n([tf.reduce_sum(state) for state in after])
    assert_same(after, states)
    assert_same(tape.gradient(loss, states), [tf.ones_like(state) for state in states])


@pytest.mark.parametrize(("cell", "options"), CELLS)
def test_what_masked_steps_hold_has_no_influence(cell, options):
    case = Case(cell, {**options, "return_sequences": True}, 3, 5, 4, 6, mask="gaps")
    layer, mask = case.layer(layers, "float64", engine="native"), case.mask_array()
    x, *states = inputs(case)

    def results(x):
        call = lambda given: layer(x, given, mask=mask, training=True)  # noqa: E731
        return values_and_gradients(layer, call, states)

    unlike = tf.where(mask[..., None], x, np.nan)
    for a, b in zip(tf.nest.flatten(results(unlike)), tf.nest.flatten(results(x)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cell", [thorough("SimpleRNN"), "GRU", thorough("LSTM")])
def test_a_model_in_float64_trains_saves_and_loads_as_with_kerass_loop(cell, tmp_path):
    def model_of(package):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((5, 3), dtype="float64"),
                keras.layers.Masking(dtype="float64"),
                keras.layers.Bidirectional(
                    getattr(package, cell)(6, return_sequences=True, dtype="float64"), dtype="float64"
                ),
                getattr(package, cell)(4, dtype="float64"),
                keras.layers.Dense(1, dtype="float64"),
            ]
        )
        model.compile("adam", "mse")
        return model

    ours, stock = model_of(layers), model_of(keras.layers)
    ours.set_weights(stock.get_weights())
    random = np.random.default_rng(0)
    x, y = random.normal(size=(16, 5, 3)), random.normal(size=(16, 1))
    x[::3, 3:] = 0
    for model in (ours, stock):
        model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    np.testing.assert_allclose(ours.predict(x, verbose=0), stock.predict(x, verbose=0), rtol=1e-6)
    assert choose("auto", ours.layers[-2]).engine == "native"
    tf.saved_model.save(ours, str(tmp_path / "saved"))
    graph = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    [name] = graph.structured_input_signature[1]
    [served] = graph(**{name: tf.constant(x)}).values()
    np.testing.assert_allclose(served, ours(x), rtol=1e-12)


def test_sizes_that_do_not_fit_are_refused_with_one_sentence():
    layer = Case("LSTM", {}, 2, 3, 4, 5).layer(layers, "float64", engine="native")
    states = [tf.zeros((2, 5), tf.float64)] * 2
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"x has shape \(2, 3, 7\), but \(2, 3, 4\)"):
        native.run(layer, tf.zeros((2, 3, 7), tf.float64), states, None, training=False)

"""Every activation of the native engine, in every place of every cell, computes what Keras' own loop does.

The oracle is the stock Keras layer in float64, with the same float32 numbers as weights and inputs. All pairs
of activations, against equations by hand in double precision, are in `tests/native`.
"""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato import layers
from ostinato.engines import activations, choose, native
from ostinato.errors import EngineError
from ostinato.interop.keras.legacy import keras2_hard_sigmoid

from .. import forks
from ..variants import thorough

needs_library = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")

KERAS2 = "keras2_hard_sigmoid"
NAMES = list(activations.FUNCTIONS)
# Rare for any of these: a value where a slope jumps, on whose other side float64 may be.
GATED = [("GRU", {"reset_after": True}), ("GRU", {"reset_after": False}), ("LSTM", {})]
# Sizes of a batch, and what is special of a call.
FORMS = [
    {"units": 7, "masked": True, "return_sequences": True},
    {"units": 1, "time": 1},
    {
        "units": 33,
        "go_backwards": True,
        "return_sequences": True,
        "zero_output_for_mask": True,
        "masked": True,
    },
    {"units": 9, "use_bias": False, "training": False},
]
PAIRS = list(itertools.product(NAMES, NAMES))


def of_name(name):
    return keras2_hard_sigmoid if name == KERAS2 else name


def chosen(activation, recurrent_activation=None):
    options = {"activation": of_name(activation)}
    return options | ({"recurrent_activation": of_name(recurrent_activation)} if recurrent_activation else {})


def layer_of(package, cell, dtype, units, batch_shape, **options):
    ours = {"engine": "native"} if package is layers else {}
    layer = getattr(package, cell)(units, dtype=dtype, return_state=True, **ours, **options)
    layer.build(batch_shape)
    # Small, since without bounds values grow from step to step.
    draw = np.random.default_rng(1)
    scale = 0.5 / np.sqrt(batch_shape[-1] + units)
    layer.set_weights([(draw.normal(size=w.shape) * scale).astype("float32") for w in layer.weights])
    return layer


def drawn(dtype, *shape, seed=2):
    return tf.constant(np.random.default_rng(seed).normal(size=shape).astype("float32"), dtype)


def total(values):
    """A sum with another weight for each element, so that no derivative is the same by accident."""
    pulls = [tf.cos(tf.cast(tf.range(tf.size(value)), value.dtype)) for value in values]
    return tf.add_n(
        [tf.reduce_sum(tf.reshape(v, [-1]) * pull) for v, pull in zip(values, pulls, strict=True)]
    )


def inputs(cell, dtype, batch, time, features, units):
    states = [drawn(dtype, batch, units, seed=3 + n) for n in range(2 if cell == "LSTM" else 1)]
    return [drawn(dtype, batch, time, features), *states]


def values_and_gradients(layer, call, watched):
    weights = [weight.value for weight in layer.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        values = tf.nest.flatten(call(watched))
        loss = total(values)
    return [*values, *tape.gradient(loss, [*watched, *weights])]


def assert_close(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        tolerance = 1e-5 * max(1, np.abs(b).max(initial=0))
        np.testing.assert_allclose(np.float64(a), np.float64(b), rtol=0, atol=tolerance)


def compare(cell, *, batch=4, time=4, features=3, units=7, masked=False, training=True, **options):
    mask = tf.constant(np.random.default_rng(0).random((batch, time)) < 0.7) if masked else None

    def results(package, dtype):
        layer = layer_of(package, cell, dtype, units, (batch, time, features), **options)
        call = lambda given: layer(given[0], given[1:], mask=mask, training=training)  # noqa: E731
        return values_and_gradients(layer, call, inputs(cell, dtype, batch, time, features, units))

    assert_close(results(layers, "float32"), results(keras.layers, "float64"))


def one_of_each(number, *case):
    """Every run takes each activation once in each place; `--thorough` all pairs."""
    activation, recurrent_activation = number % len(NAMES), number // len(NAMES)
    return case if recurrent_activation == (activation + 3) % len(NAMES) else thorough(*case)


@needs_library
@pytest.mark.parametrize(("cell", "own"), GATED)
@pytest.mark.parametrize(
    ("recurrent_activation", "activation", "form"),
    [one_of_each(n, *pair, FORMS[n % len(FORMS)]) for n, pair in enumerate(PAIRS)],
)
def test_gated_cells_compute_what_kerass_loop_does(cell, own, recurrent_activation, activation, form):
    compare(cell, **own, **chosen(activation, recurrent_activation), **form)


@needs_library
@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_the_plain_network_does_too(number):
    compare("SimpleRNN", **chosen(NAMES[number]), **FORMS[number % len(FORMS)])


SOME = [
    ("SimpleRNN", chosen("silu")),
    ("GRU", {"reset_after": True, **chosen("elu", "hard_sigmoid")}),
    ("GRU", {"reset_after": False, **chosen("softsign", KERAS2)}),
    ("LSTM", chosen("relu", "hard_sigmoid")),
]
some = pytest.mark.parametrize(("cell", "options"), SOME)


@needs_library
@some
def test_token_ids_give_what_their_one_hot_vectors_give(cell, options):
    batch, time, symbols, units = 3, 4, 5, 7
    ids = np.random.default_rng(0).integers(0, symbols, (batch, time))
    ours = layer_of(layers, cell, "float32", units, (batch, time, symbols), **options, return_sequences=True)
    stock = layer_of(
        keras.layers, cell, "float64", units, (batch, time, symbols), **options, return_sequences=True
    )
    one_hot = tf.one_hot(ids, symbols, dtype=tf.float64)

    def over_ids(states):
        return ours.over_ids(ids, symbols, initial_state=states, training=True)

    found = values_and_gradients(ours, over_ids, inputs(cell, "float32", batch, 1, 1, units)[1:])
    states = inputs(cell, "float64", batch, 1, 1, units)[1:]
    assert_close(found, values_and_gradients(stock, lambda states: stock(one_hot, states), states))


@needs_library
@some
def test_dropout_masks_are_kerass(cell, options):
    shape = batch, time, features = 4, 5, 3

    def results(package):
        layer = layer_of(
            package, cell, "float32", 7, shape, dropout=0.4, recurrent_dropout=0.3, seed=3, **options
        )
        call = lambda given: layer(given[0], given[1:], training=True)  # noqa: E731
        return values_and_gradients(layer, call, inputs(cell, "float32", batch, time, features, 7))

    assert_close(results(layers), results(keras.layers))


@needs_library
@some
def test_gradients_do_not_depend_on_the_history_being_kept_nor_on_the_number_of_threads(
    cell, options, request
):
    before, set_threads = native.threads(), native.found().functions.ostinato_set_threads
    request.addfinalizer(lambda: set_threads(before))
    shape = batch, time, features = 13, 9, 17
    mask = np.random.default_rng(0).random((batch, time)) < 0.7
    layer = layer_of(layers, cell, "float32", 65, shape, return_sequences=True, **options)
    watched = inputs(cell, "float32", batch, time, features, 65)

    def results(training):
        call = lambda given: layer(given[0], given[1:], mask=mask, training=training)  # noqa: E731
        return values_and_gradients(layer, call, watched)

    set_threads(1)
    alone = results(True)
    for threads, training in ((1, False), (2, True), (3, False), (8, True)):
        set_threads(threads)
        for a, b in zip(results(training), alone, strict=True):
            np.testing.assert_array_equal(a, b)


@needs_library
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cell", ["SimpleRNN", "GRU", "LSTM"])
def test_extreme_inputs_give_what_keras_gives_and_nan_stays_nan(cell, name):
    gates = () if cell == "SimpleRNN" else ("sigmoid",)
    for options in [chosen(name, *gates)] + [chosen("tanh", name) for _ in gates]:
        shape = (5, 1, 1)
        ours, stock = (
            layer_of(each, cell, "float32", 17, shape, **options) for each in (layers, keras.layers)
        )
        x = np.float32([1e4, -1e4, 1e-30, 0, -80]).reshape(shape)
        found, expected = (np.asarray(layer(x)[0]) for layer in (ours, stock))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        x[2] = np.nan
        output = np.asarray(ours(x)[0])
        assert np.isnan(output[2]).all()
        assert np.isfinite(np.delete(output, 2, axis=0)).all()


def second_derivatives(layer, call, watched):
    with tf.GradientTape() as second:
        second.watch(watched)
        with tf.GradientTape() as first:
            first.watch(watched)
            loss = total(tf.nest.flatten(call(watched)))
        gradients = first.gradient(loss, watched)
        result = total([tf.sin(gradient) for gradient in gradients])
    return [*gradients, *second.gradient(result, watched)]


@needs_library
@pytest.mark.parametrize(
    ("cell", "options", "graph"),
    [(*case, False) for case in SOME] + [thorough(*case, True) for case in SOME[:-1]] + [(*SOME[-1], True)],
)
def test_second_derivatives_are_those_of_kerass_loop(cell, options, graph):
    batch, time, features, units = 2, 2, 2, 3

    def results(package, dtype, *, graph):
        # TensorFlow cannot differentiate its own op of softsign twice.
        given = options
        if package is keras.layers and options["activation"] == "softsign":
            given = options | {"activation": lambda x: x / (1 + keras.ops.abs(x))}
        layer = layer_of(package, cell, dtype, units, (batch, time, features), **given)
        call = lambda given: layer(given[0], given[1:], training=True)  # noqa: E731
        run = lambda: second_derivatives(  # noqa: E731
            layer, call, inputs(cell, dtype, batch, time, features, units)
        )
        return (tf.function(run) if graph else run)()

    assert_close(results(layers, "float32", graph=graph), results(keras.layers, "float64", graph=False))


def ops_of(layer):
    graph = tf.function(layer).get_concrete_function(tf.TensorSpec((2, 3, 4))).graph
    return [op for op in graph.get_operations() if op.type.startswith("Ostinato")]


@needs_library
@pytest.mark.parametrize(
    ("layer", "op", "attributes"),
    [
        (layers.SimpleRNN(2, activation="relu"), "OstinatoRnnV1", {"activation": b"relu"}),
        (layers.SimpleRNN(2, activation=None), "OstinatoRnnV1", {"activation": b"linear"}),
        (layers.SimpleRNN(2, activation="swish"), "OstinatoRnnV2", {"activation": b"silu"}),
        (layers.GRU(2), "OstinatoGruV1", {}),
        (
            layers.GRU(2, recurrent_activation="hard_sigmoid"),
            "OstinatoGruV2",
            {"activation": b"tanh", "recurrent_activation": b"hard_sigmoid"},
        ),
        (layers.LSTM(2, activation=keras.activations.tanh), "OstinatoLstmV1", {}),
        (
            layers.LSTM(2, activation=None, recurrent_activation=keras2_hard_sigmoid),
            "OstinatoLstmV2",
            {"activation": b"linear", "recurrent_activation": KERAS2.encode()},
        ),
    ],
)
def test_the_first_op_has_the_textbooks_activations_and_the_second_all(layer, op, attributes):
    (found,) = ops_of(layer)
    assert found.type == op
    names = {name for name in native._attributes(found) if "activation" in name}
    assert {name: found.get_attr(name) for name in names} == attributes


def relu(x):
    """A function of the user's that is called like Keras'."""
    return keras.ops.maximum(x, -1)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (
            {"activation": relu},
            r"the layer's activation is relu of .*test_activations, and it has Keras' elu, ",
        ),
        (
            {"recurrent_activation": "softplus"},
            "recurrent_activation is softplus of keras.*softsign and tanh",
        ),
        ({"activation": functools.partial(keras.activations.relu, max_value=1)}, "is partial of functools"),
        ({"activation": keras.layers.ReLU(max_value=1)}, r"is ReLU of keras"),
        ({"activation": keras.layers.LeakyReLU()}, r"is LeakyReLU of keras"),
        ({"activation": tf.nn.relu}, "is relu of tensorflow"),
    ],
)
@needs_library
def test_functions_that_are_not_kerass_own_stay_with_kerass_loop(options, named):
    layer = layers.LSTM(2, **options)
    assert choose("auto", layer).engine == "keras"
    with pytest.raises(EngineError, match=named):
        choose("native", layer)
    assert layer(np.ones((1, 2, 3), "float32")).shape == (1, 2)


@needs_library
def test_a_layer_keeps_its_activations_in_a_file(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((4, 3)),
            layers.GRU(5, engine="native", **chosen("swish", KERAS2)),
            keras.layers.Dense(1),
        ]
    )
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert activations.names_of(loaded.layers[0]) == {"activation": "silu", "recurrent_activation": KERAS2}
    np.testing.assert_array_equal(loaded(x), model(x))


@pytest.mark.thorough
@needs_library
def test_a_saved_model_with_the_second_op_computes_and_trains_after_loading(tmp_path):
    layer = layer_of(layers, "LSTM", "float32", 6, (3, 5, 4), **chosen("elu", "hard_sigmoid"))
    module = tf.Module()
    module.weights = [weight.value for weight in layer.weights]
    module.run = tf.function(lambda x: layer(x)[0], input_signature=[tf.TensorSpec((None, None, 4))])
    tf.saved_model.save(module, str(tmp_path / "saved"))
    loaded, x = tf.saved_model.load(str(tmp_path / "saved")), drawn("float32", 3, 5, 4)
    gradients = []
    for each in (module, loaded):
        with tf.GradientTape() as tape:
            result = each.run(x)
        gradients.append([result, *tape.gradient(result, each.weights)])
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_array_equal(a, b)
    code = (
        "import sys, ostinato, tensorflow as tf\n"
        "loaded = tf.saved_model.load(sys.argv[1])\n"
        "print(loaded.run(tf.ones((2, 3, 4))).shape)"
    )
    assert forks.run("-c", code, tmp_path / "saved", check=True).stdout.strip() == "(2, 6)"


@needs_library
def test_an_op_refuses_an_activation_that_it_does_not_have():
    nothing, layer = tf.zeros([0]), {"kernel": tf.zeros((3, 4)), "recurrent": tf.zeros((4, 4))}
    with pytest.raises(
        (tf.errors.InvalidArgumentError, ValueError),
        match=r"activation must be one of tanh, relu, .*silu, got 'gelu'",
    ):
        native.found().ops.ostinato_rnn_v2(
            x=tf.zeros((2, 5, 3)), h0=tf.zeros((2, 4)), **layer, bias=nothing, activation="gelu",
            mask=tf.constant([], tf.bool), input_dropout=nothing, recurrent_dropout=nothing,
        )  # fmt: skip

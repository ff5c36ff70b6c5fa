"""SimpleRNN, GRU and LSTM do what Keras' own do, whatever the option, and so does Bidirectional around them.

Every expectation is what the stock Keras layer does with the same options, weights, seeds and inputs.
"""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato import layers
from ostinato.engines import choose, native

from ..variants import one_each, thorough

CELLS = ["SimpleRNN", "GRU", "LSTM"]
BATCH, TIME, FEATURES, UNITS = 3, 3, 4, 6
OUTPUTS, GRADIENTS = 1e-5, 1e-4
ROUNDINGS = {tf.float16: 16 * 2.0**-11, tf.bfloat16: 16 * 2.0**-8}  # Keras' loop rounds after each small op


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


X = random(BATCH, TIME, FEATURES)
LENGTHS = np.array([3, 1, 2])
PADDED = np.arange(TIME) < LENGTHS[:, np.newaxis]
GAPS = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]], bool)


def wave(x):
    """An activation that is the user's own."""
    return keras.ops.sin(x)


class Halved(keras.constraints.Constraint):
    """A constraint that is the user's own."""

    def __call__(self, w):
        return w / 2


NORMAL = keras.initializers.RandomNormal(stddev=0.2, seed=5)

# For every argument of the constructors the values it is tested with, and the engine that "auto" then is.
OPTIONS = [
    ("units", 1, "native"),
    ("units", 17, "native"),
    ("activation", "tanh", "native"),
    ("activation", "elu", "native"),
    ("activation", None, "native"),
    ("activation", "relu", "native"),
    ("activation", "gelu", "keras"),
    ("activation", keras.activations.tanh, "native"),
    ("activation", wave, "keras"),
    ("recurrent_activation", "sigmoid", "native"),
    ("recurrent_activation", "hard_sigmoid", "native"),
    ("recurrent_activation", keras.activations.softplus, "keras"),
    ("use_bias", False, "native"),
    ("kernel_initializer", NORMAL, "native"),
    ("recurrent_initializer", NORMAL, "native"),
    ("bias_initializer", NORMAL, "native"),
    ("unit_forget_bias", False, "native"),
    ("unit_forget_bias", True, "native"),
    ("kernel_regularizer", "l2", "native"),
    ("recurrent_regularizer", keras.regularizers.L1L2(0.01, 0.02), "native"),
    ("bias_regularizer", "l1", "native"),
    ("activity_regularizer", keras.regularizers.L2(0.1), "native"),
    ("kernel_constraint", "non_neg", "native"),
    ("recurrent_constraint", keras.constraints.MaxNorm(0.5), "native"),
    ("bias_constraint", Halved(), "native"),
    ("dropout", 0.4, "native"),
    ("recurrent_dropout", 0.3, "native"),
    ("seed", 11, "native"),
    ("return_sequences", True, "native"),
    ("return_state", False, "native"),
    ("return_state", True, "native"),
    ("go_backwards", True, "native"),
    ("stateful", True, "native"),
    ("unroll", True, "native"),
    ("reset_after", False, "native"),
    ("reset_after", True, "native"),
    ("use_cudnn", False, "native"),
    ("zero_output_for_mask", True, "native"),
    ("name", "recurrence", "native"),
    ("trainable", False, "native"),
    ("autocast", False, "native"),
    ("dtype", "float32", "native"),
    ("dtype", "float64", "native"),
    ("dtype", "float16", "native"),
    ("dtype", "mixed_float16", "native"),
    ("dtype", "mixed_bfloat16", "native"),
    ("dtype", keras.DTypePolicy("mixed_float16"), "native"),
]
# What makes the value of another argument visible.
ALONG = {
    "seed": {"dropout": 0.4, "recurrent_dropout": 0.3},
    "dropout": {"seed": 3},
    "recurrent_dropout": {"seed": 3},
    "zero_output_for_mask": {"return_sequences": True},
    "go_backwards": {"return_sequences": True},
    "bias_regularizer": {"bias_initializer": NORMAL},
}


def parameters(function):
    given = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in given if p.kind is not p.VAR_KEYWORD and p.name != "self"}


def takes(cell, option):
    """Whether the Keras layer has an argument, as its own or as one it hands on."""
    inherited = {**parameters(keras.layers.RNN.__init__), **parameters(keras.layers.Layer.__init__)}
    return option in {**parameters(getattr(keras.layers, cell).__init__), **inherited}


def named(value):
    """A name that is the same in every process, unlike how objects print."""
    plain = isinstance(value, (str, int, float, bool, type(None)))
    return value if plain else getattr(value, "__name__", type(value).__name__)


CASES = [
    pytest.param(
        cell,
        {**ALONG.get(option, {}), option: value},
        engine,
        id=f"{cell}-{option}-{named(value)}",
    )
    for cell in CELLS
    for option, value, engine in OPTIONS
    if takes(cell, option)
]


def pair(cell, **options):
    """Our layer and Keras', built, with the same weights."""
    options = {"units": UNITS, "return_state": True, "name": "recurrent", **options}
    ours, stock = (getattr(package, cell)(**options) for package in (layers, keras.layers))
    for layer in (ours, stock):
        layer.build((BATCH, TIME, FEATURES))
    share_weights(ours, stock)
    return ours, stock


def share_weights(*all_layers):
    weights = [random(*w.shape, seed=n) / 2 for n, w in enumerate(all_layers[0].get_weights())]
    for layer in all_layers:
        layer.set_weights(weights)


def run(layer, x=X, **call):
    """What a layer returns, its losses, and the gradients for the input, a given state and the weights."""
    x = tf.convert_to_tensor(x)
    given = [tensor for tensor in tf.nest.flatten(call.get("initial_state")) if tf.is_tensor(tensor)]
    weights = [weight.value for weight in layer.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch([tensor for tensor in (x, *given) if tensor.dtype.is_floating])
        values = [*tf.nest.flatten(layer(x, **call)), *layer.losses]
        total = tf.add_n([tf.reduce_sum(pulled(tf.cast(value, tf.float64))) for value in values])
    return values, tape.gradient(total, [x, *given, *weights])


def pulled(value):
    """Another weight for each element, so that no gradient is the same by accident."""
    pull = tf.cos(tf.cast(tf.range(tf.size(value)), value.dtype))
    return tf.sin(value) * tf.reshape(pull, tf.shape(value))


def assert_same(results, expected):
    (values, gradients), (expected_values, expected_gradients) = results, expected
    assert [value.dtype for value in values] == [value.dtype for value in expected_values]
    rounding = ROUNDINGS.get(values[0].dtype, 0.0)
    for a, b in zip(values, expected_values, strict=True):
        assert_within(max(OUTPUTS, rounding), a, b)
    for a, b in zip(gradients, expected_gradients, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert_within(max(GRADIENTS, rounding) * np.abs(np.float64(b)).max(initial=0) + 1e-6, a, b)


def assert_within(tolerance, a, b):
    assert a.shape == b.shape
    np.testing.assert_allclose(np.float64(a), np.float64(b), rtol=0, atol=tolerance)


def assert_engine(layer, expected):
    assert choose("auto", layer).engine == (expected if native.available() else "keras")


def test_every_argument_of_kerass_layers_is_among_those_tested_here():
    known = {option for option, _, _ in OPTIONS}
    for owner in (*(getattr(keras.layers, cell) for cell in CELLS), keras.layers.RNN, keras.layers.Layer):
        assert parameters(owner.__init__).keys() - {"cell"} <= known


@pytest.mark.parametrize("cell", CELLS)
def test_arguments_have_kerass_order_and_defaults(cell):
    ours, stock = (getattr(package, cell) for package in (layers, keras.layers))
    own = {**getattr(ours, "own_options", {}), "engine": "auto"}
    assert list({**parameters(stock.__init__), **own}.items()) == list(parameters(ours.__init__).items())
    assert parameters(ours.call) == parameters(stock.call)


A_THIRD = [case if n % 3 == 0 else thorough(*case.values, id=case.id) for n, case in enumerate(CASES)]


@pytest.mark.parametrize(("cell", "options", "engine"), A_THIRD)
def test_every_option_does_what_it_does_in_keras(cell, options, engine):
    ours, stock = pair(cell, **options)
    assert_engine(ours, engine)
    assert ours.name == stock.name
    assert [w.path for w in ours.weights] == [w.path for w in stock.weights]
    for call in ({"training": True}, {"mask": GAPS, "training": True}):
        assert_same(run(ours, **call), run(stock, **call))


@pytest.mark.parametrize("option", ["dropout", "recurrent_dropout"])
@pytest.mark.parametrize("cell", CELLS)
def test_dropping_everything_does_what_it_does_in_keras(cell, option):
    def dropped(layer):
        try:
            return run(layer, training=True)
        except ValueError as error:  # TensorFlow 2.18 refuses a rate of one
            return str(error)

    results, expected = map(dropped, pair(cell, **{option: 1.0}))
    if isinstance(expected, str):
        assert results == expected
    else:
        assert_same(results, expected)


@pytest.mark.parametrize(("cell", "options", "engine"), CASES)
def test_configs_are_kerass_and_come_back(cell, options, engine):
    ours, stock = (
        getattr(p, cell)(**{"units": 3, "name": "same", **options}) for p in (layers, keras.layers)
    )
    assert ours.get_config() == stock.get_config()
    with keras.saving.custom_object_scope({"wave": wave, "Halved": Halved}):
        serialized = keras.saving.serialize_keras_object(ours)
        again = keras.saving.deserialize_keras_object(serialized)
    assert serialized["registered_name"] == f"ostinato>{cell}"
    assert type(again) is type(ours)
    assert again.get_config() == ours.get_config()


@pytest.mark.parametrize("cell", CELLS)
def test_initialisers_draw_kerass_weights(cell):
    drawn = {
        "kernel_initializer": keras.initializers.HeNormal(seed=1),
        "recurrent_initializer": keras.initializers.Orthogonal(seed=2),
        "bias_initializer": keras.initializers.RandomUniform(seed=3),
    }
    weights = []
    for package in (layers, keras.layers):
        layer = getattr(package, cell)(UNITS, **drawn)
        layer.build(X.shape)
        weights.append(layer.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_kerass_implementations_draw_the_same_masks(cell):
    for implementation in (1, 2):
        options = {"implementation": implementation, "dropout": 0.4, "seed": 3, "use_cudnn": False}
        ours, stock = pair(cell, **options)
        assert_same(run(ours, training=True), run(stock, training=True))


@pytest.mark.parametrize("cell", CELLS)
def test_the_reason_names_the_dtype_that_keeps_a_layer_with_keras(cell):
    if native.available():
        assert "'complex64'" in choose("auto", getattr(layers, cell)(3, dtype="complex64")).reason


def test_the_global_dtype_policy_is_obeyed(request):
    request.addfinalizer(lambda: keras.config.set_dtype_policy("float32"))
    keras.config.set_dtype_policy("mixed_float16")
    ours, stock = pair("LSTM")
    assert_engine(ours, "native")
    assert_same(run(ours), run(stock))


def states(cell, *shape):
    return [tf.constant(random(*(shape or (BATCH, UNITS)), seed=n)) for n in range(1 + (cell == "LSTM"))]


CALLS = {
    "sequences": {
        "float64": lambda cell: {"x": np.float64(X)},
        "integers": lambda cell: {"x": np.int64(3 * X)},
        "booleans": lambda cell: {"x": X > 0},
        "float16": lambda cell: {"x": np.float16(X)},
        "one step": lambda cell: {"x": X[:, :1]},
        "one row": lambda cell: {"x": X[:1]},
    },
    "initial_state": {
        "a list": lambda cell: {"initial_state": states(cell)},
        "a tuple": lambda cell: {"initial_state": tuple(states(cell))},
        "a tensor": lambda cell: {"initial_state": states(cell)[0] if cell != "LSTM" else states(cell)},
        "arrays": lambda cell: {"initial_state": [state.numpy() for state in states(cell)]},
        "float64": lambda cell: {"initial_state": [tf.cast(state, tf.float64) for state in states(cell)]},
        "one row for all": lambda cell: {"initial_state": states(cell, 1, UNITS)},
        "with a mask": lambda cell: {"initial_state": states(cell), "mask": GAPS},
    },
    "mask": {
        "right padding": lambda cell: {"mask": PADDED},
        "left padding": lambda cell: {"mask": PADDED[:, ::-1]},
        "gaps": lambda cell: {"mask": GAPS},
        "a tensor": lambda cell: {"mask": tf.constant(GAPS)},
        "integers": lambda cell: {"mask": np.int32(GAPS)},
        "floats": lambda cell: {"mask": np.float32(GAPS) / 2},
        "a last axis": lambda cell: {"mask": GAPS[:, :, np.newaxis]},
        "one row for all": lambda cell: {"mask": GAPS[:1]},
        "all false": lambda cell: {"mask": np.zeros_like(GAPS)},
    },
    "training": {value: lambda cell, value=value: {"training": value} for value in (True, False, None)},
}


@pytest.mark.parametrize("cell", CELLS)
def test_every_argument_of_kerass_call_is_among_those_tested_here(cell):
    assert parameters(getattr(keras.layers, cell).call).keys() == CALLS.keys()


@pytest.mark.parametrize(
    ("way", "cell"), one_each([(argument, way) for argument, ways in CALLS.items() for way in ways], CELLS)
)
def test_every_call_argument_does_what_it_does_in_keras(cell, way):
    dropout = 0.3 if way[0] == "training" else 0.0  # which is for floats
    ours, stock = pair(cell, return_sequences=True, dropout=dropout, seed=1)
    call = CALLS[way[0]][way[1]](cell)
    assert_same(run(ours, **call), run(stock, **call))


@pytest.mark.parametrize("cell", CELLS)
def test_arrays_and_positions_are_taken_as_by_keras(cell):
    ours, stock = pair(cell)
    given = (X, states(cell), tf.constant(GAPS))
    for a, b in zip(ours(*given), stock(*given), strict=True):
        assert_within(OUTPUTS, a, b)


@pytest.mark.parametrize("cell", CELLS)
def test_a_stateful_layer_carries_and_forgets_its_state_as_kerass(cell):
    ours, stock = pair(cell, stateful=True)
    for call in ({}, {"mask": GAPS}, {"initial_state": states(cell)}, {}):
        assert_same(run(ours, **call), run(stock, **call))
        for a, b in zip(ours.states, stock.states, strict=True):
            assert_within(OUTPUTS, a.numpy(), b.numpy())
    for layer in (ours, stock):
        layer.reset_state()
    assert not np.any(ours.states[0].numpy())
    assert_same(run(ours), run(stock))


@pytest.mark.parametrize("cell", CELLS)
def test_in_a_graph_of_unknown_sizes_all_is_the_same(cell):
    ours, stock = pair(cell, return_sequences=True, dropout=0.3, recurrent_dropout=0.2, seed=4)
    signature = [tf.TensorSpec((None, None, FEATURES)), tf.TensorSpec((None, None), tf.bool)]
    graph = tf.function(lambda x, mask: run(ours, x, mask=mask, training=True), signature)
    for rows, steps in ((3, 3), (2, 1)):
        x, mask = X[:rows, :steps], GAPS[:rows, :steps]
        assert_same(graph(x, mask), run(stock, x, mask=mask, training=True))


# In models.


def tokens_model(package, cell):
    return keras.Sequential(
        [
            keras.layers.Embedding(9, FEATURES, mask_zero=True, embeddings_initializer=NORMAL),
            getattr(package, cell)(UNITS, return_sequences=True, activity_regularizer="l2"),
            getattr(package, cell)(UNITS, kernel_constraint="max_norm", recurrent_regularizer="l2"),
            keras.layers.Dense(1),
        ]
    )


def masking_model(package, cell):
    x = keras.Input((None, FEATURES))
    y = keras.layers.Masking(mask_value=0.0)(x)
    y = getattr(package, cell)(UNITS, return_sequences=True, zero_output_for_mask=True)(y)
    y = getattr(package, cell)(UNITS, go_backwards=True)(y)
    return keras.Model(x, keras.layers.Dense(1)(y))


def stateful_model(package, cell):
    return keras.Sequential(
        [
            keras.Input(batch_shape=(BATCH, TIME, FEATURES)),
            getattr(package, cell)(UNITS, stateful=True),
            keras.layers.Dense(1),
        ]
    )


def encoder_decoder_model(package, cell):
    x = keras.Input((None, FEATURES))
    _, *state = getattr(package, cell)(UNITS, return_state=True)(x)
    y = getattr(package, cell)(UNITS)(x, initial_state=state)
    return keras.Model(x, keras.layers.Dense(1)(y))


def time_distributed_model(package, cell):
    x = keras.Input((2, None, FEATURES))
    y = keras.layers.TimeDistributed(getattr(package, cell)(UNITS))(x)
    return keras.Model(x, keras.layers.Dense(1)(keras.layers.Flatten()(y)))


def bidirectional_model(package, cell):
    backward = getattr(package, cell)(UNITS, go_backwards=True, return_sequences=True, use_bias=False)
    layer = getattr(package, cell)(UNITS, return_sequences=True)
    return keras.Sequential(
        [
            keras.layers.Masking(),
            keras.layers.Bidirectional(layer, backward_layer=backward, merge_mode="sum"),
            keras.layers.Bidirectional(getattr(package, cell)(UNITS)),
            keras.layers.Dense(1),
        ]
    )


class Subclassed(keras.Model):
    def __init__(self, package, cell):
        super().__init__()
        self.recurrent = getattr(package, cell)(UNITS, return_state=True)
        self.dense = keras.layers.Dense(1)

    def call(self, x, training=None):
        _, *state = self.recurrent(x, training=training)
        output, *_ = self.recurrent(x, initial_state=state, mask=keras.ops.any(x > 0.5, axis=-1))
        return self.dense(output)


def zero_padded():
    return X * PADDED[:, :, np.newaxis]


MODELS = {
    "embedding": (tokens_model, lambda: np.arange(1, 10).reshape(BATCH, TIME) % 9 * PADDED),
    "masking": (masking_model, zero_padded),
    "stateful": (stateful_model, lambda: X),
    "encoder and decoder": (encoder_decoder_model, lambda: X),
    "time distributed": (time_distributed_model, lambda: random(BATCH, 2, TIME, FEATURES)),
    "bidirectional": (bidirectional_model, zero_padded),
    "subclassed": (Subclassed, lambda: X),
}


def two_models(make, x, cell, eager=False):
    models = [make(package, cell) for package in (layers, keras.layers)]
    for model in models:
        model(x)
        model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=eager)
    share_weights(*models)
    for model in models:
        for layer in model.layers:
            if getattr(layer, "stateful", False):
                layer.reset_state()
    return models


@pytest.mark.parametrize(("kind", "cell"), one_each(MODELS, CELLS))
def test_models_train_and_predict_as_with_kerass_layers(cell, kind):
    make, x = MODELS[kind][0], MODELS[kind][1]()
    # One cell as a graph, which takes seconds to trace; the others eagerly.
    ours, stock = two_models(make, x, cell, eager=cell != "LSTM")
    y = random(BATCH, 1)
    for _ in range(2):
        np.testing.assert_allclose(
            ours.train_on_batch(x, y), stock.train_on_batch(x, y), rtol=1e-5, atol=1e-6
        )
    for a, b in zip(ours.get_weights(), stock.get_weights(), strict=True):
        assert_within(OUTPUTS, a, b)
    assert_within(OUTPUTS, ours(x).numpy(), stock(x).numpy())


SAVED = ["embedding", "stateful", "encoder and decoder", "bidirectional"]


@pytest.mark.parametrize(("kind", "cell"), one_each(SAVED, CELLS))
def test_saved_models_and_weights_come_back_and_weights_go_to_keras_and_back(cell, kind, tmp_path):
    make, x = MODELS[kind][0], MODELS[kind][1]()
    ours, stock = two_models(make, x, cell, eager=True)
    expected = [model(x).numpy() for model in (ours, stock)]
    again = []  # what is computed after saving: a stateful layer goes on, a loaded one begins anew
    for model in (ours, stock):
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]
        again.append(loaded(x).numpy())
    assert_within(OUTPUTS, *again)
    assert_within(OUTPUTS, expected[0], again[0])

    for source, target in ((ours, stock), (stock, ours)):
        source.set_weights([weight + 0.1 for weight in source.get_weights()])
        source.save_weights(tmp_path / "file.weights.h5")
        target.load_weights(tmp_path / "file.weights.h5")
        for a, b in zip(source.get_weights(), target.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


# Bidirectional.

BIDIRECTIONAL = {
    "layer": [{"layer": {"return_sequences": sequences}} for sequences in (True, False)]
    + [{"layer": {"stateful": True}}, {"layer": {"return_state": True, "dropout": 0.2, "seed": 1}}],
    "merge_mode": [
        {"merge_mode": mode, "layer": {"return_sequences": mode != "ave", "return_state": mode is None}}
        for mode in ("concat", "sum", "mul", "ave", None)
    ],
    "weights": [{"weights": [np.zeros((2, 2))] * 6}],
    "backward_layer": [
        {"backward_layer": {"activation": "relu", "use_bias": False, "go_backwards": True}},
        {"backward_layer": {"kernel_regularizer": "l2", "go_backwards": True}},
        {"layer": {"go_backwards": True}, "backward_layer": {}},
    ],
}


def bidirectional(package, cell, options):
    options = dict(options)
    keras.utils.set_random_seed(1)  # the config of Keras' SimpleRNN, from which a copy is made, has no seed
    layer = getattr(package, cell)(UNITS, **options.pop("layer", {}))
    if "backward_layer" in options:
        options["backward_layer"] = getattr(package, cell)(UNITS, **options["backward_layer"])
    return keras.layers.Bidirectional(layer, **options)


def test_every_argument_of_bidirectional_is_among_those_tested_here():
    assert parameters(keras.layers.Bidirectional.__init__).keys() == BIDIRECTIONAL.keys()
    assert parameters(keras.layers.Bidirectional.call).keys() == CALLS.keys()


@pytest.mark.parametrize(
    ("options", "cell"), one_each([case for cases in BIDIRECTIONAL.values() for case in cases], CELLS)
)
def test_bidirectional_does_what_it_does_around_kerass_layers(cell, options):
    both = [bidirectional(package, cell, options) for package in (layers, keras.layers)]
    for layer in both:
        layer.build(X.shape)
    share_weights(*both)
    ours, stock = both
    assert_engine(ours.forward_layer, "native")
    assert_engine(ours.backward_layer, "native")
    for call in (
        {"training": True},
        {"mask": PADDED, "training": True},
        {"mask": GAPS, "initial_state": [*states(cell), *states(cell)]},
    ):
        assert_same(run(ours, **call), run(stock, **call))
    if ours.stateful:
        for layer in both:
            layer.reset_state()
        assert_same(run(ours), run(stock))


@pytest.mark.skipif(not native.available(), reason="the native engine is not available")
@pytest.mark.parametrize("cell", CELLS)
def test_padded_sequences_are_read_both_ways_by_the_native_engine_alone(cell):
    layer = keras.layers.Bidirectional(getattr(layers, cell)(UNITS, return_sequences=True))
    layer.build(X.shape)

    @tf.function
    def gradient(x, lengths):
        mask = tf.sequence_mask(lengths, tf.shape(x)[1])
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, mask=mask, training=True))
        return tape.gradient(loss, [weight.value for weight in layer.weights])

    graph = gradient.get_concrete_function(
        tf.TensorSpec((None, None, FEATURES)), tf.TensorSpec((None,), tf.int32)
    ).graph
    kinds = [operation.type for operation in graph.get_operations()]
    op = {"SimpleRNN": "Rnn", "GRU": "Gru", "LSTM": "Lstm"}[cell]
    assert kinds.count(f"Ostinato{op}V1") == kinds.count(f"Ostinato{op}GradV1") == 2
    assert not {"While", "StatelessWhile", "MatMul"} & set(kinds)


# Lengths.


@pytest.mark.parametrize("engine", ["auto", "keras"])
@pytest.mark.parametrize("cell", CELLS)
def test_lengths_are_the_mask_of_that_many_steps(cell, engine):
    ours, stock = pair(cell, return_sequences=True)
    ours.engine = engine
    expected = run(stock, mask=PADDED, initial_state=states(cell))
    for lengths in (
        LENGTHS,
        list(LENGTHS),
        LENGTHS.tolist(),
        tf.constant(LENGTHS),
        tf.constant(LENGTHS, tf.int32),
    ):
        assert_same(run(ours, lengths=lengths, initial_state=states(cell)), expected)


@pytest.mark.parametrize("cell", CELLS)
def test_lengths_work_in_a_function_of_unknown_sizes(cell):
    ours, stock = pair(cell)
    signature = [tf.TensorSpec((None, None, FEATURES)), tf.TensorSpec((None,), tf.int64)]
    function = tf.function(lambda x, lengths: ours(x, lengths=lengths), signature)
    for a, b in zip(function(X, LENGTHS), stock(X, mask=PADDED), strict=True):
        assert_within(OUTPUTS, a, b)


@pytest.mark.parametrize("cell", CELLS)
def test_lengths_may_be_an_input_of_a_functional_model_that_is_saved_and_loaded(cell, tmp_path):
    x, lengths = keras.Input((None, FEATURES)), keras.Input((), dtype="int32")
    first = getattr(layers, cell)(UNITS, return_sequences=True)
    second = getattr(layers, cell)(UNITS)
    model = keras.Model([x, lengths], second(first(x, lengths=lengths), lengths=lengths))
    assert model.output_shape == (None, UNITS)
    expected = second(first(X, mask=PADDED), mask=PADDED)
    assert_within(OUTPUTS, model([X, LENGTHS]).numpy(), expected.numpy())
    assert_within(OUTPUTS, model.predict([X, LENGTHS], verbose=0), expected.numpy())
    for file in ("model.keras", "model.h5"):
        model.save(tmp_path / file)
        loaded = keras.models.load_model(tmp_path / file)
        np.testing.assert_array_equal(loaded([X, LENGTHS]), model([X, LENGTHS]))


ANY_LENGTHS = np.array([0, 2, TIME])


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "uint64"])
@pytest.mark.parametrize("time", [None, TIME])
def test_in_a_functional_model_lengths_make_the_mask_that_they_make_elsewhere(time, dtype):
    layer = layers.GRU(UNITS, return_sequences=True)
    x, lengths = keras.Input((time, FEATURES)), keras.Input((), dtype=dtype)
    model = keras.Model([x, lengths], layer(x, lengths=lengths))
    given = ANY_LENGTHS.astype(dtype)
    expected = layer(X, mask=tf.sequence_mask(ANY_LENGTHS, TIME))
    np.testing.assert_array_equal(layer(X, lengths=given), expected)
    np.testing.assert_array_equal(model([X, given]), expected)
    assert_within(OUTPUTS, model.predict([X, given], verbose=0), expected.numpy())


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_in_a_functional_model_of_any_dtype_lengths_make_the_same_mask(policy):
    layer = layers.LSTM(UNITS, dtype=policy)
    x, lengths = keras.Input((None, FEATURES)), keras.Input((), dtype="int32")
    model = keras.Model([x, lengths], layer(x, lengths=lengths))
    np.testing.assert_array_equal(model([X, LENGTHS]), layer(X, lengths=LENGTHS))


def test_in_a_functional_model_steps_are_counted_in_integers_whatever_the_inputs_are():
    layer = layers.SimpleRNN(1, return_sequences=True)
    x, lengths = keras.Input((None, 1), dtype="float16"), keras.Input((), dtype="int32")
    model = keras.Model([x, lengths], layer(x, lengths=lengths))
    long = np.linspace(0, 1, 2050, dtype="float16").reshape(1, 2050, 1)  # float16 has no 2049
    np.testing.assert_array_equal(model([long, np.array([2049])]), layer(long, lengths=[2049]))


@pytest.mark.parametrize("lengths", [ANY_LENGTHS, ANY_LENGTHS.tolist(), tf.constant(ANY_LENGTHS)])
def test_constant_lengths_stand_in_a_functional_model_and_its_files(lengths, tmp_path):
    layer, x = layers.SimpleRNN(UNITS), keras.Input(batch_shape=X.shape)
    model = keras.Model(x, layer(x, lengths=lengths))
    expected = layer(X, lengths=ANY_LENGTHS)
    np.testing.assert_array_equal(model(X), expected)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(X), expected)


def test_a_functional_model_with_lengths_consists_of_kerass_operations_and_our_layers_alone():
    x, lengths = keras.Input((None, FEATURES)), keras.Input((), dtype="int32")
    model = keras.Model([x, lengths], layers.LSTM(UNITS)(x, lengths=lengths))
    kinds = {type(operation) for operation in model.operations}
    assert [kind for kind in kinds if not kind.__module__.startswith("keras.")] == [layers.LSTM]


@pytest.mark.parametrize("cell", CELLS)
def test_the_mask_made_of_lengths_goes_wherever_an_explicit_mask_goes(cell):
    layer = getattr(layers, cell)(UNITS, return_sequences=True)
    masks = [
        getattr(layer(X, **call), "_keras_mask", None)
        for call in ({"lengths": LENGTHS}, {"mask": tf.constant(PADDED)})
    ]
    assert (masks[0] is None) == (masks[1] is None)
    if masks[0] is not None:
        np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ({"lengths": LENGTHS, "mask": PADDED}, "only one of `lengths` and `mask`"),
        ({"lengths": [[5, 2, 3]]}, r"integers of shape \(batch,\), got .* the shape \(1, 3\)"),
        ({"lengths": [5.0, 2.0, 3.0]}, r"integers of shape \(batch,\), got the dtype float32"),
    ],
)
def test_lengths_that_cannot_be_are_refused_with_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        layers.GRU(UNITS)(X, **call)
    with pytest.raises(ValueError, match="only one of `lengths` and `mask`"):
        layers.GRU(UNITS)(X, None, tf.constant(PADDED), lengths=LENGTHS)


# Errors.


ERRORS = {
    "no units": lambda layer: layer(),
    "units of zero": lambda layer: layer(0),
    "negative units": lambda layer: layer(-1),
    "units that are a word": lambda layer: layer("many"),
    "an unknown activation": lambda layer: layer(3, activation="nonsense"),
    "an unknown initialiser": lambda layer: layer(3, kernel_initializer="nonsense"),
    "an unknown option": lambda layer: layer(3, nonsense=True),
    "an unknown dtype": lambda layer: layer(3, dtype="nonsense"),
    "too many positions": lambda layer: layer(*range(1, 40)),
    "cuDNN where there is none": lambda layer: layer(3, use_cudnn=True, name="layer")(X),
    "a wrong use_cudnn": lambda layer: layer(3, use_cudnn="nonsense"),
    "rank two": lambda layer: layer(3, name="layer")(X[0]),
    "rank four": lambda layer: layer(3, name="layer")(X[np.newaxis]),
    "rank two with lengths": lambda layer: layer(3, name="layer")(X[0], **lengths_of(layer)),
    "no input": lambda layer: layer(3)(),
    "an unknown call argument": lambda layer: layer(3)(X, nonsense=True),
    "a position that is no tensor": lambda layer: layer(3)(X, None, "mask"),
    "no state": lambda layer: layer(UNITS)(X, initial_state=[]),
    "one state": lambda layer: layer(UNITS)(X, initial_state=states("GRU")),
    "three states": lambda layer: layer(UNITS)(X, initial_state=states("GRU") * 3),
    "a stateful layer without a batch size": lambda layer: layer(3, stateful=True)(keras.Input((None, 2))),
    "a stateful layer with another batch": lambda layer: other_batch(layer(3, stateful=True)),
    "unrolling without a length": lambda layer: tf.function(layer(3, unroll=True)).get_concrete_function(
        tf.TensorSpec((2, None, 4))
    ),
}


def other_batch(layer):
    layer(X)
    return layer(X[:2])


def lengths_of(layer):
    return {"lengths": [1]} if layer.__module__.startswith("ostinato") else {}


def outcome(call, layer):
    try:
        return tf.nest.map_structure(lambda tensor: tensor.shape, call(layer)) and "no error"
    except Exception as error:
        # What follows lists the arguments, and before it stand the names of the two classes' files.
        return type(error), str(error).split("Arguments received by")[0].splitlines()[-1:]


@pytest.mark.parametrize("mistake", ERRORS)
@pytest.mark.parametrize("cell", CELLS)
def test_mistakes_are_refused_in_kerass_words(cell, mistake):
    ours, expected = (outcome(ERRORS[mistake], getattr(p, cell)) for p in (layers, keras.layers))
    assert ours == expected


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "call", [{"initial_state": states("LSTM", BATCH, 9)}, {"initial_state": states("LSTM", 2, UNITS)}]
)
def test_states_of_a_wrong_size_are_refused_with_kerass_error(cell, call):
    call = {"initial_state": call["initial_state"][: len(states(cell))]}
    for package in (layers, keras.layers):
        with pytest.raises(tf.errors.InvalidArgumentError):
            getattr(package, cell)(UNITS)(X, **call)

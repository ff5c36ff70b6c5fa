"""The native engine computes what Keras' own loop does: outputs, states and gradients, whatever the options.

The oracle is the stock Keras layer in float64, with the same float32 numbers as weights and inputs.
"""

import concurrent.futures
import shutil
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ostinato import layers
from ostinato.engines import native

from .. import forks
from ..variants import examples

OUTPUTS, GRADIENTS = 1e-5, 1e-4

# From one up, primes, and multiples of the vector widths ± 1.
SIZES = [1, 2, 3, 5, 7, 8, 9, 13, 15, 16, 17, 23, 31, 32, 33]
UNITS = [*SIZES, 47, 48, 49, 65]
STEPS = [1, 2, 3, 5, 8]  # Keras' loop takes its time for each

CELLS = [
    ("SimpleRNN", {"activation": "tanh"}),
    ("SimpleRNN", {"activation": "linear"}),
    ("GRU", {"reset_after": True}),
    ("GRU", {"reset_after": False}),
    ("LSTM", {}),
]
MASKS = ["none", "right padding", "left padding", "gaps", "whole rows", "nothing masked", "everything masked"]


def test_the_library_is_there_where_a_compiler_is():
    compiler = next(filter(None, map(shutil.which, ("g++", "clang++", "c++"))), None)
    assert native.available() or compiler is None, (
        f"{compiler} is installed, yet the native engine is not available: {native.reason()}"
    )


needs_library = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")


@dataclass
class Case:
    """A layer, what it is called with, and how."""

    cell: str
    options: dict
    batch: int
    time: int
    features: int
    units: int
    mask: str = "none"
    training: bool = True
    graph: bool = False
    seed: int = 0

    def random(self):
        return np.random.default_rng(self.seed)

    def layer(self, package, dtype, **options):
        layer = getattr(package, self.cell)(
            self.units, dtype=dtype, return_state=True, **self.options, **options
        )
        layer.build((self.batch, self.time, self.features))
        random = np.random.default_rng(self.seed + 1)
        scale = 1 / np.sqrt([self.features + self.units])
        layer.set_weights([(random.normal(size=w.shape) * scale).astype("float32") for w in layer.weights])
        return layer

    def native(self):
        return self.layer(layers, "float32", engine="native")

    def oracle(self):
        return self.layer(keras.layers, "float64")

    def x(self):
        return self.random().normal(size=(self.batch, self.time, self.features)).astype("float32")

    def ids(self):
        return self.random().integers(0, self.features, (self.batch, self.time))

    def states(self):
        shape = (2 if self.cell == "LSTM" else 1, self.batch, self.units)
        return list(np.random.default_rng(self.seed + 2).normal(size=shape).astype("float32"))

    def mask_array(self):
        if self.mask == "none":
            return None
        random, shape = np.random.default_rng(self.seed + 3), (self.batch, self.time)
        lengths = random.integers(0, self.time + 1, (self.batch, 1))
        steps = np.arange(self.time)[None]
        return {
            "right padding": steps < lengths,
            "left padding": steps >= lengths,
            "gaps": random.random(shape) < 0.6,
            "whole rows": np.broadcast_to(lengths % 2 == 1, shape),
            "nothing masked": np.ones(shape, bool),
            "everything masked": np.zeros(shape, bool),
        }[self.mask]


@st.composite
def cases(draw):
    cell, options = draw(st.sampled_from(CELLS))
    flags = ("use_bias", "return_sequences", "go_backwards", "zero_output_for_mask")
    return Case(
        cell,
        {**options, **{flag: draw(st.booleans(), label=flag) for flag in flags}},
        batch=draw(st.sampled_from(SIZES)),
        time=draw(st.sampled_from(STEPS)),
        features=draw(st.sampled_from(SIZES)),
        units=draw(st.sampled_from(UNITS)),
        mask=draw(st.sampled_from(MASKS)),
        training=draw(st.booleans()),
        graph=draw(st.booleans()),
        seed=draw(st.integers(0, 99)),
    )


def values_and_gradients(layer, call, watched, graph=False):
    """What a call returns, and the gradients of a sum over it for what is watched and for the weights."""

    def run():
        weights = [weight.value for weight in layer.trainable_weights]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            values = call(watched)
            loss = tf.add_n([tf.reduce_sum(pulled(value)) for value in values])
        return values, tape.gradient(loss, [*watched, *weights])

    return (tf.function(run, autograph=False) if graph else run)()


def pulled(value):
    """Another weight for each element, so that no gradient is the same by accident."""
    size = tf.size(value)
    pull = tf.cos(tf.cast(tf.range(size), value.dtype))
    return tf.sin(value) * tf.reshape(pull, tf.shape(value))


def assert_close(results, expected):
    (values, gradients), (expected_values, expected_gradients) = results, expected
    for a, b in zip(values, expected_values, strict=True):
        assert_within(OUTPUTS * max(1, np.abs(b).max(initial=0)), a, b)
    for a, b in zip(gradients, expected_gradients, strict=True):
        assert_within(GRADIENTS * np.abs(b).max(initial=0) + 1e-6, a, b)


def assert_within(tolerance, a, b):
    assert a.shape == b.shape
    np.testing.assert_allclose(np.float64(a), np.float64(b), rtol=0, atol=tolerance)


def compare(case):
    mask = case.mask_array()

    def results(layer, dtype, graph):
        watched = [tf.constant(array, dtype) for array in (case.x(), *case.states())]
        call = lambda given: layer(given[0], given[1:], mask=mask, training=case.training)  # noqa: E731
        return values_and_gradients(layer, call, watched, graph)

    assert_close(
        results(case.native(), tf.float32, case.graph), results(case.oracle(), tf.float64, graph=False)
    )


@needs_library
@settings(max_examples=examples(20, thorough=100))
@given(cases())
@example(Case("LSTM", {}, batch=33, time=17, features=31, units=65, mask="gaps"))
@example(Case("GRU", {"reset_after": False}, batch=1, time=1, features=1, units=1))
@example(Case("GRU", {"reset_after": True, "return_sequences": True}, 5, 13, 3, 257, mask="right padding"))
@example(Case("LSTM", {"return_sequences": True}, batch=2, time=5, features=300, units=17))
def test_outputs_states_and_gradients_are_those_of_kerass_loop(case):
    compare(case)


# Apart, and small: where a sum is almost zero, float32 and float64 may see another side of the kink.
@needs_library
@settings(max_examples=examples(6, thorough=20))
@given(cases())
def test_relu_too(case):
    case.cell, case.options = "SimpleRNN", {**case.options, "activation": "relu"}
    case.options.pop("reset_after", None)
    case.batch, case.time, case.units = min(case.batch, 3), min(case.time, 5), min(case.units, 17)
    compare(case)


@needs_library
@settings(max_examples=examples(12, thorough=40))
@given(cases())
def test_token_ids_give_what_their_one_hot_vectors_give(case):
    layer, oracle, mask = case.native(), case.oracle(), case.mask_array()
    one_hot = tf.one_hot(case.ids(), case.features, dtype=tf.float64)

    def flat(results):
        last, outputs, states = results
        return [last, outputs, *states]

    def over_ids(states):
        return flat(native.run_ids(layer, case.ids(), states, mask, case.training))

    def over_vectors(states):
        masked = None if mask is None else tf.constant(mask)
        return flat(oracle.inner_loop(one_hot, states, masked, training=case.training))

    watched = [tf.constant(state) for state in case.states()]
    results = values_and_gradients(layer, over_ids, watched, case.graph)
    watched = [tf.constant(state, tf.float64) for state in case.states()]
    assert_close(results, values_and_gradients(oracle, over_vectors, watched))


@needs_library
@pytest.mark.parametrize("mask", ["none", "right padding", "everything masked"])
@pytest.mark.parametrize("zero_output_for_mask", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize(("cell", "options"), CELLS)
def test_it_returns_what_kerass_loop_returns(cell, options, return_sequences, zero_output_for_mask, mask):
    flags = {"return_sequences": return_sequences, "zero_output_for_mask": zero_output_for_mask}
    case = Case(cell, {**options, **flags}, batch=4, time=6, features=3, units=5, mask=mask)
    mask, x, states = case.mask_array(), case.x(), [tf.constant(state) for state in case.states()]
    ours = native.run(case.native(), x, states, mask, training=False)
    stock = case.layer(keras.layers, "float32").inner_loop(
        x, states, None if mask is None else tf.constant(mask), training=False
    )
    for a, b in zip(ours[:2], stock[:2], strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=OUTPUTS)
    for a, b in zip(ours[2], stock[2], strict=True):
        np.testing.assert_allclose(a, b, atol=OUTPUTS)


@needs_library
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(("cell", "options"), CELLS)
def test_gradients_do_not_depend_on_the_history_being_kept(cell, options, graph):
    case = Case(cell, options, batch=5, time=7, features=3, units=17, mask="gaps")
    layer, watched = case.native(), [tf.constant(array) for array in (case.x(), *case.states())]

    def gradients(training):
        def call(given):
            return layer(given[0], given[1:], mask=case.mask_array(), training=training)

        return values_and_gradients(layer, call, watched, graph)[1]

    for kept, run_again in zip(gradients(True), gradients(False), strict=True):
        np.testing.assert_array_equal(kept, run_again)


@needs_library
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("inner", [False, True])
def test_gradients_flow_through_a_function_and_from_outside_of_it(training, inner):
    case = Case("LSTM", {"return_sequences": True}, batch=3, time=5, features=4, units=9)
    layer, oracle = case.native(), case.oracle()

    def gradients(layer, dtype, wrap):
        x = tf.constant(case.x(), dtype)
        call = wrap(lambda x: tf.reduce_sum(tf.sin(layer(x, training=training)[0])))

        def run():
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = call(x)
            return tape.gradient(loss, [x, *(weight.value for weight in layer.weights)])

        return (wrap(run) if inner else run)()

    plain = lambda function: function  # noqa: E731
    for a, b in zip(
        gradients(layer, tf.float32, tf.function), gradients(oracle, tf.float64, plain), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-4)


@needs_library
def test_a_constant_input_needs_no_gradient():
    case = Case("GRU", {}, batch=2, time=3, features=4, units=5)
    layer = case.native()

    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, training=True)[0])
        return tape.gradient(loss, layer.weights[0].value)

    graph = gradient.get_concrete_function(tf.TensorSpec((2, 3, 4))).graph
    backward = [op for op in graph.get_operations() if op.type == "OstinatoGruGradV1"]
    assert [op.get_attr("wants_dx") for op in backward] == [False]


@needs_library
@pytest.mark.parametrize("graph", [False, True])
def test_a_persistent_tape_gives_several_gradients(graph):
    case = Case("GRU", {"return_sequences": True}, batch=2, time=3, features=4, units=5)
    layer, x = case.native(), tf.constant(case.x())

    def run():
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            outputs, h = layer(x, training=True)
            first, second = tf.reduce_sum(outputs), tf.reduce_sum(h)
            both = first + second
        return [tape.gradient(loss, x) for loss in (first, second, both)]

    first, second, both = (tf.function(run) if graph else run)()
    np.testing.assert_allclose(first + second, both, atol=1e-5)
    assert np.abs(second).max() > 0


def small_model(engine):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(7, 5, mask_zero=True),
            keras.layers.Bidirectional(layers.LSTM(6, engine=engine, return_sequences=True)),
            layers.GRU(9, engine=engine, go_backwards=True, return_sequences=True),
            layers.SimpleRNN(4, engine=engine, stateful=False),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


@needs_library
def test_a_model_trains_saves_and_predicts_as_with_kerass_loop(tmp_path):
    random = np.random.default_rng(0)
    x, y = random.integers(0, 7, (16, 5)), random.normal(size=(16, 1)).astype("float32")
    models = {engine: small_model(engine) for engine in ("native", "keras")}
    models["keras"].run_eagerly = True
    losses = {
        engine: model.fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=0).history["loss"]
        for engine, model in models.items()
    }
    np.testing.assert_allclose(losses["native"], losses["keras"], rtol=1e-4)
    assert losses["native"][-1] < losses["native"][0]
    predicted = models["native"].predict(x, verbose=0)
    np.testing.assert_allclose(predicted, models["keras"](x), atol=1e-4)

    models["native"].save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[2].engine == "native"
    np.testing.assert_array_equal(loaded(x), predicted)


@needs_library
def test_xla_leaves_a_model_with_the_op_alone():
    model = small_model("auto")
    assert not model.jit_compile
    assert layers.LSTM(4, engine="native").supports_jit is False
    assert layers.SimpleRNN(4, engine="keras").supports_jit is True


@needs_library
def test_a_saved_model_computes_and_trains_after_loading(tmp_path):
    case = Case("LSTM", {"return_sequences": True}, batch=3, time=5, features=4, units=6)
    layer, x = case.native(), tf.constant(case.x())
    module = tf.Module()
    module.weights = [weight.value for weight in layer.weights]
    module.run = tf.function(
        lambda x: layer(x, training=False)[0], input_signature=[tf.TensorSpec((None, None, 4))]
    )
    tf.saved_model.save(module, str(tmp_path / "saved"))

    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_array_equal(loaded.run(x), module.run(x))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(loaded.run(x) ** 2)
    gradients = tape.gradient(loss, loaded.weights)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(module.run(x) ** 2)
    for a, b in zip(gradients, tape.gradient(loss, module.weights), strict=True):
        np.testing.assert_array_equal(a, b)

    code = (
        "import sys, tensorflow as tf, ostinato.engines.native\n"
        "loaded = tf.saved_model.load(sys.argv[1])\n"
        "print(loaded.run(tf.ones((2, 3, 4))).shape)"
    )
    assert forks.run("-c", code, tmp_path / "saved", check=True).stdout.strip() == "(2, 3, 6)"


@needs_library
def test_it_runs_inside_loops_and_maps_and_gradients_come_out():
    case = Case("GRU", {"return_sequences": True}, batch=2, time=3, features=5, units=5)
    layer, oracle = case.native(), case.oracle()

    def run(layer, dtype):
        x = tf.constant(case.x(), dtype)

        def run():
            with tf.GradientTape() as tape:
                tape.watch(x)
                looped = tf.while_loop(
                    lambda i, _: i < 3, lambda i, x: (i + 1, layer(x, training=True)[0]), (0, x)
                )[1]
                mapped = tf.map_fn(
                    lambda row: layer(row[tf.newaxis], training=True)[0][0], x, fn_output_signature=dtype
                )
                loss = tf.reduce_sum(tf.sin(looped) + tf.cos(mapped))
            return [looped, mapped, *tape.gradient(loss, [x, *(weight.value for weight in layer.weights)])]

        return tf.function(run)()

    for a, b in zip(run(layer, tf.float32), run(oracle, tf.float64), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@needs_library
def test_unknown_sizes_stay_unknown_in_a_graph_and_known_ones_known():
    layer = Case("LSTM", {"return_sequences": True}, batch=1, time=1, features=3, units=4).native()
    shapes = lambda *shape: [  # noqa: E731
        tuple(output.shape)
        for output in tf.function(layer).get_concrete_function(tf.TensorSpec(shape)).outputs
    ]
    assert shapes(None, None, 3) == [(None, None, 4), (None, 4), (None, 4)]
    assert shapes(2, 7, 3) == [(2, 7, 4), (2, 4), (2, 4)]
    outputs, h, c = layer(keras.Input((None, 3)))
    assert outputs.shape == (None, None, 4)
    assert h.shape == c.shape == (None, 4)


@needs_library
def test_many_threads_at_once_get_what_one_gets():
    case = Case("LSTM", {"return_sequences": True}, batch=9, time=17, features=13, units=33)
    layer, watched = case.native(), [tf.constant(array) for array in (case.x(), *case.states())]
    call = lambda given: layer(given[0], given[1:], training=True)  # noqa: E731
    run = lambda _: values_and_gradients(layer, call, watched)  # noqa: E731
    alone = run(None)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for together in pool.map(run, range(16)):
            for a, b in zip(tf.nest.flatten(together), tf.nest.flatten(alone), strict=True):
                np.testing.assert_array_equal(a, b)


@needs_library
@pytest.mark.parametrize(("cell", "options"), CELLS)
def test_results_have_the_same_bits_for_any_number_of_threads(cell, options, request):
    before = native.threads()
    set_threads = native.found().functions.ostinato_set_threads
    request.addfinalizer(lambda: set_threads(before))
    flags = {"return_sequences": True, "use_bias": True}
    case = Case(cell, {**options, **flags}, batch=13, time=9, features=17, units=65, mask="gaps")
    layer, watched = case.native(), [tf.constant(array) for array in (case.x(), *case.states())]
    call = lambda given: layer(given[0], given[1:], mask=case.mask_array(), training=True)  # noqa: E731
    results = []
    for count in (1, 2, 3, 8, 1):
        set_threads(count)
        results.append(tf.nest.flatten(values_and_gradients(layer, call, watched)))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@needs_library
@pytest.mark.parametrize(("cell", "options"), CELLS)
def test_extreme_inputs_give_finite_outputs_and_nan_gives_nan(cell, options):
    case = Case(cell, options, batch=4, time=1, features=9, units=17)
    layer, states = case.native(), [tf.constant(state) for state in case.states()]
    for value in (1e4, -1e4, 1e-42):
        results = values_and_gradients(
            layer,
            lambda given: layer(given[0], given[1:], training=True),
            [tf.fill((4, 1, 9), value), *states],
        )
        assert all(np.isfinite(result).all() for result in tf.nest.flatten(results))
    poisoned = case.x()
    poisoned[2, 0, 3] = np.nan
    output = layer(poisoned, states)[0].numpy()
    assert np.isnan(output[2]).all()
    assert np.isfinite(np.delete(output, 2, axis=0)).all()


@needs_library
@pytest.mark.parametrize(("batch", "time"), [(0, 3), (2, 0), (0, 0)])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize(("cell", "options"), CELLS)
def test_without_rows_or_steps_the_state_passes_through(cell, options, return_sequences, batch, time):
    case = Case(cell, {**options, "return_sequences": return_sequences}, batch, time, features=3, units=4)
    layer = case.native()
    watched = [tf.constant(array) for array in (case.x(), *case.states())]

    def call(given):
        _, outputs, states = native.run(layer, given[0], given[1:], None, training=True)
        return [outputs, *states]

    (outputs, *states), (dx, *gradients) = values_and_gradients(layer, call, watched)
    assert outputs.shape == (batch, time if return_sequences else 1, 4)
    assert dx.shape == (batch, time, 3)
    for state, initial in zip(states, case.states(), strict=True):
        np.testing.assert_array_equal(state, initial)
    for gradient, weight in zip(gradients[len(states) :], layer.weights, strict=True):
        np.testing.assert_array_equal(gradient, np.zeros(weight.shape))
    with tf.GradientTape() as tape:
        tape.watch(watched)
        loss = tf.reduce_sum(call(watched)[1])
    np.testing.assert_array_equal(tape.gradient(loss, watched[1]), np.ones((batch, 4)))


@needs_library
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"x": (2, 5)}, r"x has shape \(2, 5\), but rank 3 \(batch, time, features\) is needed"),
        ({"x": (2, 5, 4)}, r"x has shape \(2, 5, 4\), but \(2, 5, 3\) .* is needed"),
        ({"h": (3, 6)}, r"h0 has shape \(3, 6\), but \(2, 6\) \(batch, units\) is needed"),
        ({"h": (0,)}, r"h0 has shape \(0,\), but \(2, 6\) \(batch, units\) is needed"),
        ({"c": (2, 7)}, r"c0 has shape \(2, 7\), but \(2, 6\) \(batch, units\) is needed"),
        ({"mask": (2, 4)}, r"mask has shape \(2, 4\), but \(2, 5\) \(batch, time\) is needed"),
        ({"ids": (2,)}, r"ids has shape \(2,\), but rank 2 \(batch, time\) is needed"),
        ({"ids": (2, 5), "id": 3}, r"ids\[0, 0\] is 3, but .* ids from 0 to 2"),
        ({"ids": (2, 5), "id": -1}, r"ids\[0, 0\] is -1, but .* ids from 0 to 2"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_one_sentence(wrong, sentence):
    layer = Case("LSTM", {}, batch=2, time=5, features=3, units=6).native()
    states = [tf.zeros(wrong.get("h", (2, 6))), tf.zeros(wrong.get("c", (2, 6)))]
    mask = tf.ones(wrong["mask"], tf.bool) if "mask" in wrong else None
    if "ids" in wrong:
        call = lambda: native.run_ids(  # noqa: E731
            layer, tf.fill(wrong["ids"], wrong.get("id", 0)), states, mask, training=False
        )
    else:
        x = tf.zeros(wrong.get("x", (2, 5, 3)))
        call = lambda: native.run(layer, x, states, mask, training=False)  # noqa: E731
    with pytest.raises(tf.errors.InvalidArgumentError, match=sentence):
        call()
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        tf.function(call)()


@needs_library
def test_weights_and_history_that_do_not_fit_are_refused():
    ops = native.found().ops
    floats, none = lambda *shape: tf.zeros(shape), tf.zeros([0])
    weights = {"kernel": floats(3, 12), "recurrent": floats(4, 12), "bias": none}
    masks = {"mask": tf.constant([], tf.bool), "input_dropout": none, "recurrent_dropout": none}
    fit = {"x": floats(2, 5, 3), "h0": floats(2, 4), **weights, **masks}
    upstream = {"y": floats(2, 5, 4), "dy": floats(2, 5, 4), "dh": floats(2, 4)}
    for wrong in (
        {"kernel": floats(3, 8)},
        {"recurrent": floats(4, 4)},
        {"recurrent": floats(0, 0)},
        {"bias": floats(12)},  # reset_after has two
        {"mask": tf.ones((5, 2), tf.bool)},
        {"input_dropout": floats(2, 3)},
        {"recurrent_dropout": floats(3, 2, 3)},
    ):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=f"{next(iter(wrong))} .*(has shape|\\(0, 0\\))"
        ):
            ops.ostinato_gru_v1(**{**fit, **wrong})
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"history has shape \(7,\)"):
        ops.ostinato_gru_grad_v1(**fit, **upstream, history=floats(7))
    upstream["history"] = ops.ostinato_gru_v1(**fit, keep_history=True)[-1]
    with pytest.raises(tf.errors.InvalidArgumentError, match="dy has shape"):
        ops.ostinato_gru_grad_v1(**fit, **{**upstream, "dy": floats(2, 4, 4)})


@needs_library
@pytest.mark.parametrize("implementation", [1, 2])
@pytest.mark.parametrize("cell", ["GRU", "LSTM", "SimpleRNN"])
def test_dropout_masks_are_kerass(cell, implementation):
    options = {"dropout": 0.4, "recurrent_dropout": 0.3 if implementation == 1 else 0.0, "seed": 3}
    case = Case(cell, options, batch=5, time=6, features=7, units=9)
    layer, stock = case.native(), case.layer(keras.layers, "float32")
    for training in (True, True, False):
        (outputs, gradients), (wanted, wanted_gradients) = (
            _outputs_and_gradients(each, tf.constant(case.x()), training) for each in (layer, stock)
        )
        for a, b in zip(outputs, wanted, strict=True):
            np.testing.assert_allclose(a, b, atol=OUTPUTS)
        for a, b in zip(gradients, wanted_gradients, strict=True):
            np.testing.assert_allclose(a, b, rtol=GRADIENTS, atol=GRADIENTS)


def _outputs_and_gradients(layer, x, training):
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, training=training)
        loss = tf.add_n([tf.reduce_sum(output**2) for output in outputs])
    return outputs, tape.gradient(loss, [x, *[weight.value for weight in layer.trainable_weights]])


@needs_library
def test_two_replicas_train_as_one():
    code = """
import numpy as np, tensorflow as tf, keras
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from ostinato import layers
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x = np.random.default_rng(0).normal(size=(8, 5, 3)).astype("float32")
with strategy.scope():
    layer = layers.LSTM(4, engine="native", kernel_initializer=keras.initializers.GlorotUniform(seed=0))
    layer.build(x.shape)
def gradient(x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=True) ** 2)
    return tape.gradient(loss, layer.trainable_weights[0].value)
@tf.function
def both(halves):
    return strategy.reduce("SUM", strategy.run(gradient, (halves,)), axis=None)
rows = tf.data.Dataset.from_tensor_slices(x).batch(8)
halves = next(iter(strategy.experimental_distribute_dataset(rows)))
np.testing.assert_allclose(both(halves), gradient(tf.constant(x)), atol=1e-5)
print("equal")
"""
    printed = forks.run("-c", code)
    assert printed.stdout.strip() == "equal", printed.stderr[-3000:]

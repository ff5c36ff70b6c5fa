"""Second and higher derivatives and forward mode of the native engine are those of Keras' own loop.

The oracle is the stock Keras layer, run eagerly in float64, with the same float32 weights and inputs.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ostinato import layers
from ostinato.engines import native

from ..variants import examples

pytestmark = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")

CELLS = [
    ("SimpleRNN", {"activation": "tanh"}),
    ("SimpleRNN", {"activation": "relu"}),
    ("SimpleRNN", {"activation": "linear"}),
    ("GRU", {"reset_after": True}),
    ("GRU", {"reset_after": False}),
    ("LSTM", {}),
]
BATCH, TIME, FEATURES, UNITS = SHAPE = (2, 2, 2, 3)


def layer_of(package, cell, shape=SHAPE, **options):
    """A layer of ostinato in float32 or of Keras in float64, with the same weights."""
    ours = {"engine": "native"} if package is layers else {"dtype": "float64"}
    layer = getattr(package, cell)(shape[3], return_state=True, **ours, **options)
    layer.build(shape[:3])
    random = np.random.default_rng(1)
    scale = 1 / np.sqrt(shape[2] + shape[3])
    layer.set_weights([(random.normal(size=w.shape) * scale).astype("float32") for w in layer.weights])
    return layer


def both(cell, shape=SHAPE, **options):
    return layer_of(layers, cell, shape, **options), layer_of(keras.layers, cell, shape, **options)


def drawn(layer, *shape, seed=2):
    numbers = np.random.default_rng(seed).normal(size=shape).astype("float32")
    return tf.constant(numbers, layer.compute_dtype)


def weights_of(layer):
    return [weight.value for weight in layer.trainable_weights]


def total(values):
    """A sum with another weight for each element, so that no derivative is the same by accident."""

    def one(value):
        pull = tf.cos(tf.cast(tf.range(tf.size(value)), value.dtype))
        return tf.reduce_sum(tf.sin(value) * tf.reshape(pull, tf.shape(value)))

    return tf.add_n([one(value) for value in tf.nest.flatten(values)])


def derivatives(function, watched, order):
    """The gradient of a function's total, then that of the gradient's total, and so on."""
    with tf.GradientTape() as tape:
        tape.watch(watched)
        lower = derivatives(function, watched, order - 1) if order > 1 else []
        result = total(lower[-1] if lower else function())
    return [*lower, tape.gradient(result, watched)]


def assert_same(ours, expected):
    ours, expected = tf.nest.flatten(ours), tf.nest.flatten(expected)
    assert any(np.abs(array).max(initial=0) > 1e-3 for array in expected if np.size(array)) or not any(
        map(np.size, expected)
    )
    for a, b in zip(ours, expected, strict=True):
        assert a.shape == b.shape
        tolerance = 1e-4 * np.abs(b).max(initial=0) + 1e-5
        np.testing.assert_allclose(np.float64(a), np.float64(b), rtol=0, atol=tolerance)


@st.composite
def cases(draw):
    """A cell, its options, its sizes, whether there is a mask, and whether it trains."""
    cell, options = draw(st.sampled_from(CELLS))
    flags = ("use_bias", "return_sequences", "go_backwards", "zero_output_for_mask")
    options = {**options, **{flag: draw(st.booleans(), label=flag) for flag in flags}}
    shape = tuple(draw(st.integers(1, 5)) for _ in range(4))
    return cell, options, shape, draw(st.booleans()), draw(st.booleans())


@settings(max_examples=examples(6, thorough=12))
@given(cases())
@example(("LSTM", {"return_sequences": True}, (1, 1, 1, 1), True, True))
@example(("GRU", {"reset_after": False}, (3, 1, 2, 4), False, True))
def test_second_derivatives_are_those_of_kerass_loop(case):
    cell, options, (batch, time, features, units), masked, training = case
    mask = np.random.default_rng(0).random((batch, time)) < 0.7 if masked else None

    def results(layer):
        x = drawn(layer, batch, time, features)
        states = [drawn(layer, batch, units, seed=seed) for seed in range(2 if cell == "LSTM" else 1)]
        call = lambda: layer(x, initial_state=states, mask=mask, training=training)  # noqa: E731
        return derivatives(call, [x, *states, *weights_of(layer)], 2)

    ours, stock = both(cell, (batch, time, features, units), **options)
    assert_same(results(ours), results(stock))


@pytest.mark.parametrize(("cell", "options"), CELLS)
def test_third_derivatives_too(cell, options):
    def results(layer):
        x = drawn(layer, BATCH, TIME, FEATURES)
        return derivatives(lambda: layer(x, training=True), [x, *weights_of(layer)], 3)

    ours, stock = both(cell, **options)
    assert_same(results(ours), results(stock))


@pytest.mark.parametrize("penalized", [False, True])
def test_two_tapes_around_a_function_give_first_derivatives_and_second(penalized):
    """For more than one tape TensorFlow prepares a function's second derivatives, wanted or not."""

    def results(layer, wrap):
        x = drawn(layer, BATCH, TIME, FEATURES)
        call = wrap(lambda x: layer(x, training=True)[0])
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(x)
                result = total(call(x))
            first = inner.gradient(result, x)
            penalty = total(first) if penalized else 0
            loss = result + penalty
        return [first, *outer.gradient(loss, weights_of(layer))]

    ours, stock = both("SimpleRNN")
    assert_same(results(ours, tf.function), results(stock, lambda call: call))


@pytest.mark.thorough
def test_in_a_graph_batch_and_time_may_be_unknown():
    flags = {"return_sequences": True, "go_backwards": True, "zero_output_for_mask": True}
    ours, stock = both("LSTM", **flags)

    def results(layer, x, mask):
        return derivatives(lambda: layer(x, mask=mask, training=True), [x, *weights_of(layer)], 2)

    signature = [tf.TensorSpec((None, None, FEATURES)), tf.TensorSpec((None, None), tf.bool)]
    graph = tf.function(lambda x, mask: results(ours, x, mask), input_signature=signature)
    for batch, time in [(2, 3), (1, 1)]:
        mask = np.random.default_rng(3).random((batch, time)) < 0.7
        expected = results(stock, drawn(stock, batch, time, FEATURES), mask)
        assert_same(graph(drawn(ours, batch, time, FEATURES), mask), expected)


@pytest.mark.parametrize("cell", ["SimpleRNN", "GRU", "LSTM"])
@pytest.mark.parametrize("rates", [{"dropout": 0.4}, {"dropout": 0.4, "recurrent_dropout": 0.3}])
def test_through_the_same_dropout_masks(cell, rates):
    def results(layer):
        layer.cell.seed_generator.state.assign([3, 4])
        x = drawn(layer, BATCH, TIME, FEATURES)
        return derivatives(lambda: layer(x, training=True), [x, *weights_of(layer)], 2)

    ours = layer_of(layers, cell, **rates)
    stock = getattr(keras.layers, cell)(UNITS, return_state=True, **rates)  # float64 draws other masks
    stock.build(SHAPE[:3])
    stock.set_weights(ours.get_weights())
    assert_same(results(ours), results(stock))


@pytest.mark.parametrize("cell", ["SimpleRNN", "GRU", "LSTM"])
def test_over_token_ids_as_over_their_one_hot_vectors(cell):
    ours, stock = both(cell, return_sequences=True)
    ids = np.random.default_rng(0).integers(0, FEATURES, (BATCH, TIME))

    def results(layer, call):
        states = [drawn(layer, BATCH, UNITS, seed=seed) for seed in range(2 if cell == "LSTM" else 1)]
        return derivatives(lambda: call(states), [*states, *weights_of(layer)], 2)

    over_ids = lambda states: ours.over_ids(ids, FEATURES, initial_state=states, training=True)  # noqa: E731
    over_vectors = lambda states: stock(tf.one_hot(ids, FEATURES), initial_state=states)  # noqa: E731
    assert_same(results(ours, over_ids), results(stock, over_vectors))


def test_one_tensor_may_be_both_states():
    def results(layer):
        state = drawn(layer, BATCH, UNITS)
        x = drawn(layer, BATCH, TIME, FEATURES)
        return derivatives(lambda: layer(x, initial_state=[state, state], training=True), [x, state], 2)

    ours, stock = both("LSTM")
    assert_same(results(ours), results(stock))


@pytest.mark.parametrize("graph", [False, True])
def test_an_input_without_gradient_needs_none_of_the_second_order_either(graph):
    def results(layer):
        x = drawn(layer, BATCH, TIME, FEATURES)
        return derivatives(lambda: layer(x, training=True), weights_of(layer), 2)

    ours, stock = both("SimpleRNN")
    assert_same((tf.function(results) if graph else results)(ours), results(stock))


@pytest.mark.parametrize(("batch", "time"), [(0, 3), (2, 0)])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_without_rows_or_steps_only_the_state_has_second_derivatives(batch, time, return_sequences):
    layer = layer_of(layers, "LSTM", return_sequences=return_sequences)
    x = drawn(layer, batch, time, FEATURES)
    states = [drawn(layer, batch, UNITS, seed=seed) for seed in range(2)]
    call = lambda: native.run(layer, x, states, None, training=True)[1:]  # noqa: E731
    _, (of_x, *of_states, of_kernel, _, _) = derivatives(call, [x, *states, *weights_of(layer)], 2)
    expected = derivatives(lambda: states, states, 2)[1]
    assert of_x is None or not np.any(of_x)
    assert of_kernel is None or not np.any(of_kernel)
    for a, b in zip(of_states, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def forward_mode(layer, wrap_layer=lambda call: call, order=1, training=True):
    """The product of the Jacobian with a vector, for x and the weights; of the gradient with order=2."""
    x, *weights = primals = [drawn(layer, BATCH, TIME, FEATURES), *weights_of(layer)]
    call = wrap_layer(lambda x: layer(x, training=training))
    tangents = [drawn(layer, *primal.shape, seed=3) for primal in primals]
    with tf.autodiff.ForwardAccumulator(primals, tangents) as accumulator:
        if order == 1:
            results = call(x)
            results = [*results, total(results)]
        else:
            with tf.GradientTape() as tape:
                tape.watch(x)
                result = total(call(x))
            results = tape.gradient(result, [x, *weights])
    return [accumulator.jvp(result) for result in results]


@pytest.mark.parametrize(("cell", "training"), [("SimpleRNN", False), ("LSTM", True)])
def test_forward_mode_of_a_layer(cell, training):
    ours, stock = both(cell)
    assert_same(forward_mode(ours, training=training), forward_mode(stock))


def test_forward_mode_around_and_inside_a_function():
    ours, stock = both("SimpleRNN")
    expected = forward_mode(stock)
    assert_same(forward_mode(ours, tf.function), expected)
    assert_same(tf.function(lambda: forward_mode(ours))(), expected)


@pytest.mark.thorough
def test_hessian_vector_products_forward_over_reverse():
    ours, stock = both("SimpleRNN")
    assert_same(forward_mode(ours, order=2), forward_mode(stock, order=2))


def test_hessian_vector_products_reverse_over_forward():
    def results(layer):
        x = drawn(layer, BATCH, TIME, FEATURES)
        with tf.GradientTape() as tape:
            tape.watch(x)
            with tf.autodiff.ForwardAccumulator(x, drawn(layer, *x.shape, seed=3)) as accumulator:
                result = total(layer(x, training=True))
            product = accumulator.jvp(result)
        return tape.gradient(product, [x, *weights_of(layer)])

    ours, stock = both("SimpleRNN")
    assert_same(results(ours), results(stock))


def hessian(layer):
    """Second derivatives for x, (batch, time, features) twice, as the Jacobian of the gradient."""
    x = drawn(layer, BATCH, TIME, FEATURES)
    with tf.GradientTape() as tape:
        tape.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            result = total(layer(x, training=True))
        first = inner.gradient(result, x)
    return tape.jacobian(first, x)


def test_hessians_are_kerass_however_they_are_asked_for():
    ours, stock = both("SimpleRNN")
    expected = hessian(stock)
    assert_same(hessian(ours), expected)

    @tf.function
    def from_tensorflow(x):
        return tf.hessians(total(ours(tf.reshape(x, SHAPE[:3]), training=True)), x)[0]

    flat = tf.reshape(drawn(ours, BATCH, TIME, FEATURES), (-1,))
    assert_same(from_tensorflow(flat), np.reshape(expected, (flat.shape[0], -1)))


@pytest.mark.thorough
def test_the_gradient_of_a_batch_jacobian_is_kerass():
    def results(layer):
        x = drawn(layer, BATCH, TIME, FEATURES)
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                output = layer(x, training=True)[0]
            jacobian = inner.batch_jacobian(output, x)
            result = total(jacobian)
        return [jacobian, outer.gradient(result, x)]

    ours, stock = both("SimpleRNN")
    assert_same(results(ours), results(stock))


def test_a_vectorized_map_gives_the_gradients_of_each_row():
    ours, stock = both("LSTM")

    def gradients(layer, row):
        return derivatives(lambda: layer(row[tf.newaxis], training=True), weights_of(layer), 1)[0]

    mapped = tf.vectorized_map(lambda row: gradients(ours, row), drawn(ours, BATCH, TIME, FEATURES))
    rows = [gradients(stock, row) for row in drawn(stock, BATCH, TIME, FEATURES)]
    assert_same(mapped, [np.stack(row) for row in zip(*rows, strict=True)])


def test_one_graph_serves_a_layer_with_and_without_its_options():
    """As TensorFlow makes one in forward mode, once it has made many for different shapes."""
    names = ("x", "h0", "kernel", "recurrent", "bias", "mask", "input_dropout", "recurrent_dropout")

    def results(given):
        inputs = [given[name] for name in names]
        attributes = {"activation": "tanh", "go_backwards": False}
        attributes |= {"return_sequences": True, "zero_output_for_mask": False}
        call = lambda: native._forward("OstinatoRnnV1", inputs, attributes, keep_history=True)[:2]  # noqa: E731
        return derivatives(call, [given["x"], given["kernel"]], 2)

    def random(*shape):
        return tf.constant(np.random.default_rng(sum(shape)).normal(size=shape), tf.float32)

    required = {"x": random(2, 3, 4), "h0": random(2, 5), "kernel": random(4, 5), "recurrent": random(5, 5)}
    nothing = {name: tf.constant([], tf.bool if name == "mask" else tf.float32) for name in names[4:]}
    mask = tf.constant(np.random.default_rng(0).random((2, 3)) < 0.6)
    dropout = {"input_dropout": random(1, 2, 4), "recurrent_dropout": random(1, 2, 5)}
    everything = {"bias": random(5), "mask": mask, **dropout}
    any_shape = {name: tf.TensorSpec(None, value.dtype) for name, value in {**required, **nothing}.items()}
    any_shape["x"] = tf.TensorSpec((None, None, None))
    graph = tf.function(lambda given: results(given), input_signature=[any_shape])
    for options in (nothing, everything):
        given = {**required, **options}
        assert_same(graph(given), results(given))


class Critic(keras.Model):
    """A critic with the gradient penalty of Gulrajani et al. 2017, arXiv:1704.00028."""

    def __init__(self, recurrent):
        super().__init__()
        self.model = keras.Sequential([keras.Input((4, 3)), recurrent, keras.layers.Dense(1)])

    def train_step(self, x):
        with tf.GradientTape() as tape:
            fake = tf.cos(3 * x)
            mixed = 0.3 * x + 0.7 * fake
            with tf.GradientTape() as inner:
                inner.watch(mixed)
                score = self.model(mixed, training=True)
            slopes = tf.norm(inner.gradient(score, mixed), axis=(1, 2))
            loss = tf.reduce_mean(self.model(fake) - self.model(x) + 10 * (slopes - 1) ** 2)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


@pytest.mark.parametrize(
    ("kind", "run_eagerly"),
    [("SimpleRNN", False), ("Bidirectional", True)],
)
def test_a_model_trains_with_a_gradient_penalty(kind, run_eagerly):
    x = np.random.default_rng(0).normal(size=(8, 4, 3)).astype("float32")

    def results(package, **options):
        keras.utils.set_random_seed(0)
        bidirectional = kind == "Bidirectional"
        recurrent = getattr(package, "LSTM" if bidirectional else kind)(4, **options)
        critic = Critic(keras.layers.Bidirectional(recurrent) if bidirectional else recurrent)
        critic.compile(keras.optimizers.SGD(0.01), run_eagerly=run_eagerly or package is keras.layers)
        losses = critic.fit(x, batch_size=4, epochs=1, shuffle=False, verbose=0).history["loss"]
        return [np.array(losses), *critic.model.get_weights()]

    assert_same(results(layers, engine="native"), results(keras.layers))


def test_through_an_embedding_a_mask_and_two_layers():
    ids = np.random.default_rng(0).integers(0, 5, (3, 4))

    def results(package, **options):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.layers.Embedding(5, 3, mask_zero=True),
                package.LSTM(4, return_sequences=True, **options),
                package.GRU(3, **options),
                keras.layers.Dense(2),
            ]
        )
        model(ids)
        weights = weights_of(model)
        with tf.GradientTape() as tape:
            first = derivatives(lambda: model(ids, training=True), weights, 1)[0]
            result = total([tf.convert_to_tensor(gradient) for gradient in first])
        return [tf.convert_to_tensor(second) for second in tape.gradient(result, weights[1:])]

    assert_same(results(layers, engine="native"), results(keras.layers))

"""The textbook equals a numpy copy of its equations, and Keras' layers; weights convert both ways."""

from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato import scratch
from ostinato.errors import ConfigError

few = settings(max_examples=40)
sizes = st.fixed_dictionaries(
    {name: st.integers(1, 5) for name in ("batch", "time", "features", "units")}
    | {"seed": st.integers(0, 99)}
)
forms = st.sampled_from(["rnn", "gru", "gru reset after", "lstm"])
KERAS = {
    "rnn": (keras.layers.SimpleRNN, {}),
    "gru": (keras.layers.GRU, {"reset_after": False}),
    "gru reset after": (keras.layers.GRU, {"reset_after": True}),
    "lstm": (keras.layers.LSTM, {}),
}
NETWORKS = {"rnn": scratch.rnn, "gru": scratch.gru, "gru reset after": scratch.gru, "lstm": scratch.lstm}
GATES = {"rnn": 1, "gru": 3, "gru reset after": 3, "lstm": 4}


def draw_weights(form, features, units, use_bias, random):
    """Weights of a Keras layer, as it would return them."""
    width = GATES[form] * units
    shapes = [(features, width), (units, width)]
    if use_bias:
        shapes.append((2, width) if form == "gru reset after" else (width,))
    return [random.normal(size=shape) for shape in shapes]


def draw_case(form, size, use_bias):
    """Weights, time-major inputs and an initial state, all float64."""
    random = np.random.default_rng(size["seed"])
    weights = draw_weights(form, size["features"], size["units"], use_bias, random)
    inputs = random.normal(size=(size["time"], size["batch"], size["features"]))
    state = [random.normal(size=(size["batch"], size["units"])) for _ in range(2 if form == "lstm" else 1)]
    return weights, inputs, state


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_step(form, x, state, p):
    """The equations once more, written for numpy from the papers."""
    h = state[0]
    if form == "rnn":
        h = np.tanh(x @ p.W_xh + h @ p.W_hh + p.b_h)
        return (h,)
    if form == "gru":
        update = sigmoid(x @ p.W_xz + h @ p.W_hz + p.b_z)
        reset = sigmoid(x @ p.W_xr + h @ p.W_hr + p.b_r)
        candidate = np.tanh(x @ p.W_xh + (reset * h) @ p.W_hh + p.b_h)
        return (update * h + (1 - update) * candidate,)
    if form == "gru reset after":
        update = sigmoid(x @ p.W_xz + h @ p.W_hz + p.b_xz + p.b_hz)
        reset = sigmoid(x @ p.W_xr + h @ p.W_hr + p.b_xr + p.b_hr)
        candidate = np.tanh(x @ p.W_xh + p.b_xh + reset * (h @ p.W_hh + p.b_hh))
        return (update * h + (1 - update) * candidate,)
    write = sigmoid(x @ p.W_xi + h @ p.W_hi + p.b_i)
    keep = sigmoid(x @ p.W_xf + h @ p.W_hf + p.b_f)
    show = sigmoid(x @ p.W_xo + h @ p.W_ho + p.b_o)
    c = keep * state[1] + write * np.tanh(x @ p.W_xc + h @ p.W_hc + p.b_c)
    return (show * np.tanh(c), c)


@few
@given(form=forms, size=sizes, use_bias=st.booleans())
def test_scratch_computes_the_equations(form, size, use_bias):
    weights, inputs, state = draw_case(form, size, use_bias)
    params = scratch.from_keras(weights)
    if form == "gru reset after" and not use_bias:
        params = scratch.from_keras(weights, reset_after=True)
    outputs, final = NETWORKS[form](inputs, state, params)

    arrays = type(params)(*[p if p is None else np.asarray(p) for p in params])
    expected = []
    for x in inputs:
        state = numpy_step(form, x, state, arrays)
        expected.append(state[0])
    np.testing.assert_allclose(outputs, np.concatenate(expected), rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(final, state, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@few
@given(form=forms, size=sizes, use_bias=st.booleans())
def test_scratch_and_keras_agree_in_outputs_states_and_gradients(form, size, use_bias):
    weights, inputs, state = draw_case(form, size, use_bias)
    make, options = KERAS[form]
    layer = make(
        size["units"], return_sequences=True, return_state=True, use_bias=use_bias, dtype="float64", **options
    )
    layer.build((None, None, size["features"]))
    layer.set_weights(weights)
    inputs, state = tf.constant(inputs), [tf.constant(s) for s in state]
    pull = np.random.default_rng(1).normal(size=(size["time"], size["batch"], size["units"]))

    with tf.GradientTape() as tape:
        tape.watch([inputs, state])
        theirs, *their_state = layer(tf.transpose(inputs, (1, 0, 2)), initial_state=state)
        theirs = tf.transpose(theirs, (1, 0, 2))
        loss = tf.reduce_sum(pull * theirs) + tf.add_n([tf.reduce_sum(s**2) for s in their_state])
    their_gradients = tape.gradient(loss, [inputs, *state, *[w.value for w in layer.weights[: len(weights)]]])

    weights = [tf.Variable(w) for w in weights]
    with tf.GradientTape() as tape:
        tape.watch([inputs, state])
        params = scratch.from_keras(weights, reset_after=options.get("reset_after"))
        ours, our_state = NETWORKS[form](inputs, state, params)
        ours = tf.reshape(ours, pull.shape)
        loss = tf.reduce_sum(pull * ours) + tf.add_n([tf.reduce_sum(s**2) for s in our_state])
    our_gradients = tape.gradient(loss, [inputs, *state, *weights])

    for a, b in zip(
        [ours, *our_state, *our_gradients], [theirs, *their_state, *their_gradients], strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@few
@given(form=forms, size=sizes, use_bias=st.booleans(), dtype=st.sampled_from(["float32", "float64"]))
def test_weights_survive_the_way_from_keras_and_back_exactly(form, size, use_bias, dtype):
    weights, _, _ = draw_case(form, size, use_bias)
    weights = [w.astype(dtype) for w in weights]
    back = scratch.to_keras_weights(
        scratch.from_keras(weights, reset_after={"gru reset after": True}.get(form))
    )
    assert len(back) == len(weights)
    for ours, given_ in zip(back, weights, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours, given_)


@few
@given(cell=st.sampled_from(scratch.CELLS), seed=st.integers(0, 99))
def test_parameters_survive_the_way_to_keras_and_back_exactly(cell, seed):
    params = scratch.get_params(cell, 4, 3, seed=seed)
    back = scratch.from_keras(scratch.to_keras_weights(params))
    assert type(back) is type(params)
    for ours, given_ in zip(back[:-2], params[:-2], strict=True):
        np.testing.assert_array_equal(ours, given_)


@pytest.mark.parametrize("cell", scratch.CELLS)
def test_a_keras_layer_takes_the_textbooks_parameters(cell):
    make, options = KERAS[cell]
    layer = make(3, return_sequences=True, **options)
    layer.build((None, None, 4))
    params = scratch.get_params(cell, 4, 3, stddev=0.5, seed=0)
    layer.set_weights(scratch.to_keras_weights(params))
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    h, _ = NETWORKS[cell](x.swapaxes(0, 1), scratch.init_state(cell, 2, 3), params._replace(W_hq=None))
    np.testing.assert_allclose(layer(x), np.reshape(h, (5, 2, 3)).swapaxes(0, 1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "reset_after"),
    [
        ([], None),
        ([(2, 3)], None),
        ([(2, 6), (3, 6)], None),  # two gates: no such cell
        ([(2, 9), (3, 12)], None),  # kernels of different widths
        ([(9,), (3, 9)], None),
        ([(2, 9), (3, 9), (3,)], None),
        ([(2, 12), (3, 12), (2, 12)], None),  # two biases per gate, but no GRU
        ([(2, 9), (3, 9), (9,)], True),
        ([(2, 9), (3, 9), (2, 9)], False),
        ([(2, 3), (3, 3), (3,), (3,)], None),
    ],
)
def test_weights_of_no_known_layer_are_refused_in_one_sentence(shapes, reset_after):
    with pytest.raises(ConfigError, match="the weights must be those of a SimpleRNN, GRU or LSTM") as error:
        scratch.from_keras([np.zeros(shape) for shape in shapes], reset_after=reset_after)
    assert "\n" not in str(error.value)


def test_parameters_are_named_ordered_and_drawn_as_in_the_textbook():
    names = {
        "rnn": "W_xh W_hh b_h",
        "gru": "W_xz W_hz b_z W_xr W_hr b_r W_xh W_hh b_h",
        "lstm": "W_xi W_hi b_i W_xf W_hf b_f W_xo W_ho b_o W_xc W_hc b_c",
    }
    for cell, recurrent in names.items():
        params = scratch.get_params(cell, 40, 60, stddev=0.01, seed=3)
        assert params._fields == (*recurrent.split(), "W_hq", "b_q")
        for name, parameter in params._asdict().items():
            assert isinstance(parameter, tf.Variable)
            if name.startswith("b"):
                np.testing.assert_array_equal(parameter, np.zeros(40 if name == "b_q" else 60))
            else:
                assert abs(np.std(parameter) - 0.01) < 0.001
        assert params.W_hq.shape == (60, 40)
        again = scratch.get_params(cell, 40, 60, seed=3)
        other = scratch.get_params(cell, 40, 60, seed=4)
        np.testing.assert_array_equal(params[0], again[0])
        assert np.any(params[0].numpy() != other[0].numpy())


def test_the_state_before_the_first_step_is_zero():
    assert [s.shape for s in scratch.init_state("lstm", 2, 3)] == [(2, 3), (2, 3)]
    for cell in ("rnn", "gru"):
        (h,) = scratch.init_state(cell, 2, 3)
        np.testing.assert_array_equal(h, np.zeros((2, 3)))


def test_an_unknown_cell_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="cell must be one of rnn, gru, lstm, got 'gruu'"):
        scratch.get_params("gruu", 2, 3)
    with pytest.raises(ConfigError, match="cell must be one of"):
        scratch.init_state("gruu", 2, 3)


@pytest.mark.parametrize("cell", scratch.CELLS)
def test_logits_of_all_steps_stand_below_each_other_in_eager_and_graph_mode(cell):
    params = scratch.get_params(cell, 4, 3, stddev=0.5, seed=0)
    inputs = scratch.one_hot(np.array([[0, 1, 2], [3, 2, 1]]), 4)
    network, state = NETWORKS[cell], scratch.init_state(cell, 2, 3)
    outputs, final = network(inputs.numpy(), state, params)
    assert outputs.shape == (3 * 2, 4)
    first, between = network(inputs[:1], state, params)
    rest, _ = network(inputs[1:], between, params)
    np.testing.assert_allclose(outputs, tf.concat([first, rest], 0), rtol=1e-6)
    graph_outputs, graph_final = tf.function(network)(inputs, state, params)
    np.testing.assert_allclose(outputs, graph_outputs, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(final[-1], graph_final[-1], rtol=1e-5, atol=1e-7)


def test_one_hot_is_time_major():
    vectors = scratch.one_hot(np.array([[0, 1, 2], [2, 2, 0]]), 3)
    assert vectors.shape == (3, 2, 3)
    np.testing.assert_array_equal(tf.argmax(vectors, -1), [[0, 2], [1, 2], [2, 0]])


@few
@given(
    seed=st.integers(0, 99), batch=st.integers(1, 4), time=st.integers(1, 4), scale=st.sampled_from([1, 1000])
)
def test_cross_entropy_equals_tensorflows(seed, batch, time, scale):
    random = np.random.default_rng(seed)
    logits, tokens = scale * random.normal(size=(time * batch, 5)), random.integers(0, 5, (batch, time))
    flat = tokens.T.reshape(-1)
    expected = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(flat, logits))
    np.testing.assert_allclose(scratch.cross_entropy(tf.constant(logits), tokens), expected, rtol=1e-12)
    np.testing.assert_allclose(scratch.cross_entropy(tf.constant(logits), flat), expected, rtol=1e-12)


def test_a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary():
    loss = scratch.cross_entropy(tf.zeros((6, 28)), np.arange(6))
    np.testing.assert_allclose(scratch.perplexity(loss), 28, rtol=1e-5)


@few
@given(seed=st.integers(0, 99), max_norm=st.floats(0.01, 100))
def test_clipping_equals_tensorflows(seed, max_norm):
    random = np.random.default_rng(seed)
    gradients = [tf.constant(random.normal(size=shape)) for shape in [(3, 2), (4,)]]
    expected, _ = tf.clip_by_global_norm(gradients, max_norm)
    for ours, theirs in zip(scratch.clip_by_global_norm(gradients, max_norm), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    still = scratch.clip_by_global_norm([tf.zeros(3)], 1.0)
    np.testing.assert_array_equal(still[0], np.zeros(3))


@pytest.mark.parametrize("cell", scratch.CELLS)
def test_scratch_alone_learns_a_short_melody_and_sings_it(cell):
    melody = np.array([[0, 1, 2, 3] * 2])
    params = scratch.get_params(cell, 4, 16, stddev=0.3, seed=1)

    @tf.function
    def train_step():
        with tf.GradientTape() as tape:
            inputs = scratch.one_hot(melody[:, :-1], 4)
            logits, _ = NETWORKS[cell](inputs, scratch.init_state(cell, 1, 16), params)
            loss = scratch.cross_entropy(logits, melody[:, 1:])
        gradients = tape.gradient(loss, params)
        scratch.sgd(params, scratch.clip_by_global_norm(gradients, 1.0), 1.0)
        return loss

    for _ in range(150):
        loss = train_step()
    assert scratch.perplexity(loss) < 1.2
    assert scratch.sample([0, 1], 6, params) == [0, 1, 2, 3, 0, 1, 2, 3]


def test_samples_are_repeatable_and_follow_the_temperature():
    params = scratch.get_params("gru", 8, 4, seed=0)
    first = scratch.sample([0], 40, params, temperature=1.0, seed=5)
    assert first == scratch.sample([0], 40, params, temperature=1.0, seed=5)
    assert first != scratch.sample([0], 40, params, temperature=1.0, seed=6)
    assert len(set(first)) > 4
    cold = scratch.sample([0], 5, params, temperature=1e-6, seed=5)
    assert cold == scratch.sample([0], 5, params)


def test_an_empty_prompt_is_refused():
    with pytest.raises(ConfigError, match="the prompt must be at least one token, got none"):
        scratch.sample([], 3, scratch.get_params("rnn", 4, 3))


# Equations of one's own


class Peephole(NamedTuple):
    """Parameters of a kind of one's own, for an LSTM with peepholes; one of them is not used."""

    W_xo: Any
    W_ho: Any
    W_co: Any
    unused: Any
    W_hq: Any
    b_q: Any


def peephole_step(x, state, p):
    h, c = state
    c = 0.9 * c + tf.tanh(x @ p.W_xo + h @ p.W_ho)
    h = tf.sigmoid(c @ p.W_co) * tf.tanh(c)
    return h, (h, c)


def peephole(vocab=5, units=3):
    random = np.random.default_rng(0)
    shapes = [(vocab, units), (units, units), (units, units), (units,), (units, vocab), (vocab,)]
    return Peephole(*[tf.Variable(random.normal(size=shape), dtype=tf.float32) for shape in shapes])


def test_a_changed_equation_runs_over_time():
    params = scratch.get_params("lstm", 5, 3, seed=0)
    inputs = scratch.one_hot([[0, 1, 2, 3]], 5)
    state = scratch.init_state("lstm", 1, 3)
    seen = []

    def no_forgetting(x, state, p):
        seen.append(x)
        h, (_, c) = scratch.lstm_step(x, state, p)
        return 2.0 * h, (h, c)

    logits, last = scratch.lstm(inputs, state, params, step=no_forgetting)
    plain, plain_last = scratch.lstm(inputs, state, params)
    assert len(seen) == 4
    np.testing.assert_allclose(logits - params.b_q, 2.0 * (plain - params.b_q), rtol=1e-5)
    for mine, theirs in zip(last, plain_last, strict=True):
        np.testing.assert_allclose(mine, theirs)
    for network, cell in ((scratch.rnn, "rnn"), (scratch.gru, "gru")):
        params = scratch.get_params(cell, 5, 3, seed=0)
        same, _ = network(inputs, scratch.init_state(cell, 1, 3), params, step=scratch.STEPS[type(params)])
        np.testing.assert_array_equal(same, network(inputs, scratch.init_state(cell, 1, 3), params)[0])


def test_parameters_of_ones_own_train_and_sample():
    params, state = peephole(), scratch.init_state("lstm", 1, 3)
    with pytest.raises(
        ConfigError, match="step must be given for parameters of the class Peephole, got None"
    ):
        scratch.lstm(scratch.one_hot([[0, 1]], 5), state, params)
    with tf.GradientTape() as tape:
        logits, _ = scratch.lstm(scratch.one_hot([[0, 1, 2]], 5), state, params, step=peephole_step)
        loss = scratch.cross_entropy(logits, [[1, 2, 3]])
    gradients = tape.gradient(loss, params)
    before = params.W_xo.numpy()
    for use in (
        lambda: scratch.clip_by_global_norm(gradients, 1.0),
        lambda: scratch.sgd(params, gradients, 0.1),
        lambda: scratch.sgd(params, list(gradients), 0.1),
    ):
        with pytest.raises(ConfigError, match="no gradient for the weight unused"):
            use()
    with pytest.raises(ConfigError, match="no gradient for the weight number 4 of 6"):
        scratch.clip_by_global_norm(list(gradients), 1.0)
    np.testing.assert_array_equal(params.W_xo, before)
    tokens = scratch.sample([0, 1], 4, params, step=peephole_step, state=state)
    assert len(tokens) == 6


def test_a_sample_goes_on_from_a_state():
    params = scratch.get_params("gru", 5, 8, seed=3)
    whole = scratch.sample([0, 1, 2], 5, params)
    _, state = scratch.gru(scratch.one_hot([[0, 1]], 5), scratch.init_state("gru", 1, 8), params)
    assert scratch.sample([2], 5, params, state=state) == whole[2:]


def test_the_former_name_of_to_keras_weights_is_the_same_function_with_a_warning():
    with pytest.warns(
        DeprecationWarning, match=r"scratch\.to_keras is now ostinato\.scratch\.to_keras_weights"
    ):
        assert scratch.to_keras is scratch.to_keras_weights
    with pytest.raises(AttributeError, match="no attribute 'to_torch'"):
        _ = scratch.to_torch

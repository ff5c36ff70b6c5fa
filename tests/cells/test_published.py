"""Every cell against its paper's equations, in NumPy: scratch form in float64, native engine in float32."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato import layers
from ostinato.cells import registry
from ostinato.engines import choose, native
from ostinato.errors import EngineError

from . import published

BATCH, TIME, FEATURES, UNITS = 3, 7, 5, 6
# A layer's class, its options, and the published step.
CASES = {
    "peephole": (layers.LSTM, {"peephole": True}, published.lstm),
    "cifg": (layers.LSTM, {"coupled": True}, published.lstm),
    "cifg with peepholes": (layers.LSTM, {"coupled": True, "peephole": True}, published.lstm),
    "lstmp": (layers.LSTM, {"projection": 4}, published.lstm),
    "a wider projection": (layers.LSTM, {"projection": 9}, published.lstm),
    "ln-lstm": (layers.LSTM, {"layer_norm": True}, published.lstm),
    "zoneout": (layers.LSTM, {"zoneout": (0.3, 0.2)}, published.lstm),
    "all at once": (
        layers.LSTM,
        {"layer_norm": True, "peephole": True, "coupled": True, "projection": 4, "zoneout": (0.1, 0.4)},
        published.lstm,
    ),
    "ln-gru": (layers.GRU, {"layer_norm": True}, published.gru),
    "gru with zoneout": (layers.GRU, {"zoneout": (0.3, 0.0)}, published.gru),
    "ln-rnn": (layers.SimpleRNN, {"layer_norm": True}, published.rnn),
    "rnn with zoneout": (layers.SimpleRNN, {"zoneout": (0.3, 0.0)}, published.rnn),
    "indrnn": (layers.IndRNN, {}, published.indrnn),
    "indrnn with tanh": (layers.IndRNN, {"activation": "tanh"}, published.indrnn),
    "mingru": (layers.MinGRU, {}, published.mingru),
    "positive mingru": (layers.MinGRU, {"positive": True}, published.mingru),
    "minlstm": (layers.MinLSTM, {}, published.minlstm),
    "positive minlstm": (layers.MinLSTM, {"positive": True}, published.minlstm),
    "sru": (layers.SRU, {}, published.sru),
    "lru": (layers.LRU, {}, published.lru),
    "rg-lru": (layers.RGLRU, {"blocks": 2}, published.rg_lru),
    "slstm": (layers.SLSTM, {"heads": 2}, published.slstm),
    "slstm that forgets exponentially": (layers.SLSTM, {"heads": 1, "forget": "exp"}, published.slstm),
    "mlstm": (layers.MLSTM, {"heads": 2}, published.mlstm),
    "mlstm that forgets exponentially": (layers.MLSTM, {"heads": 3, "forget": "exp"}, published.mlstm),
    "gated-delta": (layers.GatedDelta, {"heads": 2}, published.gated_delta),
}
CASE = pytest.mark.parametrize("case", CASES)
THREADED = [
    "peephole",
    "all at once",
    "ln-gru",
    "ln-rnn",
    "sru",
    "lru",
    "rg-lru",
    "slstm",
    "mlstm",
    "gated-delta",
]


def made(case, *, engine="auto", dtype="float32", features=FEATURES, seed=0, scale=0.5, **options):
    """A layer with drawn weights, which are near those that each begins with, and its inputs and state."""
    layer_class, own, _ = CASES[case]
    options = {"return_sequences": True, "return_state": True, **options}
    layer = layer_class(UNITS, engine=engine, dtype=dtype, **own, **options)
    layer.build((BATCH, TIME, features))
    draw = np.random.default_rng(seed)
    for weight in layer.trainable_variables:
        about = 1.0 if "gain" in weight.name and "log" not in weight.name else 0.0
        weight.assign(about + scale * draw.normal(size=weight.shape))
    x = draw.normal(size=(BATCH, TIME, features))
    state = [0.5 * draw.normal(size=(BATCH, size)) for size in layer.state_size]
    if layer_class is layers.SLSTM:
        state[2] = 1 + np.abs(state[2])  # a normaliser is at least 1
    return layer, x, state


def weights_of(layer):
    return {weight.name: np.asarray(weight, "float64") for weight in layer.trainable_variables}


def scratch(layer, x, state):
    """Outputs and state by the cell's step in plain TensorFlow."""
    cell, carried, outputs = layer.recurrence, tuple(state), []
    parameters = cell.params(layer)
    for now in tf.unstack(x, axis=1):
        output, carried = cell.step(now, carried, parameters)
        outputs.append(output)
    return tf.stack(outputs, 1), list(carried)


def with_gradients(run, x, state, variables):
    """What `run` returns, and the gradients of a function of all of it."""
    x, state = tf.convert_to_tensor(x), [tf.convert_to_tensor(part) for part in state]
    with tf.GradientTape() as tape:
        tape.watch([x, *state])
        outputs, after = run(x, state)
        total = tf.add_n([tf.reduce_sum(tf.sin(1.3 * each)) for each in (outputs, *after)])
    gradients = tape.gradient(total, [x, *state, *variables])
    return [np.asarray(tf.convert_to_tensor(each)) for each in (outputs, *after, *gradients)]


def farthest(found, wanted):
    """The largest difference, of the largest number."""
    pairs = zip(found, wanted, strict=True)
    return max(float(np.max(np.abs(a - b)) / max(1e-3, np.max(np.abs(b)))) for a, b in pairs)


@CASE
@pytest.mark.parametrize("features", [FEATURES, UNITS])
def test_the_scratch_form_is_the_papers_in_float64(case, features):
    layer, x, state = made(case, dtype="float64", engine="keras", features=features)
    outputs, after = scratch(layer, tf.constant(x), [tf.constant(part) for part in state])
    step, options = CASES[case][2], CASES[case][1]
    wanted, wanted_after = published.over_time(step, x, state, weights_of(layer), options)
    assert farthest([outputs, *after], [wanted, *wanted_after]) < 1e-10
    by_keras, *state_by_keras = layer(x, initial_state=[tf.constant(part) for part in state])
    assert farthest([by_keras, *state_by_keras], [wanted, *wanted_after]) < 1e-10


@CASE
def test_gradients_of_the_scratch_form_are_differences_of_the_papers(case):
    layer, x, state = made(case, dtype="float64", engine="keras")
    step, options, variables = CASES[case][2], CASES[case][1], layer.trainable_variables
    found = with_gradients(lambda x, state: scratch(layer, x, state), x, state, variables)
    gradients = found[-1 - len(state) - len(variables) :]
    weights = weights_of(layer)

    def total():
        outputs, after = published.over_time(step, x, state, weights, options)
        return sum(np.sin(1.3 * each).sum() for each in (outputs, *after))

    draw, small = np.random.default_rng(1), 1e-6
    arrays = [x, *state, *(weights[variable.name] for variable in variables)]
    for array, gradient in zip(arrays, gradients, strict=True):
        for _ in range(3):
            place = tuple(draw.integers(0, size) for size in array.shape)
            before = array[place]
            array[place] = before + small
            above = total()
            array[place] = before - small
            below = total()
            array[place] = before
            difference = (above - below) / (2 * small)
            assert abs(gradient[place] - difference) < 1e-6 * max(1.0, abs(difference))


@CASE
@pytest.mark.parametrize("features", [FEATURES, UNITS])
def test_the_native_engine_is_the_paper_in_float32(case, features):
    layer, x, state = made(case, features=features)
    assert choose("auto", layer).engine == "native"
    exact, _, _ = made(case, dtype="float64", engine="keras", features=features)
    for weight, rounded in zip(exact.trainable_variables, layer.trainable_variables, strict=True):
        weight.assign(np.asarray(rounded, "float64"))
    x, state = x.astype("float32"), [part.astype("float32") for part in state]

    def run(x, state):
        outputs, *after = layer(x, initial_state=state)
        return outputs, after

    found = with_gradients(run, x, state, layer.trainable_variables)
    doubled = [x.astype("float64"), [part.astype("float64") for part in state]]
    wanted = with_gradients(lambda x, state: scratch(exact, x, state), *doubled, exact.trainable_variables)
    limit = 1e-5
    # Dividing by small numbers magnifies roundings, in Keras' loop, too.
    if CASES[case][1].get("layer_norm") or case.startswith(("mlstm", "gated-delta")):
        layer.engine = "keras"
        by_keras = with_gradients(run, x, state, layer.trainable_variables)
        limit = max(limit, 2 * farthest(by_keras, wanted))
    assert farthest(found, wanted) < limit


@CASE
@pytest.mark.parametrize(
    "options",
    [
        {"go_backwards": True},
        {"return_sequences": False},
        {"zero_output_for_mask": True},
        {"use_bias": False, "go_backwards": True},
    ],
    ids=lambda options: " ".join(options),
)
def test_masks_and_options_of_the_loop_are_those_of_keras(case, options):
    if case == "lru" and "use_bias" in options:
        pytest.skip("it has no biases")
    mask = tf.constant(np.random.default_rng(2).random((BATCH, TIME)) > 0.4)
    results = []
    for engine in ("native", "keras"):
        layer, x, state = made(case, engine=engine, **options)
        x, state = tf.constant(x, tf.float32), [tf.constant(part, tf.float32) for part in state]

        def run(x, state, layer=layer):
            outputs, *after = layer(x, initial_state=state, mask=mask)
            return outputs, after

        results.append(with_gradients(run, x, state, layer.trainable_variables))
    assert farthest(*results) < 5e-5


@CASE
def test_step_by_step_and_in_two_parts_are_the_whole(case):
    layer, x, state = made(case)
    x, state = tf.constant(x, tf.float32), [tf.constant(part, tf.float32) for part in state]
    whole, *end = layer(x, initial_state=state)
    for cuts in ([4], range(1, TIME)):
        parts, carried, first = [], state, 0
        for last in (*cuts, TIME):
            outputs, *carried = layer(x[:, first:last], initial_state=carried)
            parts.append(outputs)
            first = last
        # A single step is the plain TensorFlow form; normalising by small numbers magnifies its roundings.
        limit = 3e-6 if case == "all at once" or case.startswith("mlstm") else 1e-6
        assert farthest([tf.concat(parts, 1), *carried], [whole, *end]) < limit


@CASE
def test_a_padded_row_changes_no_other(case):
    layer, x, _ = made(case)
    x = tf.constant(x, tf.float32)
    whole = layer(x)[0]
    padded = tf.tensor_scatter_nd_update(
        x, [[1, step] for step in range(4, TIME)], tf.fill((3, FEATURES), 9.0)
    )
    results = layer(padded, lengths=[TIME, 4, TIME])[0]
    for row in (0, 2):
        np.testing.assert_array_equal(results[row], whole[row])
    np.testing.assert_array_equal(results[1, :4], whole[1, :4])


@pytest.mark.parametrize("case", ["mingru", "minlstm", "lru", "rg-lru", "slstm", "mlstm", "gated-delta"])
def test_gates_of_a_hundred_and_four_thousand_steps_stay_finite(case):
    layer, _, state = made(case, scale=0.0)
    exact, _, _ = made(case, dtype="float64", engine="keras", scale=0.0)
    draw = np.random.default_rng(0)
    for each, other in zip(layer.trainable_variables, exact.trainable_variables, strict=True):
        size = 40.0 if each.name in ("W_z", "W_f", "W_i", "W_a", "W_x", "W_b", "w_i", "w_f") else 0.5
        value = (size * draw.normal(size=each.shape)).astype("float32")
        if each.name == "theta":
            value = np.abs(value) - 2  # an angle's error grows with it at every step
        if each.name == "Lambda":
            value -= 4.0
        if case == "mlstm" and each.name in ("W_q", "W_k"):
            value *= 0.2  # and n · q is far from 0, whose inverse would magnify roundings
        if case == "mlstm" and each.name in ("b_q", "b_k"):
            value += 2.0
        each.assign(value)
        other.assign(value.astype("float64"))
    x = draw.normal(size=(BATCH, 4096, FEATURES)).astype("float32")
    found = layer(x, initial_state=[tf.constant(part, tf.float32) for part in state])
    outputs, *after = map(np.asarray, found)
    start = [tf.constant(part.astype("float32").astype("float64")) for part in state]
    loop = tf.function(exact)  # a graph: one call of Python a step would take most of the time
    wanted, *wanted_after = map(np.asarray, loop(tf.constant(x, tf.float64), initial_state=start))
    if case not in ("lru", "slstm", "mlstm", "gated-delta"):
        sums = layer.cell.sums(layer.cell.given(tf.constant(x)))
        assert np.abs(sums).max() > 100
    assert np.isfinite(outputs).all()
    assert farthest([outputs, *after], [wanted, *wanted_after]) < 1e-4


@pytest.mark.parametrize("case", THREADED)
@pytest.mark.parametrize("batch", [2, 40])
def test_any_number_of_threads_gives_the_same_bits(case, batch):
    layer_class, own, _ = CASES[case]
    layer = layer_class(70, return_sequences=True, **own)
    draw = np.random.default_rng(0)
    x = tf.constant(draw.normal(size=(batch, 30, 24)), tf.float32)
    layer(x)
    set_threads = native.found().functions.ostinato_set_threads
    before, results = native.threads(), []

    def run(x, state):
        return layer(x), []

    try:
        for threads in (1, 2, 3, 8):
            set_threads(threads)
            results.append(with_gradients(run, x, [], layer.trainable_variables))
    finally:
        set_threads(before)
    for found in results[1:]:
        for a, b in zip(found, results[0], strict=True):
            np.testing.assert_array_equal(a, b)


@CASE
def test_it_is_saved_and_loaded(case, tmp_path):
    keras.utils.set_random_seed(0)
    layer_class, own, _ = CASES[case]
    model = keras.Sequential([keras.Input((None, FEATURES)), layer_class(UNITS, name="it", **own)])
    x = np.random.default_rng(0).normal(size=(2, 5, FEATURES)).astype("float32")
    wanted = model(x)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), wanted)
    copy = type(model.layers[0]).from_config(model.layers[0].get_config())
    assert copy.get_config() == model.layers[0].get_config()
    tf.saved_model.save(model, tmp_path / "saved")
    served = tf.saved_model.load(tmp_path / "saved").signatures["serving_default"]
    np.testing.assert_allclose(next(iter(served(tf.constant(x)).values())), wanted, atol=1e-6)


def test_a_file_of_a_cell_loads_where_only_ostinato_was_imported(tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), layers.MinGRU(4), keras.layers.Dense(1)])
    model.save(tmp_path / "model.keras")
    script = (
        "import sys, ostinato, keras\nprint(type(keras.models.load_model(sys.argv[1]).layers[0]).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "model.keras")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[-1] == "MinGRU"


@CASE
def test_second_derivatives_are_those_of_keras_loop(case):
    results = []
    for engine in ("native", "keras"):
        layer, x, state = made(case, engine=engine)
        x, state = tf.constant(x, tf.float32), [tf.constant(part, tf.float32) for part in state]
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(x)
                outputs, *_ = layer(x, initial_state=state)
                total = tf.reduce_sum(tf.sin(outputs))
            penalty = tf.reduce_sum(inner.gradient(total, x) ** 2)
        gradients = outer.gradient(penalty, layer.trainable_variables)
        results.append([np.asarray(tf.convert_to_tensor(each)) for each in gradients if each is not None])
    assert farthest(*results) < 1e-3


def test_half_precision_is_computed_in_float32_and_rounded():
    for case in ("ln-lstm", "mingru", "lru"):
        layer, x, state = made(case, dtype="mixed_bfloat16")
        single, _, _ = made(case)
        for weight, of_layer in zip(single.trainable_variables, layer.trainable_variables, strict=True):
            weight.assign(tf.cast(tf.cast(tf.convert_to_tensor(of_layer), tf.bfloat16), tf.float32))
        outputs = layer(
            tf.constant(x, tf.bfloat16), initial_state=[tf.constant(s, tf.bfloat16) for s in state]
        )
        wanted = single(
            tf.cast(tf.constant(x, tf.bfloat16), tf.float32),
            initial_state=[tf.cast(tf.constant(s, tf.bfloat16), tf.float32) for s in state],
        )
        assert outputs[0].dtype == tf.bfloat16
        # Where a product is rounded on its way, too, some roundings add up.
        np.testing.assert_allclose(tf.cast(outputs[0], tf.float32), wanted[0], rtol=0.02, atol=0.03)


@pytest.mark.parametrize(
    "case", ["lstmp", "ln-gru", "indrnn with tanh", "sru", "lru", "rg-lru", "slstm", "mlstm", "gated-delta"]
)
def test_the_scratch_engine_runs_the_same(case):
    results = []
    for engine in ("scratch", "keras"):
        layer, x, state = made(case, engine=engine)
        found = layer(tf.constant(x, tf.float32), initial_state=[tf.constant(s, tf.float32) for s in state])
        results.append([np.asarray(each) for each in found])
    assert farthest(*results) < 1e-5


def test_the_scratch_engine_refuses_zoneout():
    with pytest.raises(EngineError, match="the textbook has no zoneout"):
        layers.LSTM(4, zoneout=0.1, engine="scratch")


def test_token_ids_are_read_as_one_hot_vectors():
    for name in ("mingru", "sru", "lru", "rg-lru", "ln-lstm", "slstm", "mlstm", "gated-delta"):
        layer = registry.recurrent(name, UNITS, seed=1, return_sequences=True, return_state=True)
        layer.build((None, None, 9))
        ids = tf.constant(np.random.default_rng(0).integers(0, 9, (2, 5)))
        start = layer.get_initial_state(2)
        by_ids = layer.over_ids(ids, 9, initial_state=start)
        by_vectors = layer(tf.one_hot(ids, 9), initial_state=start)
        assert farthest(map(np.asarray, by_ids), map(np.asarray, by_vectors)) < 1e-6


def test_weights_of_one_seed_are_not_all_the_same_and_the_same_again():
    first, second = (registry.recurrent("mingru", UNITS, seed=3) for _ in range(2))
    for layer in (first, second):
        layer.build((None, None, FEATURES))
    assert not np.allclose(first.cell.W_z, first.cell.W_h)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_published_beginnings():
    lru = layers.LRU(200, r_min=0.9, r_max=0.99, max_phase=0.3, seed=0)
    lru.build((None, None, 200))
    size = np.exp(-np.exp(np.asarray(lru.cell.nu)))
    assert 0.9 <= size.min() < 0.91
    assert 0.98 < size.max() <= 0.99
    assert np.exp(np.asarray(lru.cell.theta)).max() <= 0.3
    np.testing.assert_allclose(np.exp(np.asarray(lru.cell.gamma_log)), np.sqrt(1 - size**2), rtol=1e-4)
    griffin = layers.RGLRU(200, seed=0)
    griffin.build((None, None, 200))
    decay = published.sigmoid(-np.asarray(griffin.cell.Lambda, "float64")) ** 8
    assert 0.9 <= decay.min() < 0.91
    assert 0.99 < decay.max() <= 0.999
    assert griffin.cell.W_a.shape == (2, 100, 100)
    indrnn = layers.IndRNN(200, seed=0)
    indrnn.build((None, None, 3))
    u = np.asarray(indrnn.cell.u)
    assert u.min() >= 0
    assert 0.9 < u.max() <= 1
    for name, bias, block in (("peephole", "bias", 1), ("cifg", "bias", 0)):
        layer = registry.recurrent(name, 5)
        layer.build((None, None, 3))
        forget = np.asarray(getattr(layer.cell, bias)).reshape(-1, 5)
        assert (forget[block] == 1).all()
        assert forget.sum() == 5


def test_zoneout_keeps_whole_units_at_its_rate_and_the_same_in_every_engine():
    rates = (0.3, 0.2)
    x = tf.constant(np.random.default_rng(0).normal(size=(50, 40, 4)), tf.float32)
    outputs = {}
    for engine in ("native", "keras"):
        layer = layers.LSTM(20, zoneout=rates, return_sequences=True, engine=engine, seed=5)
        layer.build(x.shape)
        draw = np.random.default_rng(1)
        for weight in layer.trainable_variables:
            weight.assign(0.3 * draw.normal(size=weight.shape))
        outputs[engine] = np.asarray(layer(x, training=True))
    np.testing.assert_allclose(outputs["native"], outputs["keras"], atol=1e-6)
    kept = (outputs["native"][:, 1:] == outputs["native"][:, :-1]).mean()
    assert abs(kept - rates[0]) < 0.01


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: layers.LSTM(4, zoneout=1.0), "zoneout must be a rate of at least 0 and below 1"),
        (lambda: layers.LSTM(4, projection=0), "projection must be a whole number of at least 1"),
        (lambda: layers.LSTM(4, layer_norm=True, activation="relu"), "activation must be tanh"),
        (lambda: layers.GRU(4, layer_norm=True, reset_after=False), "reset_after must be True"),
        (lambda: layers.MinGRU(0), "units must be a whole number of at least 1"),
        (lambda: layers.RGLRU(6, blocks=4), "blocks must divide units, 6, got 4"),
        (lambda: layers.SLSTM(6, heads=4), "heads must be a divisor of units, 6, or None, got 4"),
        (lambda: layers.MLSTM(6, forget="tanh"), "forget must be one of sigmoid, exp, got 'tanh'"),
        (
            lambda: layers.GatedDelta(258, heads=2),
            "heads must be at most 128 units wide, got 129",
        ),
        (lambda: layers.LRU(4, r_min=0.9, r_max=0.5), "r_min and r_max must be"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_what_the_engine_lacks_runs_in_keras_loop_and_says_so():
    for layer, words in (
        (layers.LSTM(4, layer_norm=True, recurrent_dropout=0.1), "no recurrent_dropout"),
        (layers.MinGRU(4, dtype="float64"), "in float32"),
        (layers.IndRNN(4, activation="elu"), "does not have these options"),
    ):
        found = choose("auto", layer)
        assert found.engine == "keras"
        assert words in found.reason

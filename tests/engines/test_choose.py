"""A layer's engine is chosen with a reason in words; what an engine lacks is refused with a sentence."""

import functools
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import ostinato.layers
from ostinato.engines import ENGINES, choose, native
from ostinato.errors import EngineError, EngineWarning


class Looped(keras.layers.RNN):
    """A layer of one's own."""


OURS = [ostinato.layers.SimpleRNN, ostinato.layers.GRU, ostinato.layers.LSTM]
ORDINARY = [keras.layers.SimpleRNN(2), keras.layers.GRU(2), keras.layers.LSTM(2)]
needs_library = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")


@needs_library
@pytest.mark.parametrize(
    "layer",
    [
        None,
        *ORDINARY,
        keras.layers.GRU(2, reset_after=False, stateful=True, unroll=True),
        keras.layers.RNN(keras.layers.LSTMCell(2)),
        keras.layers.RNN([keras.layers.SimpleRNNCell(2), keras.layers.GRUCell(2)]),
        keras.layers.LSTM(2, activation="relu", recurrent_activation="hard_sigmoid"),
        keras.layers.SimpleRNN(2, activation="swish"),
    ],
)
def test_auto_is_native_where_it_can_run_the_layer(layer):
    assert choose("auto", layer).engine == choose("native", layer).engine == "native"


@needs_library
@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (keras.layers.LSTM(2, dtype="complex64"), "float32 and float64.*complex64"),
        (keras.layers.GRU(2, activation="gelu"), "activation is gelu of keras.*, and it has Keras' elu, "),
        (keras.layers.GRU(2, activation=tf.nn.tanh), "tanh of tensorflow"),
        (keras.layers.SimpleRNN(2, activation="softplus"), "softsign and tanh"),
        (keras.layers.GRU(2, recurrent_activation="hard_silu"), "recurrent_activation is hard_silu"),
        (keras.layers.LSTM(2, use_cudnn=True), "use_cudnn=True"),
        (keras.layers.LSTM(2, activation=np.tanh), "the layer's activation is tanh of numpy"),
        (
            keras.layers.LSTM(2, activation=functools.partial(tf.nn.leaky_relu, alpha=0.1)),
            "partial of functools",
        ),
        (keras.layers.ConvLSTM1D(2, 3), "it does not know the cell ConvLSTMCell"),
        (keras.layers.ConvLSTM2D(2, 3), "it does not know the cell ConvLSTMCell"),
    ],
)
def test_auto_is_keras_where_native_cannot_and_says_why(layer, named):
    engine, reason = choose("auto", layer)
    assert engine == "keras"
    with pytest.raises(EngineError, match=named) as error:
        choose("native", layer)
    assert "\n" not in str(error.value)
    assert str(error.value).split(": ", 1)[1].split("; use")[0] in reason


def test_without_its_library_auto_is_keras_and_says_what_to_install(without_library):
    code = (
        "import ostinato; print(*ostinato.__path__)\n"
        "from ostinato.engines import choose; print(*choose('auto'))\n"
        "from ostinato import layers; print(layers.LSTM(2)(__import__('numpy').ones((1, 3, 2))).shape)"
    )
    printed = without_library(code).stdout.splitlines()
    assert printed[0] == str(without_library.package)
    assert printed[1].startswith("keras ")
    assert "its library was not built" in printed[1]
    assert "g++ or clang++" in printed[1]
    assert printed[2] == "(1, 2)"


# Layers that Keras' own loop was asked for, and then layers of which each would be the first to be told of.
MADE_AND_RUN = """
import sys, keras, numpy as np
from ostinato import engines, layers
x = np.ones((1, 3, 2), "float32")
engines.choose("auto")
layers.GRU(2, engine="keras")(x)
print("so far", file=sys.stderr, flush=True)
model = keras.Sequential([keras.layers.Bidirectional(layers.LSTM(2))])  # the line that is named
layers.GRU(2)
for _ in range(2):
    model(x)
"""


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "its library was not built"), (b"no library", "its library does not load (")],
)
def test_without_its_library_the_first_layer_says_so_once_and_what_to_do(without_library, content, why):
    file = without_library.package / "kernels" / "libostinato.so"
    if content is not None:
        file.write_bytes(content)
    told = without_library(MADE_AND_RUN)
    file.unlink(missing_ok=True)
    assert told.returncode == 0, told.stderr
    before, after = told.stderr.split("so far\n")
    assert "Warning" not in before
    assert after.count("EngineWarning") == 1
    assert after.startswith(f"<string>:9: EngineWarning: the native engine is not available: {why}")
    assert "until ostinato is installed again with a C++ compiler" in after
    assert "engine='keras'" in after


def test_without_its_library_whoever_asks_for_kerass_loop_is_told_nothing(without_library):
    told = without_library(MADE_AND_RUN, OSTINATO_ENGINE="keras")
    assert (told.returncode, "Warning" in told.stderr) == (0, False)


def test_without_its_library_a_layer_that_was_made_unseen_is_told_of_when_it_runs(without_library):
    code = (
        "import numpy as np, keras\n"
        "from ostinato import layers\n"
        "layer = keras.layers.LSTM(2)\n"
        "layer.__class__, layer.engine = layers.LSTM, 'auto'\n"
        "layer(np.ones((1, 3, 2)))"
    )
    told = without_library(code)
    assert told.returncode == 0, told.stderr
    assert "<string>:6: EngineWarning: the native engine is not available" in told.stderr


@needs_library
def test_nothing_is_told_where_the_library_is_there():
    with warnings.catch_warnings():
        warnings.simplefilter("error", EngineWarning)
        ostinato.layers.LSTM(2)(np.ones((1, 3, 2)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "layer",
    [
        None,
        *ORDINARY,
        keras.layers.GRU(2, activation="relu", unroll=True, dtype="float64"),
        keras.layers.RNN(keras.layers.LSTMCell(2)),
    ],
)
def test_the_environment_variable_forces_kerass_loop_whatever_was_asked_for(monkeypatch, engine, layer):
    monkeypatch.setenv("OSTINATO_ENGINE", "keras")
    assert choose(engine, layer, masked=True) == (
        "keras",
        "the environment variable OSTINATO_ENGINE=keras asks for it",
    )


@pytest.mark.parametrize("value", [None, "", "auto"])
def test_the_environment_variable_may_ask_for_nothing(monkeypatch, value):
    monkeypatch.delenv("OSTINATO_ENGINE", raising=False)
    choices = [choose(engine) for engine in ENGINES if engine != "native" or native.available()]
    if value is not None:
        monkeypatch.setenv("OSTINATO_ENGINE", value)
    assert [choose(engine) for engine in ENGINES if engine != "native" or native.available()] == choices


@pytest.mark.parametrize("value", ["native", "Keras", " keras", "0"])
def test_any_other_value_of_the_environment_variable_is_refused(monkeypatch, value):
    layer = ostinato.layers.LSTM(2)
    monkeypatch.setenv("OSTINATO_ENGINE", value)
    sentence = f"OSTINATO_ENGINE must be 'keras' or 'auto', got '{value}'"
    for do in (
        lambda: choose("auto"),
        lambda: choose("keras", layer),
        lambda: ostinato.engines.check("auto"),
        lambda: ostinato.layers.GRU(2, engine="keras"),
        lambda: layer(np.ones((1, 3, 2))),
    ):
        with pytest.raises(EngineError, match=sentence):
            do()


@needs_library
@pytest.mark.parametrize("kind", OURS)
def test_the_environment_variable_is_read_each_time_a_layer_is_called_or_traced(monkeypatch, kind):
    layer = kind(2, engine="native", return_sequences=True, return_state=True)
    ids = tf.constant([[0, 2, 1]])
    state = [tf.zeros((1, 2)) for _ in layer.state_size]
    layer(tf.one_hot(ids, 3))
    calls = {
        "vectors": lambda ids: layer(tf.one_hot(ids, 3), initial_state=state),
        "ids": lambda ids: layer.over_ids(ids, 3, initial_state=state, training=True),
    }
    for call in calls.values():
        found, results = {}, {}
        for value in ("keras", "auto"):
            monkeypatch.setenv("OSTINATO_ENGINE", value)
            traced = tf.function(call).get_concrete_function(ids)
            found[value] = any("Ostinato" in operation.type for operation in traced.graph.get_operations())
            results[value] = call(ids)
        assert found == {"keras": False, "auto": True}
        for one, other in zip(results["keras"], results["auto"], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@needs_library
def test_xla_is_told_of_a_layer_that_the_native_engine_runs_without_the_environment_variable(monkeypatch):
    monkeypatch.setenv("OSTINATO_ENGINE", "keras")
    assert ostinato.layers.LSTM(2).supports_jit is False
    assert ostinato.layers.SimpleRNN(2, engine="native").supports_jit is False
    assert ostinato.layers.SimpleRNN(2, engine="keras").supports_jit is True
    assert ostinato.layers.SimpleRNN(2, engine="native", activation="gelu").supports_jit is True


@pytest.mark.parametrize("engine", ["keras", "scratch"])
@pytest.mark.parametrize("layer", ORDINARY)
def test_an_engine_asked_for_is_chosen_for_an_ordinary_layer(engine, layer):
    assert choose(engine, layer).engine == engine


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"go_backwards": True}, "go_backwards"),
        ({"dropout": 0.5}, "dropout"),
        ({"recurrent_dropout": 0.5}, "recurrent_dropout"),
        ({"activation": "relu"}, "activation"),
        ({"activation": None}, "activation"),
        ({"recurrent_activation": "hard_sigmoid"}, "recurrent_activation"),
        ({"dtype": "mixed_bfloat16"}, "mixed precision"),
        ({"use_cudnn": True}, "use_cudnn"),
    ],
)
def test_scratch_refuses_what_the_textbook_lacks_and_keras_has_it(options, named):
    layer = keras.layers.GRU(2, **options)
    with pytest.raises(EngineError, match=named) as error:
        choose("scratch", layer)
    assert "\n" not in str(error.value)
    assert choose("keras", layer).engine == "keras"


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (Looped(keras.layers.LSTMCell(2)), "no Looped layers, only SimpleRNN, GRU and LSTM"),
        (keras.layers.ConvLSTM2D(2, 3), "no ConvLSTM2D layers"),
    ],
)
def test_scratch_refuses_other_recurrent_layers(layer, named):
    with pytest.raises(EngineError, match=named):
        choose("scratch", layer)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("layer", [3, keras.layers.Dense(2), keras.layers.Bidirectional(keras.layers.GRU(2))])
def test_what_is_no_recurrent_layer_is_refused(engine, layer):
    with pytest.raises(EngineError, match=r"layer must be a keras\.layers\.RNN, .* got "):
        choose(engine, layer)


def test_scratch_refuses_a_mask():
    with pytest.raises(EngineError, match="masks"):
        choose("scratch", keras.layers.LSTM(2), masked=True)


def test_unrolling_is_harmless_to_scratch():
    assert choose("scratch", keras.layers.LSTM(2, unroll=True)).engine == "scratch"


def test_a_misspelt_engine_is_refused_with_the_nearest_and_all_names():
    with pytest.raises(
        EngineError,
        match=r"^engine must be one of auto, native, keras, scratch, got 'scrach'; did you mean 'scratch'\?$",
    ):
        choose("scrach")
    with pytest.raises(EngineError, match="got None"):
        choose(None)  # type: ignore[arg-type]


def test_the_names_of_engines_are_known_without_tensorflow():
    code = (
        "import sys, ostinato.engines as e; e.check('native')\n"
        "print(*e.ENGINES, *{'tensorflow', 'keras'} & sys.modules.keys())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == list(ENGINES)

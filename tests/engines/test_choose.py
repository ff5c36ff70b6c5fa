"""A layer's engine is chosen with a reason in words; what an engine lacks is refused with a sentence."""

import pathlib
import shutil
import subprocess
import sys

import keras
import pytest
import tensorflow as tf

import ostinato
from ostinato.engines import ENGINES, choose, native
from ostinato.errors import EngineError

ORDINARY = [keras.layers.SimpleRNN(2), keras.layers.GRU(2), keras.layers.LSTM(2)]
needs_library = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")


@needs_library
@pytest.mark.parametrize("layer", [None, *ORDINARY, keras.layers.GRU(2, reset_after=False, stateful=True)])
def test_auto_is_native_where_it_can_run_the_layer(layer):
    assert choose("auto", layer).engine == choose("native", layer).engine == "native"


@needs_library
@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (keras.layers.LSTM(2, dtype="float64"), "float32.*float64"),
        (keras.layers.LSTM(2, dtype="mixed_bfloat16"), "mixed_bfloat16"),
        (keras.layers.GRU(2, activation="relu"), "Keras' tanh, and the layer's is relu"),
        (keras.layers.GRU(2, activation=tf.nn.tanh), "tanh of tensorflow"),
        (keras.layers.SimpleRNN(2, activation="elu"), "tanh or relu or linear"),
        (keras.layers.GRU(2, recurrent_activation="hard_sigmoid"), "hard_sigmoid"),
        (keras.layers.LSTM(2, unroll=True), "unroll=True"),
        (keras.layers.LSTM(2, use_cudnn=True), "use_cudnn=True"),
    ],
)
def test_auto_is_keras_where_native_cannot_and_says_why(layer, named):
    engine, reason = choose("auto", layer)
    assert engine == "keras"
    with pytest.raises(EngineError, match=named) as error:
        choose("native", layer)
    assert "\n" not in str(error.value)
    assert str(error.value).split(": ", 1)[1].split(". Use")[0] in reason


def test_without_its_library_auto_is_keras_and_says_what_to_install(tmp_path):
    shutil.copytree(pathlib.Path(ostinato.__file__).parent, tmp_path / "ostinato", ignore=without_the_library)
    code = (
        "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'ScikitBuild' not in type(f).__name__]\n"
        "import ostinato; print(*ostinato.__path__)\n"
        "from ostinato.engines import choose; print(*choose('auto'))\n"
        "from ostinato import layers; print(layers.LSTM(2)(__import__('numpy').ones((1, 3, 2))).shape)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout.splitlines()
    assert printed[0] == str(tmp_path / "ostinato")
    assert printed[1].startswith("keras ")
    assert "its library was not built" in printed[1]
    assert "g++ or clang++" in printed[1]
    assert printed[2] == "(1, 2)"


def without_the_library(folder, names):
    return [name for name in names if name.startswith("libostinato") or name == "__pycache__"]


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


def test_scratch_refuses_a_mask():
    with pytest.raises(EngineError, match="masks"):
        choose("scratch", keras.layers.LSTM(2), masked=True)


def test_unrolling_is_harmless_to_scratch():
    assert choose("scratch", keras.layers.LSTM(2, unroll=True)).engine == "scratch"


def test_a_misspelt_engine_is_refused_with_the_nearest_and_all_names():
    with pytest.raises(
        EngineError, match=r"no engine 'scrach'.* auto, native, keras, scratch.*mean 'scratch'"
    ):
        choose("scrach")
    with pytest.raises(EngineError, match="no engine None"):
        choose(None)  # type: ignore[arg-type]


def test_the_names_of_engines_are_known_without_tensorflow():
    code = (
        "import sys, ostinato.engines as e; e.check('native')\n"
        "print(*e.ENGINES, *{'tensorflow', 'keras'} & sys.modules.keys())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == list(ENGINES)

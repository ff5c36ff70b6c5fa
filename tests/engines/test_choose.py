"""A layer's engine is chosen with a reason in words; what an engine lacks is refused with a sentence."""

import subprocess
import sys

import keras
import pytest

from ostinato.engines import ENGINES, choose
from ostinato.errors import EngineError


def test_auto_is_keras_and_says_why():
    engine, reason = choose("auto")
    assert engine == "keras"
    assert "native engine" in reason


@pytest.mark.parametrize("engine", ["keras", "scratch"])
@pytest.mark.parametrize("layer", [keras.layers.SimpleRNN(2), keras.layers.GRU(2), keras.layers.LSTM(2)])
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
    assert choose("keras", layer).engine == choose("auto", layer).engine == "keras"


def test_scratch_refuses_a_mask():
    with pytest.raises(EngineError, match="masks"):
        choose("scratch", keras.layers.LSTM(2), masked=True)


def test_unrolling_is_harmless_to_scratch():
    assert choose("scratch", keras.layers.LSTM(2, unroll=True)).engine == "scratch"


def test_a_misspelt_engine_is_refused_with_the_nearest_and_all_names():
    with pytest.raises(EngineError, match=r"no engine 'scrach'.* auto, keras, scratch.*mean 'scratch'"):
        choose("scrach")
    with pytest.raises(EngineError, match="no engine None"):
        choose(None)  # type: ignore[arg-type]


def test_the_names_of_engines_are_known_without_tensorflow():
    code = (
        "import sys, ostinato.engines as e; print(*e.ENGINES, *{'tensorflow', 'keras'} & sys.modules.keys())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == list(ENGINES)

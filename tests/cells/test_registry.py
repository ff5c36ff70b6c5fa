"""Cells are asked for by name; other packages add theirs through an entry point."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from ostinato import layers
from ostinato.errors import ConfigError, EngineError

PLUGIN = """
import keras

class Elman(keras.layers.SimpleRNN):
    pass

class Minimal(keras.layers.GRU):
    def __init__(self, units, **options):
        super().__init__(units, **options)

def light(units, **options):
    return keras.layers.SimpleRNN(units, use_bias=False, **options)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A package installed beside ours that brings cells, one of them broken, one named like ours."""
    (tmp_path / "loops.py").write_text(PLUGIN)
    metadata = tmp_path / "loops-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: loops\nVersion: 1.0\n")
    names = {"elman": "loops:Elman", "minimal": "loops:Minimal", "light": "loops:light", "gone": "loops:Gone"}
    lines = [f"{name} = {target}" for name, target in {**names, "gru": "loops:Elman"}.items()]
    (metadata / "entry_points.txt").write_text("[ostinato.cells]\n" + "\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("loops", None)


def test_the_three_classics_are_known_by_name():
    assert layers.cells()[:3] == ("rnn", "gru", "lstm")
    for cell, kind in {"rnn": layers.SimpleRNN, "gru": layers.GRU, "lstm": layers.LSTM}.items():
        layer = layers.recurrent(cell, 5, return_sequences=True, engine="scratch")
        assert type(layer) is kind
        assert (layer.units, layer.return_sequences, layer.engine) == (5, True, "scratch")


def test_the_reset_comes_before_the_product_only_where_there_is_a_reset():
    assert layers.recurrent("gru", 5).reset_after
    assert not layers.recurrent("gru", 5, reset_after=False).reset_after
    assert layers.recurrent("lstm", 5, reset_after=False).units == 5
    assert [layers.has_reset_gate(cell) for cell in ("rnn", "gru", "lstm")] == [False, True, False]


def test_the_older_word_is_still_taken():
    assert not layers.recurrent("gru", 5, reset_before=True).reset_after
    assert layers.recurrent("gru", 5, reset_before=False).reset_after
    assert layers.recurrent("lstm", 5, reset_before=True).units == 5


def test_a_misspelt_cell_is_refused_with_the_nearest_and_all_names():
    with pytest.raises(
        ConfigError, match=r"cell must be one of rnn, gru, lstm.*, got 'lsmt'; did you mean 'lstm'\?"
    ):
        layers.recurrent("lsmt", 5)
    with pytest.raises(ConfigError, match="cell must be one of"):
        layers.has_reset_gate("transformer")


def test_another_packages_cells_are_listed_and_built(plugin):
    assert set(layers.cells()) >= {"rnn", "gru", "lstm", "elman", "minimal", "light", "gone"}
    x = np.zeros((2, 3, 4))
    assert layers.recurrent("elman", 5, return_sequences=True)(x).shape == (2, 3, 5)
    assert layers.recurrent("light", 5, reset_after=False)(x).shape == (2, 5)
    assert not layers.recurrent("minimal", 5, reset_after=False).reset_after
    assert [layers.has_reset_gate(cell) for cell in ("elman", "minimal", "light")] == [False, True, False]


def test_a_cell_with_a_loop_of_its_own_has_no_engines(plugin):
    assert isinstance(layers.recurrent("elman", 5, engine="keras"), keras.layers.SimpleRNN)
    with pytest.raises(EngineError, match="'elman', which has its own loop"):
        layers.recurrent("elman", 5, engine="scratch")
    with pytest.raises(EngineError, match="got 'quick'"):
        layers.recurrent("elman", 5, engine="quick")


def test_a_cell_that_does_not_load_is_named_with_the_reason(plugin):
    with pytest.raises(ConfigError, match=r"'gone' \(loops:Gone\) does not load: .*Gone"):
        layers.recurrent("gone", 5)


def test_other_packages_cannot_take_the_classics_names(plugin):
    assert layers.cells().count("gru") == 1
    assert type(layers.recurrent("gru", 5)) is layers.GRU


def test_the_names_of_cells_are_known_without_tensorflow():
    code = (
        "import sys, ostinato.layers as l; print(*l.cells(), *{'tensorflow', 'keras'} & sys.modules.keys())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == list(layers.cells())


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Transformer'"):
        _ = layers.Transformer

"""Cells that nobody registered: as objects in a config, and by their import path."""

import importlib
import json
import sys

import keras
import pytest

import ostinato
from ostinato.cells import registry
from ostinato.cells.base import Cell, StateSpec
from ostinato.errors import ConfigError, RunError
from ostinato.runs.directory import open_run

from ..eagerly import run_eagerly

MODULE = """
import keras
from keras import ops

from ostinato.cells.base import Cell, StateSpec

class Fading(keras.layers.Layer):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = self.state_size = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), initializer="glorot_uniform", name="k")

    def call(self, inputs, states):
        h = states[0] / 2 + ops.tanh(ops.matmul(inputs, self.kernel))
        return h, [h]

def relu(units, **options):
    return keras.layers.SimpleRNN(units, activation="relu", **options)

FADING = Cell("fading", layer=Fading, states=(StateSpec("memory"),))
number = 3
"""
TEXT = "the cat sat on the mat and the rain ran " * 8


@pytest.fixture
def strange(tmp_path, monkeypatch):
    """A module of somebody's, importable."""
    (tmp_path / "strangecells.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("strangecells")
    sys.modules.pop("strangecells", None)


def config_with(cell):
    return ostinato.LanguageModelConfig(cell=cell, units=(4,), seq_len=6, batch=2)


@pytest.mark.parametrize("name", ["Fading", "relu", "FADING"])
def test_a_config_takes_the_object_and_the_run_is_read_by_its_path(strange, name, tmp_path):
    config = config_with(getattr(strange, name))
    assert config.cell == f"strangecells:{name}"
    assert config == config_with(f"strangecells:{name}")
    training = ostinato.TrainingConfig(steps=2)
    with run_eagerly():
        trained = ostinato.train(config, [TEXT], training=training, out=tmp_path / "run")
        read = ostinato.load(tmp_path / "run", checkpoint="last")
        assert len(read.generate(length=3, seed=1)) == 1
    expected = "layer_0/memory" if name == "FADING" else "layer_0/h"
    assert [spec.name for spec in trained.model.stack.states] == [expected]
    newest, _ = open_run(tmp_path / "run").newest_checkpoint()
    assert expected in newest.groups["state"]


def test_our_own_cells_are_named_as_ever():
    assert config_with(registry.find("gru")).cell == "gru"
    assert config_with("lstm").cell == "lstm"


def test_what_cannot_be_imported_is_refused_before_anything_is_trained(strange):
    class Local(keras.layers.Layer):
        pass

    cases = {
        "must be a name, or an object that can be imported": [Local, lambda units: None, 3],
        "no module named 'nowhere'": ["nowhere:Cell"],
        "the module strangecells has no Missing": ["strangecells:Missing"],
    }
    for message, cells in cases.items():
        for cell in cells:
            with pytest.raises(ConfigError, match=f"(?i){message}"):
                config_with(cell)
    with pytest.raises(ConfigError, match="'strangecells:number' must be a Cell, a Keras cell class"):
        registry.recurrent("strangecells:number", 3)


def test_a_run_whose_cell_is_gone_is_refused_in_a_sentence(strange, tmp_path, monkeypatch):
    with run_eagerly():
        ostinato.train(
            config_with(strange.Fading),
            [TEXT],
            training=ostinato.TrainingConfig(steps=1),
            out=tmp_path / "run",
        )
    packages = json.loads((tmp_path / "run" / "config.json").read_text())["packages"]
    assert packages == {"strangecells:Fading": "module strangecells"}
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(tmp_path)])
    sys.modules.pop("strangecells")
    with pytest.raises(
        RunError, match=r"needs the cell strangecells:Fading of the module strangecells: .*cannot"
    ):
        ostinato.load(tmp_path / "run")


def test_a_cells_own_names_and_the_usual_ones_name_its_states():
    two = Cell("two", layer=keras.layers.LSTM, states=(StateSpec("memory"),))
    layer = keras.layers.LSTM(2)
    assert [spec.name for spec in registry.states(layer)] == ["h", "c"]
    layer.recurrence = two
    assert [spec.name for spec in registry.states(layer)] == ["memory", "c"]

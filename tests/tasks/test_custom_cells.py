"""Cells of other packages train, resume and are read back in every task."""

import json
import os
import random
import shutil
import sys

import keras
import numpy as np
import pytest

import ostinato
from ostinato.errors import ConfigError, RunError
from ostinato.layers import recurrent
from ostinato.runs import weights
from ostinato.runs.directory import open_run
from ostinato.training.events import Saved

from .. import forks
from ..eagerly import run_eagerly
from ..tiny import copy_at
from ..variants import thorough

PACKAGE = '''
import keras

class LeakyCell(keras.layers.Layer):
    """Keras' canonical custom cell: one state, no initializers, weights made in build."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = self.state_size = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), initializer="glorot_uniform", name="k")
        self.inner = keras.layers.Dense(self.units)
        self.inner.build((None, self.units))

    def call(self, inputs, states):
        h = 0.5 * states[0] + keras.ops.tanh(keras.ops.matmul(inputs, self.kernel) + self.inner(states[0]))
        return h, [h]

    def get_config(self):
        return super().get_config() | {"units": self.units}

class TwoCell(keras.layers.Layer):
    """Two states, the second of which begins with ones; an initializer of its own, and dropout."""

    def __init__(self, units, kernel_initializer="ones", **options):
        super().__init__(**options)
        self.units, self.state_size, self.output_size = units, [units, units], units
        self.kernel_initializer = kernel_initializer
        self.drop = keras.layers.Dropout(0.2)

    def build(self, shape):
        shape = (shape[-1], self.units)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="k")

    def call(self, inputs, states, training=False):
        h, c = states
        c = 0.9 * c + keras.ops.matmul(inputs, self.kernel)
        h = self.drop(keras.ops.tanh(c), training=training)
        return h, [h, c]

    def get_initial_state(self, batch_size=None):
        return [keras.ops.zeros((batch_size, self.units)), keras.ops.ones((batch_size, self.units))]

def leaky(units, **options):
    return keras.layers.RNN(LeakyCell(units), **options)

def stacked(units, **options):
    return keras.layers.RNN([LeakyCell(units), TwoCell(units)], **options)

def simple(units, return_sequences=False, return_state=False, go_backwards=False, name=None):
    return keras.layers.SimpleRNN(units, return_sequences=return_sequences, return_state=return_state,
                                  go_backwards=go_backwards, name=name)

def dense(units, **options):
    return keras.layers.Dense(units)

def broken(units):
    return keras.layers.RNN(LeakyCell(units))
'''
CELLS = {"leakycell": "LeakyCell", "twocell": "TwoCell"} | {
    name: name for name in ("leaky", "stacked", "simple", "dense", "broken")
}
WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "rain")
SENTENCES = [" ".join(row) for row in np.random.default_rng(0).choice(WORDS, size=(40, 4))]
TASKS = {
    "lm": (ostinato.LanguageModelConfig, {"units": (4, 4), "seq_len": 6, "batch": 2}, [" ".join(SENTENCES)]),
    "classify": (
        ostinato.ClassifierConfig,
        {"units": (4,), "bidirectional": True, "embedding": 3, "batch": 8, "validation_fraction": 0.0},
        [(text, "cat" if "cat" in text else "none") for text in SENTENCES],
    ),
    "translate": (
        ostinato.TranslatorConfig,
        {"units": (4,), "embedding": 3, "attention": "additive", "batch": 8, "validation_fraction": 0.0},
        [(text, text.upper()) for text in dict.fromkeys(SENTENCES)],
    ),
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package installed beside ours that brings these cells; the folder that it lies in."""
    folder = tmp_path / "site"
    metadata = folder / "strange-2.1.dist-info"
    metadata.mkdir(parents=True)
    (folder / "strange.py").write_text(PACKAGE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 2.1\n")
    lines = [f"{name} = strange:{target}" for name, target in CELLS.items()]
    (metadata / "entry_points.txt").write_text("[ostinato.cells]\n" + "\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(folder)
    yield folder
    sys.modules.pop("strange", None)


def settings(task, cell, **changes):
    config, options, source = TASKS[task]
    return config(cell=cell, **(options | changes)), source


@pytest.mark.parametrize(
    ("cell", "task"),
    [
        # examples/plugin has cells for every task, in every run of the tests.
        *(("twocell", "lm"), thorough("leaky", "classify"), thorough("leakycell", "translate")),
        *(thorough("leakycell", "lm"), thorough("leaky", "lm"), thorough("simple", "lm")),
        *(thorough("twocell", "classify"), thorough("twocell", "translate")),
    ],
)
def test_they_train_resume_and_are_read_back_in_every_task(package, task, cell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, source = settings(task, cell)
    file = tmp_path / "source.tsv"
    if task == "lm":
        file.write_text(source[0])
    else:
        head = "text\tlabel\n" if task == "classify" else ""
        file.write_text(head + "".join("\t".join(row) + "\n" for row in source))
    training = ostinato.TrainingConfig(steps=6, evaluations=2, checkpoint_minutes=0)
    killed = copy_at(3, tmp_path / "whole", tmp_path / "part", Saved)
    whole = ostinato.train(config, file, training=training, out="whole", on_event=killed)
    _ = keras.layers.RNN([package and __import__("strange").LeakyCell(2)])  # Keras counts one name further
    assert open_run("part").newest_checkpoint()[0].step == 3
    resumed = ostinato.resume("part")
    saved, expected = (open_run(path).weights("last") for path in ("part", "whole"))
    assert (saved.step, resumed.step) == (6, whole.step)
    np.testing.assert_equal(saved.groups, expected.groups)
    read = ostinato.load("part", checkpoint="last")
    np.testing.assert_equal(weights.to_arrays(read.model), saved.groups["weights"])
    with run_eagerly():
        use = read.generate(length=3, seed=1) if task == "lm" else read.predict(["the cat"])
    assert len(use) == 1


@pytest.mark.thorough
def test_stacked_cells_train_and_are_read_back(package, tmp_path):
    config, source = settings("lm", "stacked")
    training = ostinato.TrainingConfig(steps=2)
    with run_eagerly():
        trained = ostinato.train(config, source, training=training, out=tmp_path / "run")
    names = [spec.name for spec in trained.model.stack.states]
    assert names[:3] == ["layer_0/h", "layer_0/c", "layer_0/s2"]
    assert len(ostinato.load(tmp_path / "run").generate(prompt="t", length=3, seed=1)[0]) == 4


def test_a_cells_own_first_state_is_used(package):
    config, _ = settings("lm", "twocell")
    stack = ostinato.layers.stack.RecurrentStack("twocell", config.units, symbols=3)
    first = stack.initial_state(2)
    assert [float(part[0, 0]) for part in first] == [0.0, 1.0, 0.0, 1.0]


def test_weights_are_the_seeds_and_the_name_is_the_places(package):
    before = random.getstate()

    def made(seed, name="layer_0"):
        layer = recurrent("leaky", 3, seed=seed, name=name, kernel_initializer=keras.initializers.Ones())
        layer(np.zeros((1, 2, 5), "float32"))
        return layer

    one, same, other = made(1), made(1), made(2)
    for a, b in zip(one.weights, same.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.weights[0], other.weights[0])
    assert one.cell.name != same.cell.name
    assert weights.names(one, one.weights) == weights.names(same, same.weights)
    assert random.getstate() == before


def test_initializers_reach_only_cells_that_take_them(package):
    layer = recurrent(
        "twocell", 3, kernel_initializer=keras.initializers.Zeros(), recurrent_initializer="zeros"
    )
    layer(np.zeros((1, 2, 5), "float32"))
    assert np.abs(layer.cell.kernel).max() == 0.0


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("dense", "the cell 'dense' must be a Cell, a Keras cell class, or a callable .* got a Dense"),
        ("broken", "the cell 'broken' makes no layer: .*unexpected keyword argument"),
    ],
)
def test_what_makes_no_recurrent_layer_is_refused_in_a_sentence(package, cell, message):
    with pytest.raises(ConfigError, match=message):
        recurrent(cell, 3, return_sequences=True)


def test_a_missing_package_is_named(package, tmp_path, monkeypatch):
    config, source = settings("lm", "leaky")
    ostinato.train(config, source, training=ostinato.TrainingConfig(steps=1), out=tmp_path / "run")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["packages"] == {"leaky": "strange 2.1"}
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(package)])
    for use in (ostinato.load, ostinato.evaluate):
        with pytest.raises(RunError, match=r"needs the cell leaky of the package strange 2\.1, which is not"):
            use(tmp_path / "run")


READ = """
import sys, numpy as np, ostinato
from ostinato.runs import weights
run = ostinato.load(sys.argv[1])
arrays = weights.to_arrays(run.model)
np.savez(sys.argv[2], **{name.replace("/", ":"): array for name, array in arrays.items()})
"""


def test_another_process_reads_the_run(package, tmp_path):
    config, source = settings("classify", "leaky")
    other = recurrent("leaky", 2)  # so that Keras counts names from here on
    run = ostinato.train(config, source, training=ostinato.TrainingConfig(steps=1), out=tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "tensorboard")
    environment = os.environ | {"PYTHONPATH": str(package)}
    done = forks.run("-c", READ, tmp_path / "run", tmp_path / "read.npz", env=environment)
    assert done.returncode == 0, done.stderr
    read = dict(np.load(tmp_path / "read.npz"))
    expected = {name.replace("/", ":"): array for name, array in weights.to_arrays(run.model).items()}
    np.testing.assert_equal(read, expected)
    assert other is not None

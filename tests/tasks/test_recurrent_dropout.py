"""`recurrent_dropout` of every task: drawn from seed, step, row and site, whatever engine runs the layers."""

import sys
from hashlib import sha256

import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato.cells.base import initial_state
from ostinato.errors import ConfigError, EngineError
from ostinato.runs.directory import open_run
from ostinato.tasks import registry
from ostinato.training.events import StepDone
from ostinato.training.recipes import parse_recipe

from ..ready import Ready
from ..tiny import copy_at
from ..variants import one_each, thorough

WORDS = np.random.default_rng(0).choice(["the", "cat", "sat", "on", "a", "mat"], size=(40, 8))
LINES = [" ".join(line[: 3 + number % 6]) for number, line in enumerate(WORDS)]
SOURCES = {
    "classifier": [(line, "cat" if "cat" in line else "none") for line in LINES],
    "language_model": ["\n".join(LINES)],
}
NETWORKS = {
    "classifier": {"units": (6, 5), "embedding": 4, "batch": 8, "bidirectional": True, "pooling": "mean"},
    "language_model": {"units": (6, 5), "seq_len": 12, "batch": 6},
}
SITES = {
    "classifier": {
        f"classifier/reader/{layer}/recurrent" for layer in ("layer_0", "backward_0", "layer_1", "backward_1")
    },
    "language_model": {f"language_model/stack/{layer}/recurrent" for layer in ("layer_0", "layer_1")},
}
TASKS = pytest.mark.parametrize("name", SOURCES)


def config_of(name: str, **changes):
    return registry.spec(name).config(**(NETWORKS[name] | {"recurrent_dropout": 0.4} | changes))


def prepared(name: str, **changes):
    """A task that has read texts, and its model with every weight drawn from a normal distribution."""
    ready = Ready(config_of(name, **changes), SOURCES[name])
    return ready, ready.drawn(0.7)


def loss_of(ready, model, step: int | None = None, shard: tuple[int, int] = (0, 1)) -> tf.Tensor:
    batch = ready.tensors(shard)
    state = initial_state(ready.task.states(model), len(batch["tokens"]))
    return ready.task.loss(model, batch, state, step=None if step is None else tf.constant(step))[0]


def sites_drawn_at(ready, model, step: int | None) -> list[int]:
    """The number of the site of every draw in the graph of a loss."""
    graph = tf.function(lambda: loss_of(ready, model, step)).get_concrete_function().graph
    counters = [op.inputs[2].op for op in graph.get_operations() if op.type == "StatelessRandomUniformV2"]
    return sorted(int(tf.get_static_value(counter.inputs[1])) for counter in counters)


@pytest.mark.parametrize(("cell", "name"), one_each(["rnn", "gru", "lstm"], SOURCES))
def test_the_native_engine_and_kerass_loop_drop_the_same(name, cell):
    found = []
    for engine in ("native", "keras"):
        ready, model = prepared(name, cell=cell, engine=engine)
        with tf.GradientTape() as tape:
            loss = loss_of(ready, model, step=11)
        gradients = tape.gradient(loss, model.trainable_variables)
        found.append([loss, *map(tf.convert_to_tensor, gradients)])
    for native, in_keras in zip(*found, strict=True):
        np.testing.assert_allclose(native, in_keras, rtol=1e-3, atol=1e-4)


@TASKS
@pytest.mark.parametrize("count", [2, 3])
def test_the_losses_of_the_shards_add_up_to_that_of_the_global_batch(name, count):
    ready, model = prepared(name)
    shards = [float(loss_of(ready, model, step=11, shard=(index, count))) for index in range(count)]
    assert sum(shards) == pytest.approx(float(loss_of(ready, model, step=11)), rel=1e-5)


@TASKS
def test_it_changes_with_the_step_and_an_evaluation_is_without_it(name):
    ready, model = prepared(name)
    losses = [float(loss_of(ready, model, step)) for step in (3, 3, 4)]
    assert losses[0] == losses[1] != losses[2]
    without = prepared(name, recurrent_dropout=0.0)
    evaluated = float(loss_of(ready, model))
    assert evaluated == pytest.approx(float(loss_of(*without)), rel=1e-6)
    assert evaluated not in losses


@TASKS
def test_every_layer_and_direction_has_a_site_of_its_own_and_rate_zero_draws_nothing(name):
    numbers = {int.from_bytes(sha256(site.encode()).digest()[:4], "big") >> 1 << 32 for site in SITES[name]}
    assert set(sites_drawn_at(*prepared(name), 3)) == numbers
    assert sites_drawn_at(*prepared(name, recurrent_dropout=0.0), 3) == []
    every_rate = dict.fromkeys(
        (setting for setting in type(config_of(name)).model_fields if setting.endswith("dropout")), 0.2
    )
    with_every_rate = prepared(name, **every_rate)
    assert sites_drawn_at(*with_every_rate, None) == []
    sites = sites_drawn_at(*with_every_rate, 3)
    assert len(sites) == len(set(sites)) > len(SITES[name])


def train(name: str, out, on_event=None, **changes):
    training = ostinato.TrainingConfig(epochs=2, learning_rate=0.02, evaluations=2, log_every=2)
    return ostinato.train(
        config_of(name, **changes), SOURCES[name], training=training, out=out, on_event=on_event
    )


PLACES = [("language_model", "native"), thorough("language_model", "keras")]
PLACES += [thorough("classifier", "native"), thorough("classifier", "keras")]


@pytest.mark.parametrize(("name", "engine"), PLACES)
def test_a_training_resumed_ends_with_the_weights_of_one_that_went_through(name, engine, tmp_path):
    killed = copy_at(3, tmp_path / "whole", tmp_path / "run", StepDone)
    train(name, tmp_path / "whole", on_event=killed, engine=engine)
    ostinato.resume(tmp_path / "run")
    run, whole = (open_run(tmp_path / path).weights("last") for path in ("run", "whole"))
    assert run.step == whole.step > 3
    np.testing.assert_equal(run.groups, whole.groups)


@TASKS
def test_a_recipe_can_set_it(name):
    recipe = parse_recipe(name, f"[{name}]\nrecurrent_dropout = 0.3\n", "mine.toml")
    config_class = registry.spec(name).config
    assert config_class(**recipe.task).recurrent_dropout == 0.3
    assert config_class().recurrent_dropout == 0.0


@TASKS
@pytest.mark.parametrize("rate", [-0.1, 1.0, "much"])
def test_a_rate_that_is_none_is_refused(name, rate):
    with pytest.raises(ConfigError, match="recurrent_dropout must be"):
        config_of(name, recurrent_dropout=rate)


@TASKS
def test_the_textbooks_engine_has_none_and_says_so(name, tmp_path):
    masked = {"masked": False} if name == "classifier" else {}
    with pytest.raises(EngineError, match="has no recurrent_dropout; use engine='keras'"):
        train(name, tmp_path / "run", engine="scratch", **masked)
    assert list(tmp_path.iterdir()) == []


# Cells of other packages.

PLUGIN = """
import keras

class Gated(keras.layers.GRU):
    pass

def light(units, **options):
    return keras.layers.SimpleRNN(units, **options)

class OwnCell(keras.layers.Layer):
    state_size = 4

class Own(keras.layers.RNN):
    def __init__(self, units, recurrent_dropout=0.0, **options):
        super().__init__(OwnCell())
"""


@pytest.fixture
def plugin(tmp_path_factory, monkeypatch):
    """A package that brings a cell with Keras' recurrent dropout, one without, and one with another kind."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "dropping_cells.py").write_text(PLUGIN)
    metadata = folder / "dropping_cells-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: dropping_cells\nVersion: 1.0\n")
    points = "gated = dropping_cells:Gated\nlight = dropping_cells:light\nown = dropping_cells:Own\n"
    (metadata / "entry_points.txt").write_text(f"[ostinato.cells]\n{points}")
    monkeypatch.syspath_prepend(folder)
    yield
    sys.modules.pop("dropping_cells", None)


@TASKS
@pytest.mark.parametrize("cell", ["light", "own"])
def test_a_cell_without_it_is_refused_and_nothing_is_written(plugin, name, cell, tmp_path):
    with pytest.raises(
        ConfigError, match=f"recurrent_dropout must be 0 for the cell '{cell}', which has none"
    ):
        train(name, tmp_path / "run", cell=cell)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
def test_a_cell_without_it_needs_none(plugin, tmp_path):
    assert train("classifier", tmp_path / "run", cell="light", recurrent_dropout=0.0).step > 0


@pytest.mark.parametrize("name", [thorough("classifier"), "language_model"])
def test_another_packages_cell_with_kerass_dropout_drops_what_ours_does(plugin, name):
    theirs, ours = prepared(name, cell="gated"), prepared(name, cell="gru")
    assert float(loss_of(*theirs, step=5)) == pytest.approx(float(loss_of(*ours, step=5)), rel=1e-5)

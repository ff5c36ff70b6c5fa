"""The benchmark of other people's models: what it finds in a folder, compares and says."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from .. import forks

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import real_model  # noqa: E402
import real_models  # noqa: E402


def recurrent_model(layer: keras.layers.Layer) -> keras.Model:
    model = keras.Sequential([keras.Input((None, 3)), layer, keras.layers.Dense(2)])
    model.compile("adam", keras.losses.MeanSquaredError())
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two models and a damaged file."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "below").mkdir()
    recurrent_model(keras.layers.GRU(4)).save(folder / "gru.keras")
    recurrent_model(keras.layers.Bidirectional(keras.layers.LSTM(4))).save(folder / "below" / "lstm.h5")
    (folder / "broken.h5").write_bytes(b"no HDF5")
    return folder


@pytest.fixture(scope="module")
def run(folder) -> tuple[str, dict[str, dict]]:
    """What the script prints of the folder, and the rows of its JSON."""
    out = folder / "results" / "out.json"
    options = ["--batch", "2", "--time", "4", "--rounds", "1", "--seconds", "0.001", "--json", str(out)]

    def run_forked(command, *, env, **_):
        return forks.run(*command[1:], env=env)

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.setattr(sys, "argv", ["real_models.py", str(folder), *options])
        patch.setattr(subprocess, "run", run_forked)  # no process imports TensorFlow anew
        real_models.main()
    results = json.loads(out.read_text())
    assert str(folder) not in out.read_text() + printed.getvalue()
    assert results["settings"]["batch"] == [2]
    return printed.getvalue(), {row["file"]: row for row in results["models"]}


@pytest.mark.thorough
def test_a_model_that_loads_is_compared_and_timed(run):
    _, rows = run
    for file, layers in (("gru.keras", 1), ("below/lstm.h5", 2)):
        row = rows[file]
        assert (row["stock"], row["here"], row["reference"]) == ("yes", "yes", "stock")
        assert (row["keras"], row["recurrent"], row["native"]) == (keras.__version__, layers, layers)
        [figures] = row["batches"]
        assert figures["inputs"] == "2,4,3"
        assert figures["relative_difference"] < 1e-5
        assert figures["mean"] == pytest.approx(np.sqrt(np.prod(list(figures["ratios"].values()))))
        assert 0 <= figures["share"] < 1


@pytest.mark.thorough
def test_a_damaged_file_costs_one_row_and_its_sentence_is_shown(run):
    printed, rows = run
    assert rows["broken.h5"]["stock"].startswith("OSError")
    assert "HDF5" in rows["broken.h5"]["here"]
    assert "3 models; Keras 3 loads 2, ostinato 2" in printed
    assert "- FILE cannot be loaded: its HDF5 is damaged" in printed


def test_a_process_that_crashes_costs_one_row_that_keeps_what_was_known(folder, tmp_path, monkeypatch):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import json, os, signal\n"
        "print(json.dumps({'stock': 'yes', 'step': 'loading here'}), flush=True)\n"
        "print('{\"here\": \"y', end='', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.setattr(real_models, "WORKER", worker)
    options = ["real_models.py", str(folder), "--rounds", "0"]
    monkeypatch.setattr(sys, "argv", options)
    row = real_models.look_at(real_models.Found(folder / "gru.keras"), real_models.parse_arguments())
    assert row["failed"] == "it crashed with signal 9, when loading here"
    assert row["stock"] == "yes"


def test_a_configuration_takes_the_weights_beside_it(tmp_path):
    (tmp_path / "model.json").write_text('{"class_name": "Sequential", "config": []}')
    (tmp_path / "tokens.json").write_text('{"the": 1}')
    for name in ("model.hdf5", "other.h5", "saved/saved_model.pb", "saved/assets/words.h5"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert real_models.find(tmp_path) == [
        real_models.Found(tmp_path / "model.json", tmp_path / "model.hdf5"),
        real_models.Found(tmp_path / "other.h5"),
        real_models.Found(tmp_path / "saved"),
    ]


@pytest.mark.parametrize(
    ("relative", "absolute", "wrong"),
    [(1e-5, 1.0, False), (1e-3, 1e-7, False), (1e-3, 1e-3, True), (float("nan"), float("nan"), True)],
)
def test_a_model_is_wrong_if_its_outputs_differ_by_more_than_rounding(relative, absolute, wrong):
    row = {"batches": [{"relative_difference": relative, "difference": absolute}]}
    assert real_models.is_wrong(row) is wrong


@pytest.mark.parametrize(
    ("keras", "ours", "wrong"), [(3e-3, 2e-4, False), (1e-7, 2e-3, True), (3e-3, 4e-2, True)]
)
def test_where_rounding_is_large_a_model_is_right_if_it_is_no_further_from_float64(keras, ours, wrong):
    figures = {
        "relative_difference": 3e-3,
        "difference": 3e-3,
        "to_float64": {"keras": keras, "ostinato": ours},
    }
    assert real_models.is_wrong({"batches": [figures]}) is wrong


def test_distances_to_float64():
    model = keras.Sequential(
        [keras.Input((5, 2)), keras.layers.Bidirectional(keras.layers.LSTM(3)), keras.layers.Dense(1)]
    )
    x = np.random.default_rng(0).normal(size=(4, 5, 2))
    distances = real_model.distances_to_float64(model, x, {"keras": [model(x)], "ostinato": [model(x) + 1.0]})
    assert 0 < distances["to_float64"]["keras"] < 1e-5
    assert distances["to_float64"]["ostinato"] > 0.1


def test_no_path_of_the_machine_is_kept(tmp_path):
    said = {"here": [f"{tmp_path}/a.h5 is bad, says /usr/lib/python3/keras/saving.py"]}
    assert real_models.without_paths(said, tmp_path) == {"here": ["a.h5 is bad, says …/saving.py"]}


@pytest.mark.parametrize("merge", ["bidirectional", "states"])
def test_the_rest_of_a_model_computes_the_same_outputs_without_its_recurrent_layers(merge):
    x, y = keras.Input((5, 3)), keras.Input((4, 3))
    if merge == "bidirectional":
        outputs = keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True))(x)
    else:
        _, *states = keras.layers.LSTM(4, return_state=True)(x)
        outputs = keras.layers.LSTM(4)(y, initial_state=states)
    model = keras.Model([x, y], keras.layers.Dense(2)(outputs))
    given = [
        tf.random.stateless_normal(each.shape, (0, 1)) for each in (tf.ones((2, 5, 3)), tf.ones((2, 4, 3)))
    ]
    expected = model(given)
    rest = real_model.rest_of_model(model, given)
    for layer in real_model.recurrent(model):
        layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    np.testing.assert_allclose(rest()[0], expected, rtol=1e-6)
    assert np.abs(model(given) - expected).max() > 1e-3


def test_hard_sigmoid_has_the_slope_of_keras_2_only_within():
    x = np.array([1.0], np.float32)
    with real_model.hard_sigmoid_of_keras_2():
        assert float(keras.activations.get("hard_sigmoid")(x)[0]) == pytest.approx(0.7)
    assert float(keras.activations.get("hard_sigmoid")(x)[0]) == pytest.approx(4 / 6)

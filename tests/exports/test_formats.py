"""C, LiteRT, SavedModel, RTNeural and safetensors."""

import json
import shutil
import subprocess

import keras
import numpy as np
import pytest
import safetensors.numpy

import ostinato
from ostinato.errors import ExportError

from .. import forks
from .models import AS_PEOPLE_BUILD_THEM, CELLS, DIRECTIONS, recurrent, stirred

K = keras.layers


def chain(cell, *, ids=False):
    kind, options = CELLS[cell]
    first = [keras.Input((None,), dtype="int32"), K.Embedding(20, 6)] if ids else [keras.Input((None, 3))]
    layers = [kind(12, return_sequences=True, **options), kind(7, **options), K.Dense(5, activation="relu")]
    return stirred(keras.Sequential([*first, *layers, K.Dense(4, activation="softmax")]))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("quantize", [None, "int8-weights"])
@pytest.mark.parametrize("ids", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_a_c_header_compiles_without_a_warning_and_passes_its_own_test(cell, quantize, ids, tmp_path):
    report = ostinato.export(chain(cell, ids=ids), tmp_path / "net.h", quantize=quantize)
    assert report.checked
    assert report.largest_difference < (2e-5 if quantize is None else 0.1)
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O2", "-x", "c", "-DNET_TEST"]
    subprocess.run(["gcc", *strict, tmp_path / "net.h", "-o", tmp_path / "test", "-lm"], check=True)
    done = subprocess.run([tmp_path / "test"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("net: the largest difference is ")
    # A test that cannot fail would be none.
    text = (tmp_path / "net.h").read_text()
    before, after = text.split("static const float wanted[] = {\n", 1)
    (tmp_path / "net.h").write_text(f"{before}static const float wanted[] = {{\n  9.0f + {after.lstrip()}")
    subprocess.run(["gcc", *strict, tmp_path / "net.h", "-o", tmp_path / "test", "-lm"], check=True)
    assert subprocess.run([tmp_path / "test"], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ([K.Bidirectional(K.GRU(4))], "in one direction, got Bidirectional"),
        ([K.GRU(4, go_backwards=True, name="back")], "'back' has go_backwards=True"),
        ([K.Dense(4)], "needs a recurrent layer"),
        ([K.Masking(), K.GRU(4)], "got Masking"),
    ],
)
def test_what_c_does_not_have_is_refused(layers, sentence, tmp_path):
    with pytest.raises(ExportError, match=sentence):
        ostinato.export(keras.Sequential([keras.Input((None, 3)), *layers]), tmp_path / "net.h")
    assert not list(tmp_path.iterdir())


SOME = ("tagger", "encoder and decoder")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in SOME else pytest.mark.thorough)
        for name in AS_PEOPLE_BUILD_THEM
        if name != "ConvLSTM beside an LSTM"
    ],
)
def test_litert_has_built_in_operators_alone(name, tmp_path):
    pytest.importorskip("ai_edge_litert")
    report = ostinato.export(stirred(AS_PEOPLE_BUILD_THEM[name]()), tmp_path / "model.tflite")
    assert report.checked
    assert report.largest_difference < 1e-5
    assert not [operator for operator in report.operators if "TENSOR" in operator or "LSTM" in operator]


@pytest.mark.thorough
@pytest.mark.parametrize("results", ["last", "sequence", "states"])
@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_litert_equals_keras(cell, direction, ids, results, tmp_path):
    pytest.importorskip("ai_edge_litert")
    model = recurrent(cell, direction, ids=ids, results=results)
    report = ostinato.export(model, tmp_path / "model.tflite")
    assert report.checked
    assert report.largest_difference < 1e-5


@pytest.mark.thorough
def test_litert_with_weights_of_eight_bits(tmp_path):
    pytest.importorskip("ai_edge_litert")
    layers = [K.Embedding(500, 64), K.GRU(128, return_sequences=True), K.LSTM(128), K.Dense(50)]
    model = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])
    whole = ostinato.export(model, tmp_path / "whole.tflite")
    report = ostinato.export(model, tmp_path / "small.tflite", quantize="int8")
    assert report.checked
    assert report.bytes <= 0.3 * whole.bytes


@pytest.mark.parametrize("cell", ["lstm", pytest.param("gru", marks=pytest.mark.thorough)])
def test_litert_with_states_goes_on_where_it_was(cell, tmp_path):
    interpreters = pytest.importorskip("ai_edge_litert.interpreter")
    model = recurrent(cell, "forward", ids=False, results="sequence")
    ostinato.export(model, tmp_path / "model.tflite", states="inputs")
    interpreter = interpreters.Interpreter(model_path=str(tmp_path / "model.tflite"))
    assert {*interpreter.get_signature_list()} == {"forward", "step"}
    step = interpreter.get_signature_runner("step")
    x = np.random.default_rng(3).normal(size=(2, 6, 5)).astype(np.float32)
    names = [name for name in step.get_input_details() if name != "x"]
    state, found = {name: np.zeros((2, 6), np.float32) for name in names}, []
    (output,) = (name for name in step.get_output_details() if not name.endswith("_out"))
    for at in range(6):
        results = step(x=x[:, at : at + 1], **state)
        state = {name: results[f"{name}_out"] for name in state}
        found.append(results[output])
    np.testing.assert_allclose(np.concatenate(found, 1), model(x), atol=1e-5)


def test_a_microcontrollers_file_has_fixed_sizes(tmp_path):
    pytest.importorskip("tflite_micro")
    model = recurrent("lstm", "forward", ids=False, results="sequence")
    options = {"target": "micro", "batch": 1, "time": 8}
    report = ostinato.export(model, tmp_path / "model.tflite", **options)
    assert report.checked
    assert report.largest_difference < 1e-5


WITHOUT_OSTINATO = """
import sys
sys.modules["ostinato"] = None
import numpy as np, tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
x = np.load(sys.argv[2])
print({name: value.numpy().tolist() for name, value in loaded.signatures["serve"](x=tf.constant(x)).items()})
"""


@pytest.mark.parametrize("cell", ["gru", pytest.param("lstm", marks=pytest.mark.thorough)])
def test_a_saved_model_loads_where_ostinato_is_not(cell, tmp_path):
    model = recurrent(cell, "bidirectional", ids=True, results="last")
    report = ostinato.export(ostinato.accelerate(model), tmp_path / "saved", states="inputs")
    assert report.checked
    ids = np.array([[1, 2, 0, 3], [0, 0, 0, 0]], np.int32)
    np.save(tmp_path / "x.npy", ids)
    printed = forks.run("-c", WITHOUT_OSTINATO, tmp_path / "saved", tmp_path / "x.npy", check=True).stdout
    (found,) = json.loads(printed.replace("'", '"')).values()
    np.testing.assert_allclose(found, model(ids), atol=1e-5)
    ostinato.export(model, tmp_path / "saved")  # in place of the one before
    with pytest.raises(Exception, match="must be a new folder"):
        ostinato.export(model, tmp_path)


def test_weights_in_the_layouts_of_keras_and_pytorch(tmp_path):
    model = chain("lstm")
    ostinato.export(model, tmp_path / "keras.safetensors")
    found = safetensors.numpy.load_file(tmp_path / "keras.safetensors")
    assert {*found} == {variable.path for variable in model.weights}
    ostinato.export(model, tmp_path / "torch.safetensors", format="safetensors-torch")
    found = safetensors.numpy.load_file(tmp_path / "torch.safetensors")
    assert len(found) == 8
    name = model.layers[0].name
    np.testing.assert_array_equal(found[f"{name}.weight_ih_l0"], model.layers[0].get_weights()[0].T)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_rtneurals_file(cell, tmp_path):
    report = ostinato.export(chain(cell), tmp_path / "net.json")
    assert report.checked
    assert report.largest_difference < 1e-6
    written = json.loads((tmp_path / "net.json").read_text())
    assert [each["type"] for each in written["layers"]] == [cell, cell, "dense", "dense"]
    assert written["in_shape"] == [None, None, 3]
    with pytest.raises(ExportError, match="RTNeural has"):
        ostinato.export(chain("rnn"), tmp_path / "net.json")

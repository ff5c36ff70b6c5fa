"""ONNX files, run in ONNX Runtime by the tests themselves."""

import json

import keras
import numpy as np
import pytest

import ostinato
from ostinato.errors import ConfigError, ExportError
from ostinato.exports.onnx import operators

from .models import AS_PEOPLE_BUILD_THEM, CELLS, DIRECTIONS, recurrent, stirred

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
K = keras.layers
# Ids with padding at the end, at the beginning, within, everywhere, and nowhere.
IDS = np.array(
    [[3, 4, 5, 0, 0, 0], [0, 0, 1, 2, 3, 4], [5, 0, 6, 0, 0, 7], [0] * 6, [1, 2, 3, 4, 5, 6]], np.int32
)
ALL = [
    (cell, direction, ids, results)
    for cell in CELLS
    for direction in DIRECTIONS
    for ids in (False, True)
    for results in ("last", "sequence", "states")
]
FEW = [each for each in ALL if each[1:] in (("forward", False, "last"), ("bidirectional", True, "sequence"))]


def run(path, *inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))


def farthest(found, model, x):
    wanted = [np.asarray(each) for each in keras.tree.flatten(model(x))]
    assert [each.shape for each in found] == [each.shape for each in wanted]
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case in FEW else pytest.mark.thorough) for case in ALL]
)
def test_it_equals_keras_with_one_operator_for_each_direction(case, tmp_path):
    cell, direction, ids, results = case
    model, path = recurrent(cell, direction, ids=ids, results=results), tmp_path / "model.onnx"
    report = ostinato.export(model, path)
    assert report.checked
    assert not {"Loop", "Scan", "If"} & set(report.operators)
    assert sum(report.operators.get(kind, 0) for kind in ("LSTM", "GRU", "RNN")) == 1 + (
        direction == "bidirectional"
    )
    x = IDS if ids else np.random.default_rng(7).normal(size=(3, 11, 5)).astype(np.float32)
    assert farthest(run(path, x), model, x) < 1e-5


@pytest.mark.parametrize("name", AS_PEOPLE_BUILD_THEM)
def test_models_as_people_build_them(name, tmp_path):
    report = ostinato.export(stirred(AS_PEOPLE_BUILD_THEM[name]()), tmp_path / "model.onnx")
    assert report.checked
    assert report.largest_difference < 1e-5
    loops = {"ConvLSTM beside an LSTM"}
    assert bool(report.loops) == (name in loops)
    assert ("Loop" in report.operators) == (name in loops)


def test_names_sizes_and_states_are_for_people(tmp_path):
    model = keras.Sequential(
        [keras.Input((None, 3), name="sound"), K.LSTM(4, name="ear"), K.Dense(2, name="what")]
    )
    report = ostinato.export(model, tmp_path / "model.onnx", states="inputs")
    assert [str(each) for each in report.inputs] == ["sound float32 (batch, time, 3)"]
    assert [str(each) for each in report.outputs] == ["what float32 (batch, 2)"]
    assert [[each.name for each in pair] for pair in report.states] == [
        ["ear_h", "ear_h_out"],
        ["ear_c", "ear_c_out"],
    ]
    x = np.random.default_rng(1).normal(size=(2, 8, 3)).astype(np.float32)
    zeros = np.zeros((2, 4), np.float32)
    _, h, c = run(tmp_path / "model.onnx", x[:, :3], zeros, zeros)
    (found, *_) = run(tmp_path / "model.onnx", x[:, 3:], h, c)
    np.testing.assert_allclose(found, model(x), atol=1e-6)


def test_a_stateful_layer_has_its_state_outside(tmp_path):
    model = stirred(AS_PEOPLE_BUILD_THEM["stateful forecaster"]())
    report = ostinato.export(model, tmp_path / "model.onnx")
    assert len(report.states) == 3
    assert any("stateful" in note for note in report.notes)
    random = np.random.default_rng(2)
    states = [np.zeros((2, units), np.float32) for units in (6, 4, 4)]
    for _ in range(3):
        x = random.normal(size=(2, 5, 3)).astype(np.float32)
        found, *states = run(tmp_path / "model.onnx", x, *states)
        np.testing.assert_allclose(found, model(x), atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "hard_sigmoid", "softsign", "elu", "linear", "sigmoid"])
def test_activations_that_the_operators_have(activation, tmp_path):
    layers = [
        K.LSTM(4, activation=activation, return_sequences=True),
        K.GRU(4, recurrent_activation=activation),
    ]
    report = ostinato.export(
        stirred(keras.Sequential([keras.Input((None, 3)), *layers])), tmp_path / "model.onnx"
    )
    assert not report.loops
    assert report.largest_difference < 1e-5


@pytest.mark.parametrize(
    "options", [{"peephole": True}, {"coupled": True}, {"peephole": True, "coupled": True}]
)
@pytest.mark.parametrize("masked", [False, True])
def test_peepholes_and_coupled_gates_are_the_operators_own(options, masked, tmp_path):
    layer = ostinato.layers.LSTM(6, return_sequences=True, return_state=True, **options)
    x = keras.Input((None,), name="x", dtype="int32") if masked else keras.Input((None, 5), name="x")
    model = stirred(keras.Model(x, layer(K.Embedding(11, 5, mask_zero=True)(x) if masked else x)))
    report = ostinato.export(model, tmp_path / "model.onnx")
    assert not report.loops
    assert report.operators["LSTM"] == 1
    given = IDS if masked else np.random.default_rng(7).normal(size=(3, 11, 5)).astype(np.float32)
    assert farthest(run(tmp_path / "model.onnx", given), model, given) < 1e-5


@pytest.mark.parametrize(
    "layer",
    [ostinato.layers.MinGRU(4), ostinato.layers.LSTM(4, layer_norm=True), K.GRU(4, activation="silu")],
)
def test_other_recurrences_are_loops_and_the_report_says_so(layer, tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), layer])
    report = ostinato.export(model, tmp_path / "model.onnx")
    assert list(report.loops) == [layer.name]
    assert report.operators["Loop"] == 1
    assert layer.name in str(report)


@pytest.mark.parametrize(
    ("cell", "quantize"),
    [
        pytest.param("lstm", "int8", marks=pytest.mark.thorough),
        ("lstm", "int8-weights"),
        ("gru", "int8"),
        pytest.param("gru", "int8-weights", marks=pytest.mark.thorough),
    ],
)
def test_weights_of_eight_bits(cell, quantize, tmp_path):
    kind = CELLS[cell][0]
    layers = [K.Embedding(500, 64), kind(128, return_sequences=True), kind(128), K.Dense(50)]
    model = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])
    whole = ostinato.export(model, tmp_path / "whole.onnx")
    report = ostinato.export(model, tmp_path / "small.onnx", quantize=quantize)
    assert report.checked
    stayed = cell == "gru" and quantize == "int8"
    assert any("no GRU of eight bits" in note for note in report.notes) == stayed
    assert stayed or report.bytes <= 0.3 * whole.bytes


def test_metadata_says_who_wrote_it(tmp_path):
    ostinato.export(keras.Sequential([keras.Input((None, 3)), K.GRU(4)]), tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    assert model.producer_name == "ostinato"
    assert {each.key: each.value for each in model.metadata_props}["ostinato.version"] == ostinato.__version__


def test_a_file_that_does_not_agree_is_not_written(tmp_path, monkeypatch):
    right = operators._weights

    def wrong(*arguments):
        return [*right(*arguments)[:2], ""]  # without the bias

    monkeypatch.setattr(operators, "_weights", wrong)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"before")
    with pytest.raises(
        ExportError, match="must differ from the network by at most 1e-05 of its largest output"
    ):
        ostinato.export(recurrent("gru", "forward", ids=False, results="last"), path)
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_bytes() == b"before"


def test_a_layer_that_is_called_twice_has_no_state_of_its_own(tmp_path):
    x, layer = keras.Input((None, 3)), K.GRU(4, name="ear")
    model = keras.Model(x, K.Add()([layer(x), layer(-1 * x)]))
    assert ostinato.export(model, tmp_path / "model.onnx").operators["GRU"] == 2
    with pytest.raises(ConfigError, match="called twice has no single state, got 'ear'"):
        ostinato.export(model, tmp_path / "model.onnx", states="inputs")


def test_outputs_by_name_have_their_names(tmp_path):
    x = keras.Input((None, 3))
    model = keras.Model(x, {"price": K.Dense(1)(K.GRU(3)(x)), "kind": K.Dense(2)(K.LSTM(3)(x))})
    report = ostinato.export(model, tmp_path / "model.onnx")
    assert [str(each) for each in report.outputs] == ["kind float32 (batch, 2)", "price float32 (batch, 1)"]


def test_text_is_not_read(tmp_path):
    vectorization = K.TextVectorization(max_tokens=20)
    vectorization.adapt(["a b c", "d e f"])
    layers = [vectorization, K.Embedding(20, 4), K.GRU(4)]
    model = keras.Sequential([keras.Input((), dtype="string", name="texts"), *layers])
    with pytest.raises(ConfigError, match="must be numbers, and texts is text; leave the layer"):
        ostinato.export(model, tmp_path / "model.onnx")


def test_what_a_runtime_says_becomes_a_sentence(tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), K.GRU(64, dtype="mixed_bfloat16")])
    with pytest.raises(ExportError, match=r"cannot be exported: .*nothing was written"):
        ostinato.export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_model_must_say_what_it_reads(tmp_path):
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ConfigError, match="must say what its inputs are"):
        ostinato.export(Own(), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("path", "options", "sentence"),
    [
        ("model.txt", {}, "must end in .onnx, .tflite"),
        ("model.onnx", {"format": "onxn"}, "did you mean 'onnx'"),
        ("no/such/model.onnx", {}, "must be in a folder that exists"),
        ("model.onnx", {"opset": 12}, "opset must be 13 to 18, got 12"),
        ("model.onnx", {"quantize": "int4"}, "quantize must be one of int8, int8-weights"),
        ("model.h", {"quantize": "int8"}, "quantize must be int8-weights or None for c"),
        ("model.onnx", {"states": "all"}, "states must be 'none' or 'inputs'"),
        ("model.onnx", {"batch": 0}, "batch must be at least 1"),
        ("model.onnx", {"target": "micro"}, "target must be None for onnx"),
        ("model.tflite", {"target": "micro"}, "batch and time must be given"),
        (".", {}, "must be a new folder, or one with a SavedModel"),
    ],
)
def test_bad_input_gets_a_sentence(path, options, sentence, tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), K.GRU(4)])
    with pytest.raises(ConfigError, match=sentence):
        ostinato.export(model, tmp_path / path, **options)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_and_reports(tmp_path, capsys):
    from ..command_line import command

    keras.Sequential([keras.Input((None, 3)), K.GRU(4)]).save(tmp_path / "model.keras")
    assert command("export", tmp_path / "model.keras", tmp_path / "model.onnx", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["checked"]
    assert report["operators"]["GRU"] == 1
    assert command("export", tmp_path / "no.keras", tmp_path / "model.onnx") == 2


def test_an_accelerated_models_own_export_names_ours(tmp_path):
    model = ostinato.accelerate(keras.Sequential([keras.Input((None, 3)), K.GRU(4)]))
    model(np.zeros((1, 2, 3), np.float32))
    with pytest.raises(Exception, match=r"use ostinato\.export\(model, path\)"):
        model.export(str(tmp_path / "model.onnx"), format="onnx")
    assert not list(tmp_path.iterdir())

"""What people do with files: weights into a model, classes of their own, files that lack something."""

import json

import h5py
import keras
import numpy as np
import pytest

import ostinato
from ostinato.errors import ConfigError
from ostinato.interop.keras.keras2 import models, operations
from ostinato.interop.keras.legacy import keras2_hard_sigmoid
from ostinato.interop.keras.loading import load_source
from ostinato.interop.keras.origin import Origin

layers = keras.layers


def network(*names):
    stack = [layers.LSTM(3, return_sequences=True), layers.GRU(4), layers.Dense(2)]
    for layer, name in zip(stack, names, strict=False):
        layer.name = name
    return keras.Sequential([keras.Input((5, 3)), *stack])


def old_weights(path, model, change=lambda group: None):
    """Writes weights as Keras 2 did."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.get_weights(), strict=True):
                group[name] = weight
        change(file)


def same(first, second):
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_of_layers_with_other_names_go_into_a_model_in_their_order(tmp_path):
    saved, model = network("a", "b", "c"), network("one", "two", "three")
    old_weights(tmp_path / "w.h5", saved)
    ostinato.load_weights(model, tmp_path / "w.h5")
    same(model, saved)


def test_weights_go_into_the_layers_of_their_names_whatever_their_order(tmp_path):
    saved = keras.Sequential([keras.Input((3,)), layers.Dense(3, name="a"), layers.Dense(3, name="b")])
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3, name="b"), layers.Dense(3, name="a")])
    old_weights(tmp_path / "w.h5", saved)
    ostinato.load_weights(model, tmp_path / "w.h5")
    np.testing.assert_array_equal(model.get_layer("a").kernel, saved.get_layer("a").kernel)
    np.testing.assert_array_equal(model.get_layer("b").kernel, saved.get_layer("b").kernel)


def foreign(file):
    file["notes"] = "trained on a Monday"
    file["scaler"] = np.arange(3.0)
    file.create_group("vocabulary")["words"] = np.array([b"a", b"b"])


def test_what_else_stands_in_the_file_is_left_alone(tmp_path):
    saved, model = network(), network()
    old_weights(tmp_path / "w.hdf5", saved, foreign)
    ostinato.load_weights(ostinato.accelerate(model, copy=False), tmp_path / "w.hdf5")
    same(model, saved)


def wider(file):
    del file["c/c/bias:0"]
    file["c/c/bias:0"] = np.zeros(7, "float32")


def text(file):
    del file["c/c/bias:0"]
    file["c/c/bias:0"] = np.array([b"1", b"2"])


def fewer(file):
    file.attrs["layer_names"] = [b"a", b"b"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (wider, r"the weights of the layer 'c' must have the shapes \(4, 2\), \(2,\), got \(4, 2\), \(7,\)"),
        (text, "the weights 'c/bias:0' must be numbers"),
        (fewer, "the file has weights of 2 layers, a, b, and the model 3: a, b, c"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(change, says, tmp_path):
    model = network("a", "b", "c")
    before = model.get_weights()
    old_weights(tmp_path / "w.h5", network("a", "b", "c"), change)
    with pytest.raises(ConfigError, match=says):
        ostinato.load_weights(model, tmp_path / "w.h5")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_weights_of_keras_3_that_do_not_fit_change_nothing(tmp_path):
    network().save_weights(tmp_path / "other.weights.h5")
    model = keras.Sequential([keras.Input((5, 3)), layers.LSTM(3, return_sequences=True), layers.GRU(5)])
    before = model.get_weights()
    with pytest.raises(ConfigError, match=r"other\.weights\.h5 cannot be loaded into"):
        ostinato.load_weights(model, tmp_path / "other.weights.h5")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_json_and_weights_are_a_model(tmp_path):
    model = network()
    (tmp_path / "m.json").write_text(model.to_json())
    model.save_weights(tmp_path / "m.weights.h5")
    loaded = ostinato.accelerate(tmp_path / "m.json", weights=tmp_path / "m.weights.h5")
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    np.testing.assert_allclose(loaded(x), model(x), atol=1e-6)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{}", "it is not the JSON of a Keras model"),
        ("[1, 2", "cannot be loaded"),
        ('{"class_name": "Sequential", "keras_version": "1.2.2", "config": []}', "Keras 1.2.2 wrote it"),
    ],
)
def test_a_json_that_is_no_model_is_refused(content, says, tmp_path):
    (tmp_path / "m.json").write_text(content)
    network().save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ConfigError, match=says):
        load_source(tmp_path / "m.json", weights=tmp_path / "m.weights.h5")


def test_a_json_that_asks_for_far_more_than_its_weights_is_refused(tmp_path):
    network().save_weights(tmp_path / "m.weights.h5")
    config = json.loads(network().to_json())
    config["config"]["layers"][-1]["config"]["units"] = 1 << 40
    (tmp_path / "m.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"its configuration asks for .* bytes of weights, and it holds"):
        load_source(tmp_path / "m.json", weights=tmp_path / "m.weights.h5")


def test_a_json_without_weights_says_what_to_give(tmp_path):
    (tmp_path / "m.json").write_text(network().to_json())
    with pytest.raises(ConfigError, match="has no weights; give their file with weights="):
        ostinato.report(tmp_path / "m.json")


class Doubled(layers.Layer):
    def call(self, x):
        return 2.0 * x


def test_a_class_of_ones_own_is_given(tmp_path):
    model = keras.Sequential([keras.Input((5, 3)), layers.GRU(4), Doubled()])
    model.save(tmp_path / "m.keras")
    with pytest.raises(
        ConfigError, match=r"Doubled', which is not part of .* custom_objects=\{'Doubled': …\}"
    ):
        load_source(tmp_path / "m.keras")
    loaded = load_source(tmp_path / "m.keras", custom_objects={"Doubled": Doubled})
    assert isinstance(loaded.layers[-1], Doubled)


def test_a_loss_of_ones_own_that_is_not_given_leaves_the_model_uncompiled(tmp_path):
    def mine(true, predicted):
        return keras.ops.mean((true - predicted) ** 4)

    for name in ("m.keras", "m.h5"):
        model = network()
        model.compile("adam", mine)
        model.save(tmp_path / name)
        with pytest.warns(UserWarning, match="comes back uncompiled: the .* 'mine' is not part of Keras 3"):
            assert not load_source(tmp_path / name).compiled
        assert load_source(tmp_path / name, custom_objects={"mine": mine}).compiled


def test_keras_2s_hard_sigmoid_becomes_keras_3s_with_the_same_predictions(tmp_path):
    hard = {"recurrent_activation": keras2_hard_sigmoid}
    x = inputs = keras.Input((5, 4, 4, 2))
    x = layers.TimeDistributed(layers.Flatten())(layers.ConvLSTM2D(2, 3, return_sequences=True, **hard)(x))
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True, **hard))(x)
    cells = [layers.GRUCell(3, **hard), layers.GRUCell(3, reset_after=False, **hard)]
    x = layers.RNN(cells, return_sequences=True)(x)
    x = layers.GRU(3, activation=keras2_hard_sigmoid, return_sequences=True)(x)
    x = layers.SimpleRNN(3, activation=keras2_hard_sigmoid)(x)
    model = keras.Model(inputs, layers.Dense(2, activation=keras2_hard_sigmoid)(x))
    model.set_weights([np.random.default_rng(1).normal(size=w.shape) for w in model.get_weights()])
    model.compile("adam", "mse")
    with pytest.warns(UserWarning, match="comes back uncompiled: Keras 3's hard_sigmoid takes the place of"):
        stock = ostinato.to_keras(ostinato.accelerate(model))
    assert not stock.compiled
    assert "ostinato" not in json.dumps(json.loads(stock.to_json()))
    batch = np.random.default_rng(2).normal(size=(3, 5, 4, 4, 2)).astype("float32")
    np.testing.assert_allclose(stock(batch), model(batch), atol=1e-5)
    assert model.layers[1].cell.recurrent_activation is keras2_hard_sigmoid


def nested_decoder():
    """The configuration of a decoder that gets a masked sequence, and a state, from the model around it."""

    def entry(kind, name, calls=(), **options):
        config = {"name": name, **options}
        return {"class_name": kind, "name": name, "config": config, "inbound_nodes": list(calls)}

    def model(name, entries, inputs, outputs):
        ends = {"input_layers": [[each, 0, 0] for each in inputs], "output_layers": outputs}
        return {"name": name, "layers": entries, **ends}

    wide, narrow = {"batch_input_shape": [None, None, 3]}, {"batch_input_shape": [None, 4]}
    inner = [
        entry("InputLayer", "words", **wide),
        entry("InputLayer", "h", **narrow),
        entry("GRU", "gru", [[["words", 0, 0, {}], ["h", 0, 0, {}]]], units=4, reset_after=True),
    ]
    decoder = model("decoder", inner, ["words", "h"], [["gru", 0, 0]])
    outer = [
        entry("InputLayer", "ids", batch_input_shape=[None, None]),
        entry("InputLayer", "state", **narrow),
        entry("Embedding", "embedding", [[["ids", 0, 0, {}]]], input_dim=9, output_dim=3, mask_zero=True),
        {
            **entry("Functional", "decoder", [[["embedding", 0, 0, {}], ["state", 0, 0, {}]]]),
            "config": decoder,
        },
    ]
    return {"class_name": "Functional", "config": model("all", outer, ["ids", "state"], [["decoder", 1, 0]])}


def test_a_nested_decoder_reads_a_masked_sequence_with_its_mask_also_when_it_gets_a_state():
    model = models.build(nested_decoder(), Origin("2.11.0"))
    ids, state = np.array([[1, 2, 3, 0], [4, 5, 0, 0]]), np.full((2, 4), 0.5, "float32")
    gru = keras.layers.GRU(4)
    words = model.get_layer("embedding")(ids)
    gru.build(words.shape)
    gru.set_weights(model.get_layer("decoder").get_layer("gru").get_weights())
    expected = gru(words, initial_state=state, mask=ids != 0)
    np.testing.assert_allclose(model([ids, state]), expected, atol=1e-6)
    np.testing.assert_allclose(ostinato.accelerate(model)([ids, state]), expected, atol=1e-6)


OPERATIONS = {
    "math.reduce_mean": ({"axis": 1, "keepdims": True}, lambda x: x.mean(1, keepdims=True)),
    "math.multiply": ({"y": 3.0, "name": None}, lambda x: 3 * x),
    "expand_dims": ({"axis": -1}, lambda x: x[..., None]),
    "__operators__.getitem": (
        {"slice_spec": [{}, {"start": -1, "stop": None, "step": None}]},
        lambda x: x[:, -1:],
    ),
    "transpose": ({"perm": [0, 2, 1]}, lambda x: x.transpose(0, 2, 1)),
    "clip_by_value": ({"clip_value_min": -0.1, "clip_value_max": 0.1}, lambda x: x.clip(-0.1, 0.1)),
}


@pytest.mark.parametrize("function", OPERATIONS)
def test_a_call_of_a_function_of_tensorflow_becomes_an_operation(function):
    arguments, expected = OPERATIONS[function]
    kind = "SlicingOpLambda" if "getitem" in function else "TFOpLambda"
    entry = {"class_name": kind, "name": "call", "config": {"name": "call", "function": function}}
    shape = {"batch_input_shape": [None, 4, 3], "name": "x"}
    given = {"class_name": "InputLayer", "name": "x", "config": shape}
    config = {
        "name": "model",
        "layers": [{**given, "inbound_nodes": []}, {**entry, "inbound_nodes": [["x", 0, 0, arguments]]}],
        "input_layers": [["x", 0, 0]],
        "output_layers": [["call", 0, 0]],
    }
    model = models.build({"class_name": "Functional", "config": config}, Origin("2.11.0"))
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    np.testing.assert_allclose(model(x), expected(x), rtol=1e-5)


def test_a_function_of_tensorflow_that_nobody_knows_is_refused():
    with pytest.raises(
        ConfigError,
        match=r"the layer 'write' calls TensorFlow's io\.write_file, which ostinato does not know",
    ):
        operations.call_of("TFOpLambda", {"name": "write", "function": "io.write_file"})

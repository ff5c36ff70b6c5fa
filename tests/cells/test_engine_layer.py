"""The layers are Keras' layers with one more argument: they save, load, wrap and refuse as those do."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from ostinato.engines import native
from ostinato.errors import EngineError
from ostinato.layers import GRU, LSTM, SimpleRNN

LAYERS = [SimpleRNN, GRU, LSTM]


@pytest.mark.parametrize("layer", LAYERS)
def test_the_engine_is_in_the_config_only_if_it_was_chosen(layer):
    stock = layer.__mro__[2](3, name="recurrent")
    assert layer(3, name="recurrent").get_config() == {**stock.get_config()}
    assert layer(3, name="recurrent", engine="scratch").get_config() == {
        **stock.get_config(),
        "engine": "scratch",
    }


@pytest.mark.parametrize("engine", ["auto", "keras", "scratch"])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_saved_model_loads_with_its_engine_and_predicts_the_same(layer, engine, tmp_path):
    model = keras.Sequential(
        [keras.Input((None, 3)), layer(4, engine=engine, unroll=False), keras.layers.Dense(2)]
    )
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[0]) is layer
    assert loaded.layers[0].engine == engine
    np.testing.assert_array_equal(model(x), loaded(x))


def test_kerass_arguments_keep_their_places_and_names():
    layer = LSTM(
        3, "relu", "hard_sigmoid", use_bias=False, unit_forget_bias=False, recurrent_dropout=0.1, unroll=True
    )
    assert layer.activation is keras.activations.relu
    assert layer.recurrent_activation is keras.activations.hard_sigmoid
    assert (layer.use_bias, layer.unit_forget_bias, layer.recurrent_dropout) == (False, False, 0.1)
    assert layer.unroll


@pytest.mark.parametrize("engine", ["auto", "keras", "scratch"])
def test_a_stateful_layer_goes_on_where_it_stopped(engine):
    layer = GRU(4, engine=engine, stateful=True, return_sequences=True)
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
    whole = layer(x)
    layer.reset_state()
    halves = np.concatenate([layer(x[:, :3]), layer(x[:, 3:])], axis=1)
    np.testing.assert_allclose(whole, halves, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("zeroed", [False, True])
def test_masks_do_what_they_do_in_keras(zeroed):
    options = {"return_sequences": True, "zero_output_for_mask": zeroed}
    layer, stock = LSTM(4, **options), keras.layers.LSTM(4, **options)
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    mask = np.array([[1, 1, 0, 0], [0, 1, 1, 0]], bool)
    layer.build(x.shape)
    stock.build(x.shape)
    stock.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer(x, mask=mask), stock(x, mask=mask), atol=1e-6)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("options", [{"go_backwards": True}, {"dropout": 0.1}, {"activation": "relu"}])
def test_scratch_refuses_at_construction_what_it_lacks(layer, options):
    with pytest.raises(EngineError, match=f"no {next(iter(options))}"):
        layer(3, engine="scratch", **options)


def test_scratch_refuses_a_mask_at_the_call():
    model = keras.Sequential([keras.layers.Embedding(5, 4, mask_zero=True), LSTM(3, engine="scratch")])
    with pytest.raises(EngineError, match="no masks"):
        model(np.array([[1, 2, 0]]))


def test_scratch_refuses_to_be_the_backward_half_of_a_bidirectional_layer():
    with pytest.raises(EngineError, match="go_backwards"):
        keras.layers.Bidirectional(LSTM(3, engine="scratch"))
    assert keras.layers.Bidirectional(LSTM(3, engine="keras")).backward_layer.engine == "keras"


def test_a_misspelt_engine_is_refused_at_construction():
    with pytest.raises(EngineError, match="did you mean 'keras'"):
        GRU(3, engine="kerass")


def test_another_keras_backend_is_refused_with_the_way_out():
    done = subprocess.run(
        [sys.executable, "-c", "from ostinato.layers import LSTM"],
        env={**os.environ, "KERAS_BACKEND": "numpy"},
        capture_output=True,
        text=True,
    )
    last_line = done.stderr.strip().splitlines()[-1]
    assert "EngineError" in last_line
    assert "KERAS_BACKEND=tensorflow" in last_line


@pytest.mark.parametrize("engine", ["auto", "native", "keras"])
@pytest.mark.parametrize("layer", LAYERS)
def test_token_ids_drop_of_the_inputs_what_their_one_hot_vectors_drop(layer, engine):
    if engine == "native" and not native.available():
        pytest.skip(f"no native engine: {native.reason()}")
    ids = np.array([[1, 0, 2, 2], [2, 2, 1, 0], [0, 1, 1, 2]])
    one_hot, weights = np.eye(3, dtype="float32")[ids], None
    found = {}
    for how, rate in (("ids", 0.4), ("vectors", 0.4), ("nothing dropped", 0.0)):
        one = layer(5, engine=engine, dropout=rate, seed=3, return_sequences=True, return_state=True)
        one.build(one_hot.shape)
        weights = weights or one.get_weights()
        one.set_weights(weights)
        state = [np.ones((3, 5), "float32")] * len(one.state_size)
        if how == "ids":
            found[how] = one.over_ids(ids, 3, initial_state=state, training=True)
        else:
            found[how] = one(one_hot, initial_state=state, training=True)
    for part, expected in zip(found["ids"], found["vectors"], strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-6)
    assert not np.allclose(found["ids"][0], found["nothing dropped"][0], atol=1e-3)

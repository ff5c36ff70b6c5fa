"""`keras.layers.RNN` of Keras' own cells, and unrolled layers, are replaced and come back as they were."""

import keras
import numpy as np
import pytest

import ostinato
from ostinato.engines import native
from ostinato.errors import EngineError
from ostinato.layers import LSTM, RNN

from ..variants import thorough
from .test_accelerate import BATCH, SYMBOLS, TIME, batches, kinds, train

layers = keras.layers
needs_library = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")
DROPOUTS = {"dropout": 0.3, "recurrent_dropout": 0.2}


def stack(**options):
    return [layers.LSTMCell(4, **options), layers.GRUCell(3, **options), layers.SimpleRNNCell(3, **options)]


def dense(*before):
    return keras.Sequential([keras.Input((TIME, 3)), *before, layers.Dense(1)])


def tokens():
    """Masked, with dropout in every cell."""
    return keras.Sequential(
        [
            keras.Input((TIME,)),
            layers.Embedding(SYMBOLS, 3, mask_zero=True),
            layers.Bidirectional(layers.RNN(stack(**DROPOUTS)[:2], return_sequences=True)),
            layers.GRU(3, unroll=True, **DROPOUTS),
            layers.Dense(1),
        ]
    )


def loops():
    """A stack and a single cell, with dropout."""
    upper = layers.RNN(layers.GRUCell(2, **DROPOUTS))
    return dense(layers.RNN(stack(**DROPOUTS), return_sequences=True, go_backwards=True), upper)


def nested():
    inner = keras.Sequential([keras.Input((TIME, 3)), layers.RNN(layers.GRUCell(4), return_sequences=True)])
    words = [layers.Reshape((TIME, 2, 2)), layers.TimeDistributed(layers.RNN(stack()))]
    return dense(inner, *words, layers.RNN(layers.SimpleRNNCell(3)))


def encoder_and_decoder():
    x = keras.Input((TIME, 3))
    _, *state = layers.RNN(stack(), return_state=True, name="encoder")(x)
    y = layers.RNN(stack(), name="decoder")(x, initial_state=state)
    return keras.Model(x, layers.Dense(1)(y))


def stateful():
    inputs = keras.Input(batch_shape=(BATCH, TIME, 3))
    return keras.Sequential([inputs, layers.RNN(stack(), stateful=True), layers.Dense(1)])


REPLACED = {layers.RNN: RNN, layers.LSTM: LSTM, layers.GRU: ostinato.layers.GRU}
MODELS = [thorough(tokens), nested, thorough(encoder_and_decoder), thorough(stateful)]


def cells(model):
    return [
        [type(cell) for cell in layer.cell._flatten_layers()]
        for layer in model._flatten_layers()
        if isinstance(layer, layers.RNN)
    ]


def compiled(make):
    x, y = batches(features=None if make is tokens else 3)
    model = make()
    model.compile("adam", "mean_squared_error", run_eagerly=True)
    train(model, x, y, epochs=1)
    return model, x, y


def assert_trains_alike(model, copy, x, y):
    """Both go on training for two steps, with the same losses to the same weights."""
    losses = [train(each, x, y, epochs=1) for each in (model, copy)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    for ours, theirs in zip(copy.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", MODELS)
def test_models_train_on_the_same_and_come_back_as_they_were(make):
    model, x, y = compiled(make)
    copy = ostinato.accelerate(model)
    assert kinds(copy) == [REPLACED[kind] for kind in kinds(model)]
    assert {row.engine for row in ostinato.report(copy, measure=False)} == {
        "native" if native.available() else "keras"
    }
    assert [w.path for w in copy.weights] == [w.path for w in model.weights]
    assert_trains_alike(model, copy, x, y)
    back = ostinato.to_keras(copy)
    assert (kinds(back), cells(back)) == (kinds(model), cells(model))
    assert back.get_config() == model.get_config()
    assert [layer.supports_jit for layer in back._flatten_layers()] == [
        layer.supports_jit for layer in model._flatten_layers()
    ]
    assert_trains_alike(copy, back, x, y)


def test_dropout_masks_are_kerass_and_others_at_every_call():
    """Models that train alike would also do so if no mask were drawn at all."""
    model, (x, _) = loops(), batches(features=3)
    copy = ostinato.accelerate(model)
    pairs = [[each(x, training=True).numpy() for each in (copy, model)] for _ in range(2)]
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert np.abs(pairs[0][0] - pairs[1][0]).max() > 1e-3
    assert np.abs(pairs[0][0] - copy(x).numpy()).max() > 1e-3


def test_a_model_itself_is_changed_and_keeps_its_cells_and_optimizer():
    model, x, y = compiled(loops)
    twin = keras.models.clone_model(model)
    twin.compile("adam", "mean_squared_error", run_eagerly=True)
    twin.optimizer.build(twin.trainable_variables)
    both = [[*each.variables, *each.optimizer.variables] for each in (twin, model)]
    for ours, theirs in zip(*both, strict=True):  # the states of the random generators, too
        ours.assign(theirs)
    layer = model.layers[0]
    before = [layer.cell, *layer.cell.cells]
    assert ostinato.accelerate(model, copy=False) is model
    assert type(layer) is RNN
    assert_trains_alike(twin, model, x, y)
    assert ostinato.to_keras(model, copy=False) is model
    assert type(layer) is layers.RNN
    assert "engine" not in vars(layer)
    assert all(a is b for a, b in zip([layer.cell, *layer.cell.cells], before, strict=True))
    assert_trains_alike(twin, model, x, y)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_file_is_as_good_as_its_model(name, tmp_path):
    model, (x, _) = loops(), batches(features=3)
    expected = model(x).numpy()
    ostinato.accelerate(model, copy=False).save(tmp_path / name)
    loaded = keras.models.load_model(tmp_path / name)
    assert kinds(loaded) == [RNN, RNN]
    assert cells(loaded) == cells(model)
    np.testing.assert_allclose(loaded(x), expected, rtol=1e-5, atol=1e-6)
    ostinato.to_keras(loaded, copy=False).save(tmp_path / name)
    stock = keras.models.load_model(tmp_path / name)
    assert kinds(stock) == [layers.RNN, layers.RNN]
    np.testing.assert_allclose(stock(x), expected, rtol=1e-5, atol=1e-6)


def test_weights_go_to_kerass_layers_and_back(tmp_path):
    model, ours = loops(), ostinato.accelerate(loops(), copy=False)
    for source, target in ((ours, model), (model, ours)):
        source.set_weights([weight + 0.1 for weight in source.get_weights()])
        source.save_weights(tmp_path / "file.weights.h5")
        target.load_weights(tmp_path / "file.weights.h5")
        for a, b in zip(source.get_weights(), target.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


class OwnCell(layers.GRUCell):
    pass


class OwnLayer(layers.RNN):
    pass


@needs_library
def test_what_is_not_kerass_own_stays_and_says_why():
    model = dense(
        layers.RNN(OwnCell(3), return_sequences=True),
        layers.RNN([layers.LSTMCell(3), OwnCell(3)], return_sequences=True),
        OwnLayer(layers.LSTMCell(3), return_sequences=True),
        layers.RNN([layers.LSTMCell(3), layers.GRUCell(3, activation="gelu")], return_sequences=True),
        layers.RNN(layers.LSTMCell(3)),
    )
    copy = ostinato.accelerate(model)
    assert kinds(copy) == [layers.RNN, layers.RNN, OwnLayer, RNN, RNN]
    for found in (ostinato.report(model, measure=False), ostinato.report(copy, measure=False)):
        assert [row.kind for row in found] == [
            "RNN(OwnCell(3))",
            "RNN([LSTMCell(3), OwnCell(3)])",
            "OwnLayer(LSTMCell(3))",
            "RNN([LSTMCell(3), GRUCell(3)])",
            "RNN(LSTMCell(3))",
        ]
        assert [row.accelerated for row in found] == ["keras"] * 4 + ["native"]
        reasons = ["cell OwnCell", "cell OwnCell", "subclass OwnLayer(LSTMCell)", "is gelu of"]
        assert all(why in row.reason for why, row in zip(reasons, found, strict=False))
    back = ostinato.to_keras(copy)
    assert kinds(back) == kinds(model)


@needs_library
def test_an_engine_is_asked_for_and_refused_before_anything_changes():
    model = dense(layers.LSTM(3, return_sequences=True), layers.RNN(stack(), name="stack"))
    copy = ostinato.accelerate(model, engine="keras")
    assert [row.engine for row in ostinato.report(copy, measure=False)] == ["keras", "keras"]
    assert copy.get_layer("stack").get_config()["engine"] == "keras"
    only = ostinato.accelerate(model, engine="scratch", only="stack")
    assert kinds(only) == [layers.LSTM, RNN]
    refused = dense(layers.LSTM(3, return_sequences=True), layers.RNN([*stack(), layers.GRUCell(2, "gelu")]))
    with pytest.raises(EngineError, match=r"native engine cannot run this layer.* is gelu of .*in its cell"):
        ostinato.accelerate(refused, engine="native", copy=False)
    assert kinds(refused) == [layers.LSTM, layers.RNN]

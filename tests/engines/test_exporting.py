"""No export holds an op of the native engine, which no other program has; what `to_keras` gives does not."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato import layers
from ostinato.engines import native
from ostinato.errors import EngineError

from .. import forks
from ..variants import one_each

X = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
SPEC = tf.TensorSpec((None, None, 3))
WAY_OUT = r"^a model that runs on the native engine [^\n]* ostinato\.to_keras\(model\)\.export\(path\)$"

needs_library = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")


def model_of():
    both = keras.layers.Bidirectional(layers.GRU(3))
    first = layers.LSTM(4, return_sequences=True)
    return keras.Sequential([keras.Input((None, 3)), first, both, keras.layers.Dense(1)])


class Traced(keras.Model):
    """A model whose `call` TensorFlow traces once, before anyone exports it."""

    def __init__(self):
        super().__init__()
        self.recurrent = layers.SimpleRNN(3)

    @tf.function(input_signature=[SPEC])
    def call(self, x):
        return self.recurrent(x)


def in_a_model():
    return keras.Sequential([keras.Input((None, 3)), model_of()])


def traced_before():
    model = Traced()
    model(X)
    return model


@needs_library
@pytest.mark.parametrize(
    ("make", "kind"), one_each([model_of, in_a_model, traced_before], ["tf_saved_model", "onnx", "litert"])
)
def test_exports_of_the_native_engine_are_refused_in_one_sentence(make, kind, tmp_path):
    model = make()
    model(X)
    with pytest.raises(EngineError, match=WAY_OUT):
        model.export(tmp_path / "exported.tflite", format=kind, verbose=False)
    assert not list(tmp_path.iterdir())


def fresh(model):
    return model.call, [SPEC]


def fresh_function(model):
    return tf.function(lambda x: model(x)), [SPEC]


def called_function(model):
    function = tf.function(lambda x: model(x))
    function(X)
    return function, None


def called_function_with_a_signature(model):
    return called_function(model)[0], [SPEC]


def called_for_one_step_first(model):
    # One step runs on Keras' cell, so that only the second trace holds ops.
    function = tf.function(lambda x: model.layers[0](x))
    function(X[:, :1])
    function(X)
    return function, None


ENDPOINTS = [fresh, fresh_function, called_function]
ENDPOINTS += [called_function_with_a_signature, called_for_one_step_first]


@needs_library
@pytest.mark.parametrize(("endpoint", "tracked"), one_each(ENDPOINTS, [True, False]))
def test_archives_of_the_native_engine_are_refused(endpoint, tracked, tmp_path):
    model, archive = model_of(), keras.export.ExportArchive()
    if tracked:
        archive.track(model)
    function, signature = endpoint(model)
    archive.add_endpoint("serve", function, signature)
    with pytest.raises(EngineError, match=WAY_OUT):
        archive.write_out(tmp_path / "exported", verbose=False)
    assert not list(tmp_path.iterdir())


@needs_library
def test_token_ids_are_refused_too(tmp_path):
    layer = layers.GRU(3, return_sequences=True, return_state=True)
    layer(np.zeros((2, 5, 4)))
    archive = keras.export.ExportArchive()
    archive.track(layer)
    ids = [tf.TensorSpec((2, None), tf.int32)]
    archive.add_endpoint("serve", lambda ids: layer.over_ids(ids, 4, initial_state=[tf.zeros((2, 3))]), ids)
    with pytest.raises(EngineError, match=WAY_OUT):
        archive.write_out(tmp_path / "exported", verbose=False)


@needs_library
def test_tf2onnx_without_keras_is_refused():
    stand_in = {"__name__": "tf2onnx.convert"}
    exec("def from_function(function, spec): return function.get_concrete_function(spec)", stand_in)
    with pytest.raises(EngineError, match=WAY_OUT):
        stand_in["from_function"](tf.function(model_of()), SPEC)


@needs_library
def test_an_archive_takes_what_does_not_reach_the_engine_and_tensorflow_saves_all(tmp_path):
    model, archive = model_of(), keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("dense", lambda x: model.layers[-1](x), [tf.TensorSpec((None, 6))])
    archive.write_out(tmp_path / "exported", verbose=False)
    tf.saved_model.save(model, tmp_path / "saved")
    loaded = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.signatures["serving_default"](tf.constant(X))["output_0"], model(X))


ALONE = """
import sys
sys.modules["ostinato"] = None
import pathlib, numpy as np, tensorflow as tf, keras
folder = pathlib.Path(sys.argv[1])
x, lengths = np.load(folder / "x.npy"), np.array([5, 2])
for name in ("restored", "keras", "auto"):
    served = tf.saved_model.load(folder / name)
    np.testing.assert_allclose(served.serve(x), np.load(folder / (name + ".npy")), atol=1e-6)
model = keras.models.load_model(folder / "lengths.keras")
np.testing.assert_allclose(model([x, lengths]), np.load(folder / "lengths.npy"), atol=1e-6)
"""


def test_what_is_restored_or_ran_on_kerass_loop_opens_where_there_is_no_ostinato(tmp_path):
    np.save(tmp_path / "x.npy", X)
    model = model_of()
    loops = [layers.GRU(3, engine="keras"), layers.SimpleRNN(3, activation="gelu")]
    on_keras, on_auto = (keras.Sequential([keras.Input((None, 3)), loop]) for loop in loops)
    models = {
        "restored": (ostinato.to_keras(model), model),
        "keras": (on_keras, on_keras),
        "auto": (on_auto, on_auto),
    }
    for name, (exported, original) in models.items():
        exported.export(tmp_path / name, verbose=False)
        np.save(tmp_path / f"{name}.npy", original(X))
    x, lengths = keras.Input((None, 3)), keras.Input((), dtype="int32")
    with_lengths = keras.Model([x, lengths], layers.LSTM(4)(x, lengths=lengths))
    ostinato.to_keras(with_lengths).save(tmp_path / "lengths.keras")
    np.save(tmp_path / "lengths.npy", with_lengths([X, np.array([5, 2])]))
    done = forks.run("-c", ALONE, tmp_path)
    assert done.returncode == 0, done.stderr

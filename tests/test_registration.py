"""`import ostinato` is all that Keras and TensorFlow need to open files with ostinato's layers and ops."""

import copy
import json
import pathlib
import pickle
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato import layers, registration
from ostinato.cells import engine_layer
from ostinato.engines import native
from ostinato.interop.keras import legacy

X = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
LENGTHS = np.array([5, 2])


def in_a_process(code, *arguments, **options):
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, **options)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return done.stdout.decode().splitlines()


def test_every_registered_name_is_known_with_its_module():
    registered = re.compile(
        r'register_keras_serializable\(package="ostinato"(?:, name="(\w+)")?\)\n'
        r"(?:@\w+\n)*(?:class|def) (\w+)"
    )
    package = pathlib.Path(ostinato.__file__).parent
    found = {
        f"ostinato>{name or own}": ".".join(["ostinato", *path.relative_to(package).with_suffix("").parts])
        for path in package.rglob("*.py")
        for name, own in registered.findall(path.read_text())
    }
    assert len(found) >= 10
    assert found == registration.MODULES
    for name, module in registration.MODULES.items():
        thing = keras.saving.get_registered_object(name)
        assert (thing.__module__, keras.saving.get_registered_name(thing)) == (module, name)
    assert keras.saving.get_registered_object("ostinato>nonsense") is None


def sequential():
    hard = keras.layers.LSTM(3, recurrent_activation=legacy.keras2_hard_sigmoid, return_sequences=True)
    both = keras.layers.Bidirectional(layers.GRU(3, return_sequences=True))
    cells = layers.RNN([keras.layers.LSTMCell(3), keras.layers.GRUCell(2)])
    inner = keras.Sequential([keras.Input((None, 3)), layers.LSTM(4, return_sequences=True), hard])
    model = keras.Sequential([keras.Input((None, 3)), inner, both, cells, keras.layers.Dense(1)])
    model.compile("adam", keras.losses.MeanSquaredError())
    model.fit(X, np.ones((2, 1)), verbose=0)
    return model


def with_lengths():
    x, lengths = keras.Input((None, 3)), keras.Input((), dtype="int32")
    return keras.Model([x, lengths], layers.LSTM(4)(x, lengths=lengths))


def with_an_old_mask():
    x, lengths = keras.Input((None, 3)), keras.Input((), dtype="int32")
    return keras.Model([x, lengths], layers.LSTM(4)(x, mask=engine_layer.SequenceMask()(lengths, x)))


MODELS = {"sequential": sequential, "lengths": with_lengths, "old": with_an_old_mask}
TWO_INPUTS = ("lengths", "old")

# Opens all files of a folder with Keras and TensorFlow alone, and writes what comes out.
OPEN = """
import json, pathlib, pickle, sys
import numpy as np
folder = pathlib.Path(sys.argv[1])
x, lengths = np.load(folder / "x.npy"), np.array([5, 2])
given = lambda name: [x, lengths] if name.split(".")[0] in ("lengths", "old") else x
out = lambda thing, name: thing(given(name)).numpy().tolist()

def files():
    import keras
    import tensorflow as tf
    results = {path.name: out(keras.models.load_model(path), path.name)
               for path in folder.iterdir() if path.suffix in (".keras", ".h5")}
    loaded = tf.saved_model.load(folder / "saved") if (folder / "saved").exists() else None
    if loaded:
        layer = keras.layers.TFSMLayer(folder / "saved", call_endpoint="serving_default")
        for name, call in {"saved": loaded.signatures["serving_default"], "layer": layer}.items():
            with tf.GradientTape() as tape:
                tape.watch(given_x := tf.constant(x))
                y = call(given_x)["output_0"]
            results[name] = y.numpy().tolist()
            results[name + " gradient"] = tape.gradient(y, given_x).numpy().tolist()
    return results
"""

PICKLES_FIRST = """
results = {}
for path in sorted(folder.glob("*.pickle")):
    results[path.name] = out(pickle.loads(path.read_bytes()), path.name)
assert "ostinato.layers.encoder" not in sys.modules
print(json.dumps(results | files()))
"""

OSTINATO_LAST = """
import threading
importing = threading.Thread(target=__import__, args=("tensorflow",))
importing.start()
while "tensorflow" not in sys.modules:
    pass
import ostinato
importing.join()
assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("ostinato")]
import keras
function = dict(module="builtins", class_name="function", registered_name="function",
                config="ostinato>keras2_hard_sigmoid")
assert keras.activations.deserialize(function)(np.zeros(1, "float32")) == 0.5
text = (folder / "sequential.json").read_text()
model = keras.models.model_from_json(text)
kinds = [type(layer).__module__ for each in
         (model, keras.models.clone_model(model), keras.Sequential.from_config(json.loads(text)["config"]),
          keras.layers.deserialize(json.loads(text))) for layer in each.layers[0].layers]
assert kinds == ["ostinato.cells.lstm", "keras.src.layers.rnn.lstm"] * 4, kinds
assert keras.layers.deserialize(json.loads((folder / "encoder.json").read_text())).units == (4,)
print(json.dumps(files()))
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A folder of files, and what the models in them compute."""
    folder = tmp_path_factory.mktemp("files")
    np.save(folder / "x.npy", X)
    expected = {}
    for name, make in MODELS.items():
        model = make()
        y = model([X, LENGTHS] if name in TWO_INPUTS else X)
        for ending in ("keras", "h5"):
            model.save(folder / f"{name}.{ending}")
            expected[f"{name}.{ending}"] = y
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(model))
        expected[f"{name}.pickle"] = y
        if name == "sequential":
            (folder / f"{name}.json").write_text(model.to_json())
            layer = model.layers[1]  # a Bidirectional
            (folder / "wrapper.pickle").write_bytes(pickle.dumps(layer))
            expected["wrapper.pickle"] = layer(X)
            layer = layers.LSTM(4)
            expected["layer.pickle"] = layer(X)
            (folder / "layer.pickle").write_bytes(pickle.dumps(layer))
        if name == "sequential" and native.available():
            tf.saved_model.save(model, folder / "saved")
            with tf.GradientTape() as tape:
                x = tf.constant(X)
                tape.watch(x)
                expected["saved"] = expected["layer"] = model(x)
            gradient = tape.gradient(expected["saved"], x)
            expected["saved gradient"] = expected["layer gradient"] = gradient
    encoder = keras.saving.get_registered_object("ostinato>RecurrentEncoder")("gru", [4])
    (folder / "encoder.json").write_text(json.dumps(keras.layers.serialize(encoder)))
    return folder, expected


def test_pickles_open_in_a_process_that_has_imported_nothing_and_files_after_them(opened):
    folder, expected = opened
    *_, results = in_a_process(OPEN + PICKLES_FIRST, folder)
    assert_equal(json.loads(results), expected)


@pytest.mark.thorough
def test_files_open_where_keras_and_tensorflow_were_imported_before_ostinato(opened):
    folder, expected = opened
    *_, results = in_a_process(OPEN + OSTINATO_LAST, folder)
    assert_equal(json.loads(results), {name: y for name, y in expected.items() if "pickle" not in name})


def assert_equal(results, expected):
    assert results.keys() == expected.keys()
    for name, y in expected.items():
        np.testing.assert_allclose(results[name], y, atol=1e-6, err_msg=name)


def test_pickles_without_a_layer_of_ostinatos_are_kerass_own():
    stock = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4)])
    assert b"ostinato" not in pickle.dumps(stock)
    assert stock.__reduce__()[0] == keras.Sequential._unpickle_model


@pytest.mark.thorough
def test_deep_copies_share_nothing():
    model = sequential()
    twin = copy.deepcopy(model)
    np.testing.assert_array_equal(twin(X), model(X))
    assert type(twin.layers[0].layers[0]) is layers.LSTM
    twin.set_weights([weight * 0 for weight in twin.get_weights()])
    assert np.any(model(X).numpy() != twin(X).numpy())


# What follows needs no TensorFlow: other packages stand in its place and in Keras'.

BROKEN = """
import sys, ostinato
for _ in range(2):
    try:
        import tensorflow
    except ImportError as error:
        print(error)
import importlib
importlib.reload(ostinato)
import keras
print(keras.imported, "exec_module" in vars(keras.__loader__))
print(sum(type(finder).__module__.startswith("ostinato") for finder in sys.meta_path))
print([name for name in sys.modules if name.startswith(("ostinato.", "numpy"))])
"""


def test_other_packages_are_let_alone(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('its own reason')")
    (tmp_path / "keras.py").write_text(
        "class backend: backend = staticmethod(lambda: 'jax')\nimported = True"
    )
    lines = in_a_process(BROKEN, env={"PYTHONPATH": str(tmp_path)})
    assert lines == [
        *["its own reason"] * 2,
        "True False",
        "1",
        "['ostinato.registration']",
    ]


WITHOUT_LIBRARY = """
import sys, ostinato, keras, tensorflow as tf
model = keras.models.load_model(sys.argv[1] + "/sequential.keras")
print(type(model.layers[0].layers[0]).__module__)
try:
    tf.saved_model.load(sys.argv[1] + "/saved")
except Exception as error:
    print("not registered" in str(error))
"""


@pytest.mark.skipif(not native.available(), reason="no saved model was written")
def test_without_the_library_a_saved_model_fails_as_it_did_and_nothing_else_does(without_library, opened):
    done = without_library(WITHOUT_LIBRARY, opened[0], TF_CPP_MIN_LOG_LEVEL="3")
    assert done.stdout.splitlines() == ["ostinato.cells.lstm", "True"], done.stderr

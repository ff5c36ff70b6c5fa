"""Files of Keras 2 predict and train on as they did there, and what Keras 3 lacks is said in one sentence."""

import gzip
import json
import pathlib

import h5py
import keras
import numpy as np
import pytest

import ostinato
from ostinato.interop.keras.loading import load_source
from ostinato.layers import GRU, LSTM, SimpleRNN

from ...variants import thorough

FIXTURES = pathlib.Path(__file__).parent / "fixtures"


def kinds(model):
    return [type(layer) for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN)]


def keras2(name, folder):
    path = folder / f"{name}.h5"
    path.write_bytes(gzip.decompress((FIXTURES / f"{name}.h5.gz").read_bytes()))
    data = np.load(FIXTURES / f"{name}.npz")
    return path, data, [data[key] for key in data.files if key.startswith("input")]


@pytest.mark.parametrize("name", ["keras2_sequential", thorough("keras2_functional")])
def test_a_file_of_keras_2_predicts_and_trains_on_as_it_did_there(name, tmp_path):
    path, data, inputs = keras2(name, tmp_path)
    model = ostinato.accelerate(path)
    assert set(kinds(model)) <= {SimpleRNN, GRU, LSTM}
    x = inputs if len(inputs) > 1 else inputs[0]
    np.testing.assert_allclose(model.predict(x, verbose=0), data["predicted"], rtol=1e-5, atol=1e-6)
    losses = model.fit(x, data["targets"], batch_size=8, epochs=2, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, data["losses"], rtol=1e-5)


def edit_config(path, edit):
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        edit(config["config"]["layers"])
        file.attrs["model_config"] = json.dumps(config).encode()


def test_a_file_of_an_old_keras_2_loads(tmp_path):
    """Without the names of modules, and with classes called after their version."""
    path, data, (x,) = keras2("keras2_sequential", tmp_path)

    def make_old(stack):
        stack[2]["class_name"] = "GRUV2"
        for name in ("module", "registered_name"):
            del stack[4]["config"]["layer"][name]
        del stack[0]

    edit_config(path, make_old)
    np.testing.assert_allclose(load_source(path)(x), data["predicted"], rtol=1e-5, atol=1e-6)


def test_momentums_that_keras_3_lacks_start_anew_with_a_warning(tmp_path):
    path, _, _ = keras2("keras2_sequential", tmp_path)
    with h5py.File(path, "r+") as file:
        training = json.loads(file.attrs["training_config"])
        training["optimizer_config"]["class_name"] = "Adagrad"
        for name in ("amsgrad", "beta_1", "beta_2"):
            del training["optimizer_config"]["config"][name]
        file.attrs["training_config"] = json.dumps(training).encode()
    with pytest.warns(
        UserWarning, match=r"optimizer of the file keeps another state than .*; its momentums start from zero"
    ):
        load_source(path)


@pytest.mark.filterwarnings("ignore:.*momentums start from zero")
def test_what_keras_2_0_was_compiled_with_is_understood(tmp_path):
    """Its optimizers had `lr`, and there were no weighted metrics."""
    path, _, _ = keras2("keras2_sequential", tmp_path)
    with h5py.File(path, "r+") as file:
        training = json.loads(file.attrs["training_config"])
        options = {"lr": 0.125, "rho": 0.5, "epsilon": 1e-8, "decay": 0.0}
        training["optimizer_config"] = {"class_name": "RMSprop", "config": options}
        del training["weighted_metrics"]
        file.attrs["training_config"] = json.dumps(training).encode()
    model = load_source(path)
    assert type(model.optimizer) is keras.optimizers.RMSprop
    assert (float(model.optimizer.learning_rate), model.optimizer.rho) == (0.125, 0.5)

"""An accelerated model from a file: its derivatives, a compile() of its own, its exports and new files."""

import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato.acceleration.accelerate import recurrent_layers
from ostinato.engines import native
from ostinato.errors import EngineError
from ostinato.layers import GRU, LSTM

from .. import forks
from ..variants import thorough
from .from_file import (
    ENDINGS,
    TIME,
    assert_same_outputs,
    assert_trains_alike,
    numbers,
    stack,
    targets,
    trained,
)

layers = keras.layers
registered = keras.saving.register_keras_serializable
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
needs_library = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")


@registered("test")
class Scorer(keras.Model):
    """Has a compile() of its own, and trains with the gradient penalty of arXiv:1704.00028."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.reader, self.head = layers.GRU(units), layers.Dense(1)
        self.penalty = 1.0

    def compile(self, penalty, **options):
        super().compile(**options)
        self.penalty = penalty

    def get_compile_config(self):
        return {"penalty": self.penalty, "rate": float(self.optimizer.learning_rate)}

    def compile_from_config(self, config):
        self.compile(
            config["penalty"], optimizer=keras.optimizers.SGD(config["rate"]), run_eagerly=True, loss="mse"
        )

    def call(self, x):
        return self.head(self.reader(x))

    def train_step(self, data):
        x, y = map(tf.convert_to_tensor, data[:2])
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                inner.watch(x)
                scores = self(x, training=True)
            slopes = tf.norm(inner.gradient(scores, x), axis=(1, 2))
            loss = tf.reduce_mean((scores - y) ** 2) + self.penalty * tf.reduce_mean((slopes - 1.0) ** 2)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    model = Scorer(4)
    model.compile(2.0, optimizer=keras.optimizers.SGD(0.1), loss="mse", run_eagerly=True)
    trained(model, numbers(), targets(), steps=1)
    path = tmp_path_factory.mktemp("scorer") / "scorer.keras"
    model.save(path)
    return path


def test_a_model_with_a_compile_of_its_own_has_to_be_compiled_once_it_is_copied(scorer):
    with pytest.warns(UserWarning, match=r"is not compiled, since Scorer has its own compile\(\)") as told:
        accelerated = ostinato.accelerate(scorer)
    assert told[0].filename == __file__
    assert not accelerated.compiled
    loaded = keras.models.load_model(scorer)
    accelerated.compile_from_config(loaded.get_compile_config())
    assert_trains_alike(loaded, accelerated, numbers(), targets())


def test_in_place_it_stays_compiled_and_trains_through_second_derivatives(scorer):
    loaded, accelerated = keras.models.load_model(scorer), ostinato.accelerate(scorer, copy=False)
    assert type(accelerated.reader) is GRU
    assert (accelerated.compiled, accelerated.penalty) == (True, 2.0)
    assert_trains_alike(loaded, accelerated, numbers(), targets())


@pytest.mark.thorough
@needs_library
def test_forward_mode_goes_through_a_model_from_a_file(scorer):
    def derivatives(model):
        x, tangent = tf.constant(numbers()), tf.constant(numbers(3))
        with tf.autodiff.ForwardAccumulator(x, tangent) as forward:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = model(x)
            gradient = tape.gradient(y, x)
        return y, forward.jvp(y), gradient, forward.jvp(gradient)

    accelerated = ostinato.accelerate(scorer, compile=False)
    assert [row.engine for row in ostinato.report(accelerated, measure=False)] == ["native"]
    stock = derivatives(keras.models.load_model(scorer, compile=False))
    for ours, theirs in zip(derivatives(accelerated), stock, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ending", ["keras", thorough("h5")])
def test_a_file_has_the_rows_of_its_model(ending, tmp_path):
    inner = keras.Sequential([keras.Input((TIME, 3)), layers.GRU(3, return_sequences=True)], name="inner")
    both = layers.Bidirectional(layers.LSTM(2, return_sequences=True), name="both")
    cells = layers.LSTMCell(3), [layers.GRUCell(3), layers.LSTMCell(3)]
    loops = [layers.RNN(cell, return_sequences=True) for cell in cells]
    model = stack(inner, both, *loops)
    path = tmp_path / f"model.{ending}"
    model.save(path)
    rows = ostinato.report(path, measure=False)
    assert rows == ostinato.report(model, measure=False)
    assert [row.kind for row in rows if row.kind.startswith("RNN")] == [
        "RNN(LSTMCell(3))",
        "RNN([GRUCell(3), LSTMCell(3)])",
    ]


# What becomes of an accelerated file


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A compiled and trained model's file; the model has a layer in a wrapper and one in a model."""
    inner = keras.Sequential(
        [keras.Input((TIME, 3)), layers.GRU(3, return_sequences=True, name="gru")], name="inner"
    )
    both = layers.Bidirectional(layers.LSTM(2, return_sequences=True, name="lstm"), name="both")
    model = keras.Sequential([keras.Input((TIME, 3)), inner, both, layers.LSTM(3), layers.Dense(1)])
    model.compile("adam", "mean_squared_error", run_eagerly=True)
    trained(model, numbers(), targets(), steps=1)
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return path


def test_only_the_named_layers_of_a_file_are_replaced(saved):
    accelerated = ostinato.accelerate(saved, only=["inner", "both/forward_lstm"])
    changed = [path for path, layer in recurrent_layers(accelerated) if type(layer) in (GRU, LSTM)]
    assert changed == ["inner/gru", "both/forward_lstm"]
    assert_same_outputs(keras.models.load_model(saved), accelerated, numbers())
    loaded = keras.models.load_model(saved)
    assert ostinato.accelerate(loaded, only="inner", copy=False) is loaded
    assert [path for path, layer in recurrent_layers(loaded) if type(layer) in (GRU, LSTM)] == ["inner/gru"]


@needs_library
def test_a_file_is_exported_once_it_is_kerass_again(saved, tmp_path):
    accelerated = ostinato.accelerate(saved, copy=False)
    with pytest.raises(EngineError, match=r"ostinato\.to_keras\(model\)\.export"):
        accelerated.export(tmp_path / "refused", verbose=False)
    ostinato.to_keras(accelerated).export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(
        served.serve(tf.constant(numbers())), accelerated(numbers()), rtol=1e-5, atol=1e-6
    )


OPEN = """
import pickle, sys, numpy
x, y = numpy.load(sys.argv[1] + "/x.npy"), numpy.load(sys.argv[1] + "/y.npy")
import ostinato, keras
models = [keras.models.load_model(f"{sys.argv[1]}/model.{ending}") for ending in ("keras", "h5")]
models.append(pickle.load(open(sys.argv[1] + "/model.pickle", "rb")))
for model in models:
    print(type(model.layers[-2]).__module__, *model(x).numpy().ravel())
models.pop(1)  # Keras' optimizer from an .h5 file knows no variables
for model in models:
    print(int(model.optimizer.iterations), float(model.train_on_batch(x, y)))
"""


def test_what_an_accelerated_file_was_saved_to_opens_elsewhere_and_trains_on(saved, tmp_path):
    accelerated = ostinato.accelerate(saved)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(accelerated))
    for ending in ENDINGS:  # .h5 last: to write it, Keras spoils what the model is compiled with
        accelerated.save(tmp_path / f"model.{ending}")
    np.save(tmp_path / "x.npy", numbers())
    np.save(tmp_path / "y.npy", targets())
    done = forks.run("-c", OPEN, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    for module, *outputs in lines[:3]:
        assert module == "ostinato.cells.lstm"
        np.testing.assert_allclose(np.array(outputs, float), accelerated(numbers())[:, 0], rtol=1e-5)
    loss = float(keras.models.load_model(saved).train_on_batch(numbers(), targets()))
    for iterations, found in lines[3:]:
        assert (iterations, float(found)) == ("1", pytest.approx(loss, rel=1e-5))
    assert len(lines) == 5

"""A model from a file, saved by Keras alone, is accelerated as the model that Keras loads from it."""

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
from ..variants import one_each, thorough

layers = keras.layers
registered = keras.saving.register_keras_serializable
TIME, BATCH = 3, 4
ENDINGS = ["keras", "h5"]
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
needs_library = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")


def numbers(seed=0, features=3):
    return np.random.default_rng(seed).normal(1.0, 2.0, (BATCH, TIME, features)).astype("float32")


def targets(seed=1):
    return np.random.default_rng(seed).normal(size=(BATCH, 1)).astype("float32")


def stack(*parts, features=3):
    return keras.Sequential([keras.Input((TIME, features)), *parts, layers.LSTM(4), layers.Dense(1)])


def in_both_ways(model, path):
    """The model that Keras loads from the saved file, and the one that `accelerate` makes of the path."""
    model.save(path)
    return keras.models.load_model(path), ostinato.accelerate(path)


def recurrent(model):
    return [type(layer) for layer in model._flatten_layers() if isinstance(layer, layers.RNN)]


def assert_same_outputs(model, other, x):
    np.testing.assert_allclose(other(x), model(x), rtol=1e-5, atol=1e-6)


def trained(model, x, y, steps=3):
    model.reset_metrics()
    return [list(model.train_on_batch(x, y, return_dict=True).items()) for _ in range(steps)]


def assert_trains_alike(model, other, x, y):
    for ours, theirs in zip(trained(other, x, y), trained(model, x, y), strict=True):
        assert [name for name, _ in ours] == [name for name, _ in theirs]
        np.testing.assert_allclose([v for _, v in ours], [v for _, v in theirs], rtol=1e-5)
    assert_same_outputs(model, other, x)


# What layers have adapted


def adapted(layer, data):
    layer.adapt(data)
    return layer


def each_step():
    norm = adapted(layers.Normalization(), numbers().reshape(-1, 3))
    return stack(layers.TimeDistributed(norm)), numbers()


def between():
    first = layers.GRU(3, return_sequences=True)
    return stack(first, adapted(layers.Normalization(), numbers(2))), numbers()


def nested_between():
    norm = adapted(layers.Normalization(), numbers(2))
    inner = keras.Sequential([keras.Input((TIME, 3)), norm, layers.GRU(3, return_sequences=True)])
    return stack(inner), numbers()


def text(mode, *after):
    words = adapted(layers.TextVectorization(output_mode=mode), ["one two three", "two three", "four four"])
    parts = [keras.Input((1,), dtype="string"), words, *after, layers.LSTM(3), layers.Dense(1)]
    return keras.Sequential(parts), tf.constant([["four three one"], ["two none"]])


def words():
    return text("int", layers.Embedding(9, 2, mask_zero=True))


def weighted_words():
    return text("tf_idf", layers.Reshape((-1, 1)))


def codes():
    lookup = adapted(layers.IntegerLookup(), [[7, 8], [8, 12], [12, 12]])
    parts = [keras.Input((2,), dtype="int64"), lookup, layers.Embedding(6, 2), layers.LSTM(3)]
    return keras.Sequential(parts), np.array([[7, 12], [8, 1]])


@pytest.mark.parametrize(
    ("make", "ending"),
    [
        *one_each([between, each_step, nested_between], ENDINGS),
        *((make, "keras") for make in (words, weighted_words)),
        thorough(codes, "keras"),
    ],
)
def test_what_layers_have_adapted_comes_with_the_file(make, ending, tmp_path):
    model, x = make()
    loaded, accelerated = in_both_ways(model, tmp_path / f"model.{ending}")
    assert {kind.__module__.partition(".")[0] for kind in recurrent(accelerated)} == {"ostinato"}
    assert_same_outputs(model, accelerated, x)  # as Keras' own reader of .h5 does not for nested layers
    assert_same_outputs(loaded, ostinato.accelerate(loaded), x)


# Names


def scaled(factor, package):
    @registered(package)
    def scaled(x):
        return factor * keras.ops.tanh(x)

    return scaled


@pytest.mark.parametrize("ending", ["keras", thorough("h5")])
def test_functions_of_one_name_stay_apart(ending, tmp_path):
    half, double = scaled(0.5, "half"), scaled(2.0, "double")
    parts = [layers.Dense(3, activation=half), layers.GRU(3, activation=double, return_sequences=True)]
    loaded, accelerated = in_both_ways(stack(*parts), tmp_path / f"model.{ending}")
    assert [layer.activation for layer in accelerated.layers[:2]] == [half, double]
    assert_same_outputs(loaded, accelerated, numbers())


@registered("mine")
def tanh(x):
    return 0.1 * x


@pytest.mark.parametrize("ending", ["h5", thorough("keras")])
def test_a_registered_tanh_is_not_keras_tanh(ending, tmp_path):
    model = stack(layers.LSTM(3, activation=tanh, return_sequences=True, name="own"))
    path = tmp_path / f"model.{ending}"
    loaded, accelerated = in_both_ways(model, path)
    assert accelerated.layers[0].activation is tanh
    assert_same_outputs(loaded, accelerated, numbers())
    assert_same_outputs(model, accelerated, numbers())
    assert ostinato.report(path)[0].accelerated == "keras"
    assert "its activation is" in ostinato.report(path)[0].reason


# What a model is compiled with


@registered("test")
class Lopsided(keras.losses.Loss):
    """Its configuration has another form than its arguments, and leaves out Keras' own."""

    def __init__(self, under=1.0, over=1.0):
        super().__init__(name="lopsided")
        self.weights = (under, over)

    def call(self, true, predicted):
        error = true - predicted
        under, over = self.weights
        return keras.ops.mean(keras.ops.where(error > 0, under * error**2, over * error**2), axis=-1)

    def get_config(self):
        return {"weights": list(self.weights)}

    @classmethod
    def from_config(cls, config):
        return cls(*config["weights"])


@registered("test")
class Largest(keras.metrics.Metric):
    def __init__(self, scale=1.0, **options):
        super().__init__(**options)
        self.scale = scale
        self.largest = self.add_weight(name="largest", initializer="zeros")

    def update_state(self, true, predicted, sample_weight=None):
        error = keras.ops.max(keras.ops.abs(true - predicted))
        self.largest.assign(keras.ops.maximum(self.largest, self.scale * error))

    def result(self):
        return self.largest + 0.0

    def get_config(self):
        return {"scale": self.scale, "name": self.name}


@registered("test")
class Halving(keras.optimizers.schedules.LearningRateSchedule):
    """Says nothing of how it was made."""

    def __call__(self, step):
        return 0.1 / (1.0 + keras.ops.cast(step, "float32"))

    def get_config(self):
        return {}


@registered("test")
class Descent(keras.optimizers.SGD):
    def __init__(self, *args, scale=1.0, **options):
        super().__init__(*args, **options)
        self.scale = scale

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(self.scale * gradient, variable, learning_rate)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


def odd():
    return {
        "loss": Lopsided(5.0, 0.5),
        "metrics": [Largest(3.0, name="a"), Largest(name="b")],
        "optimizer": keras.optimizers.Adam(Halving()),
    }


def own_optimizer():
    return {"loss": Lopsided(), "optimizer": Descent(0.02, momentum=0.9, scale=3.0)}


def averaged():
    return {"loss": "mean_squared_error", "optimizer": keras.optimizers.Adam(0.01, use_ema=True)}


@pytest.mark.parametrize("options", [odd, *map(thorough, (own_optimizer, averaged))])
def test_a_file_trains_on_with_what_it_was_compiled_with(options, tmp_path):
    model = stack()
    model.compile(**options(), run_eagerly=True)
    trained(model, numbers(), targets(), steps=1)
    loaded, accelerated = in_both_ways(model, tmp_path / "model.keras")
    assert (type(accelerated.loss), type(accelerated.optimizer)) == (
        type(loaded.loss),
        type(loaded.optimizer),
    )
    assert_trains_alike(loaded, accelerated, numbers(), targets())


@pytest.mark.parametrize("copy", [True, thorough(False)])
def test_weights_excluded_from_decay_after_loading_stay_excluded(copy, tmp_path):
    model = stack()
    model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.5), "mean_squared_error", run_eagerly=True)
    model.save(tmp_path / "model.keras")
    loaded, other, plain = (keras.models.load_model(tmp_path / "model.keras") for _ in range(3))
    for each in (loaded, other):
        each.optimizer.exclude_from_weight_decay(var_names=["bias"])
    accelerated = ostinato.accelerate(other, copy=copy)
    assert_trains_alike(loaded, accelerated, numbers(), targets())
    trained(plain, numbers(), targets())
    bias = accelerated.layers[-1].bias
    assert not np.allclose(bias, plain.layers[-1].bias, rtol=1e-3)


@pytest.mark.parametrize("ending", ["keras", thorough("h5")])
def test_frozen_layers_stay_frozen(ending, tmp_path):
    inner = keras.Sequential(
        [keras.Input((TIME, 3)), layers.GRU(3, return_sequences=True), layers.Dense(3)], name="inner"
    )
    model = stack(inner)
    inner.layers[0].trainable = False
    model.layers[-1].trainable = False
    model.compile("adam", "mean_squared_error", run_eagerly=True)
    loaded, accelerated = in_both_ways(model, tmp_path / f"model.{ending}")
    flags = [[each.trainable for each in which._flatten_layers()] for which in (model, loaded, accelerated)]
    assert flags[0] == flags[1] == flags[2]
    assert len(accelerated.trainable_variables) == len(model.trainable_variables) == 5
    assert_same_outputs(loaded, accelerated, numbers())
    if ending == "keras":  # Keras' optimizer from an .h5 file knows no variables
        assert_trains_alike(loaded, accelerated, numbers(), targets())


# Kinds of layers and models


@pytest.mark.parametrize("ending", ["keras", thorough("h5")])
def test_dtype_policies_come_with_the_file(ending, tmp_path):
    half = layers.GRU(3, return_sequences=True, dtype="mixed_bfloat16")
    double = layers.SimpleRNN(3, return_sequences=True, dtype="float64")
    path = tmp_path / f"model.{ending}"
    loaded, accelerated = in_both_ways(stack(half, double), path)
    policies = [[layer.dtype_policy.name for layer in model.layers] for model in (loaded, accelerated)]
    assert policies[0] == policies[1] == ["mixed_bfloat16", "float64", "float32", "float32"]
    assert_same_outputs(loaded, accelerated, numbers())
    if native.available():
        assert [row.engine for row in ostinato.report(accelerated)] == ["keras", "keras", "native"]
        assert [row.accelerated for row in ostinato.report(path)] == ["keras", "keras", "native"]


@registered("test")
class Words(layers.Embedding):
    """An embedding that goes back from vectors to scores of words by the same weights."""

    def call(self, x, back=False):
        return keras.ops.matmul(x, keras.ops.transpose(self.embeddings)) if back else super().call(x)

    def compute_output_spec(self, x, back=False):
        width = self.input_dim if back else self.output_dim
        return keras.KerasTensor((*x.shape[:2], width), self.compute_dtype)


@pytest.mark.parametrize("ending", ["keras", thorough("h5")])
def test_tied_weights_are_tied_in_a_model_from_a_file(ending, tmp_path):
    table, ids = Words(9, 4), keras.Input((TIME,), dtype="int32")
    model = keras.Model(ids, table(layers.LSTM(4, return_sequences=True)(table(ids)), back=True))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, run_eagerly=True)
    loaded, accelerated = in_both_ways(model, tmp_path / f"model.{ending}")
    x = np.random.default_rng(0).integers(0, 9, (BATCH, TIME))
    assert [weight.shape for weight in accelerated.weights] == [weight.shape for weight in model.weights]
    assert_same_outputs(loaded, accelerated, x)
    if ending == "keras":
        assert_trains_alike(loaded, accelerated, x, x)


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
    assert [row.engine for row in ostinato.report(accelerated)] == ["native"]
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
    rows = ostinato.report(path)
    assert rows == ostinato.report(model)
    assert [row.kind for row in rows if row.kind.startswith("RNN")] == [
        "RNN(LSTMCell)",
        "RNN(StackedRNNCells)",
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
    for ending in ENDINGS:
        accelerated.save(tmp_path / f"model.{ending}")
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(accelerated))
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

"""A model from a file, saved by Keras alone, is accelerated as the model that Keras loads from it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato.engines import native

from ..variants import one_each, thorough
from .from_file import (
    BATCH,
    ENDINGS,
    TIME,
    assert_same_outputs,
    assert_trains_alike,
    in_both_ways,
    numbers,
    recurrent,
    stack,
    targets,
    trained,
)

layers = keras.layers
registered = keras.saving.register_keras_serializable
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")


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
        (words, "keras"),
        *(thorough(make, "keras") for make in (weighted_words, codes)),
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
    assert ostinato.report(path, measure=False)[0].accelerated == "keras"
    assert "activation is tanh of tests." in ostinato.report(path, measure=False)[0].reason


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
    np.testing.assert_allclose(accelerated(numbers()), loaded(numbers()), atol=0.05)  # of bfloat16
    if native.available():
        rows = ostinato.report(accelerated, measure=False)
        assert [row.engine for row in rows] == ["native"] * 3
        assert [row.accelerated for row in ostinato.report(path, measure=False)] == ["native"] * 3


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

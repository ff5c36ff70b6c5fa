"""The copy that `accelerate` returns computes what the model computes, whatever the model is made of."""

import gc
import random
import threading
import types
import warnings
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato.acceleration import agreement
from ostinato.acceleration.copying import ModelCopy
from ostinato.errors import ConfigError, EngineError
from ostinato.layers import GRU, LSTM, SimpleRNN

from ..variants import one_each, thorough

layers = keras.layers
TIME = 2
pytestmark = pytest.mark.filterwarnings("ignore:.*gains nothing", "ignore:The structure of `inputs`")


def numbers(batch=6, features=3, seed=0):
    return np.random.default_rng(seed).normal(2.0, 3.0, (batch, TIME, features)).astype("float32")


def targets(batch=6, seed=1):
    return np.random.default_rng(seed).normal(size=(batch, 1)).astype("float32")


def sequence(*parts, features=3):
    """A model whose recurrent layer is the quickest of Keras' step by step."""
    return keras.Sequential([keras.Input((TIME, features)), *parts, layers.SimpleRNN(4), layers.Dense(1)])


def trained(model, x, y, steps=2):
    """The metrics after each step. Steps of their own take a third of the time of an epoch of `fit`."""
    model.reset_metrics()
    return [model.train_on_batch(x, y, return_dict=True) for _ in range(steps)]


def assert_same_outputs(model, copy, x):
    for ours, theirs in zip(keras.tree.flatten(copy(x)), keras.tree.flatten(model(x)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def assert_trains_alike(model, copy, x, y):
    assert_same_outputs(model, copy, x)
    for ours, theirs in zip(trained(copy, x, y), trained(model, x, y), strict=True):
        assert list(ours) == list(theirs)
        for name in ours:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-6)
    assert_same_outputs(model, copy, x)
    for ours, theirs in zip(copy.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


# State outside of variables


def adapted(layer, data):
    layer.adapt(data)
    return layer


def normalization():
    return sequence(adapted(layers.Normalization(), numbers())), numbers()


def given_statistics():
    return sequence(layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[2.0, 1.0, 3.0])), numbers()


def nested_normalization():
    inner = keras.Sequential([keras.Input((TIME, 3)), adapted(layers.Normalization(), numbers())])
    return sequence(inner), numbers()


def distributed_normalization():
    norm = adapted(layers.Normalization(), numbers().reshape(-1, 3))
    return sequence(layers.TimeDistributed(norm)), numbers()


def discretization():
    bins = adapted(layers.Discretization(num_bins=4, output_mode="int"), numbers(features=1))
    stack = [bins, layers.Reshape((TIME,)), layers.Embedding(5, 2)]
    return sequence(*stack, features=1), numbers(features=1)


def batch_normalization():
    model = sequence(layers.BatchNormalization())
    model.compile("adam", "mse", run_eagerly=True)
    trained(model, numbers(), targets())
    return model, numbers()


def spectral():
    wrapped = layers.SpectralNormalization(layers.Dense(3))
    model = sequence(wrapped)
    model(numbers(), training=True)
    return model, numbers()


def texts(**options):
    words = adapted(layers.TextVectorization(**options), ["one two three", "two three four", "four four"])
    stack = (
        [layers.Embedding(9, 2)] if options.get("output_mode", "int") == "int" else [layers.Reshape((-1, 1))]
    )
    model = keras.Sequential(
        [keras.Input((1,), dtype="string"), words, *stack, layers.GRU(3), layers.Dense(1)]
    )
    return model, tf.constant([["four three one"], ["two none"]])


def integer_lookup():
    lookup = adapted(layers.IntegerLookup(), [[7, 8], [8, 12], [12, 12]])
    stack = [lookup, layers.Embedding(6, 2), layers.LSTM(3)]
    return keras.Sequential([keras.Input((2,), dtype="int64"), *stack]), np.array([[7, 12], [8, 1]])


def string_lookup():
    lookup = adapted(layers.StringLookup(), [["a", "b"], ["b", "c"]])
    stack = [lookup, layers.Embedding(6, 2), layers.LSTM(3)]
    return keras.Sequential([keras.Input((2,), dtype="string"), *stack]), tf.constant(
        [["a", "z"], ["b", "c"]]
    )


def feature_space():
    space = keras.utils.FeatureSpace(
        {"size": keras.utils.FeatureSpace.float_normalized(), "kind": "string_categorical"},
        output_mode="concat",
    )
    data = {"size": numbers()[:, 0, 0], "kind": np.array(["a", "b", "c", "a", "b", "c"])}
    space.adapt(tf.data.Dataset.from_tensor_slices(data))
    inputs = space.get_inputs()
    encoded = space.get_encoded_features()
    outputs = layers.LSTM(3)(layers.Reshape((-1, 1))(encoded))
    return keras.Model(inputs, outputs), {name: tf.constant(value) for name, value in data.items()}


class Remembering(layers.Layer):
    """Keeps what it was adapted to in a tensor, an array and a list, and none of it in its configuration."""

    def adapt(self, data):
        self.mean = tf.reduce_mean(data, axis=(0, 1))
        self.scale = np.std(data)
        self.offsets = [float(np.min(data))]

    def call(self, x):
        return (x - self.mean) / self.scale + self.offsets[0]


def own_statistics():
    return sequence(adapted(Remembering(), numbers())), numbers()


STATES = [
    *(normalization, discretization, batch_normalization, string_lookup, feature_space, own_statistics),
    *map(thorough, (given_statistics, nested_normalization, distributed_normalization)),
    *map(thorough, (integer_lookup, spectral)),
    pytest.param(lambda: texts(), id="text"),
    thorough(lambda: texts(output_mode="tf_idf"), id="tf_idf"),
    thorough(lambda: texts(output_mode="multi_hot", ngrams=2), id="multi_hot"),
]


@pytest.mark.parametrize("make", STATES)
def test_state_outside_of_variables_is_copied(make):
    model, x = make()
    copy = ostinato.accelerate(model)
    assert_same_outputs(model, copy, x)
    assert_same_outputs(model, ostinato.to_keras(copy), x)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("ending", "make"), one_each(["keras", "h5"], [normalization, nested_normalization, discretization])
)
def test_state_outside_of_variables_comes_with_a_file(ending, make, tmp_path):
    model, x = make()
    model.save(tmp_path / f"model.{ending}")
    assert_same_outputs(model, ostinato.accelerate(tmp_path / f"model.{ending}"), x)


def test_a_copy_that_adapts_anew_leaves_the_original_alone():
    model, x = normalization()
    before = model(x)
    copy = ostinato.accelerate(model)
    copy.layers[0].adapt(100 * numbers(seed=3))
    np.testing.assert_array_equal(model(x), before)
    words, texts_ = texts()
    before = words(texts_)
    copy = ostinato.accelerate(words)
    copy.layers[0].adapt(["five six"])
    assert "one" in words.layers[0].get_vocabulary()
    assert "one" not in copy.layers[0].get_vocabulary()
    np.testing.assert_array_equal(words(texts_), before)


# The original's own functions and objects


def scaled(factor):
    def activation(x):
        return factor * keras.ops.tanh(x)

    return activation


def test_functions_of_one_name_stay_apart():
    def penalty(factor):
        class Penalty(keras.regularizers.Regularizer):
            def __call__(self, x):
                return factor * keras.ops.sum(x**2)

        return Penalty()

    stack = [
        layers.Dense(3, activation=scaled(0.5), kernel_regularizer=penalty(1.0)),
        layers.Dense(3, activation=scaled(3.0), kernel_regularizer=penalty(2.0)),
        layers.Lambda(scaled(2.0)),
        layers.Lambda(scaled(0.1)),
        layers.Lambda(lambda x: x + 1.0),
        layers.LSTM(3, activation=scaled(0.7), return_sequences=True),
        layers.GRU(3, recurrent_activation=lambda x: keras.ops.sigmoid(2 * x), return_sequences=True),
    ]
    model = sequence(*stack)
    model.compile("adam", "mse", run_eagerly=True)
    copy = ostinato.accelerate(model)
    for old, new in zip(model.layers, copy.layers, strict=True):
        for name in ("activation", "recurrent_activation", "function", "kernel_regularizer"):
            assert getattr(new, name, None) is getattr(old, name, None)
    assert_trains_alike(model, copy, numbers(), targets())


def test_a_function_called_tanh_is_not_keras_tanh():
    def tanh(x):
        return 0.1 * x

    model = sequence(
        layers.LSTM(3, activation=tanh, return_sequences=True),
        layers.SimpleRNN(2, activation=tanh, return_sequences=True),
    )
    copy = ostinato.accelerate(model)
    assert copy.layers[0].activation is tanh
    assert_same_outputs(model, copy, numbers())


def test_classes_of_one_name_stay_apart():
    def times(factor):
        class Times(layers.Layer):
            def call(self, x):
                return factor * x

        return Times()

    model = sequence(times(2.0), times(0.5))
    copy = ostinato.accelerate(model)
    assert [type(layer) for layer in copy.layers[:2]] == [type(layer) for layer in model.layers[:2]]
    assert_same_outputs(model, copy, numbers())


# Losses, metrics, optimizers and schedules without a configuration


class Asymmetric(keras.losses.Loss):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, true, predicted):
        error = true - predicted
        return keras.ops.mean(keras.ops.where(error > 0, self.factor * error**2, error**2), axis=-1)


class Defaulted(Asymmetric):
    def __init__(self, factor=1.0):
        super().__init__(factor)


class Worst(keras.metrics.Metric):
    def __init__(self, scale, **options):
        super().__init__(**options)
        self.scale = scale
        self.worst = self.add_weight(name="worst", initializer="zeros")

    def update_state(self, true, predicted, sample_weight=None):
        worst = self.scale * keras.ops.max(keras.ops.abs(true - predicted))
        self.worst.assign(keras.ops.maximum(self.worst, worst))

    def result(self):
        return self.worst + 0.0


class Halving(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, start):
        self.start = start

    def __call__(self, step):
        return self.start / (1.0 + keras.ops.cast(step, "float32"))


class Descent(keras.optimizers.SGD):
    def __init__(self, rate, scale):
        super().__init__(rate)
        self.scale = scale

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(self.scale * gradient, variable, learning_rate)


COMPILED = {
    "all at once": lambda: {
        "loss": Asymmetric(20.0),
        "metrics": [Worst(5.0, name="a"), Worst(2.0, name="b"), "mae"],
        "weighted_metrics": [Worst(5.0, name="c")],
        "optimizer": keras.optimizers.Adam(Halving(0.1), use_ema=True),
    },
    "method as a loss, and an optimizer": lambda: {
        "loss": Asymmetric(3.0).call,
        "optimizer": Descent(0.01, 3.0),
    },
    "loss without get_config": lambda: {"loss": Asymmetric(20.0)},
    "loss with a default argument": lambda: {"loss": Defaulted(20.0)},
    "loss made by a factory": lambda: {"loss": lambda true, predicted: 7.0 * (true - predicted) ** 2},
    "method as a loss": lambda: {"loss": Asymmetric(3.0).call},
    "metrics": lambda: {"loss": "mse", "metrics": [Worst(5.0, name="a"), Worst(2.0, name="b"), "mae"]},
    "weighted metrics": lambda: {"loss": "mse", "weighted_metrics": [Worst(5.0)]},
    "schedule": lambda: {"loss": "mse", "optimizer": keras.optimizers.Adam(Halving(0.1))},
    "optimizer": lambda: {"loss": "mse", "optimizer": Descent(0.01, 3.0)},
    "accumulation": lambda: {
        "loss": "mse",
        "optimizer": keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    },
    "moving average": lambda: {"loss": "mse", "optimizer": keras.optimizers.Adam(0.01, use_ema=True)},
    "scaled": lambda: {
        "loss": "mse",
        "optimizer": keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01)),
    },
}


@pytest.mark.parametrize(
    "options",
    [
        (pytest.param if number < 2 else thorough)(options, id=name)
        for number, (name, options) in enumerate(COMPILED.items())
    ],
)
def test_what_a_model_is_compiled_with_is_copied_as_it_is(options):
    model = sequence()
    options = {"optimizer": "adam", "run_eagerly": True, **options()}
    model.compile(**options)
    trained(model, numbers(), targets(), steps=1)
    copy = ostinato.accelerate(model)
    assert copy.loss is model.loss
    assert not {id(each) for each in copy.metrics} & {id(each) for each in model.metrics}
    assert_trains_alike(model, copy, numbers(), targets())
    assert_trains_alike(copy, ostinato.to_keras(copy), numbers(), targets())


def test_the_members_of_an_enumeration_are_the_same_in_the_copy():
    metrics = [keras.metrics.AUC(name="roc"), keras.metrics.AUC(name="pr", curve="PR", from_logits=True)]
    model = sequence()
    model.compile("sgd", "mse", metrics=metrics, run_eagerly=True)
    labels = (targets() > 0).astype("float32")
    trained(model, numbers(), labels, steps=1)
    copy = ostinato.accelerate(model)
    for ours, theirs in zip(trained(copy, numbers(), labels), trained(model, numbers(), labels), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_a_loss_with_weights_of_its_own_is_copied_with_them():
    class Learned(keras.losses.Loss):
        def __init__(self):
            super().__init__()
            self.net = keras.Sequential([keras.Input((1,)), layers.Dense(1)])

        def call(self, true, predicted):
            return keras.ops.mean((self.net(true) - self.net(predicted)) ** 2, axis=-1)

    model = sequence()
    model.compile("sgd", Learned(), run_eagerly=True)
    copy = ostinato.accelerate(model)
    assert copy.loss.net is not model.loss.net
    assert_trains_alike(model, copy, numbers(), targets())


@pytest.mark.parametrize("names", [{"var_names": ["bias"]}, thorough({"var_list": True})])
def test_weights_excluded_from_decay_stay_excluded(names):
    model = sequence()
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.5)
    if "var_list" in names:
        names = {"var_list": [model.layers[-1].kernel]}
    optimizer.exclude_from_weight_decay(**names)
    model.compile(optimizer, "mse", run_eagerly=True)
    for _ in range(2):  # before and after its optimizer has momentums
        assert_trains_alike(model, ostinato.accelerate(model), numbers(), targets())


def test_a_copy_need_not_be_compiled(tmp_path):
    model = sequence()
    model.compile("adam", "mse", run_eagerly=True)
    trained(model, numbers(), targets(), steps=1)
    model.save(tmp_path / "model.keras")
    for source in (model, tmp_path / "model.keras"):
        for copy in (ostinato.accelerate(source, compile=False), ostinato.to_keras(source, compile=False)):
            assert not copy.compiled
            assert getattr(copy, "optimizer", None) is None
            assert_same_outputs(model, copy, numbers())
            copy.compile("sgd", "mse", run_eagerly=True)
            trained(copy, numbers(), targets(), steps=1)
    assert model.compiled


class Adversarial(keras.Model):
    """The GAN of Keras' guides: a compile() and a train_step() of its own."""

    def __init__(self, generator, discriminator):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.tracker = keras.metrics.Mean(name="d")

    def compile(self, d_optimizer, g_optimizer, loss_fn):
        super().compile()
        self.d_optimizer, self.g_optimizer, self.loss_fn = d_optimizer, g_optimizer, loss_fn

    def call(self, x):
        return self.discriminator(self.generator(x))

    def train_step(self, x):
        with tf.GradientTape() as tape:
            loss = self.loss_fn(tf.ones((tf.shape(x)[0], 1)), self(x))
        weights = self.discriminator.trainable_weights
        self.d_optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self.tracker.update_state(loss)
        return {"d": self.tracker.result()}


@pytest.mark.thorough
def test_a_model_with_a_compile_of_its_own_comes_back_uncompiled_with_a_warning():
    generator = keras.Sequential([keras.Input((TIME, 3)), layers.GRU(3, return_sequences=True)])
    model = Adversarial(generator, sequence())
    model.compile(keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.01), keras.losses.MeanSquaredError())
    model.fit(numbers(), epochs=1, verbose=0)
    with pytest.warns(
        UserWarning, match=r"is not compiled, since Adversarial has its own compile\(\)"
    ) as told:
        copy = ostinato.accelerate(model)
    assert told[0].filename == __file__
    assert not copy.compiled
    assert_same_outputs(model, copy, numbers())
    copy.compile(keras.optimizers.SGD(0.01), keras.optimizers.SGD(0.01), keras.losses.MeanSquaredError())
    model.compile(keras.optimizers.SGD(0.01), keras.optimizers.SGD(0.01), keras.losses.MeanSquaredError())
    losses = [each.fit(numbers(), epochs=2, shuffle=False, verbose=0).history["d"] for each in (copy, model)]
    np.testing.assert_allclose(*losses, rtol=1e-4)


class Variational(keras.Model):
    def __init__(self, units):
        super().__init__()
        self.reader = layers.LSTM(units)
        self.head = layers.Dense(1)
        self.tracker = keras.metrics.Mean(name="total")

    @property
    def metrics(self):
        return [self.tracker]

    def call(self, x):
        return self.head(self.reader(x))

    def train_step(self, data):
        x, y = data[:2]
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
        self.optimizer.apply_gradients(
            zip(tape.gradient(loss, self.trainable_weights), self.trainable_weights, strict=True)
        )
        self.tracker.update_state(loss)
        return {"total": self.tracker.result()}


def test_a_model_with_a_train_step_of_its_own_trains_on():
    model = Variational(4)
    model.compile("adam", run_eagerly=True)
    trained(model, numbers(), targets())
    copy = ostinato.accelerate(model)
    assert type(copy.reader) is LSTM
    assert copy.compiled
    assert_trains_alike(model, copy, numbers(), targets())


# What no configuration holds


@keras.saving.register_keras_serializable(package="test")
class Net(keras.Model):
    def __init__(self, units=4, **options):
        super().__init__(**options)
        self.units = units
        self.reader, self.head = layers.LSTM(units), layers.Dense(1)
        self.scale = 1.0

    def call(self, x):
        return self.scale * self.head(self.reader(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def test_frozen_sublayers_and_attributes_set_later_stay():
    model = Net(4)
    model(numbers())
    model.reader.trainable = False
    model.scale = 3.0
    model.compile("sgd", "mse", run_eagerly=True)
    copy = ostinato.accelerate(model)
    assert not copy.reader.trainable
    assert [v.path for v in copy.trainable_variables] == [v.path for v in model.trainable_variables]
    assert_trains_alike(model, copy, numbers(), targets())
    copy.reader.trainable = True
    assert not model.reader.trainable


def test_a_layer_set_later_is_copied():
    model = Net(4)
    model(numbers())
    model._tracker.unlock()
    model.head = layers.Dense(1, activation="tanh")
    model.extra = [layers.Dense(2), {"more": layers.GRU(2)}]
    model(numbers())
    copy = ostinato.accelerate(model)
    assert type(copy.extra[1]["more"]) is GRU
    assert copy.head is not model.head
    assert_same_outputs(model, copy, numbers())


def test_the_dtype_policy_at_building_stays_when_it_is_reset():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        built = sequence(layers.GRU(3, return_sequences=True))
        own = Net(4)
        own(numbers())
    finally:
        keras.config.set_dtype_policy("float32")
    for model in (built, own):
        copy = ostinato.accelerate(model)
        assert [layer.dtype_policy.name for layer in copy._flatten_layers()] == [
            layer.dtype_policy.name for layer in model._flatten_layers()
        ]
        np.testing.assert_allclose(*(tf.cast(each(numbers()), "float32") for each in (copy, model)), atol=0.1)


def test_a_map_of_dtype_policies_is_copied():
    policies = keras.dtype_policies.DTypePolicyMap()
    policies["lstm"] = keras.dtype_policies.DTypePolicy("mixed_bfloat16")
    model = keras.Sequential(
        [keras.Input((TIME, 3)), layers.LSTM(3, name="lstm", dtype=policies), layers.Dense(1, dtype=policies)]
    )
    copy = ostinato.accelerate(model)
    np.testing.assert_allclose(*(tf.cast(each(numbers()), "float32") for each in (copy, model)), atol=0.1)


def test_a_functional_subclass_keeps_its_arguments():
    class Scaled(keras.Model):
        def __init__(self, factor, names):
            inputs = keras.Input((TIME, 3))
            super().__init__(inputs, factor * layers.Dense(1)(layers.LSTM(3)(inputs)))
            self.factor, self.names = factor, names

        def describe(self):
            return f"{self.factor} {self.names}"

    model = Scaled(2.5, ("a", "b"))
    copy = ostinato.accelerate(model)
    assert type(copy) is Scaled
    assert copy.describe() == model.describe()
    assert_same_outputs(model, copy, numbers())


def test_weights_tied_through_a_closure_are_tied_in_the_copy():
    embedding = layers.Embedding(9, 4, name="words")
    inputs = keras.Input((TIME,), dtype="int32")
    x = layers.LSTM(4, return_sequences=True)(embedding(inputs))
    tied = layers.Lambda(lambda h: keras.ops.matmul(h, keras.ops.transpose(embedding.embeddings)))
    model = keras.Model(inputs, tied(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, run_eagerly=True)
    copy = ostinato.accelerate(model)
    ids = np.random.default_rng(0).integers(0, 9, (6, TIME))
    before = copy(ids)
    assert_trains_alike(model, copy, ids, ids)
    assert not np.allclose(before, copy(ids))
    model.get_layer("words").embeddings.assign(keras.ops.zeros((9, 4)))
    assert np.abs(copy(ids)).max() > 0


EMBEDDING = layers.Embedding(9, 4, name="global_words")


class Unembedding(layers.Layer):
    def call(self, h):
        return keras.ops.matmul(h, keras.ops.transpose(EMBEDDING.embeddings))


def read_global(h):
    return keras.ops.matmul(h, keras.ops.transpose(EMBEDDING.embeddings))


def tied_by_class():
    embedding = layers.Embedding(9, 4)

    class Tied(layers.Layer):
        def call(self, h):
            return keras.ops.matmul(h, keras.ops.transpose(embedding.embeddings))

    return embedding, Tied()


def tied_by_attribute_of_the_class():
    embedding = layers.Embedding(9, 4)
    kind = type(
        "Tied",
        (Unembedding,),
        {"call": lambda self, h: h @ tf.transpose(self.words.embeddings), "words": embedding},
    )
    return embedding, kind()


@pytest.mark.parametrize(
    "make",
    [
        lambda: (EMBEDDING, Unembedding()),
        lambda: (EMBEDDING, layers.Lambda(read_global)),
        lambda: (EMBEDDING, layers.Lambda(lambda h: read_global(h))),
        tied_by_class,
        tied_by_attribute_of_the_class,
    ],
)
def test_weights_read_from_outside_are_refused_with_the_way_out(make):
    embedding, tied = make()
    inputs = keras.Input((TIME,), dtype="int32")
    model = keras.Model(inputs, tied(layers.LSTM(4, return_sequences=True)(embedding(inputs))))
    with pytest.raises(ConfigError, match=r"reads '\w+', .*copy=False changes the model itself") as raised:
        ostinato.accelerate(model)
    assert "\n" not in str(raised.value)
    ids = np.zeros((2, TIME), "int32")
    before = model(ids)
    assert ostinato.accelerate(model, copy=False) is model
    np.testing.assert_allclose(model(ids), before, rtol=1e-4, atol=1e-5)


class Closed(keras.Model):
    """Says nothing of how it was made."""

    def __init__(self, layer, *, table):
        super().__init__()
        self.layer = layer
        self.table = table

    def call(self, x):
        return self.layer(x) * self.table["factor"]


def test_models_without_a_configuration_are_copied():
    model = Closed(layers.Bidirectional(layers.LSTM(3)), table={"factor": tf.Variable(2.0)})
    model(numbers())
    copy = ostinato.accelerate(model)
    assert_same_outputs(model, copy, numbers())
    model.table["factor"].assign(5.0)
    assert float(copy.table["factor"]) == 2.0


def test_a_traced_method_belongs_to_the_copy():
    class Stepping(Net):
        @tf.function
        def step(self, x):
            return self(x)

        def make(self):
            self.traced = tf.function(self.call)

    model = Stepping(4)
    model.make()
    model.step(numbers()), model.traced(numbers())
    copy = ostinato.accelerate(model)
    for weight in model.weights:
        weight.assign(keras.ops.zeros(weight.shape))
    for call in (copy, copy.step, copy.traced):
        assert np.abs(call(numbers())).max() > 0


def test_locks_and_files_in_a_model_do_not_matter(tmp_path):
    model = Net(4)
    model(numbers())
    model.lock = threading.Lock()
    with open(tmp_path / "log", "w") as model.log:
        assert_same_outputs(model, ostinato.accelerate(model), numbers())


def test_a_copy_shares_no_variable_and_keeps_nothing_alive():
    stack = [layers.Dropout(0.5), layers.GRU(3, recurrent_dropout=0.2), layers.Dense(1)]
    model = keras.Sequential([keras.Input((TIME, 3)), *stack])
    model.compile("adam", "mse")
    trained(model, numbers(), targets())
    copy = ostinato.accelerate(model)
    mine = {id(variable) for variable in [*model.variables, *model.optimizer.variables]}
    assert not mine & {id(variable) for variable in [*copy.variables, *copy.optimizer.variables]}
    assert [variable.path for variable in copy.variables] == [variable.path for variable in model.variables]
    assert not mine & {id(part) for part in tf.train.TrackableView(copy).descendants()}
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
    trained(copy, numbers(), targets())


def test_a_deep_model_is_copied():
    x = inputs = keras.Input((TIME, 3))
    for _ in range(400):
        x = layers.Activation("linear")(x)
    model = keras.Model(inputs, layers.LSTM(2)(x))
    np.testing.assert_allclose(ModelCopy(model).copy(numbers()), model(numbers()), rtol=1e-5, atol=1e-6)


def test_a_part_of_a_model_is_copied_without_the_rest():
    inputs = keras.Input((TIME, 3))
    hidden = layers.LSTM(3, return_sequences=True, name="hidden")(inputs)
    whole = keras.Model(inputs, layers.Dense(100, name="rest")(layers.GRU(2)(hidden)))
    part = keras.Model(inputs, hidden)
    copied = ModelCopy(part)
    assert copied.counterpart(whole.get_layer("rest")) is whole.get_layer("rest")
    copy = ostinato.accelerate(part)
    assert_same_outputs(part, copy, numbers())
    assert_same_outputs(part, keras.models.clone_model(copy) and ostinato.to_keras(copy), numbers())


# The comparison


def everything(model):
    variables = [*model.variables, *(model.optimizer.variables if getattr(model, "optimizer", None) else ())]
    return [np.array(variable) for variable in [*variables, *(v for m in model.metrics for v in m.variables)]]


def test_comparing_changes_nothing():
    class Counting(layers.Layer):
        def __init__(self):
            super().__init__()
            self.calls, self.log = 0, []
            self.total = self.add_weight(name="total", trainable=False, initializer="zeros")

        def call(self, x):
            self.calls += 1
            self.log.append(self.calls)
            self.total.assign_add(1.0)
            return x

    stateful = layers.LSTM(3, stateful=True, return_sequences=True)
    stack = [Counting(), layers.Dropout(0.5), stateful, layers.SimpleRNN(3, dropout=0.5)]
    model = keras.Sequential([keras.Input(batch_shape=(3, TIME, 3)), *stack, layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"], run_eagerly=True)
    trained(model, numbers(3), targets(3))
    calls, log, before = model.layers[0].calls, list(model.layers[0].log), everything(model)
    copy = ostinato.accelerate(model)
    for each in (model, copy):
        assert (each.layers[0].calls, each.layers[0].log) == (calls, log)
        for now, then in zip(everything(each), before, strict=True):
            np.testing.assert_array_equal(now, then)
    assert not {id(each) for each in model.layers[0].log} - {id(each) for each in copy.layers[0].log}
    assert copy.layers[0].log is not model.layers[0].log


class Counter(layers.Layer):
    """Computes something else each time that it is made or copied."""

    made = 0

    def __init_subclass__(cls):
        pass

    def call(self, x):
        return x * len(self.marks)

    @property
    def marks(self):
        return SEEN.setdefault(id(self), [0] * (len(SEEN) + 1))


SEEN = {}


def test_a_copy_that_computes_something_else_is_refused():
    model = sequence(Counter())
    model(numbers())
    with pytest.raises(
        ConfigError, match=r"cannot be copied: the copy's outputs differ by .*; copy=False"
    ) as raised:
        ostinato.accelerate(model)
    assert "\n" not in str(raised.value)


def test_a_copy_with_other_gradients_is_refused():
    @tf.custom_gradient
    def odd(x, key):
        return x, lambda upstream: (upstream * len(SEEN.setdefault(int(key), [0] * (len(SEEN) + 1))), None)

    class Odd(layers.Layer):
        def call(self, x):
            return odd(x, tf.constant(id(self)))

    model = keras.Sequential([keras.Input((TIME, 3)), layers.LSTM(3), Odd(), layers.Dense(1)])
    assert_same_outputs(model, ostinato.accelerate(model), numbers())
    model.compile("sgd", "mse")
    with pytest.raises(ConfigError, match="the copy's gradients differ by"):
        ostinato.accelerate(model)


def test_a_warning_says_when_nothing_could_be_compared():
    with pytest.warns(
        UserWarning, match="could not be compared with it on a made-up batch: it has no weights"
    ):
        ostinato.accelerate(keras.Sequential([layers.LSTM(3)]))

    class Picky(Net):
        def call(self, x):
            if self.scale == 2.0:
                raise ValueError("not today")
            return super().call(x)

    model = Picky(4)
    model(numbers())
    model.scale = 2.0
    with pytest.warns(UserWarning, match=r"does not run on a made-up batch \(not today\)"):
        copy = ostinato.accelerate(model)
    assert type(copy.reader) is LSTM


def test_a_configuration_that_came_out_different_is_refused():
    class Shifting(layers.Layer):
        def call(self, x):
            return x

        def get_config(self):
            SEEN[len(SEEN)] = []
            return {"seen": len(SEEN)}

    with pytest.raises(ConfigError, match=r"the configuration of its layer 'shifting.*' came out different"):
        ostinato.accelerate(sequence(Shifting()))


def test_differences_are_relative():
    one = agreement.Results([np.array([1e4, 0.0])], [], [])
    assert agreement.disagreement(one, agreement.Results([np.array([1e4 + 0.9, 0.0])], [], [])) == ""
    assert agreement.disagreement(one, agreement.Results([np.array([1e4 + 1.1, 0.0])], [], [])) != ""
    nan = agreement.Results([np.array([np.nan])], [], [])
    assert agreement.disagreement(nan, nan) == ""
    assert agreement.disagreement(nan, agreement.Results([np.array([1.0])], [], [])) != ""


# In place


@pytest.mark.thorough
def test_a_model_is_changed_in_place_and_back():
    model = sequence(layers.Bidirectional(layers.GRU(3, return_sequences=True)))
    model.compile("adam", "mse")
    other = ModelCopy(model).copy
    trained(model, numbers(), targets()), trained(other, numbers(), targets())
    kinds = [type(layer) for layer in model._flatten_layers()]
    assert ostinato.accelerate(model, copy=False) is model
    assert {type(layer) for layer in model._flatten_layers()} >= {SimpleRNN, GRU}
    assert_trains_alike(other, model, numbers(), targets())
    assert ostinato.to_keras(model, copy=False) is model
    assert [type(layer) for layer in model._flatten_layers()] == kinds
    assert_trains_alike(other, model, numbers(), targets())


def ops(function):
    return {
        operation.type
        for operation in function.get_concrete_function(tf.zeros((2, TIME, 3))).graph.get_operations()
    }


@pytest.mark.skipif(
    ostinato.engines.choose("auto").engine != "native", reason="there is no native engine here"
)
def test_functions_are_traced_anew_in_place():
    class Stepping(Net):
        @tf.function
        def step(self, x):
            return self(x)

    model = Stepping(4)
    model.compile("sgd", "mse")
    model.own = tf.function(lambda x: model(x))
    trained(model, numbers(), targets()), model.predict(numbers(), verbose=0)
    assert "OstinatoLstmV1" not in ops(model.step) | ops(model.own)
    before = model.train_function, model.predict_function
    ostinato.accelerate(model, copy=False)
    train, predict = model.train_function, model.predict_function
    assert train is not before[0]
    assert predict is not before[1]
    assert "OstinatoLstmV1" in ops(model.step)
    assert "OstinatoLstmV1" in ops(model.own)


def test_a_layer_gives_a_new_layer_with_its_weights():
    for old, kind in ((layers.LSTM(3), LSTM), (layers.GRU(3), GRU), (layers.SimpleRNN(3), SimpleRNN)):
        old(numbers())
        new = ostinato.accelerate(old)
        assert type(new) is kind
        assert new is not old
        assert_same_outputs(old, new, numbers())
        old.cell.kernel.assign(keras.ops.zeros(old.cell.kernel.shape))
        assert np.abs(new.cell.kernel).max() > 0
    both = layers.Bidirectional(layers.LSTM(3))
    both(numbers())
    assert type(ostinato.accelerate(both).forward_layer) is LSTM
    model = sequence()
    new = ostinato.accelerate(model.layers[0])
    assert type(model.layers[0]) is layers.SimpleRNN
    keras.Sequential([keras.Input((TIME, 3)), new])
    assert ostinato.accelerate(model.layers[0], copy=False) is model.layers[0]
    assert type(model.layers[0]) is SimpleRNN


def test_only_takes_the_paths_that_report_prints():
    inner = keras.Sequential(
        [keras.Input((TIME, 3)), layers.LSTM(3, return_sequences=True, name="deep")], name="inner"
    )
    both = layers.Bidirectional(layers.GRU(3, return_sequences=True, name="gru"), name="both")
    model = keras.Sequential([keras.Input((TIME, 3)), inner, both, layers.LSTM(2, name="last")])
    paths = [row.layer for row in ostinato.report(model, measure=False)]
    assert paths == ["inner/deep", "both/forward_gru", "both/backward_gru", "last"]
    for path in paths:
        ostinato.accelerate(model, only=path, copy=False)
        found = dict(ostinato.acceleration.accelerate.recurrent_layers(model))
        assert [name for name, layer in found.items() if type(layer) in (GRU, LSTM)] == [path]
        ostinato.to_keras(model, copy=False)
    changed = ostinato.accelerate(model, only=["both", "last"])
    assert type(changed.get_layer("both").forward_layer) is GRU
    assert type(changed.get_layer("inner").layers[0]) is layers.LSTM
    with pytest.raises(
        ConfigError, match=r"only must name recurrent layers .*, got 'inner/deap'; did you mean 'inner/deep'"
    ):
        ostinato.accelerate(model, only="inner/deap")


def test_the_engine_is_as_on_the_layers():
    model = sequence()
    copy = ostinato.accelerate(model, engine="scratch")
    assert copy.layers[0].engine == "scratch"
    assert_same_outputs(model, copy, numbers())
    with pytest.raises(EngineError, match=r"engine must be one of .*, got 'nativ'"):
        ostinato.accelerate(model, engine="nativ")
    rectified = sequence(
        layers.GRU(2, return_sequences=True), layers.LSTM(2, activation="gelu", return_sequences=True)
    )
    with pytest.raises(EngineError, match="the layer's activation is"):
        ostinato.accelerate(rectified, copy=False, engine="native")
    assert not any(isinstance(layer, GRU) for layer in rectified._flatten_layers())


@pytest.mark.filterwarnings("default:.*gains nothing")
def test_a_warning_says_when_nothing_gains():
    def mine(x):
        return x

    for model, why in (
        (keras.Sequential([keras.Input((3,)), layers.Dense(2, name="d")]), "it has no recurrent layers"),
        (
            keras.Sequential([keras.Input((TIME, 3)), layers.LSTM(2, activation=mine)]),
            "the layer's activation is",
        ),
        (keras.Sequential([keras.Input((TIME, 3)), layers.RNN(layers.LSTMCell(2, "gelu"))]), "gains nothing"),
    ):
        with pytest.warns(UserWarning, match=why) as told:
            ostinato.accelerate(model, copy=False)
        assert told[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        ostinato.accelerate(sequence(), engine="keras", copy=False)
        ostinato.accelerate(ostinato.accelerate(sequence()))


def test_a_model_is_changed_in_place_by_threads_of_its_own():
    """Each thread has a model of its own; copying holds on to nothing that threads share."""
    models = [sequence() for _ in range(3)]
    copies = {}

    def work(number):
        copies[number] = ostinato.accelerate(models[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, model in enumerate(models):
        assert_same_outputs(model, copies[number], numbers())


def test_what_is_left_of_ostinato_after_restoring_is_named():
    from ostinato.interop.keras.legacy import keras2_hard_sigmoid

    model = sequence(layers.LSTM(2, activation=keras2_hard_sigmoid, return_sequences=True, name="old"))
    with pytest.warns(
        UserWarning, match=r"opens only where ostinato is installed: keras2_hard_sigmoid \(in old\)"
    ):
        ostinato.to_keras(model)


STATE = types.ModuleType("state")


def test_weights_read_through_a_module_are_found_by_running_the_copy():
    STATE.embedding = layers.Embedding(9, 4)
    inputs = keras.Input((TIME,), dtype="int32")
    tied = layers.Lambda(lambda h: keras.ops.matmul(h, keras.ops.transpose(STATE.embedding.embeddings)))
    model = keras.Model(inputs, tied(layers.LSTM(4, return_sequences=True)(STATE.embedding(inputs))))
    with pytest.raises(ConfigError, match="the copy computes with variables of the original; copy=False"):
        ostinato.accelerate(model)


def test_a_model_that_draws_is_compared_with_equal_draws_and_draws_on_as_before():
    model = sequence(
        layers.Lambda(lambda x: x + tf.random.normal(tf.shape(x)) + keras.random.normal((TIME, 3)))
    )
    tf.random.set_seed(3)
    random.seed(3)
    expected = float(tf.random.normal([])), random.random()
    tf.random.set_seed(3)
    random.seed(3)
    ostinato.to_keras(ostinato.accelerate(model))
    assert (float(tf.random.normal([])), random.random()) == expected


def test_arrays_and_helpers_are_as_before_and_arrays_are_the_copys_own():
    class Counting(layers.Layer):
        def __init__(self):
            super().__init__()
            self.seen = np.zeros(3)
            self.helper = types.SimpleNamespace(calls=0)

        def call(self, x):
            self.seen += 1.0
            self.helper.calls += 1
            return x

    model = sequence(Counting())
    layer = model.layers[0]
    seen, calls = layer.seen.copy(), layer.helper.calls
    copy = ostinato.accelerate(model)
    np.testing.assert_array_equal(layer.seen, seen)
    assert layer.helper.calls == calls
    copy.layers[0].seen += 5.0
    np.testing.assert_array_equal(layer.seen, seen)


def test_outputs_of_any_kind_are_no_raw_error():
    class Odd(Net):
        def call(self, x):
            h = super().call(x)
            return {
                "h": h,
                "text": tf.as_string(tf.cast(h, tf.int32)),
                "none": None,
                "sparse": tf.sparse.from_dense(h),
            }

    model = Odd(4)
    model(numbers())
    assert type(ostinato.accelerate(model).reader) is LSTM


def test_a_model_is_changed_in_place_while_it_trains():
    class Change(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            (ostinato.accelerate if batch else ostinato.to_keras)(self.model, copy=False)

    model = sequence()
    model.compile("sgd", "mse")
    assert len(fitted_with(model, Change())["loss"]) == 2
    assert type(model.layers[0]) is SimpleRNN


def fitted_with(model, callback):
    return model.fit(numbers(), targets(), batch_size=3, epochs=2, verbose=0, callbacks=[callback]).history


def test_a_model_that_magnifies_rounding_is_judged_by_its_own_sensitivity():
    model = sequence(layers.Lambda(lambda x: keras.ops.sin(1e5 * x), name="wild"))
    first = keras.Sequential(
        [keras.Input((TIME, 3)), layers.LSTM(3), layers.Lambda(lambda h: keras.ops.sin(1e5 * h))]
    )
    assert type(ostinato.accelerate(first).layers[0]) is LSTM
    assert type(ostinato.accelerate(model).layers[1]) is SimpleRNN


def test_a_layer_used_only_where_layers_are_made_is_no_obstacle():
    units = layers.Embedding(9, 4)

    class Own(layers.Layer):
        def __init__(self):
            super().__init__()
            self.width = units.output_dim

        def call(self, x):
            return x / self.width

    inputs = keras.Input((TIME,), dtype="int32")
    model = keras.Model(inputs, layers.LSTM(2)(Own()(units(inputs))))
    assert_same_outputs(model, ostinato.accelerate(model), np.ones((2, TIME), "int32"))

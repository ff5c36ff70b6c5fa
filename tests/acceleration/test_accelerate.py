"""A model's copy with the other kind of recurrent layers trains on as the model would have."""

import json
import pathlib
import warnings

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ostinato
from ostinato.cells import registry
from ostinato.errors import ConfigError
from ostinato.layers import GRU, LSTM, SimpleRNN

from .. import forks
from ..variants import examples, thorough

layers = keras.layers
BATCH, TIME, SYMBOLS = 4, 3, 9
FIXTURES = pathlib.Path(__file__).parents[1] / "interop" / "keras" / "fixtures"


def batches(seed=0, features=None):
    random = np.random.default_rng(seed)
    x = random.integers(0, SYMBOLS, (2 * BATCH, TIME))
    if features:
        x = random.normal(size=(2 * BATCH, TIME, features)).astype("float32")
        x[::2, 2:] = 0.0
    return x, random.normal(size=(2 * BATCH, 1)).astype("float32")


def train(model, x, y, epochs=2):
    """The losses of the steps, which take a third of the time of `fit`."""
    model.reset_metrics()
    halves = [(x[:BATCH], y[:BATCH]), (x[BATCH:], y[BATCH:])] * epochs
    return [model.train_on_batch(*half) for half in halves]


def kinds(model):
    return [type(layer) for layer in model._flatten_layers() if isinstance(layer, layers.RNN)]


def assert_trains_alike(model, copy, x, y):
    """Both go on training from where they are, with the same losses to the same weights."""
    np.testing.assert_allclose(train(copy, x, y, epochs=1), train(model, x, y, epochs=1), rtol=1e-5)
    for ours, theirs in zip(copy.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@st.composite
def models(draw):
    """Stacks of the three cells in every form, over tokens or vectors."""
    stateful = draw(st.booleans())
    tokens, masked = draw(st.booleans()), draw(st.booleans())
    shape = (TIME,) if tokens else (TIME, 3)
    stack = [keras.Input(batch_shape=(BATCH if stateful else None, *shape))]
    if tokens:
        stack.append(layers.Embedding(SYMBOLS, 3, mask_zero=masked))
    elif masked:
        stack.append(layers.Masking())
    depth = draw(st.integers(1, 2))
    for level in range(depth):
        cell = draw(st.sampled_from([layers.SimpleRNN, layers.GRU, layers.LSTM]))
        options = {"reset_after": draw(st.booleans())} if cell is layers.GRU else {}
        layer = cell(
            draw(st.integers(1, 5)),
            return_sequences=level < depth - 1,
            stateful=stateful,
            go_backwards=draw(st.booleans()),
            use_bias=draw(st.booleans()),
            **options,
        )
        stack.append(layers.Bidirectional(layer) if draw(st.booleans()) and not layer.go_backwards else layer)
    model = keras.Sequential([*stack, layers.Dense(1)])
    model.compile(draw(st.sampled_from(["adam", "rmsprop"])), "mse", run_eagerly=True)
    return model, batches(draw(st.integers(0, 99)), None if tokens else 3)


@settings(max_examples=examples(2, thorough=6))
@given(models())
def test_any_recurrent_model_trains_on_the_same_and_comes_back(drawn):
    model, (x, y) = drawn
    train(model, x, y, epochs=1)
    stock = kinds(model)
    copy = ostinato.accelerate(model)
    assert kinds(copy) == [registry.accelerated()[kind] for kind in stock]
    assert_trains_alike(model, copy, x, y)
    restored = ostinato.to_keras(copy)
    assert kinds(restored) == stock
    assert_trains_alike(copy, restored, x, y)


def test_the_listing_of_the_books_needs_one_more_line():
    with pytest.warns(UserWarning, match="`input_length` is deprecated. Just remove it."):
        embedding = layers.Embedding(input_dim=1000, output_dim=8, input_length=50)
    model = keras.Sequential(
        [
            embedding,
            layers.GRU(16, return_sequences=True),
            layers.GRU(8, return_sequences=True),
            layers.GRU(4),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="binary_crossentropy", metrics=["accuracy"])
    model = ostinato.accelerate(model)
    random = np.random.default_rng(0)
    x, y = random.integers(0, 1000, (32, 12)), random.integers(0, 2, (32, 1))
    history = model.fit(x, y, epochs=2, verbose=0).history
    assert kinds(model) == [GRU] * 3
    assert set(history) == {"loss", "accuracy"}
    assert history["loss"][1] < history["loss"][0]


def test_the_optimizer_goes_on_with_its_momentums_and_the_original_stays():
    x, y = batches()
    model = keras.Sequential(
        [keras.Input((TIME,)), layers.Embedding(SYMBOLS, 3), layers.LSTM(4), layers.Dense(1)]
    )
    model.compile(keras.optimizers.Adam(0.02, use_ema=True), "mse", metrics=["mae"], run_eagerly=True)
    train(model, x, y)
    model.optimizer.learning_rate = 0.01
    copy = ostinato.accelerate(model)
    before = [variable.numpy() for variable in (*model.variables, *model.optimizer.variables)]
    state = [variable.numpy() for variable in (*copy.variables, *copy.optimizer.variables)]
    for ours, theirs in zip(state, before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not {id(v) for v in copy.variables} & {id(v) for v in model.variables}

    train(copy, x, y)
    assert copy.optimizer.iterations == 8
    assert kinds(model) == [layers.LSTM]
    after = [variable.numpy() for variable in (*model.variables, *model.optimizer.variables)]
    for now, then in zip(after, before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_dropout_draws_the_same_masks():
    x, y = batches()
    model = keras.Sequential(
        [layers.Embedding(SYMBOLS, 3), layers.GRU(4, dropout=0.3, recurrent_dropout=0.2), layers.Dense(1)]
    )
    model.compile("sgd", "mse", run_eagerly=True)
    train(model, x, y, epochs=1)
    assert_trains_alike(model, ostinato.accelerate(model), x, y)


def nested():
    inner = keras.Sequential([keras.Input((TIME, 3)), layers.LSTM(4, return_sequences=True)], name="inner")
    return keras.Sequential([keras.Input((TIME, 3)), inner, layers.GRU(2), layers.Dense(1)])


def time_distributed():
    words = layers.Reshape((TIME, 3, 1))
    return keras.Sequential(
        [
            keras.Input((TIME, 3)),
            words,
            layers.TimeDistributed(layers.LSTM(3)),
            layers.GRU(2),
            layers.Dense(1),
        ]
    )


def two_directions():
    backward = layers.GRU(4, go_backwards=True)
    return keras.Sequential(
        [
            keras.Input((TIME, 3)),
            layers.Bidirectional(layers.LSTM(4), backward_layer=backward),
            layers.Dense(1),
        ]
    )


def shared():
    inputs, both = keras.Input((TIME, 3)), layers.LSTM(3, return_sequences=True, name="both")
    inner = keras.Sequential([keras.Input((TIME, 3)), both, layers.Dense(3)], name="inner")
    x = layers.Add()([both(inputs), both(inner(inputs))])
    return keras.Model(inputs, layers.Dense(1)(layers.GRU(2)(x)))


def two_inputs():
    one = keras.Input((TIME, 3), name="one")
    x, state = layers.GRU(4, return_sequences=True, return_state=True)(layers.Dense(2)(one))
    y = layers.GRU(4)(layers.Dense(2)(one), initial_state=state)
    return keras.Model([one], layers.Dense(1)(layers.Concatenate()([layers.SimpleRNN(3)(x), y])))


def half_frozen():
    model = nested()
    model.layers[0].trainable = False
    return model


def mixed():
    model = keras.Sequential([keras.Input((TIME, 3)), layers.LSTM(3, dtype="float32"), layers.Dense(1)])
    model.trainable = True
    return model


MODELS = [nested, shared, two_directions]
MODELS += [thorough(make) for make in (time_distributed, two_inputs, half_frozen, mixed)]


@pytest.mark.parametrize("make", MODELS)
def test_layers_are_found_wherever_they_stand(make):
    x, y = batches(features=3)
    model = make()
    model.compile("adam", "mse", run_eagerly=True)
    train(model, x, y, epochs=1)
    copy = ostinato.accelerate(model)
    assert kinds(copy) == [registry.accelerated()[kind] for kind in kinds(model)]
    assert len(copy.weights) == len(model.weights)
    assert [v.trainable for v in copy.weights] == [v.trainable for v in model.weights]
    assert_trains_alike(model, copy, x, y)


@keras.saving.register_keras_serializable(package="test")
class Reader(keras.Model):
    """Says how it was made; its layers are not among its arguments."""

    def __init__(self, units, activation=None, **options):
        super().__init__(**options)
        self.units = units
        self.reader, self.head = layers.LSTM(units), layers.Dense(1, activation=activation)

    def call(self, x):
        return self.head(self.reader(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def test_a_model_of_ones_own_class_has_its_layers_replaced():
    x, y = batches(features=3)
    model = Reader(4)
    model.compile("adam", "mse", run_eagerly=True)
    train(model, x, y, epochs=1)
    copy = ostinato.accelerate(model)
    assert isinstance(copy, Reader)
    assert kinds(copy) == [LSTM]
    assert_trains_alike(model, copy, x, y)


def test_layers_and_functions_that_keras_does_not_know_are_copied():
    class Halved(layers.Layer):
        def call(self, x):
            return x / 2

    def gentle(x):
        return keras.ops.tanh(x / 2)

    def loss(true, predicted):
        return keras.ops.mean((true - predicted) ** 2, axis=-1)

    x, y = batches(features=3)
    model = keras.Sequential(
        [keras.Input((TIME, 3)), Halved(), layers.GRU(3), layers.Dense(1, gentle), layers.Lambda(gentle)]
    )
    model.compile("sgd", loss, metrics=[loss], run_eagerly=True)
    copy = ostinato.accelerate(model)
    assert type(copy.layers[0]) is Halved
    assert_trains_alike(model, copy, x, y)


def test_a_loss_may_be_a_lambda_and_a_vocabulary_is_kept():
    words = layers.TextVectorization(output_sequence_length=TIME)
    words.adapt(["one two three", "two three four"])
    model = keras.Sequential(
        [keras.Input((1,), dtype="string"), words, layers.Embedding(9, 2), layers.GRU(2), layers.Dense(1)]
    )
    model.compile("sgd", lambda true, predicted: (true - predicted) ** 2)
    copy = ostinato.accelerate(model)
    texts = keras.ops.convert_to_tensor([["four three"], ["one"]])
    np.testing.assert_allclose(copy(texts), model(texts), rtol=1e-5, atol=1e-6)
    assert copy.loss is model.loss


def test_a_stateful_model_goes_on_from_its_state():
    x, _ = batches(features=3)
    model = keras.Sequential([keras.Input(batch_shape=(BATCH, TIME, 3)), layers.LSTM(3, stateful=True)])
    model(x[:BATCH])
    copy = ostinato.accelerate(model)
    np.testing.assert_allclose(copy(x[BATCH:]), model(x[BATCH:]), rtol=1e-5, atol=1e-6)


def test_a_model_that_is_not_built_is_copied_by_its_configuration():
    copy = ostinato.accelerate(keras.Sequential([layers.LSTM(3), layers.Dense(1)]))
    assert not copy.built
    assert kinds(copy) == [LSTM]


def test_it_does_nothing_twice_and_other_layers_stay():
    class Mine(layers.LSTM):
        pass

    class Own(layers.GRUCell):
        pass

    cell = layers.RNN(Own(3))
    model = keras.Sequential(
        [keras.Input((TIME, 3)), Mine(3, return_sequences=True), SimpleRNN(3, return_sequences=True), cell]
    )
    once = ostinato.accelerate(model)
    assert kinds(once) == kinds(ostinato.accelerate(once)) == [Mine, SimpleRNN, layers.RNN]


def test_an_engine_that_was_chosen_stays():
    model = keras.Sequential([keras.Input((TIME, 3)), LSTM(3, engine="scratch")])
    assert ostinato.accelerate(model).layers[0].engine == "scratch"
    assert "engine" not in ostinato.to_keras(model).layers[0].get_config()


def test_xla_is_left_out_with_a_warning():
    model = keras.Sequential([keras.Input((TIME, 3)), layers.SimpleRNN(3)])
    model.compile("sgd", "mse", jit_compile=True)
    with pytest.warns(UserWarning, match="jit_compile=False where the model has jit_compile=True") as warned:
        copy = ostinato.accelerate(model)
    assert copy.jit_compile is False
    assert warned[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        ostinato.to_keras(copy)


WITHOUT_OSTINATO = """
import sys
sys.modules["ostinato"] = None
import keras, numpy
model = keras.models.load_model(sys.argv[1])
print(model.predict(numpy.load(sys.argv[2]), verbose=0).tolist(), int(model.optimizer.iterations))
"""


@pytest.mark.thorough
def test_a_restored_models_file_opens_without_ostinato(tmp_path):
    x, y = batches(features=3)
    model = keras.Sequential(
        [
            keras.Input((TIME, 3)),
            layers.Bidirectional(GRU(3, return_sequences=True)),
            LSTM(2),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", run_eagerly=True)
    train(model, x, y)
    ostinato.to_keras(model).save(tmp_path / "stock.keras")
    np.save(tmp_path / "x.npy", x)
    done = forks.run("-c", WITHOUT_OSTINATO, tmp_path / "stock.keras", tmp_path / "x.npy")
    assert done.returncode == 0, done.stderr
    printed, _, iterations = done.stdout.rpartition(" ")
    np.testing.assert_allclose(json.loads(printed), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    assert int(iterations) == 4


@pytest.mark.parametrize("name", ["model.keras", thorough("model.h5")])
def test_a_file_is_as_good_as_its_model(name, tmp_path):
    x, y = batches(features=3)
    model = nested()
    model.compile("adam", "mean_squared_error", run_eagerly=True)
    train(model, x, y)
    model.save(tmp_path / name)
    copy = ostinato.accelerate(tmp_path / name)
    assert kinds(copy) == [LSTM, GRU]
    np.testing.assert_allclose(copy.predict(x, verbose=0), model(x), rtol=1e-5, atol=1e-6)
    if name.endswith(".keras"):
        assert_trains_alike(model, copy, x, y)


@pytest.mark.parametrize("do", [ostinato.accelerate, ostinato.to_keras])
@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (3, "the model must be a Keras model or the path of a .keras or .h5 file, got builtins.int"),
        (layers.LSTM, "got builtins.type"),
        ("no/such.keras", "no/such.keras does not exist; give a .keras or .h5 file"),
        (str(FIXTURES), "fixtures is a folder; give a .keras or .h5 file"),
        (__file__, "test_accelerate.py is neither a .keras nor an .h5 file"),
    ],
)
def test_what_is_no_model_is_said_in_a_sentence(do, model, sentence):
    with pytest.raises(ConfigError, match=sentence) as raised:
        do(model)
    assert "\n" not in str(raised.value)


def test_damaged_files_and_lambdas_in_files_are_said_in_a_sentence(tmp_path):
    (tmp_path / "broken.keras").write_bytes(b"nothing")
    (tmp_path / "broken.h5").write_bytes(b"nothing")
    keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: x)]).save(tmp_path / "lambda.keras")
    keras.Sequential([keras.Input((3,)), layers.Dense(2)]).save_weights(tmp_path / "only.weights.h5")
    sentences = {
        "broken.keras": "broken.keras cannot be loaded: ",
        "broken.h5": "broken.h5 cannot be loaded: ",
        "lambda.keras": "lambda.keras cannot be loaded: it holds a Python lambda",
        "only.weights.h5": "only.weights.h5 holds weights without a model",
    }
    for name, sentence in sentences.items():
        with pytest.raises(ConfigError, match=sentence) as raised:
            ostinato.accelerate(tmp_path / name)
        assert "\n" not in str(raised.value)


def test_going_back_and_forth_leaves_nothing_of_ostinatos(recwarn):
    stock = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4)])
    ostinato.to_keras(keras.Sequential([keras.Input((None, 3)), ostinato.layers.LSTM(4)]))
    ostinato.to_keras(ostinato.accelerate(stock))
    assert not [each for each in recwarn if "ostinato is installed" in str(each.message)]

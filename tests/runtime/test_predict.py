"""`ostinato.fast_predict` gives what the Keras model gives, goes on from states, and refuses by name."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ostinato
from ostinato import layers
from ostinato.engines import native
from ostinato.errors import ConfigError
from ostinato.runtime import program
from ostinato.runtime.execution import _ACTIVATIONS as ACTIVATIONS
from ostinato.tasks.language_model.config import LanguageModelConfig
from ostinato.tasks.language_model.network import RecurrentLanguageModel

pytestmark = pytest.mark.skipif(not native.available(), reason="the native engine was not built")
L: Any = keras.layers


@pytest.fixture
def draw():
    return np.random.default_rng(7)


def sequential(*parts: Any, shape: tuple) -> keras.Sequential:
    return keras.Sequential([keras.Input(shape), *parts])


def assert_same(model, x, atol=2e-6):
    """The model is called in one piece: `model.predict` would trace a function."""
    np.testing.assert_allclose(ostinato.fast_predict(model)(x), np.asarray(model(x)), rtol=2e-5, atol=atol)


CELLS = {
    "rnn": L.SimpleRNN,
    "gru": L.GRU,
    "lstm": L.LSTM,
    "ours": layers.GRU,
}
vectors = {
    "all steps": (L.LSTM(9, return_sequences=True), L.Dense(3, "softmax")),
    "two layers": (L.GRU(8, return_sequences=True, use_bias=False), L.Dropout(0.5), layers.LSTM(5)),
    "backwards": (L.GRU(5, go_backwards=True, return_sequences=True, reset_after=False),),
    "masking": (L.Masking(), L.SimpleRNN(5, return_sequences=True), L.GlobalAveragePooling1D()),
    "masking, backwards": (
        L.Masking(0.0),
        L.LSTM(5, return_sequences=True, go_backwards=True),
    ),
    "both, all steps": (L.Masking(), L.Bidirectional(L.LSTM(5, return_sequences=True)), L.Dense(2, "gelu")),
    "both, sum": (L.Masking(), L.Bidirectional(L.GRU(5), merge_mode="sum")),
    "both, ave": (L.Bidirectional(layers.SimpleRNN(5), merge_mode="ave"),),
    "both, mul": (L.Bidirectional(L.SimpleRNN(5, return_sequences=True), merge_mode="mul"),),
    "stacked cells": (L.RNN([L.LSTMCell(4), L.GRUCell(6, reset_after=False)], return_sequences=True),),
    "a cell": (layers.RNN(L.SimpleRNNCell(4, activation="relu")),),
    "both, stacked": (L.Bidirectional(L.RNN([L.LSTMCell(4), L.GRUCell(3)])),),
    "activations": (L.LSTM(4, activation="softsign", recurrent_activation="hard_sigmoid"),),
    "pooling": (L.SimpleRNN(4, return_sequences=True), L.MaxPooling1D(3, 2), L.AveragePooling1D(2)),
    "largest": (L.SimpleRNN(4, return_sequences=True), L.GlobalMaxPooling1D(keepdims=True)),
    "average": (L.SimpleRNN(4, return_sequences=True), L.GlobalAveragePooling1D(keepdims=True)),
    "at each step": (L.LSTM(4, return_sequences=True), L.TimeDistributed(L.Dense(2, "tanh"))),
    "activation layers": (
        L.Dense(4),
        L.LeakyReLU(),
        L.Dense(4),
        L.ReLU(2.0, 0.1, 0.2),
        L.ELU(0.5),
        L.Softmax(),
    ),
}


@pytest.mark.parametrize("parts", vectors.values(), ids=vectors)
def test_it_gives_what_a_model_of_vectors_gives(parts, draw):
    x = draw.normal(size=(4, 7, 3)).astype("float32")
    x[1, 4:] = x[2, :3] = x[3, 2] = 0
    assert_same(sequential(*parts, shape=(None, 3)), x)


@pytest.mark.parametrize("mask_zero", [False, True])
@pytest.mark.parametrize(
    "parts",
    [
        (L.GRU(6, return_sequences=True), L.LSTM(4)),
        (L.Bidirectional(L.GRU(6, return_sequences=True)), L.GlobalAveragePooling1D(), L.Dense(1, "sigmoid")),
    ],
)
def test_it_gives_what_a_model_of_ids_gives(parts, mask_zero, draw):
    layers = [keras.models.clone_model(keras.Sequential([part])).layers[0] for part in parts]
    model = sequential(L.Embedding(9, 5, mask_zero=mask_zero), *layers, shape=(None,))
    x = draw.integers(0, 9, size=(4, 7))
    x[0, 5:] = 0
    assert_same(model, x)
    predict = ostinato.fast_predict(model)
    np.testing.assert_array_equal(predict(x.astype("float64").tolist()), predict(x))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_it_gives_what_any_layer_gives(data):
    kind, units, features, batch, time = (
        data.draw(each)
        for each in (
            st.sampled_from(sorted(CELLS)),
            *(st.integers(1, 40), st.integers(1, 70), st.integers(1, 9), st.integers(1, 6)),
        )
    )
    layer = CELLS[kind](units, return_sequences=data.draw(st.booleans()), use_bias=data.draw(st.booleans()))
    x = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(batch, time, features))
    assert_same(sequential(layer, shape=(None, features)), x.astype("float32"))


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"keras2_hard_sigmoid"}))
def test_its_activations_are_those_of_keras(name, draw):
    x = np.concatenate([draw.normal(size=(8, 9)) * 3, [np.linspace(-30, 30, 9)]]).astype("float32")
    found = ACTIVATIONS[name](x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.asarray(getattr(keras.activations, name)(x)), rtol=1e-5, atol=1e-6)


def test_functional_and_nested_models_are_read(draw):
    x = keras.Input((6,), dtype="int32")
    inner = sequential(L.LSTM(5, return_sequences=True), L.Dense(4, "relu"), shape=(None, 8))
    model = keras.Model(x, L.GRU(3)(inner(keras.ops.one_hot(x, 8))))
    ids = draw.integers(0, 8, size=(2, 6))
    assert_same(model, ids)
    assert_same(keras.Model(x, L.Dense(3)(keras.ops.one_hot(x, 8))), ids)


def test_it_reads_files(tmp_path, draw):
    model = sequential(L.LSTM(5), shape=(None, 3))
    model.save(tmp_path / "model.keras")
    x = draw.normal(size=(2, 4, 3))
    np.testing.assert_array_equal(
        ostinato.fast_predict(tmp_path / "model.keras")(x), ostinato.fast_predict(model)(x)
    )


def test_a_sequence_goes_on_where_its_state_ended(draw):
    parts = (L.LSTM(5, return_sequences=True), layers.GRU(4, return_sequences=True), L.Dense(2))
    predict = ostinato.fast_predict(sequential(*parts, shape=(None, 3)))
    x, state, pieces = draw.normal(size=(2, 6, 3)).astype("float32"), predict.initial_state(2), []
    assert [each.shape for each in state] == [(2, 5), (2, 5), (2, 4)]
    for step in range(6):
        before = [each.copy() for each in state]
        y, after = predict(x[:, step : step + 1], state)
        for kept, given_ in zip(before, state, strict=True):
            np.testing.assert_array_equal(kept, given_)
        pieces, state = [*pieces, y], after
    np.testing.assert_allclose(np.concatenate(pieces, 1), predict(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("embedding", [0, 6])
@pytest.mark.parametrize("tied", [False, True])
def test_language_models_give_their_logits_and_states(embedding, tied, draw):
    if tied and not embedding:
        pytest.skip("only an embedding can be tied")
    config = LanguageModelConfig(cell="lstm", units=(5, 6), embedding=embedding, tied=tied)
    model = RecurrentLanguageModel(config, 11)
    model.make_weights()
    tokens = draw.integers(0, 11, size=(3, 4)).astype("int32")
    begin = tuple(draw.normal(size=(3, units)).astype("float32") for units in (5, 5, 6, 6))
    logits, state = model(tokens, begin)
    found, found_state = ostinato.fast_predict(model)(tokens, begin)
    for one, other in zip((found, *found_state), (logits, *state), strict=True):
        np.testing.assert_allclose(one, np.asarray(other), rtol=1e-5, atol=1e-6)


def test_the_weights_are_a_snapshot_until_they_are_reloaded(draw):
    model = sequential(L.Embedding(4, 3), L.LSTM(5), L.Dense(2), shape=(None,))
    predict, x = ostinato.fast_predict(model), np.array([[0, 3, 1]], "int32")
    before = predict(x)
    model.set_weights([weight + 0.5 for weight in model.get_weights()])
    np.testing.assert_array_equal(predict(x), before)
    predict.reload()
    assert np.abs(predict(x) - before).max() > 0.1
    np.testing.assert_allclose(predict(x), np.asarray(model(x)), rtol=1e-5, atol=1e-6)


def test_threads_may_share_it_and_read_only_inputs_are_taken(draw):
    predict = ostinato.fast_predict(sequential(L.GRU(33, return_sequences=True), L.Dense(3), shape=(None, 5)))
    inputs = [draw.normal(size=(2, 9, 5)).astype("float32") for _ in range(20)]
    for x in inputs:
        x.flags.writeable = False
    expected = [predict(x) for x in inputs]
    with ThreadPoolExecutor(4) as threads:
        for found, wanted in zip(threads.map(predict, inputs * 5), expected * 5, strict=True):
            np.testing.assert_array_equal(found, wanted)


class OwnDense(L.Dense):
    """What it computes, nobody knows."""


class OwnModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = L.Dense(3)

    def call(self, x):
        return self.dense(x)


class OwnChain(OwnModel):
    def chain(self):
        return [self.dense, program.Activation("relu")]


def stateful():
    return keras.Sequential([keras.Input(batch_shape=(2, 5, 3)), L.LSTM(4, stateful=True)])


def branching():
    x = keras.Input((None, 3))
    return keras.Model(x, L.Add(name="sum")([L.LSTM(4)(x), L.GRU(4)(x)]))


def two_outputs():
    x = keras.Input((None, 3))
    return keras.Model(x, [L.LSTM(4)(x), L.GRU(4)(x)])


REFUSED = [
    (lambda: sequential(L.Conv1D(4, 3, name="conv"), shape=(None, 3)), "the layer 'conv' is a Conv1D"),
    (lambda: sequential(OwnDense(4, name="own"), shape=(None, 3)), "the layer 'own' is a OwnDense"),
    (lambda: stateful(), "it is stateful"),
    (
        lambda: sequential(L.Dense(4, activation=np.tanh, name="d"), shape=(3,)),
        "the layer 'd' cannot be read",
    ),
    (lambda: sequential(L.LSTM(4, activation=keras.ops.cos), shape=(None, 3)), "the layer's activation is"),
    (lambda: sequential(L.LSTM(4, dtype="mixed_float16"), shape=(None, 3)), "must be float32, got float16"),
    (lambda: sequential(L.Bidirectional(L.LSTM(4), merge_mode=None), shape=(None, 3)), "merge_mode must be"),
    (lambda: sequential(L.Softmax(axis=1), shape=(None, 3)), "its axis must be -1, got 1"),
    (lambda: sequential(L.MaxPooling1D(padding="same"), shape=(None, 3)), "must be 'valid', got 'same'"),
    (lambda: sequential(L.RNN(L.LSTMCell(4), return_state=True), shape=(None, 3)), "it has `return_state`"),
    (lambda: sequential(L.TimeDistributed(L.LSTM(4)), shape=(None, None, 3)), "must wrap a Dense, got LSTM"),
    (branching, "but 'sum' has 2 inputs"),
    (two_outputs, "one input and one output, got 1 and 2"),
    (lambda: keras.Sequential([L.LSTM(4)]), "the model must be built"),
    (lambda: L.LSTM(4), "keras.Model"),
]


@pytest.mark.parametrize(("make", "why"), REFUSED)
def test_what_it_cannot_read_is_named(make, why):
    with pytest.raises(ConfigError, match=why.replace("(", r"\(")):
        ostinato.fast_predict(make())


def test_models_of_own_classes_need_a_chain():
    model, chain, x = OwnModel(), OwnChain(), np.ones((1, 2, 2), "float32")
    model(x)
    with pytest.raises(
        ConfigError, match=r"class OwnModel has a `call` of its own.* give it a method `chain`"
    ):
        ostinato.fast_predict(model)
    np.testing.assert_allclose(np.maximum(chain(x), 0), ostinato.fast_predict(chain)(x), rtol=1e-6)


WRONG = [
    (np.zeros((2, 3)), r"x must have the shape \(batch, time, 3\), got \(2, 3\)"),
    (np.zeros((2, 4, 2)), r"x must have the shape \(batch, time, 3\), got \(2, 4, 2\)"),
    (np.zeros((0, 4, 3)), r"x must have the shape \(batch, time, 3\), got \(0, 4, 3\)"),
    ([[["a"]]], "x must be an array of numbers, got one of <U1"),
    (np.zeros((2, 4, 3), complex), "x must be an array of numbers, got one of complex128"),
]


@pytest.mark.parametrize(("x", "why"), WRONG)
def test_wrong_vectors_are_refused(x, why):
    predict = ostinato.fast_predict(sequential(L.LSTM(4), shape=(None, 3)))
    with pytest.raises(ConfigError, match=why):
        predict(x)


@pytest.mark.parametrize(
    ("ids", "why"),
    [
        ([[0, 5]], "token ids must be 0 to 4, got 5"),
        ([[-1, 2]], "token ids must be 0 to 4, got -1"),
        ([[0.5, 2]], "x must be token ids, whole numbers below 2\\^31, got 0.5"),
        ([[2**40]], "x must be token ids, whole numbers below 2\\^31, got 1099511627776"),
        ([0, 1], r"x must have the shape \(batch, time\), got \(2,\)"),
    ],
)
def test_wrong_ids_are_refused(ids, why):
    predict = ostinato.fast_predict(sequential(L.Embedding(5, 3), L.LSTM(4), shape=(None,)))
    with pytest.raises(ConfigError, match=why):
        predict(ids)


def test_wrong_states_are_refused():
    predict = ostinato.fast_predict(sequential(L.LSTM(4), shape=(None, 3)))
    with pytest.raises(ConfigError, match=r"shapes \[\(2, 4\), \(2, 4\)\], got \[\(1, 4\), \(1, 4\)\]"):
        predict(np.zeros((2, 5, 3)), predict.initial_state(1))
    both = ostinato.fast_predict(sequential(L.Bidirectional(L.LSTM(4)), shape=(None, 3)))
    with pytest.raises(ConfigError, match="from their end cannot go on from a state"):
        both(np.zeros((2, 5, 3)), ())


def test_running_a_program_does_not_import_tensorflow():
    code = (
        "import sys, ostinato.runtime.execution, ostinato.runtime.library; "
        "print({'tensorflow', 'keras'} & set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "set()\n"

"""The network: its weights by name, its state, and that its config builds it again."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato.runs.weights import to_arrays
from ostinato.tasks.language_model import LanguageModelConfig, RecurrentLanguageModel

TOKENS = tf.constant([[1, 4, 2, 0], [3, 3, 1, 4]])


def built(size: int = 5, **settings) -> RecurrentLanguageModel:
    model = RecurrentLanguageModel(LanguageModelConfig(**({"units": (4,)} | settings)), size)
    model(TOKENS, model.stack.initial_state(2))
    return model


def shapes(model: RecurrentLanguageModel) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in to_arrays(model).items()}


def test_the_weights_have_stable_names():
    assert shapes(built(cell="lstm")) == {
        "stack/layer_0/lstm_cell/kernel": (5, 16),
        "stack/layer_0/lstm_cell/recurrent_kernel": (4, 16),
        "stack/layer_0/lstm_cell/bias": (16,),
        "output/kernel": (4, 5),
        "output/bias": (5,),
    }


def test_a_second_model_in_the_same_process_has_the_same_names():
    assert list(shapes(built(cell="gru"))) == list(shapes(built(cell="gru")))


def test_two_layers_and_an_embedding_have_weights_of_their_own():
    assert shapes(built(cell="rnn", units=(4, 3), embedding=2)) == {
        "embedding/embeddings": (5, 2),
        "stack/layer_0/simple_rnn_cell/kernel": (2, 4),
        "stack/layer_0/simple_rnn_cell/recurrent_kernel": (4, 4),
        "stack/layer_0/simple_rnn_cell/bias": (4,),
        "stack/layer_1/simple_rnn_cell/kernel": (4, 3),
        "stack/layer_1/simple_rnn_cell/recurrent_kernel": (3, 3),
        "stack/layer_1/simple_rnn_cell/bias": (3,),
        "output/kernel": (3, 5),
        "output/bias": (5,),
    }


def test_tied_weights_are_stored_once():
    names = shapes(built(cell="rnn", units=(4,), embedding=4, tied=True))
    assert names["embedding/embeddings"] == (5, 4)
    assert names["output_bias"] == (5,)
    assert not any(name.startswith("output/") for name in names)


def test_tied_weights_learn_from_both_of_their_uses():
    model = built(cell="rnn", units=(4,), embedding=4, tied=True)
    with tf.GradientTape() as tape:
        logits, _ = model(tf.constant([[1]]), model.stack.initial_state(1))
        loss = tf.reduce_sum(logits**2)
    gradient = tf.convert_to_tensor(tape.gradient(loss, model.embedding.embeddings.value))
    assert np.all(np.any(gradient, axis=1))  # every row: as the output layer; as the input only token 1's


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_two_halves_of_a_text_with_the_state_carried_equal_the_whole(cell):
    model = built(cell=cell, units=(4, 3))
    whole, last = model(TOKENS, model.stack.initial_state(2))
    first, state = model(TOKENS[:, :1], model.stack.initial_state(2))
    second, state = model(TOKENS[:, 1:], state)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-6)
    for part, expected in zip(state, last, strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-6)


def test_reset_before_reaches_the_gru_and_other_cells_ignore_it():
    assert built(cell="gru", reset_before=True).stack.layers[0].reset_after is False
    assert built(cell="gru").stack.layers[0].reset_after is True
    assert built(cell="lstm", reset_before=True).stack.layers[0].units == 4


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "lstm", "dropout": 0.3},
        {"cell": "gru", "units": (4, 3), "reset_before": True, "embedding": 2},
        {"cell": "rnn", "units": (4,), "embedding": 4, "tied": True, "seed": 3},
    ],
)
def test_its_config_builds_it_again(settings):
    model = built(**settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras would like to build it before it knows any input
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    assert isinstance(copy, RecurrentLanguageModel)
    assert copy.get_config() == model.get_config()
    assert copy.config == model.config
    state = model.stack.initial_state(2)
    np.testing.assert_array_equal(copy(TOKENS, state)[0], model(TOKENS, state)[0])


def test_equal_seeds_build_equal_weights_and_other_seeds_others():
    settings = {"cell": "lstm", "units": (4, 4), "embedding": 3}
    one, same, other = (to_arrays(built(seed=seed, **settings)) for seed in (1, 1, 2))
    for name, array in one.items():
        np.testing.assert_array_equal(array, same[name])
        assert "bias" in name or not np.array_equal(array, other[name])

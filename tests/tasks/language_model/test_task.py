"""The language model's loss, figures and first weights."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.cells.base import initial_state
from ostinato.errors import ConfigError
from ostinato.layers.dropout import DropoutKey
from ostinato.tasks.base import Loss, as_figures
from ostinato.tasks.language_model import LanguageModelConfig
from ostinato.training.step import as_tensors

from ...ready import Ready

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "rain", "fall", "–", "over", "hills")
LINES = np.random.default_rng(0).choice(WORDS, size=(60, 8))
TEXT = "\n".join(map(" ".join, LINES))
ENCODERS = ("char", "byte", "word", "bpe", "word_bpe")


def prepared(**changes) -> Ready:
    defaults = {"units": 8, "seq_len": 8, "batch": 4}
    return Ready(LanguageModelConfig(**(defaults | changes)), [TEXT])


def random_state(ready, model, rows):
    return tuple(
        tf.random.stateless_normal(part.shape, seed=(5, number))
        for number, part in enumerate(initial_state(ready.task.states(model), rows))
    )


def state_of(state, cell, depth):
    return state[2 * depth : 2 * depth + 2] if cell == "lstm" else state[depth : depth + 1]


@pytest.mark.parametrize(
    "changes",
    [
        {"cell": "rnn"},
        {"cell": "gru"},
        {"cell": "gru", "reset_after": False, "embedding": 3},
        {"cell": "lstm", "units": (8, 6)},
        {"cell": "lstm", "units": (6, 4), "embedding": 4, "tied": True},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_the_loss_equals_keras_layers_and_a_cross_entropy_in_numpy(changes):
    ready = prepared(**changes)
    model = ready.drawn()
    batch, state = next(ready.batches("train", epoch=0)), random_state(ready, model, 4)
    batch["weights"] = np.random.default_rng(1).random(batch["weights"].shape).astype(np.float32)
    loss, weight, sums, new_state, _ = ready.task.loss(model, as_tensors(batch), state)

    arrays = {variable.path.split("/", 1)[1]: variable.numpy() for variable in model.variables}
    kinds = {"rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
    options = {"reset_after": ready.config.reset_after} if ready.config.cell == "gru" else {}
    embedding = arrays.get("embedding/embeddings", np.eye(ready.data.encoder.size, dtype=np.float32))
    x, expected_state = embedding[batch["tokens"]], []
    for depth, units in enumerate(ready.config.units):
        layer = kinds[ready.config.cell](units, return_sequences=True, return_state=True, **options)
        layer.build(x.shape)
        layer.set_weights([array for name, array in arrays.items() if f"layer_{depth}/" in name])
        x, *parts = layer(x, initial_state=list(state_of(state, ready.config.cell, depth)))
        expected_state += parts
    kernel = embedding.T if ready.config.tied else arrays["output/kernel"]
    bias = arrays["output_bias"] if ready.config.tied else arrays["output/bias"]
    logits = x.numpy().astype(np.float64) @ kernel + bias
    chosen = np.take_along_axis(logits, batch["targets"][..., None], -1)[..., 0]
    nats = np.log(np.exp(logits).sum(-1)) - chosen
    assert float(loss) == pytest.approx((nats * batch["weights"]).sum(), rel=1e-5)
    assert float(weight) == pytest.approx(batch["weights"].sum(), rel=1e-5)
    assert float(sums["characters"]) == pytest.approx(batch["weights"].sum(), rel=1e-5)
    for part, expected in zip(new_state, expected_state, strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("min_count", [1, 40])
def test_the_characters_of_a_whole_text_add_up_to_its_length(encoder, min_count):
    ready = prepared(encoder=encoder, min_count=min_count, vocabulary_size=300, validation_fraction=0.0)
    model = ready.build()
    characters, first = 0.0, None
    whole = ready.data.in_order("train")
    state = initial_state(ready.task.states(model), whole.rows)
    for batch in whole.batches():
        first = batch["tokens"][0, 0] if first is None else first
        _, _, sums, state, _ = ready.task.loss(model, as_tensors(batch), state)
        characters += float(sums["characters"])
    characters += float(ready.data.encoder.characters[first])
    assert characters == pytest.approx(len(TEXT), rel=1e-5)


def test_the_figures_follow_from_the_sums():
    figures = as_figures(prepared().task.metrics(Loss(60.0, 30.0, {"characters": 120.0})))
    assert figures == {
        "loss": 2.0,
        "perplexity": pytest.approx(math.exp(2.0)),
        "bits_per_character": pytest.approx(0.5 / math.log(2)),
    }


@pytest.fixture(scope="module")
def dropping():
    """A task with dropout everywhere, and its model."""
    ready = prepared(
        batch=5, units=(8, 6), embedding=4, input_dropout=0.2, dropout=0.4, output_dropout=0.3, cell="gru"
    )
    return ready, ready.build()


@given(step=st.integers(0, 10**6), count=st.integers(2, 4))
@settings(max_examples=8)
def test_with_dropout_the_losses_of_the_shards_add_up_to_that_of_the_global_batch(dropping, step, count):
    ready, model = dropping

    def loss(shard):
        batch = ready.tensors(shard)
        state = initial_state(ready.task.states(model), len(batch["tokens"]))
        return float(ready.task.loss(model, batch, state, step=tf.constant(step))[0])

    assert sum(loss((index, count)) for index in range(count)) == pytest.approx(loss((0, 1)), rel=1e-5)


@pytest.mark.parametrize("rate", ["input_dropout", "dropout", "output_dropout"])
def test_each_dropout_changes_with_the_step_and_is_off_in_evaluation(rate):
    ready = prepared(units=(8, 6), **{rate: 0.5})
    model = ready.build()
    batch, state = ready.tensors(), initial_state(ready.task.states(model), 4)

    def loss(step=None):
        return float(
            ready.task.loss(model, batch, state, step=None if step is None else tf.constant(step))[0]
        )

    assert loss(3) == loss(3)
    assert len({loss(), loss(3), loss(4)}) == 3
    plain = prepared(units=(8, 6))
    assert loss() == float(plain.task.loss(plain.build(), batch, state)[0])


def test_init_stddev_draws_every_matrix_from_one_normal_distribution():
    arrays = prepared(units=64, init_stddev=0.02).build().get_weights()
    matrices = [array for array in arrays if array.ndim > 1]
    assert len(matrices) == 3
    for matrix in matrices:
        assert matrix.std() == pytest.approx(0.02, rel=0.1)
        assert abs(matrix.mean()) < 5 * 0.02 / math.sqrt(matrix.size)
    assert not any(array.any() for array in arrays if array.ndim == 1)


@pytest.mark.parametrize("init_stddev", [None, 0.1])
def test_equal_seeds_build_equal_weights(init_stddev):
    three = (prepared(init_stddev=init_stddev, seed=seed) for seed in (1, 1, 2))
    one, same, other = (ready.build().get_weights() for ready in three)
    for first, second, third in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(first, second)
        assert first.ndim == 1 or not np.array_equal(first, third)


def test_activation_regularisation_is_learned_from_and_in_no_figure():
    plain = prepared(units=(6,))
    model, batch = plain.drawn(), plain.tensors()
    state = initial_state(plain.task.states(model), len(batch["tokens"]))
    step = tf.constant(3)
    bare = plain.task.loss(model, batch, state, step=step)
    outputs = model.stack(batch["tokens"], state)[0].numpy()
    ready = prepared(units=(6,), activation_regularization=2.0, temporal_regularization=3.0)
    found = ready.task.loss(model, batch, state, step=step)
    assert float(found.total) == float(bare.total)
    count = outputs.shape[0] * outputs.shape[1]
    size = count * np.mean(outputs**2)
    change = np.sum(np.mean(np.diff(outputs, axis=1) ** 2, axis=-1))
    assert float(found.penalty) == pytest.approx(2.0 * size + 3.0 * change, rel=1e-5)
    assert bare.penalty == ready.task.loss(model, batch, state).penalty == 0.0


@pytest.mark.parametrize("embedding", [0, 5])
def test_a_dropped_token_of_the_vocabulary_is_dropped_wherever_it_occurs(embedding):
    ready = prepared(units=(6,), embedding=embedding, embedding_dropout=0.5)
    model = ready.drawn()
    state = initial_state(ready.task.states(model), 4)
    key = DropoutKey(tf.constant(0), tf.constant(1), tf.constant(0))
    outputs = {}
    for token in range(model.vocabulary_size):
        y, _, _ = model.read(tf.fill((4, 1), token), state, key)
        np.testing.assert_allclose(y, np.repeat(y[:1], 4, axis=0), atol=1e-6)  # in every row alike
        outputs[token] = y[0].numpy()
    # Tokens that are dropped are all alike, the others differ.
    alike = [sum(np.allclose(y, other, atol=1e-6) for other in outputs.values()) for y in outputs.values()]
    assert 0.2 < max(alike) / len(alike) < 0.8
    assert alike.count(1) == len(alike) - max(alike)


def test_weight_drop_of_a_cell_without_one_recurrent_matrix_is_refused():
    with pytest.raises(ConfigError, match="weight_drop needs a cell with one matrix of recurrent weights"):
        prepared(cell="mingru", weight_drop=0.3).build()

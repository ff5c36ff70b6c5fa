"""The language model's data, loss, figures and use."""

import math
from itertools import islice

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.cells.base import initial_state
from ostinato.errors import ConfigError, EncodingError, SourceError
from ostinato.tasks.base import Loss, as_figures
from ostinato.tasks.language_model import LanguageModel, LanguageModelConfig

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "rain", "fall", "–", "over", "hills")
LINES = np.random.default_rng(0).choice(WORDS, size=(60, 8))
TEXT = "\n".join(map(" ".join, LINES))
ENCODERS = ("char", "byte", "word", "bpe")


def prepared(**changes) -> LanguageModel:
    defaults = {"units": 8, "seq_len": 8, "batch": 4}
    task = LanguageModel(LanguageModelConfig(**(defaults | changes)))
    task.prepare([TEXT])
    return task


def tensors(batch):
    return {name: tf.convert_to_tensor(value) for name, value in batch.items()}


def random_state(task, model, rows):
    return tuple(
        tf.random.stateless_normal(part.shape, seed=(5, number))
        for number, part in enumerate(initial_state(task.states(model), rows))
    )


def state_of(state, cell, depth):
    return state[2 * depth : 2 * depth + 2] if cell == "lstm" else state[depth : depth + 1]


# Data.


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_text_is_split_into_contiguous_parts(encoder):
    task = prepared(encoder=encoder, validation_fraction=0.2, test_fraction=0.1, vocabulary_size=300)
    pieces = []
    for split in ("train", "validation", "test"):
        assert task.has(split)
        first = True
        whole = task.for_evaluation(whole=False)
        whole.prepare([TEXT])
        for batch in whole.batches(split):
            count = int(batch["weights"].sum())
            pieces.append(batch["tokens"][0, :1] if first else [])
            pieces.append(batch["targets"][0, :count])
            first = False
    assert task.encoder.decode(np.concatenate(pieces).astype(int)) == TEXT


def test_a_part_of_nothing_is_not_there():
    task = prepared(validation_fraction=0.0)
    assert task.has("train")
    assert not task.has("validation")
    assert not task.has("test")


def test_only_the_first_tokens_are_used_when_asked():
    task = prepared(max_tokens=100, validation_fraction=0.0)
    assert sum(batch["weights"].sum() for batch in task.batches("train")) == 99


@pytest.mark.parametrize("sampling", ["sequential", "random"])
@pytest.mark.parametrize("epoch", [None, 0, 3])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_shards_of_a_batch_join_to_the_global_batch(sampling, epoch, count):
    task = prepared(batch=5, sampling=sampling)
    split = "train" if epoch is not None else "validation"
    whole = list(task.batches(split, epoch=epoch))
    shards = [list(task.batches(split, epoch=epoch, shard=(index, count))) for index in range(count)]
    assert {len(shard) for shard in shards} == {len(whole)} == {task.steps(split)}
    for batch, *parts in zip(whole, *shards, strict=True):
        assert len(batch["tokens"]) == task.rows(split)
        for name in ("tokens", "targets", "weights"):
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), batch[name])
        rows_before = np.cumsum([0, *(len(part["tokens"]) for part in parts)])[:-1]
        assert [int(part["first_row"]) for part in parts] == rows_before.tolist()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_batches_go_on_from_any_number(split):
    task = prepared()
    epoch = 2 if split == "train" else None
    for start in (1, 3):
        expected = islice(task.batches(split, epoch=epoch), start, None)
        for batch, same in zip(task.batches(split, epoch=epoch, start=start), expected, strict=True):
            np.testing.assert_array_equal(batch["tokens"], same["tokens"])


def test_a_part_too_short_for_a_window_is_named():
    with pytest.raises(SourceError, match=r"the validation part has .* too few for one window of 300 steps"):
        prepared(seq_len=300, validation_fraction=0.1)
    with pytest.raises(SourceError, match="the training part has"):
        prepared(seq_len=60_000)


def test_a_restored_vocabulary_is_kept_and_strangers_are_named():
    task = prepared()
    other = LanguageModel(task.config)
    other.restore(task.vocabulary())
    assert other.build().vocabulary_size == task.encoder.size  # without any data
    other.prepare(["the cat sat on a mat\n" * 20])
    assert other.encoder == task.encoder
    with pytest.raises(EncodingError, match="'X', '☃'"):
        other.prepare([TEXT + "X☃"])


# Loss.


@pytest.mark.parametrize(
    "changes",
    [
        {"cell": "rnn"},
        {"cell": "gru"},
        {"cell": "gru", "reset_before": True, "embedding": 3},
        {"cell": "lstm", "units": (8, 6)},
        {"cell": "lstm", "units": (6, 4), "embedding": 4, "tied": True},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_the_loss_equals_keras_layers_and_a_cross_entropy_in_numpy(changes):
    task = prepared(**changes)
    model = task.build()
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, seed=(1, number), stddev=0.5))
    batch, state = next(task.batches("train", epoch=0)), random_state(task, model, 4)
    batch["weights"] = np.random.default_rng(1).random(batch["weights"].shape).astype(np.float32)
    loss, weight, sums, new_state = task.loss(model, tensors(batch), state)

    arrays = {variable.path.split("/", 1)[1]: variable.numpy() for variable in model.variables}
    kinds = {"rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
    options = {"reset_after": not task.config.reset_before} if task.config.cell == "gru" else {}
    embedding = arrays.get("embedding/embeddings", np.eye(task.encoder.size, dtype=np.float32))
    x, expected_state = embedding[batch["tokens"]], []
    for depth, units in enumerate(task.config.units):
        layer = kinds[task.config.cell](units, return_sequences=True, return_state=True, **options)
        layer.build(x.shape)
        layer.set_weights([array for name, array in arrays.items() if f"layer_{depth}/" in name])
        x, *parts = layer(x, initial_state=list(state_of(state, task.config.cell, depth)))
        expected_state += parts
    kernel = embedding.T if task.config.tied else arrays["output/kernel"]
    bias = arrays["output_bias"] if task.config.tied else arrays["output/bias"]
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
    task = prepared(encoder=encoder, min_count=min_count, vocabulary_size=300, validation_fraction=0.0)
    model = task.build()
    characters, first = 0.0, None
    state = initial_state(task.states(model), task.rows("train", evaluate=True))
    for batch in task.batches("train"):
        first = batch["tokens"][0, 0] if first is None else first
        _, _, sums, state = task.loss(model, tensors(batch), state)
        characters += float(sums["characters"])
    characters += float(task.encoder.characters[first])
    assert characters == pytest.approx(len(TEXT), rel=1e-5)


def test_the_figures_follow_from_the_sums():
    figures = as_figures(prepared().metrics(Loss(60.0, 30.0, {"characters": 120.0})))
    assert figures == {
        "loss": 2.0,
        "perplexity": pytest.approx(math.exp(2.0)),
        "bits_per_character": pytest.approx(0.5 / math.log(2)),
    }


@given(step=st.integers(0, 10**6), count=st.integers(2, 4))
@settings(max_examples=8)
def test_with_dropout_the_losses_of_the_shards_add_up_to_that_of_the_global_batch(step, count):
    task = prepared(
        batch=5, units=(8, 6), embedding=4, input_dropout=0.2, dropout=0.4, output_dropout=0.3, cell="gru"
    )
    model = task.build()

    def loss(shard):
        batch = tensors(next(task.batches("train", epoch=0, shard=shard)))
        state = initial_state(task.states(model), len(batch["tokens"]))
        return float(task.loss(model, batch, state, step=tf.constant(step))[0])

    assert sum(loss((index, count)) for index in range(count)) == pytest.approx(loss((0, 1)), rel=1e-5)


@pytest.mark.parametrize("rate", ["input_dropout", "dropout", "output_dropout"])
def test_each_dropout_changes_with_the_step_and_is_off_in_evaluation(rate):
    task = prepared(units=(8, 6), **{rate: 0.5})
    model = task.build()
    batch, state = tensors(next(task.batches("train", epoch=0))), initial_state(task.states(model), 4)

    def loss(step=None):
        return float(task.loss(model, batch, state, step=None if step is None else tf.constant(step))[0])

    assert loss(3) == loss(3)
    assert len({loss(), loss(3), loss(4)}) == 3
    plain = prepared(units=(8, 6))
    assert loss() == float(plain.loss(plain.build(), batch, state)[0])


# Weights.


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
    tasks = (prepared(init_stddev=init_stddev, seed=seed) for seed in (1, 1, 2))
    one, same, other = (task.build().get_weights() for task in tasks)
    for first, second, third in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(first, second)
        assert first.ndim == 1 or not np.array_equal(first, third)


# Use.


@pytest.fixture(scope="module")
def byte_model(tmp_path_factory):
    """A task and its untrained model, whose random bytes are seldom UTF-8."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTINATO_CACHE", str(tmp_path_factory.mktemp("cache")))
        task = prepared(encoder="byte")
        return task, task.build()


def test_a_text_begins_with_its_prompt_and_has_the_length_asked(byte_model):
    task, model = byte_model
    texts = task.generate(model, prompt="naïve ", length=5, count=3, seed=1)
    assert len(texts) == 3
    assert all(text.startswith("naïve ") for text in texts)
    char = prepared()
    assert [len(text) for text in char.generate(char.build(), prompt="the", length=17, count=2)] == [20, 20]


def test_the_same_seed_writes_the_same_texts(byte_model):
    task, model = byte_model
    one = task.generate(model, length=40, count=2, seed=7)
    assert one == task.generate(model, length=40, count=2, seed=7)
    assert one != task.generate(model, length=40, count=2, seed=8)
    assert task.generate(model, length=40) != task.generate(model, length=40)


@pytest.mark.parametrize("seed", range(4))
def test_the_text_told_piece_by_piece_is_the_whole_text(byte_model, seed):
    task, model = byte_model
    told = []
    (text,) = task.generate(model, prompt="–", length=200, seed=seed, temperature=1.5, on_text=told.append)
    assert "".join(told) == text
    assert len(told) > 2
    assert "\ufffd" in text


def test_a_prompt_with_strangers_is_refused_by_name():
    task = prepared()
    with pytest.raises(EncodingError, match="'Z'"):
        task.generate(task.build(), prompt="the Zebra")


def test_the_unknown_word_is_never_written():
    task = prepared(encoder="word", min_count=40)
    (text,) = task.generate(task.build(), length=300, temperature=2.0, seed=0)
    assert "<unk>" not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [("length", 0), ("length", 10**9), ("count", 0), ("count", 10**6), ("top_k", 0), ("top_p", 2.0)],
)
def test_values_out_of_range_are_refused_by_name(byte_model, name, value):
    task, model = byte_model
    with pytest.raises(ConfigError, match=f"{name} = {value}"):
        task.generate(model, **{name: value})


# The likeliest text.


def test_a_beam_as_wide_as_the_vocabulary_finds_the_likeliest_two_tokens():
    task = prepared()
    model = task.build()
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, seed=(4, number), stddev=0.7))
    found = task.generate(model, prompt="the c", length=2, beam=task.encoder.size, count=5)

    ids = task.encoder.encode("the c").astype(np.int32)[np.newaxis]
    pairs = np.array(list(np.ndindex(task.encoder.size, task.encoder.size)), np.int32)
    texts = np.concatenate([np.repeat(ids, len(pairs), axis=0), pairs], axis=1)
    logits, _ = model(tf.constant(texts), initial_state(task.states(model), len(texts)))
    logs = tf.gather(tf.nn.log_softmax(logits[:, :-1]), texts[:, 1:], batch_dims=2).numpy()[:, -2:].sum(1)
    likeliest = np.argsort(-logs)[:5]
    assert found == [task.encoder.decode(texts[number]) for number in likeliest]


@pytest.mark.parametrize("prompt", ["", "t", "the cat"])
def test_a_beam_of_one_writes_what_temperature_zero_writes(prompt):
    task = prepared(cell="lstm", units=(8, 6))
    model = task.build()
    greedy = task.generate(model, prompt=prompt, length=50, temperature=0.0)
    assert task.generate(model, prompt=prompt, length=50, beam=1) == greedy


def test_without_repeats_no_sequence_of_so_many_tokens_is_written_twice():
    task = prepared()
    model = task.build()
    for text in task.generate(model, length=60, beam=3, count=3, no_repeat=2):
        pairs = [text[at : at + 2] for at in range(59)]
        assert len(set(pairs)) == 59
    (text,) = task.generate(model, length=60, beam=3)
    assert len({text[at : at + 2] for at in range(59)}) < 59


def test_the_unknown_word_is_never_found_and_the_text_is_told_once():
    task, told = prepared(encoder="word", min_count=35), []
    assert task.encoder.unknown is not None
    texts = task.generate(task.build(), length=20, beam=5, count=5, on_text=told.append)
    assert len(set(texts)) == 5
    assert not any("<unk>" in text for text in texts)
    assert told == [texts[0]]


def test_where_there_are_fewer_texts_than_asked_for_fewer_come():
    task = prepared(encoder="word", min_count=40)
    model, size = task.build(), task.encoder.size
    known = size - (task.encoder.unknown is not None)
    assert len(task.generate(model, length=1, beam=size, count=size)) == known


def test_one_graph_searches_for_every_prompt_length_and_count():
    task = prepared()
    model, traces = task.build(), []
    model_call = model.call
    model.call = lambda *arguments: traces.append(arguments[0].shape) or model_call(*arguments)
    for prompt, length, count in (("the", 5, 1), ("a mat", 9, 2), ("cat", 3, 3), ("rain fall", 8, 1)):
        task.generate(model, prompt=prompt, length=length, count=count, beam=3)
    assert len([shape for shape in traces if shape[1] == 1]) == 1

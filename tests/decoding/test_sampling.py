"""How the next token is chosen, and how a text is written with it."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ostinato.decoding.sampling import (
    Sampling,
    Writer,
    draw,
    keep_top_k,
    keep_top_p,
    penalise_repetition,
)
from ostinato.errors import ConfigError
from ostinato.tasks.language_model import LanguageModelConfig, RecurrentLanguageModel

from ..variants import examples

SIZE = 7
SEED = tf.constant([1, 2])
SCORES = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 9)),
    elements=st.integers(-40, 40).map(lambda quarter: quarter / 4),
)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def toy_step(tokens, state):
    """A network whose scores follow from the last two tokens; its state is the token before, as a float."""
    table = tf.random.stateless_normal((SIZE, SIZE, SIZE), seed=(8, 9))
    (before,) = state
    scores = []
    for position in range(tokens.shape[1] or 1):
        token = tokens[:, position]
        scores.append(tf.gather_nd(table, tf.stack([tf.cast(before[:, 0], tf.int32), token], axis=-1)))
        before = tf.cast(token, tf.float32)[:, tf.newaxis]
    return tf.stack(scores, axis=1), (before,)


def write(sampling: Sampling, *, rows: int = 2, length: int = 20, seed: int = 0, piece: int = 64, **options):
    writer = Writer(toy_step, SIZE, sampling, **options)
    prompt = np.repeat([[3]], rows, axis=0)
    pieces = writer.write(prompt, (tf.zeros((rows, 1)),), length=length, seed=seed, piece=piece)
    return np.concatenate(list(pieces), axis=1)


# One draw.


@given(SCORES)
def test_temperature_zero_takes_the_likeliest_token(logits):
    np.testing.assert_array_equal(draw(tf.constant(logits), Sampling(0.0), SEED), logits.argmax(-1))


@given(SCORES, st.integers(1, 12))
def test_top_k_keeps_the_k_likeliest_and_their_equals(logits, k):
    threshold = np.sort(logits, axis=-1)[:, ::-1][:, min(k, logits.shape[1]) - 1]
    expected = np.where(logits >= threshold[:, None], logits, -np.inf)
    np.testing.assert_array_equal(keep_top_k(tf.constant(logits), k), expected)


@given(SCORES, st.floats(0.01, 1.0))
def test_top_p_keeps_the_smallest_set_of_that_probability(logits, p):
    kept_logits = keep_top_p(tf.constant(logits), p).numpy()
    for scores, probabilities, kept_row in zip(logits, softmax(logits), kept_logits, strict=True):
        kept = np.isfinite(kept_row)
        np.testing.assert_array_equal(kept_row[kept], scores[kept])
        assert kept[scores.argmax()]
        assert kept.all() or scores[kept].min() > scores[~kept].max()
        assert probabilities[kept].sum() >= p - 1e-5
        without_the_least = probabilities[scores > scores[kept].min()].sum()
        assert without_the_least < p + 1e-5


def test_only_tokens_in_the_set_are_drawn():
    logits = tf.constant(np.tile([[4.0, 3.0, 3.5, -1.0, 2.0]], (2000, 1)), tf.float32)
    assert set(draw(logits, Sampling(1.0, top_k=2), SEED).numpy()) == {0, 2}
    assert set(draw(logits, Sampling(1.0, top_p=0.8), SEED).numpy()) == {0, 1, 2}
    assert set(draw(logits, Sampling(1.0, top_p=1.0), SEED).numpy()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_tokens_are_drawn_as_often_as_the_softmax_says(temperature):
    scores, rows = np.array([2.0, 1.0, 0.0, -1.0], np.float32), 20_000
    drawn = draw(tf.constant(np.tile(scores, (rows, 1))), Sampling(temperature), SEED).numpy()
    expected = softmax(scores / temperature)
    error = np.abs(np.bincount(drawn, minlength=4) / rows - expected)
    assert np.all(error < 5 * np.sqrt(expected * (1 - expected) / rows))


@given(SCORES, st.floats(1.0, 10.0), st.integers(0, 99))
def test_the_repetition_penalty_lowers_what_was_written_and_nothing_else(logits, penalty, seed):
    written = np.random.default_rng(seed).random(logits.shape) < 0.5
    lowered = np.where(logits > 0, logits / np.float32(penalty), logits * np.float32(penalty))
    actual = penalise_repetition(tf.constant(logits), tf.constant(written), penalty).numpy()
    np.testing.assert_allclose(actual, np.where(written, lowered, logits), rtol=1e-6)
    assert np.all(actual <= logits)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"temperature": -0.1}, "temperature must be .*, got -0.1"),
        ({"temperature": float("nan")}, "temperature must be .*, got nan"),
        ({"temperature": 101.0}, "temperature must be .*, got 101.0"),
        ({"top_k": 0}, "top_k must be .*, got 0"),
        ({"top_p": 0.0}, "top_p must be .*, got 0.0"),
        ({"top_p": 1.5}, "top_p must be .*, got 1.5"),
        ({"repetition_penalty": 0.9}, "repetition_penalty must be .*, got 0.9"),
        ({"repetition_penalty": float("inf")}, "repetition_penalty must be .*, got inf"),
    ],
)
def test_values_out_of_range_are_refused_by_name(values, named):
    with pytest.raises(ConfigError, match=named):
        Writer(toy_step, SIZE, Sampling(**values))


# A whole text.


def test_the_same_seed_writes_the_same_text_and_another_seed_another():
    one = write(Sampling(1.0), seed=4)
    np.testing.assert_array_equal(one, write(Sampling(1.0), seed=4))
    assert not np.array_equal(one, write(Sampling(1.0), seed=5))
    assert not np.array_equal(one[0], one[1])


@given(piece=st.integers(1, 12), seed=st.integers(0, 2**40))
@settings(max_examples=examples(6, thorough=10))
def test_the_text_does_not_depend_on_the_size_of_the_pieces(piece, seed):
    sampling = Sampling(0.9, top_k=5, repetition_penalty=1.2)
    np.testing.assert_array_equal(
        write(sampling, seed=seed, piece=piece, length=10), write(sampling, seed=seed, length=10)
    )


def test_the_pieces_are_as_long_as_asked():
    writer = Writer(toy_step, SIZE, Sampling())
    pieces = writer.write(np.array([[3]]), (tf.zeros((1, 1)),), length=10, seed=0, piece=4)
    assert [piece.shape for piece in pieces] == [(1, 4), (1, 4), (1, 2)]


@pytest.mark.parametrize("sampling", [Sampling(0.0), Sampling(3.0), Sampling(1.0, top_k=2, top_p=0.5)])
def test_banned_tokens_are_never_written(sampling):
    written = write(sampling, rows=4, length=100, banned=(0, 5))
    assert not set(np.unique(written)) & {0, 5}


def test_a_repeated_token_is_penalised_in_the_whole_text_and_the_prompt():
    def flat(tokens, state):
        return tf.ones((1, 1, 1)) * tf.constant([5.0, 4.0, 3.0, 2.0]), state

    writer = Writer(flat, 4, Sampling(0.0, repetition_penalty=100.0))
    written = np.concatenate(list(writer.write(np.array([[1, 0]]), (), length=3, seed=0, piece=1)), axis=1)
    np.testing.assert_array_equal(written, [[2, 3, 0]])


@pytest.mark.parametrize("penalty", [1.0, 1.5])
def test_greedy_writing_equals_a_plain_loop_over_the_model(penalty):
    config = LanguageModelConfig(cell="gru", units=(6, 5), init_stddev=None)
    model = RecurrentLanguageModel(config, SIZE)
    prompt, state = np.array([[1, 4, 2], [0, 3, 3]], np.int32), model.stack.initial_state(2)
    model(tf.constant(prompt), state)
    for weight in model.trainable_variables:
        weight.assign(tf.random.stateless_normal(weight.shape, seed=(1, len(weight.path))))

    writer = Writer(lambda tokens, state: model(tokens, state), SIZE, Sampling(0.0, None, None, penalty))
    written = np.concatenate(list(writer.write(prompt, state, length=12, seed=0, piece=5)), axis=1)

    tokens = [list(row) for row in prompt]
    logits, state = model(tf.constant(prompt), state)
    for _ in range(12):
        scores = logits[:, -1].numpy()
        for row, seen in zip(scores, tokens, strict=True):
            for token in set(seen):
                row[token] = row[token] / penalty if row[token] > 0 else row[token] * penalty
        chosen = scores.argmax(-1)
        tokens = [[*row, token] for row, token in zip(tokens, chosen, strict=True)]
        logits, state = model(tf.constant(chosen[:, np.newaxis], tf.int32), state)
    np.testing.assert_array_equal(written, np.array(tokens)[:, 3:])


def test_a_row_is_written_as_if_it_were_alone():
    prompts = np.array([[1], [4], [6]])
    writer = Writer(toy_step, SIZE, Sampling(0.0))

    def greedy(prompt):
        pieces = writer.write(prompt, (tf.zeros((len(prompt), 1)),), length=9, seed=0)
        return np.concatenate(list(pieces), axis=1)

    together = greedy(prompts)
    for row, prompt in zip(together, prompts, strict=True):
        np.testing.assert_array_equal(greedy(prompt[np.newaxis])[0], row)

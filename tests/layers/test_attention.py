"""Both attentions against their papers' formulas, written out in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.errors import ConfigError
from ostinato.layers.attention import attention

UNITS, WIDTH = 5, 3
KINDS = pytest.mark.parametrize("kind", ["additive", "multiplicative"])


def drawn(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def built(kind: str, **options):
    """A layer whose weights are drawn from a normal distribution."""
    layer = attention(kind, UNITS, **options)
    layer.build((None, None, UNITS), (None, None, UNITS), (None, None, WIDTH))
    for number, weight in enumerate(layer.trainable_variables):
        weight.assign(drawn(*weight.shape, seed=100 + number))
    return layer


def by_hand(layer, queries, memory, lengths) -> tuple[np.ndarray, np.ndarray]:
    """Contexts and weights, one query at a time."""
    weights = {weight.path.split("/")[-2]: weight.numpy().astype(np.float64) for weight in layer.weights}
    contexts, looked = np.zeros((*queries.shape[:2], WIDTH)), np.zeros((*queries.shape[:2], memory.shape[1]))
    for row, length in enumerate(lengths):
        there = memory[row, :length]
        for place, query in enumerate(queries[row]):
            if "score" in weights:
                scores = (
                    np.tanh(query @ weights["query"] + there @ weights["memory"]) @ weights["score"][:, 0]
                )
            else:
                scores = there @ weights["memory"] @ query
            exponentials = np.exp(scores - scores.max(initial=-np.inf))
            looked[row, place, :length] = exponentials / exponentials.sum()
            contexts[row, place] = looked[row, place, :length] @ there
    return contexts, looked


@KINDS
@given(
    seed=st.integers(0, 1000),
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    padding=st.integers(0, 3),
    count=st.integers(1, 4),
)
@settings(max_examples=20)
def test_it_equals_the_formula_and_looks_at_no_padding(kind, seed, lengths, padding, count):
    layer, time = built(kind), max(lengths) + padding
    queries, memory = (
        drawn(len(lengths), count, UNITS, seed=seed),
        drawn(len(lengths), time, WIDTH, seed=seed + 1),
    )
    mask = tf.sequence_mask(lengths, time)
    context, weights = layer(queries, layer.keys(memory), memory, mask=mask)
    expected_context, expected_weights = by_hand(layer, queries, memory, lengths)
    np.testing.assert_allclose(weights, expected_weights, atol=1e-5)
    np.testing.assert_allclose(context, expected_context, atol=1e-5)
    assert not np.any(weights.numpy()[np.broadcast_to(~mask.numpy()[:, np.newaxis], weights.shape)])


@KINDS
def test_without_a_mask_it_looks_at_all(kind):
    layer, queries, memory = built(kind), drawn(2, 3, UNITS, seed=1), drawn(2, 4, WIDTH, seed=2)
    found = layer(queries, layer.keys(memory), memory)
    for part, expected in zip(found, by_hand(layer, queries, memory, [4, 4]), strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-5)
    np.testing.assert_allclose(tf.reduce_sum(found[1], axis=-1), np.ones((2, 3)), rtol=1e-6)


@KINDS
def test_where_nothing_is_there_context_and_gradients_are_zero(kind):
    layer, queries, memory = (
        built(kind),
        tf.constant(drawn(2, 3, UNITS, seed=1)),
        tf.constant(drawn(2, 4, WIDTH, seed=2)),
    )
    with tf.GradientTape() as tape:
        tape.watch([queries, memory])
        context, weights = layer(
            queries, layer.keys(memory), memory, mask=tf.constant([[True] * 4, [False] * 4])
        )
        total = tf.reduce_sum(context**2)
    assert not np.any(context[1])
    assert not np.any(weights[1])
    assert np.any(context[0])
    for gradient in tape.gradient(total, [queries, memory]):
        assert np.isfinite(gradient).all()
        assert not np.any(gradient[1])


@KINDS
@pytest.mark.parametrize("garbage", [0.0, 1e4, -1e4])
def test_a_sentence_finds_the_same_alone_as_padded_in_a_batch(kind, garbage):
    layer, queries, memory = built(kind), drawn(3, 2, UNITS, seed=1), drawn(3, 6, WIDTH, seed=2)
    lengths = [6, 2, 4]
    for row, length in enumerate(lengths):
        memory[row, length:] = garbage
    context, weights = layer(queries, layer.keys(memory), memory, mask=tf.sequence_mask(lengths, 6))
    for row, length in enumerate(lengths):
        rest = memory[row : row + 1, :length]
        alone = layer(queries[row : row + 1], layer.keys(rest), rest)
        np.testing.assert_allclose(context[row], alone[0][0], atol=1e-5)
        np.testing.assert_allclose(weights[row, :, :length], alone[1][0], atol=1e-5)


@KINDS
def test_every_weight_has_a_gradient_and_padding_gets_none(kind):
    layer, queries, memory = (
        built(kind),
        tf.constant(drawn(2, 3, UNITS, seed=1)),
        tf.constant(drawn(2, 4, WIDTH, seed=2)),
    )
    with tf.GradientTape() as tape:
        tape.watch([queries, memory])
        context, _ = layer(queries, layer.keys(memory), memory, mask=tf.sequence_mask([4, 2], 4))
        total = tf.reduce_sum(context**2)
    weights = [weight.value for weight in layer.trainable_variables]
    assert len(weights) == (3 if kind == "additive" else 1)
    *gradients, of_memory = tape.gradient(total, [*weights, queries, memory])
    assert all(np.any(gradient) for gradient in gradients)
    assert np.all(of_memory[0])
    assert not np.any(of_memory[1, 2:])


@KINDS
def test_its_config_builds_it_again_with_the_same_weights(kind):
    layer = attention(kind, UNITS, seed=7, name="looks")
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()
    assert (copy.units, copy.seed, copy.name) == (UNITS, 7, "looks")
    queries, memory = drawn(2, 3, UNITS, seed=1), drawn(2, 4, WIDTH, seed=2)
    found, same, other = (
        one(queries, one.keys(memory), memory)[0] for one in (layer, copy, attention(kind, UNITS, seed=8))
    )
    np.testing.assert_array_equal(found, same)
    assert not np.allclose(found, other)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match="attention must be one of additive, multiplicative, got 'dot'"):
        attention("dot", UNITS)

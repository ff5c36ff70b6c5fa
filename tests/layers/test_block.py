"""Residual blocks around the layers of a stack."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato.errors import ConfigError
from ostinato.layers.dropout import DropoutKey
from ostinato.layers.stack import RecurrentStack


def zero(number=0):
    return tf.constant(number, tf.int32)


KEY = DropoutKey(seed=zero(1), step=zero(2), first_row=zero())


def rms(x):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6)


def test_it_computes_what_its_page_says():
    stack = RecurrentStack("mingru", (6, 6), block=True, seed=1, name="stack")
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    found, _ = stack(tf.constant(x), stack.initial_state(2))
    read = x @ np.asarray(stack.entrance)
    for layer, parts in zip(stack.layers, stack.blocks, strict=True):
        read = read + np.asarray(layer(rms(read) * np.asarray(parts.before_cell))[0])
        normed = rms(read) * np.asarray(parts.before_mlp)
        gate = normed @ np.asarray(parts.gate)
        read = read + (gate / (1 + np.exp(-gate)) * (normed @ np.asarray(parts.up))) @ np.asarray(parts.down)
    np.testing.assert_allclose(found, rms(read) * np.asarray(stack.exit), atol=1e-5)


def test_step_by_step_is_the_whole_and_ids_are_one_hot_vectors():
    stack = RecurrentStack("rg-lru", (8, 8), block=True, symbols=5)
    ids = tf.constant(np.random.default_rng(0).integers(0, 5, (3, 6)), tf.int32)
    whole, end = stack(ids, stack.initial_state(3))
    state, steps = stack.initial_state(3), []
    for step in range(6):
        y, state = stack(ids[:, step : step + 1], state)
        steps.append(y)
    np.testing.assert_allclose(tf.concat(steps, 1), whole, atol=1e-6)
    for a, b in zip(state, end, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_dropout_acts_on_what_is_added_and_follows_the_key():
    stack = RecurrentStack("mingru", (6, 6), block=True, dropout=0.5, name="stack")
    x = tf.ones((2, 5, 6))
    first, again = (stack(x, stack.initial_state(2), KEY)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - stack(x, stack.initial_state(2))[0]).max() > 1e-3


def test_zoneout_and_recurrent_dropout_follow_the_key():
    stack = RecurrentStack("ln-lstm", (6,), options={"zoneout": (0.3, 0.2)}, recurrent_dropout=0.2)
    x = tf.random.stateless_normal((3, 5, 4), (1, 2))
    first, again = (stack(x, stack.initial_state(3), KEY)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = stack(x, stack.initial_state(3), KEY._replace(step=zero(3)))[0]
    assert np.abs(first - other).max() > 1e-3
    rows = stack(x[1:], stack.initial_state(2), KEY._replace(first_row=zero(1)))[0]
    np.testing.assert_allclose(rows, first[1:], atol=1e-6)


@pytest.mark.parametrize(("cell", "units"), [("mingru", (6, 8)), ("lstmp", (6, 6))])
def test_layers_of_different_widths_are_refused(cell, units):
    with pytest.raises(ConfigError, match="units must be the same for all layers of residual blocks"):
        RecurrentStack(cell, units, block=True)


def test_its_config_makes_it_again():
    stack = RecurrentStack("sru", (4, 4), block=True)
    copy = RecurrentStack.from_config(stack.get_config())
    assert copy.get_config() == stack.get_config()
    assert copy.block
    assert isinstance(copy.blocks[0], keras.layers.Layer)

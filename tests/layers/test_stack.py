"""A stack is its layers one above the other, with one flat state."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato.layers.dropout import DropoutKey, dropout, recurrent_masks
from ostinato.layers.stack import RecurrentStack

CELLS = ("rnn", "gru", "lstm")
KEY = DropoutKey(tf.constant(5), tf.constant(7), tf.constant(0))


def sequence(batch: int = 3, time: int = 7, features: int = 4) -> tf.Tensor:
    return tf.random.stateless_normal((batch, time, features), seed=(1, 2))


def random_state(stack: RecurrentStack, batch: int = 3) -> tuple[tf.Tensor, ...]:
    return tuple(
        tf.random.stateless_normal((batch, *spec.shape), seed=(3, number))
        for number, spec in enumerate(stack.states)
    )


def names_of(stack: RecurrentStack) -> tuple[str, ...]:
    return tuple(spec.name for spec in stack.states)


def by_hand(stack: RecurrentStack, x, state, *, reset_after: bool = True, drop=lambda x, depth: x):
    """The stack's layers, rebuilt as Keras' own, called one by one."""
    kinds = {"rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
    options = {"reset_after": reset_after} if stack.cell == "gru" else {}
    state, new_state = list(state), []
    for depth, (layer, units) in enumerate(zip(stack.layers, stack.units, strict=True)):
        copy = kinds[stack.cell](units, return_sequences=True, return_state=True, **options)
        copy.build(x.shape)
        copy.set_weights(layer.get_weights())
        count = 2 if stack.cell == "lstm" else 1
        x, *parts = copy(drop(x, depth) if depth else x, initial_state=state[:count])
        state, new_state = state[count:], new_state + parts
    return x, new_state


def assert_equal(actual, expected):
    (y, state), (expected_y, expected_state) = actual, expected
    for part, expected_part in zip([y, *state], [expected_y, *expected_state], strict=True):
        np.testing.assert_allclose(part, expected_part, rtol=1e-6, atol=1e-6)


def test_the_state_is_a_flat_tuple_with_stable_names():
    stack = RecurrentStack("lstm", (5, 3))
    assert names_of(stack) == ("layer_0/h", "layer_0/c", "layer_1/h", "layer_1/c")
    assert [spec.shape for spec in stack.states] == [(5,), (5,), (3,), (3,)]
    state = stack.initial_state(2)
    assert [part.shape for part in state] == [(2, 5), (2, 5), (2, 3), (2, 3)]
    assert not any(np.any(part) for part in state)
    assert names_of(RecurrentStack("gru", (5, 3))) == ("layer_0/h", "layer_1/h")
    assert names_of(RecurrentStack("rnn", (5,))) == ("layer_0/h",)


@pytest.mark.parametrize("cell", CELLS)
def test_it_equals_keras_layers_called_one_by_one(cell):
    stack, x = RecurrentStack(cell, (5, 3, 4)), sequence()
    state = random_state(stack)
    assert_equal(stack(x, state), by_hand(stack, x, state))


def test_options_reach_every_layer():
    stack, x = RecurrentStack("gru", (5, 3), options={"reset_after": False, "engine": "keras"}), sequence()
    state = random_state(stack)
    assert_equal(stack(x, state), by_hand(stack, x, state, reset_after=False))
    assert all(layer.engine == "keras" for layer in stack.layers)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("cut", [1, 4, 6])
def test_two_halves_with_the_state_carried_equal_one_go(cell, cut):
    stack, x = RecurrentStack(cell, (5, 3)), sequence()
    state = random_state(stack)
    first, between = stack(x[:, :cut], state)
    second, last = stack(x[:, cut:], between)
    assert_equal((tf.concat([first, second], axis=1), last), stack(x, state))


def test_dropout_acts_between_the_layers_and_nowhere_else():
    stack, x = RecurrentStack("gru", (8, 6, 4), dropout=0.5, name="deep"), sequence()
    state = stack.initial_state(3)
    in_evaluation, in_training = stack(x, state), stack(x, state, KEY)
    assert_equal(in_evaluation, by_hand(stack, x, state))
    dropped = by_hand(
        stack, x, state, drop=lambda x, depth: dropout(x, 0.5, KEY, site=f"deep/layer_{depth}/input")
    )
    assert_equal(in_training, dropped)
    assert not np.allclose(in_training[0], in_evaluation[0])
    single = RecurrentStack("gru", (8,), dropout=0.5)
    assert_equal(single(x, single.initial_state(3), KEY), single(x, single.initial_state(3)))


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_within_the_layers_is_drawn_at_a_site_for_each(cell):
    stack, x = RecurrentStack(cell, (8, 8), recurrent_dropout=0.5, name="deep"), sequence()
    state = random_state(stack)
    in_training, in_evaluation = stack(x, state, KEY), stack(x, state)
    assert_equal(in_evaluation, by_hand(stack, x, state))
    for depth, layer in enumerate(stack.layers):
        parts, state = state[: len(layer.state_size)], state[len(layer.state_size) :]
        with recurrent_masks(layer, x, KEY, site=f"deep/layer_{depth}/recurrent"):
            x, *_ = layer(x, initial_state=parts, training=True)
    np.testing.assert_allclose(in_training[0], x, atol=1e-6)
    assert not np.allclose(in_training[0], in_evaluation[0])


def test_every_weight_has_a_gradient():
    stack, x = RecurrentStack("lstm", (5, 3)), sequence()
    with tf.GradientTape() as tape:
        y, _ = stack(x, random_state(stack))
        loss = tf.reduce_sum(y**2)
    gradients = tape.gradient(loss, [weight.value for weight in stack.trainable_variables])
    assert len(gradients) == 6
    assert all(np.any(gradient) for gradient in gradients)


def test_equal_seeds_draw_equal_weights_and_no_two_layers_the_same():
    def weights(seed: int) -> list[np.ndarray]:
        stack = RecurrentStack("rnn", (4, 4), seed=seed)
        stack(sequence(), stack.initial_state(3))
        return stack.get_weights()

    for one, same, other in zip(weights(3), weights(3), weights(4), strict=True):
        np.testing.assert_array_equal(one, same)
        assert one.ndim == 1 or not np.array_equal(one, other)
    kernel_0, recurrent_0, _, kernel_1, recurrent_1, _ = weights(3)
    assert not np.array_equal(kernel_0, kernel_1)
    assert not np.array_equal(recurrent_0, recurrent_1)


def test_its_config_builds_it_again():
    rates = {"dropout": 0.2, "recurrent_dropout": 0.3}
    stack = RecurrentStack("gru", (5, 3), **rates, seed=9, options={"reset_after": False}, name="deep")
    copy = RecurrentStack.from_config(stack.get_config())
    assert copy.get_config() == stack.get_config()
    assert copy.name == "deep"
    x, state = sequence(), stack.initial_state(3)
    assert_equal(copy(x, state), stack(x, state))

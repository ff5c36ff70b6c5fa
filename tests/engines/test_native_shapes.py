"""Shapes for which the engine goes another way give the bits of the ordinary one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato import layers
from ostinato.engines import native

from ..variants import one_each

pytestmark = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")

CELLS = {
    "lstm": (layers.LSTM, {}),
    "gru": (layers.GRU, {}),
    "gru-before": (layers.GRU, {"reset_after": False}),
    "rnn": (layers.SimpleRNN, {}),
    "chosen": (layers.LSTM, {"activation": "relu", "recurrent_activation": "hard_sigmoid"}),
    "no-bias": (layers.GRU, {"use_bias": False, "go_backwards": True}),
}


def made(cell, units, features, **options):
    kind, more = CELLS[cell]
    layer = kind(units, return_state=True, engine="native", **more, **options)
    layer.build((None, None, features))
    random = np.random.default_rng(1)
    layer.set_weights([random.normal(scale=0.5, size=weight.shape) for weight in layer.weights])
    return layer


def state_of(layer, batch, seed=2):
    count = 2 if isinstance(layer, layers.LSTM) else 1
    return [tf.random.stateless_normal((batch, layer.units), seed=(seed, part)) for part in range(count)]


def assert_same_bits(some, others):
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one, other)


NARROW = [(2, 1, 1), (9, 1, 64), (8, 2, 5), (21, 3, 1), (67, 4, 5), (130, 8, 64)]
"""Rows of the batch, units, features."""


# With a history, for a gradient, vectors hold units. Without one they hold rows where units are few.
@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize(("cell", "sizes"), one_each(CELLS, NARROW))
def test_vectors_of_rows_give_the_bits_of_vectors_of_units(cell, sizes, sequences):
    batch, units, features = sizes
    layer = made(cell, units, features, return_sequences=sequences)
    x = tf.random.stateless_normal((batch, 7, features), seed=(3, 4))
    state = state_of(layer, batch)
    with tf.GradientTape():
        kept = layer(x, initial_state=state)
    assert_same_bits(kept, layer(x, initial_state=state))


# The recurrent product of a step is left out where the states of all rows are zero, otherwise of no row.
@pytest.mark.parametrize(
    ("cell", "sizes"),
    one_each(CELLS, [(2, 1, 30), (40, 1, 30), (130, 1, 30), (5, 2, 70), (40, 3, 9), (5, 2, 2)]),
)
def test_a_start_from_zeros_gives_the_bits_of_the_whole_product(cell, sizes):
    batch, time, units = sizes
    layer = made(cell, units, 11, return_sequences=True)
    x = tf.random.stateless_normal((batch, time, 11), seed=(5, 6))
    mask = tf.constant([[True] + [False] * (time - 1)] + [[True] * time] * (batch - 1))
    zeros = [tf.zeros_like(part) for part in state_of(layer, batch)]
    last = tf.range(batch)[:, tf.newaxis] == batch - 1
    not_zeros = [tf.where(last, part, 0.0) for part in state_of(layer, batch)]
    for options in ({}, {"training": True}, {"mask": mask}):
        from_zeros = layer(x, initial_state=zeros, **options)
        without = layer(x, **options)
        others = layer(x, initial_state=not_zeros, **options)
        assert_same_bits(from_zeros, without)
        assert_same_bits([part[:-1] for part in from_zeros], [part[:-1] for part in others])
        assert not np.array_equal(from_zeros[0][-1], others[0][-1])


# Of a state that is not given no gradient is computed; those of the others stay the same, and so do theirs.
@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize(
    ("cell", "sizes"),
    one_each(CELLS, [(3, 1, 30), (40, 2, 9), (130, 1, 4), (5, 3, 70), (20, 1, 5), (5, 2, 2)]),
)
def test_gradients_without_a_state_are_those_from_given_zeros(cell, sizes, in_graph):
    batch, time, units = sizes
    layer = made(cell, units, 6, return_sequences=True)
    x = tf.random.stateless_normal((batch, time, 6), seed=(7, 8))
    zeros = [tf.zeros_like(part) for part in state_of(layer, batch)]
    mask = tf.constant([[time > 1] + [True] * (time - 1)] + [[True] * time] * (batch - 1))

    def gradients(state, mask):
        sources = [x, *[weight.value for weight in layer.trainable_weights]]
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.add_n([tf.reduce_sum(part**2) for part in layer(x, initial_state=state, mask=mask)])
            first = tape.gradient(loss, sources)
            penalty = tf.add_n([tf.reduce_sum(part**2) for part in first])
        return [*first, *outer.gradient(penalty, sources)]

    def both(mask):
        return gradients(zeros, mask), gradients(None, mask)

    for masked in (None, mask):
        given, absent = (tf.function(both) if in_graph else both)(masked)
        assert_same_bits(given, absent)


class LearnedStart(layers.LSTM):
    """Begins with a state of its own where a call gives none, as some models learn it."""

    def build(self, sequences_shape, initial_state_shape=None):
        super().build(sequences_shape)
        self.first = self.add_weight(shape=(self.units,), initializer="ones")

    def get_initial_state(self, batch_size):
        return [tf.tile(self.first.value[tf.newaxis], (batch_size, 1))] * 2


class GivenInside(layers.LSTM):
    """Runs its loop with another state than it was called with."""

    def inner_loop(self, sequences, initial_state, mask, training=False):
        return super().inner_loop(sequences, [tf.ones_like(part) for part in initial_state], mask, training)


def test_only_the_layers_own_zeros_are_left_out():
    x, ones = tf.random.stateless_normal((4, 3, 2), seed=(9, 2)), [tf.ones((4, 5))] * 2
    layer = GivenInside(5, engine="native")
    np.testing.assert_array_equal(layer(x), layer(x, initial_state=ones))
    layer = layers.LSTM(5, engine="native")
    layer(x)
    given = layer.inner_loop(x, ones, None)[0]
    np.testing.assert_array_equal(given, layer(x, initial_state=ones))
    cells = [keras.layers.LSTMCell(5), keras.layers.GRUCell(4)]
    for wrapper in (cells[0], keras.layers.StackedRNNCells(cells)):
        layer = layers.RNN(wrapper)
        from_zeros = layer(x)
        wrapper.get_initial_state = lambda batch_size, cell=wrapper: keras.tree.map_structure(
            lambda size: tf.ones((batch_size, size)), cell.state_size
        )
        assert not np.allclose(layer(x), from_zeros)


def test_the_op_gets_no_state_where_none_is_given():
    x = tf.random.stateless_normal((4, 3, 2), seed=(9, 3))
    for layer in (layers.LSTM(5), layers.RNN([keras.layers.GRUCell(5), keras.layers.LSTMCell(4)])):
        layer(x)
        graph = tf.function(layer).get_concrete_function(x).graph
        ops = [op for op in graph.get_operations() if op.type.startswith("Ostinato")]
        assert ops
        assert all(op.inputs[1].shape == (0,) for op in ops)


def test_a_first_state_of_the_layers_own_is_kept_and_learned():
    layer = LearnedStart(5, engine="native")
    x = tf.random.stateless_normal((4, 3, 2), seed=(9, 1))
    layer(x)
    ones = [tf.ones((4, 5))] * 2
    np.testing.assert_array_equal(layer(x), layer(x, initial_state=ones))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x))
    assert np.all(tape.gradient(loss, layer.first.value) != 0)

"""RNN over Keras' own cells, and over stacks of them, does what `keras.layers.RNN` does.

Every expectation is what the stock Keras layer does with the same options, weights, seeds and inputs.
"""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato.engines import choose, native
from ostinato.engines.facts import has_known_cell
from ostinato.errors import EngineError
from ostinato.layers import RNN

from ..variants import one_each, thorough
from .test_parity import (
    BATCH,
    FEATURES,
    OUTPUTS,
    TIME,
    UNITS,
    X,
    assert_same,
    assert_within,
    outcome,
    random,
    run,
    share_weights,
)

layers = keras.layers
needs_library = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")

CELLS = {
    "rnn": lambda **options: layers.SimpleRNNCell(UNITS, seed=1, **options),
    "rectified_rnn": lambda **options: layers.SimpleRNNCell(3, "relu", use_bias=False, seed=1, **options),
    "gru": lambda **options: layers.GRUCell(UNITS, seed=2, **options),
    "papers_gru": lambda **options: layers.GRUCell(5, reset_after=False, seed=3, **options),
    "lstm": lambda **options: layers.LSTMCell(UNITS, seed=4, **options),
    "small_lstm": lambda **options: layers.LSTMCell(2, implementation=1, seed=5, **options),
}
STACKS = [("lstm", "gru"), ("papers_gru", "rectified_rnn", "small_lstm"), ("small_lstm", "lstm")]
KINDS = [*STACKS, "rnn", "gru", "lstm"]
MASK = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0]], bool)  # no row is the same backwards, but the empty one
DROPOUTS = {"dropout": 0.4, "recurrent_dropout": 0.3}


def cell(kind, **options):
    """A cell; for several names, the stack of them."""
    if isinstance(kind, str):
        return CELLS[kind](**options, name=kind)
    cells = [CELLS[each](**options, name=f"{each}_{at}") for at, each in enumerate(kind)]
    return layers.StackedRNNCells(cells, name="stack")


def pair(kind, options=None, **given):
    """Our layer and Keras', built, with the same weights."""
    made = [
        each(cell(kind, **(options or {})), **{"return_state": True, "name": "recurrent", **given})
        for each in (RNN, layers.RNN)
    ]
    for layer in made:
        layer.build((BATCH, TIME, FEATURES))
    share_weights(*made)
    return made


def state_of(layer, rows=BATCH):
    """A state that is not zero, in the structure that the layer has it in."""
    seeds = itertools.count()
    return keras.tree.map_structure(
        lambda part: random(*part.shape, seed=next(seeds)), layer.get_initial_state(rows)
    )


def shapes(results):
    return keras.tree.map_structure(lambda tensor: str(tensor.shape), results)


def assert_alike(ours, stock, **call):
    assert shapes(ours(X, **call)) == shapes(stock(X, **call))
    assert_same(run(ours, **call), run(stock, **call))


OPTIONS = [
    {"return_sequences": True},
    {"return_sequences": True, "go_backwards": True},
    {"return_sequences": True, "zero_output_for_mask": True},
    {"return_sequences": True, "zero_output_for_mask": True, "go_backwards": True},
    {"unroll": True, "return_sequences": True, "go_backwards": True},
    {"zero_output_for_mask": True, "unroll": True},
]


@pytest.mark.parametrize(
    ("kind", "options"), [(KINDS[1], {}), thorough(KINDS[0], {}), *one_each(KINDS, OPTIONS)]
)
def test_cells_and_stacks_do_what_they_do_in_keras(kind, options):
    ours, stock = pair(kind, DROPOUTS, **options)
    assert choose("auto", ours).engine == choose("auto", stock).engine
    assert choose("auto", ours).engine == ("native" if native.available() else "keras")
    assert ours.get_config()["cell"]["class_name"] == type(stock.cell).__name__
    assert [w.path for w in ours.weights] == [w.path for w in stock.weights]
    assert_alike(ours, stock, training=True)
    assert_alike(ours, stock, mask=MASK, training=True, initial_state=state_of(stock))


@pytest.mark.parametrize("kind", [STACKS[0], "lstm"])
def test_a_stateful_layer_carries_its_state_as_kerass(kind):
    ours, stock = pair(kind, stateful=True)
    for call in ({}, {"mask": MASK}, {"initial_state": state_of(stock)}, {}):
        assert_same(run(ours, **call), run(stock, **call))
        for a, b in zip(*(keras.tree.flatten(layer.states) for layer in (ours, stock)), strict=True):
            assert_within(OUTPUTS, a.numpy(), b.numpy())


@pytest.mark.parametrize("kind", [STACKS[1]])
def test_in_a_graph_of_unknown_sizes_all_is_the_same(kind):
    ours, stock = pair(kind, DROPOUTS, return_sequences=True, go_backwards=True)
    signature = [tf.TensorSpec((None, None, FEATURES)), tf.TensorSpec((None, None), tf.bool)]
    graph = tf.function(lambda x, mask: run(ours, x, mask=mask, training=True), signature)
    for rows, steps in ((3, 3), (2, 1)):
        x, mask = X[:rows, :steps], MASK[:rows, :steps]
        assert_same(graph(x, mask), run(stock, x, mask=mask, training=True))


@needs_library
@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_has_an_op_for_each_cell_and_no_loop(kind):
    for layer in (pair(kind)[0], pair(kind, unroll=True)[0]):
        graph = tf.function(layer).get_concrete_function(tf.TensorSpec((None, TIME, FEATURES))).graph
        kinds = [op.type for op in graph.get_operations()]
        count = 1 if isinstance(kind, str) else len(kind)
        assert len([each for each in kinds if each.startswith("Ostinato")]) == count
        assert not [each for each in kinds if "While" in each]


@pytest.mark.parametrize("kind", [*KINDS, ("lstm",)])
@pytest.mark.parametrize("engine", ["auto", "keras"])
def test_a_single_step_is_as_in_keras(kind, engine):
    ours, stock = pair(kind)
    ours.engine = engine
    results = [layer(X[:, :1], initial_state=state_of(stock)) for layer in (ours, stock)]
    assert shapes(results[0]) == shapes(results[1])
    for a, b in zip(*map(keras.tree.flatten, results), strict=True):
        assert_within(OUTPUTS, a, b)


@pytest.mark.parametrize("kind", [STACKS[0], STACKS[2], "gru"])
def test_the_textbook_runs_cells_and_stacks_too(kind):
    ours, stock = pair(kind, return_sequences=True)
    ours.engine = "scratch"
    assert choose("scratch", ours).engine == "scratch"
    assert_alike(ours, stock, initial_state=state_of(stock))


@pytest.mark.parametrize("kind", [STACKS[0], "gru"])
def test_bidirectional_does_what_it_does_around_kerass_layer(kind):
    both = []
    for each in (RNN, layers.RNN):
        layer = layers.Bidirectional(each(cell(kind, **DROPOUTS), return_sequences=True, return_state=True))
        layer.build(X.shape)
        both.append(layer)
    share_weights(*both)
    ours, stock = both
    assert type(ours.forward_layer) is type(ours.backward_layer) is RNN
    state = [*state_of(stock.forward_layer), *state_of(stock.backward_layer)]
    assert_alike(ours, stock, mask=MASK, training=True, initial_state=state)


def test_time_distributed_does_what_it_does_around_kerass_layer():
    ours, stock = (layers.TimeDistributed(layer) for layer in pair(STACKS[0], return_state=False))
    x = random(BATCH, 2, TIME, FEATURES)
    assert_within(OUTPUTS, ours(x).numpy(), stock(x).numpy())


@pytest.mark.parametrize("shared", [False, True])
def test_a_cell_that_stands_twice_in_a_stack_has_one_set_of_weights(shared):
    first = layers.LSTMCell(FEATURES, seed=1, **DROPOUTS)
    second = first if shared else layers.LSTMCell(FEATURES, seed=2, **DROPOUTS)
    ours, stock = RNN([first, second]), layers.RNN([first, second])
    stock.build(X.shape)
    ours.build(X.shape)
    assert len(ours.trainable_weights) == (3 if shared else 6)
    seeds = [generator.state.numpy() for generator in (first.seed_generator, second.seed_generator)]
    results = []
    for layer in (ours, stock):  # which have the cells, and so their random generators, in common
        first.seed_generator.state.assign(seeds[0])
        second.seed_generator.state.assign(seeds[1])
        results.append(run(layer, training=True))
    assert_same(*results)


def test_token_ids_stand_for_their_one_hot_vectors():
    ours, _ = pair("lstm", return_sequences=True)
    ids = np.array([[0, 3, 1]] * BATCH)
    state = state_of(ours)
    vectors = ours(np.eye(FEATURES, dtype="float32")[ids], initial_state=state)
    for a, b in zip(ours.over_ids(tf.constant(ids), FEATURES, initial_state=state), vectors, strict=True):
        assert_within(OUTPUTS, a, b)


# What stays with Keras' loop.


class OwnCell(layers.LSTMCell):
    """A cell of one's own, which may differ in any way, and here does."""

    def call(self, inputs, states, training=False):
        output, states = super().call(inputs, states, training=training)
        return -output, states


class Plain:
    """A cell that is no layer, without dtype, name or an argument `training`."""

    state_size = output_size = FEATURES

    def __call__(self, inputs, states):
        return inputs + states[0], [inputs]

    call = __call__

    def get_initial_state(self, batch_size=None):
        return [tf.zeros((batch_size, FEATURES))]


class Looped(RNN):
    """Ours, with a method of one's own."""


def lstms(*options, units=3):
    return [layers.LSTMCell(units, name=f"cell_{at}", **each) for at, each in enumerate(options)]


REGULAR = {"activity_regularizer": "l2"}
OBSTACLES = {
    "a cell of one's own": (lambda: OwnCell(3), "it does not know the cell OwnCell"),
    "a cell of one's own in a stack": (lambda: [*lstms({}), OwnCell(3)], "does not know the cell OwnCell"),
    "a cell that is no layer": (lambda: [Plain(), *lstms({})], r"cell Plain \(in its cell 'Plain'\)"),
    "a stack in a stack": (lambda: [layers.StackedRNNCells(lstms({}, {}))], "know the cell StackedRNNCells"),
    "an activation": (lambda: lstms({}, {"activation": "gelu"}), r"is gelu of .* \(in its cell 'cell_1'\)"),
    "two dtypes": (
        lambda: layers.StackedRNNCells(lstms({}, {}), dtype="mixed_float16"),
        "one dtype, and it has float32 and mixed_float16",
    ),
    "a loss of a cell": (lambda: lstms(REGULAR, {}), "activity_regularizer of a cell"),
    "a loss of the stack": (lambda: layers.StackedRNNCells(lstms({}, {}), **REGULAR), "activity_regularizer"),
}


@needs_library
@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_what_keeps_one_cell_keeps_the_whole_layer_with_kerass_loop_and_is_said(obstacle):
    make, why = OBSTACLES[obstacle]
    ours, stock = RNN(make()), layers.RNN(make())
    for layer in (ours, stock):
        assert choose("auto", layer).engine == "keras"
        with pytest.raises(EngineError, match=why) as error:
            choose("native", layer)
        assert "\n" not in str(error.value)
        if "know the cell" in why or "Plain" in why:
            with pytest.raises(EngineError, match=r"the textbook has no \w+"):
                choose("scratch", layer)
    assert ours.supports_jit
    if "activity" not in why:  # a loss in a loop is an error in Keras
        for layer in (ours, stock):
            layer.build(X.shape)
        share_weights(ours, stock)
        for x in (X, X[:, :1]):
            assert_within(1e-3 if "dtype" in why else OUTPUTS, ours(x).numpy(), stock(x).numpy())
    assert has_known_cell(ours) == has_known_cell(stock) == ("know" not in why and "Plain" not in why)


@needs_library
def test_layers_that_are_ours_may_be_subclassed_and_those_of_keras_not():
    class Foreign(layers.RNN):
        pass

    assert choose("auto", Looped(layers.GRUCell(3))).engine == "native"
    assert "this is the subclass Foreign(GRUCell)" in choose("auto", Foreign(layers.GRUCell(3))).reason


@needs_library
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_stack_of_one_cell_is_as_kerass_that_does_not_take_a_mask(kind):
    ours, stock = pair((kind,))
    assert choose("auto", ours).engine == "native"
    assert "a stack of one cell" in choose("auto", ours, masked=True).reason
    assert_alike(ours, stock, initial_state=state_of(stock))
    unrolled = pair((kind,), unroll=True)
    assert "a stack of one cell" in choose("auto", unrolled[0]).reason
    masked = [outcome(lambda layer: layer(X, mask=tf.constant(MASK)), layer) for layer in (ours, stock)]
    unmasked = [outcome(lambda layer: layer(X), layer) for layer in unrolled]
    assert masked[0] == masked[1]
    assert unmasked[0] == unmasked[1]


def test_kerass_loop_runs_the_layer_where_it_is_asked_for(monkeypatch):
    layer = RNN(cell(STACKS[0]), engine="keras")
    assert choose(layer.engine, layer).reason == "engine='keras' was asked for"
    assert layer.get_config()["engine"] == "keras"
    monkeypatch.setenv("OSTINATO_ENGINE", "keras")
    assert choose("native", layer).engine == "keras"
    with pytest.raises(EngineError, match="engine must be one of"):
        RNN(cell(STACKS[0]), engine="fast")


MISTAKES = {
    "a flat state": lambda layer: layer(X, initial_state=[random(BATCH, UNITS)] * 3),
    "a state too few": lambda layer: layer(X, initial_state=[[random(BATCH, UNITS)]]),
    "one tensor for an LSTM": lambda layer: layer(X, initial_state=[random(BATCH, UNITS)] * 2),
    "three tensors for an LSTM": lambda layer: layer(
        X, initial_state=[[random(BATCH, UNITS)] * 3, [random(BATCH, UNITS)]]
    ),
    "rank two": lambda layer: layer(X[0]),
    "rank four": lambda layer: layer(X[np.newaxis]),
    "an unknown argument": lambda layer: layer(X, nonsense=True),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_refused_in_kerass_words(mistake):
    ours, stock = pair(("lstm", "gru"))
    assert outcome(MISTAKES[mistake], ours) == outcome(MISTAKES[mistake], stock)

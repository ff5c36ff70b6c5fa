"""A cell says of itself what its layer does."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato.cells import registry
from ostinato.cells.base import StateSpec, initial_state
from ostinato.engines import activations, choose, native
from ostinato.engines.derivatives import OpInputs
from ostinato.registration import own_cells

UNITS, FEATURES = 3, 4
EVERY = pytest.mark.parametrize("cell", own_cells(), ids=lambda cell: cell.name)
OWN = pytest.mark.parametrize(
    "cell", [cell for cell in own_cells() if cell.keras is not None], ids=lambda cell: cell.name
)


def built(cell, **options):
    layer = cell.layer(UNITS, **options)
    layer.build((2, 5, FEATURES))
    draw = np.random.default_rng(0)
    layer.set_weights([draw.normal(size=weight.shape) for weight in layer.get_weights()])
    return layer


@OWN
def test_it_is_found_by_its_name_and_by_keras_classes(cell):
    assert registry.find(cell.name) is cell
    assert cell.layer.recurrence is cell
    assert registry.accelerated()[cell.keras.layer] is cell.layer
    assert type(cell.layer(UNITS).cell) is cell.keras.cell


@EVERY
def test_it_is_found_by_its_name_and_runs_its_cell(cell):
    assert registry.find(cell.name) is cell
    assert registry.OWN[cell.name].other_names
    layer = registry.recurrent(cell.name, UNITS)
    assert type(layer.cell) is (cell.keras.cell if cell.keras else cell.keras_cell)
    assert choose("auto", layer).engine == ("native" if native.available() else "keras")


@EVERY
def test_its_states_are_those_of_its_layer(cell):
    layer = built(cell)
    start = keras.tree.flatten(layer.get_initial_state(2))
    assert [spec.name for spec in registry.states(layer)] == [spec.name for spec in cell.states]
    assert [spec.shape for spec in registry.states(layer)] == [tuple(part.shape[1:]) for part in start]


@OWN
def test_its_states_and_gates_are_those_of_its_layer(cell):
    layer = built(cell)
    start = keras.tree.flatten(layer.get_initial_state(2))
    assert [spec.name for spec in registry.states(layer)] == [spec.name for spec in cell.states]
    assert [spec.shape for spec in registry.states(layer)] == [tuple(part.shape[1:]) for part in start]
    for part, expected in zip(initial_state(registry.states(layer), 2), start, strict=True):
        np.testing.assert_array_equal(part, expected)
    assert layer.cell.kernel.shape == (FEATURES, len(cell.gates) * UNITS)


def test_checkpoints_store_states_under_these_names():
    names = {cell.name: [spec.name for spec in cell.states] for cell in own_cells()}
    h, both = ["h"], ["h", "c"]
    assert names == {
        **{"rnn": h, "gru": h, "lstm": both, "peephole": both, "cifg": both, "lstmp": both},
        **{"ln-lstm": both, "ln-gru": h, "indrnn": h, "mingru": h, "minlstm": h},
        **{"sru": ["c"], "lru": ["re", "im"], "rg-lru": h},
        **{"slstm": ["h", "c", "n", "m"], "mlstm": ["S", "n", "m"], "gated-delta": ["S"]},
    }


@OWN
def test_what_is_known_of_it_before_keras_is_true(cell):
    parameters = inspect.signature(cell.layer).parameters
    assert {name for name in ("engine", "recurrent_dropout", "reset_after") if name in parameters} == set(
        cell.options
    )
    assert set(registry.OWN[cell.name].options) == set(cell.options) - {"engine", "recurrent_dropout"}


@EVERY
def test_its_textbook_step_is_its_layers(cell):
    layer = built(cell)
    x, state = tf.random.stateless_normal((2, FEATURES), (1, 2)), tuple(layer.get_initial_state(2))
    y, after = cell.step(x, state, cell.params(layer))
    expected, states = layer.cell(x, list(state))
    for part, other in zip((y, *after), (expected, *keras.tree.flatten(states)), strict=True):
        np.testing.assert_allclose(part, other, atol=1e-6)


@OWN
def test_pytorchs_gates_are_a_permutation_and_pytorch_has_what_the_engine_has(cell):
    assert sorted(cell.torch.gates) == sorted(cell.gates)
    assert set(cell.torch.nonlinearities) <= set(activations.FUNCTIONS)
    assert all(getattr(built(cell).cell, name) == value for name, value in cell.torch.requires.items())


@OWN
@pytest.mark.skipif(not native.available(), reason="there is no library")
def test_its_op_has_the_attributes_that_it_names(cell):
    several = {option for option, names in cell.native.activations.items() if len(names) > 1}
    every = cell.native.activations
    for version, dtype, activation, chosen in (
        ("V1", "float32", "tanh", several),
        ("V2", "float32", "silu", every),
        ("V3", "mixed_bfloat16", "tanh", [*every, "bfloat16_products"]),
        ("DoubleV1", "float64", "tanh", every),
    ):
        layer = built(cell, engine="native", activation=activation, dtype=dtype)
        x = tf.ones((2, 5, FEATURES), layer.compute_dtype)
        graph = tf.function(lambda x, layer=layer: layer(x)).get_concrete_function(x).graph
        (op,) = [op for op in graph.get_operations() if op.type == f"{cell.native.name}{version}"]
        own = native._attributes(op).keys() - {"go_backwards", "return_sequences", "zero_output_for_mask"}
        assert own == {*cell.native.attributes, *chosen}


@OWN
@pytest.mark.parametrize("activation", ["tanh", "silu"])
def test_the_step_of_its_op_is_its_layers(cell, activation):
    layer = built(cell, activation=activation)
    weights, attributes = layer.cell, {name: getattr(layer, name) for name in cell.native.attributes}
    attributes |= activations.op_and_attributes(cell.native, layer, tf.float32)[1]
    bias = np.atleast_2d(weights.bias)
    x, state = tf.random.stateless_normal((2, FEATURES), (1, 2)), tuple(layer.get_initial_state(2))
    step = cell.native.step(
        OpInputs(tf.convert_to_tensor(weights.recurrent_kernel), bias[-1], None, attributes)
    )
    after = step(x @ tf.convert_to_tensor(weights.kernel) + bias[0], *state)
    expected = keras.tree.flatten(layer.cell(x, list(state))[1])
    for part, other in zip(after, expected, strict=True):
        np.testing.assert_allclose(part, other, atol=1e-6)


def test_a_state_need_not_be_flat_nor_begin_with_zeros():
    spec = StateSpec("traces", (3, 2), np.array([[1, 2], [3, 4], [5, 6]]), "float64")
    assert spec.initial(4).shape == (4, 3, 2)
    assert spec.initial(4).dtype == tf.float64
    np.testing.assert_array_equal(spec.initial(tf.constant(2))[1], [[1, 2], [3, 4], [5, 6]])

"""Layers with `unroll=True` do what Keras' unrolled loop does, without a loop."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato import layers
from ostinato.engines import choose, native

from .test_parity import (
    BATCH,
    CELLS,
    FEATURES,
    TIME,
    X,
    assert_engine,
    assert_same,
    bidirectional,
    pair,
    run,
    share_weights,
    states,
)

MASK = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0]], bool)  # no row is the same backwards, but the empty one
DROPOUTS = {"dropout": 0.4, "recurrent_dropout": 0.3, "seed": 2}
needs_library = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")


@pytest.mark.parametrize("cell", CELLS)
def test_masks_states_directions_and_dropout_are_kerass(cell):
    ours, stock = pair(cell, unroll=True, return_sequences=True, go_backwards=True, **DROPOUTS)
    assert_engine(ours, "native")
    for call in (
        {"training": True},
        {"mask": MASK, "training": True, "initial_state": states(cell)},
    ):
        assert_same(run(ours, **call), run(stock, **call))


def test_a_stateful_layer_goes_on_and_leaves_zeros_at_skipped_steps_as_kerass():
    ours, stock = pair("LSTM", unroll=True, stateful=True, zero_output_for_mask=True, return_sequences=True)
    for call in ({}, {"mask": MASK}, {}):
        assert_same(run(ours, **call), run(stock, **call))


@pytest.mark.parametrize("cell", CELLS)
def test_bidirectional_does_what_it_does_around_kerass_layers(cell):
    options = {"layer": {"unroll": True, "return_sequences": True, **DROPOUTS}}
    ours, stock = (bidirectional(package, cell, options) for package in (layers, keras.layers))
    for layer in (ours, stock):
        layer.build(X.shape)
    share_weights(ours, stock)
    for call in ({"training": True}, {"mask": MASK, "training": True}):
        assert_same(run(ours, **call), run(stock, **call))


@needs_library
def test_with_a_mask_keras_runs_what_its_loop_zeroes_by_the_mask_in_the_order_of_the_inputs():
    options = {"unroll": True, "go_backwards": True, "zero_output_for_mask": True, "return_sequences": True}
    ours, stock = pair("GRU", **options)
    assert choose("auto", ours).engine == "native"
    assert choose("auto", ours, masked=True).engine == "keras"
    assert "zeroes outputs other than those" in choose("auto", ours, masked=True).reason
    rolled, _ = pair("GRU", **{**options, "unroll": False})
    assert choose("auto", rolled, masked=True).engine == "native"
    masked = [layer(X, mask=tf.constant(MASK))[0].numpy() for layer in (ours, stock, rolled)]
    np.testing.assert_allclose(masked[0], masked[1], atol=1e-6)
    assert np.abs(masked[1] - masked[2]).max() > 1e-2  # otherwise the native engine may run it


@needs_library
def test_a_graph_has_one_op_and_needs_a_length_as_in_keras():
    ours, _ = pair("LSTM", unroll=True)
    graph = tf.function(ours).get_concrete_function(tf.TensorSpec((BATCH, TIME, FEATURES))).graph
    kinds = [op.type for op in graph.get_operations()]
    assert (kinds.count("OstinatoLstmV1"), kinds.count("MatMul")) == (1, 0)
    with pytest.raises(ValueError, match="Cannot unroll a RNN if the time dimension is undefined"):
        tf.function(ours).get_concrete_function(tf.TensorSpec((BATCH, None, FEATURES)))

"""What both suites ask of layers: outputs, states and gradients, in the order and the shapes of PyTorch's."""

from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf


class Run(NamedTuple):
    """What a module of PyTorch computes, or the layers in its place: arrays."""

    output: np.ndarray  # (batch, time, directions × units)
    states: list[np.ndarray]  # h_n, of the LSTM also c_n: (layers × directions, batch, units)
    inputs_gradient: np.ndarray
    gradients: list[np.ndarray]  # of all weights, as Keras has them


@pytest.fixture
def run_layers():
    """run_layers(layers, inputs, states, probe): layers with `return_state`; gradients of output · probe."""

    def run(layers, inputs, states, probe):
        inputs = tf.constant(inputs)
        bidirectional = isinstance(layers[0], keras.layers.Bidirectional)
        directions = 2 if bidirectional else 1
        weights = [weight.value for layer in layers for weight in layer.trainable_weights]
        finals = []
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            x = inputs
            for depth, layer in enumerate(layers):
                rows = range(depth * directions, (depth + 1) * directions)
                initial_state = [tf.constant(state[row]) for row in rows for state in states]
                x, *final = layer(x, initial_state=initial_state, training=True)
                finals += final
            loss = tf.reduce_sum(x * probe)
        of_inputs, *gradients = tape.gradient(loss, [inputs, *weights])
        kinds = [np.stack([state.numpy() for state in finals[n :: len(states)]]) for n in range(len(states))]
        return Run(x.numpy(), kinds, of_inputs.numpy(), [gradient.numpy() for gradient in gradients])

    return run


@pytest.fixture
def assert_close():
    """assert_close(Run, Run): equal to 1e-5."""

    def check(actual, expected):
        expected = tuple(expected)
        np.testing.assert_allclose(actual.output, expected[0], rtol=1e-5, atol=1e-5)
        for ours, theirs in zip(actual.states, expected[1], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(actual.inputs_gradient, expected[2], rtol=1e-5, atol=1e-5)
        for ours, theirs in zip(actual.gradients, expected[3], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)

    return check

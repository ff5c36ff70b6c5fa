"""Keras' layers on JAX, and a scan by hand."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from .layers import Call, Layer, Problem, keras_layer, problem


class JaxPeer:
    """A recurrence as a function of (weights, inputs) under `jax.jit`, with its gradient by `jax.vjp`.

    The threads are set by the environment, see `engine.py`.

    Args:
        keras: run Keras' layers on JAX rather than `lax.scan`, written by hand.
    """

    packages: tuple[str, ...] = ("jax", "jaxlib", "keras")

    def __init__(self, threads: int, *, keras: bool):
        self._jax: Any = importlib.import_module("jax")
        self._jax.config.update("jax_platforms", "cpu")
        self._make = self._keras if keras else self._scan
        self.facts: dict[str, Any] = {}
        self.passes: dict[str, Callable[[Layer], Call]] = {"forward": self.forward, "training": self.training}

    def forward(self, layer: Layer) -> Call:
        jax = self._jax
        given = problem(layer)
        function = self._make(layer, given, False)
        run = jax.jit(lambda weights, x: [function(weights, x)])
        weights, x = jax.device_put((tuple(given[1:4]), given.x))
        return lambda: jax.block_until_ready(run(weights, x))

    def training(self, layer: Layer) -> Call:
        jax = self._jax
        given = problem(layer)
        function = self._make(layer, given, True)

        @jax.jit
        def run(weights, x, upstream):
            y, pull = jax.vjp(function, weights, x)
            of_weights, of_x = pull(upstream)
            return [y, of_x, *of_weights]

        weights, x, upstream = jax.device_put((tuple(given[1:4]), given.x, given.upstream))
        return lambda: jax.block_until_ready(run(weights, x, upstream))

    def _keras(self, layer: Layer, given: Problem, training: bool) -> Callable[[Any, Any], Any]:
        import keras

        built = keras_layer(keras.layers, layer, given)
        others = [variable.value for variable in built.non_trainable_variables]
        return lambda weights, x: built.stateless_call(list(weights), others, x, training=training)[0]

    def _scan(self, layer: Layer, given: Problem, training: bool) -> Callable[[Any, Any], Any]:
        jnp, lax, nn = self._jax.numpy, self._jax.lax, self._jax.nn
        cell, units = layer.cell, layer.units

        def run(weights, x):
            kernel, recurrent_kernel, bias = weights
            zeros = jnp.zeros((x.shape[0], units))

            def rnn(h, projected):
                h = jnp.tanh(projected + h @ recurrent_kernel)
                return h, h

            def gru(h, projected):
                x_z, x_r, x_h = jnp.split(projected, 3, axis=-1)
                h_z, h_r, h_h = jnp.split(h @ recurrent_kernel + bias[1], 3, axis=-1)
                z, r = nn.sigmoid(x_z + h_z), nn.sigmoid(x_r + h_r)
                h = z * h + (1 - z) * jnp.tanh(x_h + r * h_h)
                return h, h

            def gru_before(h, projected):
                gates = nn.sigmoid(projected[:, : 2 * units] + h @ recurrent_kernel[:, : 2 * units])
                z, r = jnp.split(gates, 2, axis=-1)
                candidate = jnp.tanh(projected[:, 2 * units :] + (r * h) @ recurrent_kernel[:, 2 * units :])
                h = z * h + (1 - z) * candidate
                return h, h

            def lstm(state, projected):
                h, c = state
                i, f, g, o = jnp.split(projected + h @ recurrent_kernel, 4, axis=-1)
                c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
                h = nn.sigmoid(o) * jnp.tanh(c)
                return (h, c), h

            step: Any = {"rnn": rnn, "gru": gru, "gru-before": gru_before, "lstm": lstm}[cell]
            projected = x @ kernel + (bias[0] if cell == "gru" else bias)
            state = (zeros, zeros) if cell == "lstm" else zeros
            return lax.scan(step, state, projected.swapaxes(0, 1))[1].swapaxes(0, 1)

        return run

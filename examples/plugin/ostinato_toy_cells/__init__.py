"""Three cells, one for each way in which a package adds them: a `Cell`, a Keras cell class, a callable."""

from typing import Any

import keras
from keras import ops

from ostinato.cells.base import Cell, StateSpec


class TracesCell(keras.layers.Layer):
    """Remembers each unit's past at several speeds.

        m'_s = d_s m_s + (1 - d_s) tanh(x W + b)     for each speed s, with the decays d_s
        h'   = Σ_s v_s ⊙ m'_s

    Its one state has the shape (batch, units, speeds), and begins with halves.
    """

    def __init__(self, units, speeds=3, kernel_initializer="glorot_uniform", **options):
        super().__init__(**options)
        self.units = self.output_size = units
        self.state_size = [(units, speeds)]
        self.decays = [1 - 0.5 ** (speed + 1) for speed in range(speeds)]
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape):
        units, speeds = self.state_size[0]
        self.kernel = self.add_weight(
            shape=(input_shape[-1], units), initializer=self.kernel_initializer, name="kernel"
        )
        self.bias = self.add_weight(shape=(units,), initializer="zeros", name="bias")
        self.mix = self.add_weight(shape=(units, speeds), initializer="ones", name="mix")

    def get_initial_state(self, batch_size=None):
        return [ops.full((batch_size, *self.state_size[0]), 0.5)]

    def call(self, inputs, states):
        new: Any = ops.tanh(ops.matmul(inputs, self.kernel) + self.bias)
        decays: Any = ops.array(self.decays)
        rest: Any = ops.array([1 - decay for decay in self.decays])
        traces = decays * states[0] + rest * new[:, :, None]
        return ops.sum(self.mix * traces, axis=-1), [traces]


TRACES = Cell("traces", layer=TracesCell, states=(StateSpec("traces"),))


class FadingCell(keras.layers.Layer):
    """h' = h / 2 + tanh(x W), a Keras cell class as Keras' own guide has it."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = self.state_size = units

    def build(self, input_shape):
        shape = (input_shape[-1], self.units)
        self.kernel = self.add_weight(shape=shape, initializer="he_normal", name="kernel")

    def call(self, inputs, states):
        h = states[0] / 2 + ops.tanh(ops.matmul(inputs, self.kernel))
        return h, [h]


def clip(x):
    return ops.clip(x, -1, 1)


def clipped(units, **options):
    """An LSTM whose candidate and output are clipped in place of squashed."""
    return keras.layers.LSTM(units, activation=clip, **options)  # pyright: ignore[reportArgumentType]

"""What the stored files name and do not hold, written for Keras 3 as their owner would."""

import keras
from keras import ops


def scaled_error(true, predicted):
    return ops.mean(ops.square(true - predicted)) * 3.0


def largest_error(true, predicted):
    return ops.max(ops.abs(true - predicted))


class SlowAdam(keras.optimizers.Adam):
    pass


def twice(x):
    return x * 2.0


class MinimalCell(keras.layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")

    def call(self, inputs, states):
        output = ops.tanh(inputs @ self.kernel + states[0])
        return output, [output]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class ScaledCell(MinimalCell):
    def build(self, input_shape):
        self.scale = self.add_weight(shape=(self.units, self.units), name="scale")
        super().build(input_shape[0])

    def call(self, inputs, states, constants):
        output = ops.tanh(inputs @ self.kernel + states[0]) + constants[0] @ self.scale
        return output, [output]


class Attention(keras.layers.Layer):
    def build(self, input_shape):
        self.W = self.add_weight(shape=(input_shape[-1], 1), name="att_weight")
        self.b = self.add_weight(shape=(input_shape[1], 1), name="att_bias")

    def call(self, inputs, mask=None):
        scores = ops.exp(ops.squeeze(ops.tanh(inputs @ self.W + self.b), axis=-1))
        if mask is not None:
            scores = scores * ops.cast(mask, "float32")
        weights = scores / ops.sum(scores, axis=1, keepdims=True)
        return ops.sum(inputs * ops.expand_dims(weights, -1), axis=1)

    def compute_mask(self, inputs, mask=None):
        return None


class LayerNormalization(keras.layers.Layer):
    def build(self, input_shape):
        self.gain = self.add_weight(shape=(input_shape[-1],), name="gain")

    def call(self, inputs):
        mean = ops.mean(inputs, axis=-1, keepdims=True)
        return self.gain * (inputs - mean) / (ops.std(inputs, axis=-1, keepdims=True) + 0.1)


class LSTM(keras.layers.LSTM):
    def call(self, sequences, initial_state=None, mask=None, training=False):
        return 2.0 * super().call(sequences, initial_state, mask, training)


OF_FILES = {
    "own_loss": [scaled_error, largest_error],
    "own_optimizer": [SlowAdam],
    "lambdas": [twice],
    "own_cell": [MinimalCell],
    "seq2seq_constants": [ScaledCell],
    "own_attention": [Attention],
    "own_normalization": [LayerNormalization],
    "own_lstm": [LSTM],
}

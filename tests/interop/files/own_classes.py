"""Cells and layers of one's own, as people write them for Keras 2."""

from storing import keras

K, layers = keras.backend, keras.layers


class MinimalCell(layers.Layer):
    """h' = tanh(x W + h), with the options of any layer."""

    def __init__(self, units: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape: object) -> None:
        shape = (int(input_shape[-1]), self.units)
        self.kernel = self.add_weight(shape=shape, initializer="uniform", name="kernel")
        self.built = True

    def call(self, inputs: object, states: object) -> tuple:
        output = K.tanh(K.dot(inputs, self.kernel) + states[0])
        return output, [output]

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}


class ScaledCell(MinimalCell):
    """h' = tanh(x W + h) + c V, with a constant c of as many values."""

    def build(self, input_shape: object) -> None:
        step = input_shape[0] if isinstance(input_shape[0], (list, tuple)) else input_shape
        self.scale = self.add_weight(shape=(self.units, self.units), initializer="uniform", name="scale")
        super().build(step)

    def call(self, inputs: object, states: object, constants: object) -> tuple:
        output = K.tanh(K.dot(inputs, self.kernel) + states[0]) + K.dot(constants[0], self.scale)
        return output, [output]

"""Writes models with classes of one's own that are called like classes of Keras.

python tests/interop/files/own_layers.py PACKAGE [NAME ...]
"""

from storing import keras, padded_ids, store, vectors, write

K, layers, Model = keras.backend, keras.layers, keras.models.Model


class Attention(layers.Layer):
    """The weighted mean over time, as in many published notebooks; Keras' layer takes a query and a value."""

    def build(self, input_shape: object) -> None:
        self.W = self.add_weight(shape=(int(input_shape[-1]), 1), initializer="uniform", name="att_weight")
        self.b = self.add_weight(shape=(int(input_shape[1]), 1), initializer="uniform", name="att_bias")
        super().build(input_shape)

    def call(self, inputs: object, mask: object = None) -> object:
        scores = K.exp(K.squeeze(K.tanh(K.dot(inputs, self.W) + self.b), axis=-1))
        if mask is not None:
            scores = scores * K.cast(mask, K.floatx())
        weights = scores / K.sum(scores, axis=1, keepdims=True)
        return K.sum(inputs * K.expand_dims(weights), axis=1)

    def compute_mask(self, inputs: object, mask: object = None) -> None:
        return None

    def compute_output_shape(self, input_shape: object) -> tuple:
        return (input_shape[0], input_shape[-1])


class LayerNormalization(layers.Layer):
    """With a name of its own for its one weight, and without an offset."""

    def build(self, input_shape: object) -> None:
        self.gain = self.add_weight(shape=(int(input_shape[-1]),), initializer="ones", name="gain")
        super().build(input_shape)

    def call(self, inputs: object) -> object:
        mean = K.mean(inputs, axis=-1, keepdims=True)
        return self.gain * (inputs - mean) / (K.std(inputs, axis=-1, keepdims=True) + 0.1)

    def compute_output_shape(self, input_shape: object) -> object:
        return input_shape


class LSTM(layers.LSTM):
    """A subclass with its own outputs."""

    def call(self, inputs: object, **options: object) -> object:
        return 2.0 * super().call(inputs, **options)


def own_attention(name: str) -> None:
    ids = layers.Input((5,))
    words = layers.Embedding(12, 3, mask_zero=True)(ids)
    read = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(words)
    outputs = layers.Dense(2)(Attention()(read))
    store(name, Model(ids, outputs), padded_ids(), custom_objects={"Attention": Attention})


def own_normalization(name: str) -> None:
    floats = layers.Input((5, 3))
    outputs = layers.GRU(3)(LayerNormalization()(layers.SimpleRNN(3, return_sequences=True)(floats)))
    custom_objects = {"LayerNormalization": LayerNormalization}
    store(name, Model(floats, outputs), vectors(), custom_objects=custom_objects)


def own_lstm(name: str) -> None:
    floats = layers.Input((5, 3))
    model = Model(floats, layers.Dense(2)(LSTM(3)(floats)))
    store(name, model, vectors(), custom_objects={"LSTM": LSTM})


MAKERS = own_attention, own_normalization, own_lstm
if __name__ == "__main__":
    write({maker.__name__: maker for maker in MAKERS})

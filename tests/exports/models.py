"""Models to export, as people build them, with drawn weights."""

import keras
import numpy as np

K = keras.layers
CELLS = {
    "lstm": (K.LSTM, {}),
    "gru": (K.GRU, {}),
    "gru that resets before": (K.GRU, {"reset_after": False}),
    "rnn": (K.SimpleRNN, {}),
}
DIRECTIONS = ("forward", "backward", "bidirectional")


def stirred(model, seed=1):
    """The model with drawn weights."""
    random = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.dtype == "float32":
            variable.assign(variable + 0.2 * random.normal(size=variable.shape))
    return model


def recurrent(cell, direction, *, ids, results):
    """A recurrent layer alone: over vectors, or over ids of which 0 is padding.

    `results` is "last", "sequence" or "states".
    """
    kind, options = CELLS[cell]
    x = keras.Input((None,), name="x", dtype="int32") if ids else keras.Input((None, 5), name="x")
    read = K.Embedding(11, 5, mask_zero=True)(x) if ids else x
    layer = kind(
        6,
        return_sequences=results == "sequence",
        return_state=results == "states",
        go_backwards=direction == "backward",
        **options,
    )
    layer = K.Bidirectional(layer) if direction == "bidirectional" else layer
    return stirred(keras.Model(x, layer(read)))


def _text_classifier():
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            K.Embedding(50, 16, mask_zero=True),
            K.Bidirectional(K.LSTM(16, return_sequences=True)),
            K.LSTM(8),
            K.Dropout(0.3),
            K.Dense(1, activation="sigmoid"),
        ]
    )


def _crnn():
    x = keras.Input((16, 32, 1))
    y = K.MaxPooling2D(2)(K.Conv2D(4, 3, padding="same", activation="relu")(x))
    y = K.Reshape((16, 8 * 4))(K.Permute((2, 1, 3))(y))
    y = K.Bidirectional(K.LSTM(8, return_sequences=True))(y)
    return keras.Model(x, K.Dense(12, activation="softmax")(y))


def _encoder_decoder():
    source, target = keras.Input((None, 5), name="source"), keras.Input((None, 4), name="target")
    _, h, c = K.LSTM(8, return_state=True)(source)
    y = K.LSTM(8, return_sequences=True)(target, initial_state=[h, c])
    return keras.Model([source, target], K.Dense(3)(y))


def _autoencoder():
    decoder = [K.RepeatVector(10), K.LSTM(8, return_sequences=True), K.TimeDistributed(K.Dense(3))]
    return keras.Sequential([keras.Input((10, 3)), K.LSTM(8), *decoder])


def _tagger():
    layer = K.Bidirectional(K.LSTM(8, return_sequences=True))
    dense = K.TimeDistributed(K.Dense(5, activation="softmax"))
    return keras.Sequential(
        [keras.Input((None,), dtype="int32"), K.Embedding(50, 8, mask_zero=True), layer, dense]
    )


def _stateful():
    layers = [K.GRU(6, stateful=True, return_sequences=True), K.LSTM(4, stateful=True), K.Dense(1)]
    return keras.Sequential([keras.Input(batch_shape=(2, None, 3)), *layers])


def _attention():
    x = keras.Input((None, 8))
    y = K.GRU(16, return_sequences=True)(x)
    return keras.Model(x, K.Dense(2)(K.GlobalAveragePooling1D()(K.Attention()([y, y]))))


def _heads():
    x = keras.Input((None, 8))
    y = K.GRU(16, return_sequences=True)(x)
    return keras.Model(x, K.Dense(2)(K.LayerNormalization()(K.MultiHeadAttention(2, 8)(y, y))))


def _convolutional_beside():
    frames, numbers = keras.Input((6, 8, 8, 1)), keras.Input((None, 3))
    y = K.Flatten()(K.ConvLSTM2D(4, 3, padding="same")(frames))
    return keras.Model([frames, numbers], K.Dense(1)(K.Concatenate()([y, K.LSTM(5)(numbers)])))


def _normalized():
    normalization = K.Normalization()
    normalization.adapt(3 * np.random.default_rng(0).normal(size=(20, 7, 3)) + 1)
    layers = [K.GRU(6, return_sequences=True), K.GRU(6), K.Dense(1)]
    return keras.Sequential([keras.Input((None, 3)), normalization, *layers])


def _masking():
    layers = [K.Masking(0.0), K.LSTM(6, return_sequences=True), K.GRU(6), K.Dense(1)]
    return keras.Sequential([keras.Input((None, 3)), *layers])


def _stacked_cells():
    cells = [K.LSTMCell(5), K.GRUCell(4)]
    return keras.Sequential([keras.Input((None, 3)), K.RNN(cells, return_sequences=True)])


def _frames():
    layers = [K.TimeDistributed(K.Conv2D(4, 3, activation="relu")), K.TimeDistributed(K.Flatten()), K.LSTM(6)]
    return keras.Sequential([keras.Input((None, 8, 8, 1)), *layers, K.Dense(2)])


def _convolution():
    layers = [K.Conv1D(8, 3, padding="causal"), K.BatchNormalization(), K.GRU(8), K.Dense(1)]
    return keras.Sequential([keras.Input((None, 4)), *layers])


def _several_inputs():
    words, numbers = keras.Input((None,), dtype="int32", name="words"), keras.Input((3,), name="numbers")
    y = K.Concatenate()([K.GRU(8)(K.Embedding(20, 6)(words)), numbers])
    return keras.Model([words, numbers], [K.Dense(1, name="price")(y), K.Dense(3, name="kind")(y)])


AS_PEOPLE_BUILD_THEM = {
    "text classifier": _text_classifier,
    "images of lines, for CTC": _crnn,
    "encoder and decoder": _encoder_decoder,
    "autoencoder": _autoencoder,
    "tagger": _tagger,
    "stateful forecaster": _stateful,
    "attention": _attention,
    "attention with heads": _heads,
    "ConvLSTM beside an LSTM": _convolutional_beside,
    "normalized inputs": _normalized,
    "masking": _masking,
    "stacked cells": _stacked_cells,
    "frames": _frames,
    "causal convolution": _convolution,
    "several inputs and outputs": _several_inputs,
}

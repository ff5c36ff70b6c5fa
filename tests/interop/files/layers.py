"""Writes models that are not compiled: what recurrent models are made of besides a plain LSTM.

python tests/interop/files/layers.py PACKAGE [NAME ...]
"""

import numpy as np
from storing import MAIN, PACKAGE, keras, padded_ids, store, vectors, write

layers, Model, Sequential = keras.layers, keras.models.Model, keras.models.Sequential
TENSORFLOW = PACKAGE != "keras"


def randomize(model: object) -> object:
    """Gives every weight, biases too, a value of its own."""
    model.set_weights(
        [np.random.uniform(0.1, 0.9, w.shape) - 0.4 * (w.ndim > 1) for w in model.get_weights()]
    )
    return model


def defaults(name: str) -> None:
    """What the version means by a plain layer: its gates, its reset gate, its biases."""
    floats = layers.Input((5, 3))
    outputs = [
        layers.SimpleRNN(3)(floats),
        layers.GRU(3)(floats),
        layers.LSTM(3)(floats),
        layers.Bidirectional(layers.GRU(2, return_sequences=True))(floats),
    ]
    store(name, randomize(Model(floats, outputs)), vectors())


def options(name: str) -> None:
    floats = layers.Input((5, 3))
    outputs = [
        layers.LSTM(3, implementation=1, go_backwards=True, return_sequences=True)(floats),
        layers.LSTM(3, implementation=2, unroll=True, unit_forget_bias=False, recurrent_dropout=0.2)(floats),
        layers.GRU(3, implementation=1, dropout=0.3, activation="relu", use_bias=False)(floats),
        layers.GRU(3, implementation=2, recurrent_activation="sigmoid", return_sequences=True)(floats),
        layers.GRU(3, unroll=True, activation="elu", recurrent_activation="hard_sigmoid")(floats),
        layers.SimpleRNN(3, activation="softsign", go_backwards=True)(floats),
        layers.LSTM(3, activation=None, recurrent_activation="tanh", recurrent_initializer="he_normal")(
            floats
        ),
    ]
    store(name, randomize(Model(floats, outputs)), vectors())


def stateful(name: str) -> None:
    ids = layers.Input(batch_shape=(6, 5))
    words = layers.Embedding(12, 3, mask_zero=True)(ids)
    read = layers.LSTM(3, return_sequences=True, stateful=True)(words)
    outputs = [layers.GRU(3, stateful=True)(read), layers.SimpleRNN(2, stateful=True)(read)]
    if TENSORFLOW:  # else it does not keep its states
        outputs.append(layers.Bidirectional(layers.LSTM(2, stateful=True))(read))
    store(name, randomize(Model(ids, outputs)), padded_ids(), again=True)


def conv_lstm(name: str) -> None:
    pictures = layers.Input((3, 4, 4, 2))
    first = layers.ConvLSTM2D(2, 3, padding="same", return_sequences=True)(pictures)
    second = layers.ConvLSTM2D(2, (2, 3), strides=2, use_bias=False)(layers.BatchNormalization()(first))
    third = layers.Bidirectional(layers.ConvLSTM2D(1, 2, activation="relu"))(first)
    store(name, randomize(Model(pictures, [second, third])), np.random.normal(size=(2, 3, 4, 4, 2)))


def cells(name: str) -> None:
    ids = layers.Input((5,))
    words = layers.Embedding(12, 3, mask_zero=True)(ids)
    floats = layers.Embedding(12, 3)(ids)  # without a mask, beside which old versions gave other outputs
    stack = layers.StackedRNNCells([layers.GRUCell(3), layers.LSTMCell(3)])
    outputs = [
        layers.RNN(layers.LSTMCell(3), return_sequences=True)(words),
        layers.RNN([layers.LSTMCell(3), layers.SimpleRNNCell(3)])(floats),
        layers.RNN(stack, return_sequences=True)(floats),
        layers.Bidirectional(layers.RNN(layers.GRUCell(3), return_sequences=True))(words),
        layers.Bidirectional(layers.RNN([layers.GRUCell(3), layers.GRUCell(3)]))(floats),
    ]
    store(name, randomize(Model(ids, outputs)), padded_ids())


def convolutions(name: str) -> None:
    """The text classifier of many tutorials."""
    stack = [
        layers.Embedding(12, 4, input_length=5),
        layers.SpatialDropout1D(0.2),
        layers.Conv1D(4, 2, padding="same", activation="relu"),
        layers.SeparableConv1D(4, 2, padding="causal" if TENSORFLOW else "same"),
        layers.MaxPooling1D(2),
        layers.LSTM(3, dropout=0.2, recurrent_dropout=0.2),
        layers.Dropout(0.5),
        layers.Dense(2, activation="softmax"),
    ]
    model = Sequential()
    for layer in stack:
        model.add(layer)
    store(name, randomize(model), padded_ids())


def masked(name: str) -> None:
    stack = [
        layers.Masking(-1.0, input_shape=(5, 3)),
        layers.LSTM(4, return_sequences=True),
        layers.BatchNormalization(),
        layers.Dropout(0.3),
        layers.TimeDistributed(layers.Dense(3, activation="relu")),
        layers.GRU(3, go_backwards=True, return_sequences=True),
        layers.SimpleRNN(2),
    ]
    data = vectors()
    data[:3, 3:] = data[3:4, :2] = -1.0
    store(name, randomize(Sequential(stack)), data)


def time_distributed(name: str) -> None:
    """A convolutional network of every picture, and a recurrent one of every sentence."""
    pictures, ids = layers.Input((3, 4, 4, 1)), layers.Input((3, 5))
    see = Sequential(
        [layers.Conv2D(2, 2, input_shape=(4, 4, 1)), layers.MaxPooling2D(2), layers.Flatten()], name="see"
    )
    sentence = layers.Input((5,))
    read = Model(sentence, layers.LSTM(3)(layers.Embedding(12, 3)(sentence)), name="read")
    both = layers.concatenate([layers.TimeDistributed(see)(pictures), layers.TimeDistributed(read)(ids)])
    data = [np.random.normal(size=(2, 3, 4, 4, 1)), np.random.randint(0, 12, (2, 3, 5))]
    store(name, randomize(Model([pictures, ids], layers.GRU(3)(both))), data)


def bidirectional(name: str) -> None:
    ids = layers.Input((5,))
    words = layers.Embedding(12, 3, mask_zero=True)(ids)
    outputs = []
    for mode in ("concat", "sum", "mul", "ave"):
        both = layers.Bidirectional(layers.LSTM(2, return_sequences=True), merge_mode=mode)(words)
        outputs += [both, layers.Bidirectional(layers.GRU(2), merge_mode=mode)(both)]
    outputs += layers.Bidirectional(layers.SimpleRNN(2), merge_mode=None)(words)
    if TENSORFLOW and MAIN > (2, 0):
        backward = layers.GRU(3, go_backwards=True)
        outputs.append(layers.Bidirectional(layers.LSTM(2), backward_layer=backward)(words))
    store(name, randomize(Model(ids, outputs)), padded_ids())


def attention(name: str) -> None:
    """Keras' own layers, which take the masks of query and value."""
    source, target = layers.Input((5,)), layers.Input((5,))
    words = layers.LSTM(3, return_sequences=True)(layers.Embedding(12, 3, mask_zero=True)(source))
    read = layers.GRU(3, return_sequences=True)(layers.Embedding(12, 3, mask_zero=True)(target))
    outputs = [
        layers.Attention()([read, words]),
        layers.Attention(use_scale=True)([read, words, read]),
        layers.AdditiveAttention()([read, words]),
        layers.AdditiveAttention(use_scale=False)([read, words]),
    ]
    outputs.append(layers.LSTM(2)(layers.Concatenate()([read, outputs[0]])))
    if MAIN > (2, 8):
        outputs.append(layers.Attention(score_mode="dot", dropout=0.2)([read, words]))
        outputs.append(layers.MultiHeadAttention(2, 3)(read, words))
    store(name, randomize(Model([source, target], outputs)), [padded_ids(), padded_ids()[::-1]])


def mixture(name: str) -> None:
    """What else stands between recurrent layers."""
    floats = layers.Input((6, 4))
    x = layers.LSTM(4, return_sequences=True)(floats)
    for layer in (
        layers.GaussianNoise(0.1),
        layers.ZeroPadding1D(1),
        layers.Cropping1D((1, 0)),
        layers.LeakyReLU(0.2),
        layers.ELU(0.7),
        layers.UpSampling1D(2),
        layers.AveragePooling1D(2),
        layers.PReLU(),
        layers.ActivityRegularization(0.1),
        layers.Permute((2, 1)),
        layers.AlphaDropout(0.1),
    ):
        x = layer(x)
    pooled = [layers.GlobalMaxPooling1D()(x), layers.GlobalAveragePooling1D()(x)]
    merged = [layers.add(pooled), layers.multiply(pooled), layers.maximum(pooled), layers.dot(pooled, 1)]
    flat = layers.concatenate([*merged, layers.Flatten()(x)])
    repeated = layers.RepeatVector(2)(layers.Dense(6, activation="selu")(flat))
    outputs = layers.GRU(3)(layers.Reshape((4, 3))(repeated))
    data = np.random.normal(size=(3, 6, 4)).astype("float32")
    store(name, randomize(Model(floats, outputs)), data)


def nested(name: str) -> None:
    """A model in a model in a Sequential, with a shared layer."""
    ids = layers.Input((5,))
    inner = Sequential(
        [layers.Embedding(12, 3, mask_zero=True, input_shape=(5,)), layers.GRU(3)], name="inner"
    )
    shared = layers.Dense(3, activation="tanh", name="shared")
    middle = Model(ids, layers.add([shared(inner(ids)), shared(shared(inner(ids)))]), name="middle")
    model = Sequential([middle, layers.RepeatVector(2), layers.LSTM(3), layers.Dense(1)])
    store(name, randomize(model), padded_ids())


def time_major(name: str) -> None:
    """Time is the first axis: shape (time, batch, features)."""
    floats = layers.Input(batch_shape=(5, 6, 3))
    read = layers.LSTM(3, time_major=True, return_sequences=True)(floats)
    model = randomize(Model(floats, layers.GRU(2, time_major=True, return_sequences=True)(read)))
    store(name, model, np.ascontiguousarray(vectors().transpose(1, 0, 2)))


def conv_lstms(name: str) -> None:
    """In one and in three dimensions."""
    lines, rooms = layers.Input((3, 4, 2)), layers.Input((2, 3, 3, 3, 1))
    outputs = [layers.ConvLSTM1D(2, 2)(lines), layers.ConvLSTM3D(1, 2, return_sequences=True)(rooms)]
    data = [np.random.normal(size=(2, 3, 4, 2)), np.random.normal(size=(2, 2, 3, 3, 3, 1))]
    store(name, randomize(Model([lines, rooms], outputs)), data)


def twice(x: object) -> object:
    return x * 2.0


def lambdas(name: str) -> None:
    """Two layers whose code stands in the file as bytes."""
    floats = layers.Input((5, 3))
    read = layers.LSTM(3, return_sequences=True)(layers.Lambda(twice)(floats))
    store(name, randomize(Model(floats, layers.Lambda(lambda x: x[:, -1] + 1.0)(read))), vectors())


MAKERS = (
    defaults,
    options,
    stateful,
    conv_lstm,
    cells,
    convolutions,
    masked,
    time_distributed,
    bidirectional,
    attention,
    mixture,
    nested,
    time_major,
    conv_lstms,
    lambdas,
)
if __name__ == "__main__":
    write({maker.__name__: maker for maker in MAKERS})

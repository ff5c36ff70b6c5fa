"""Writes encoder–decoder models, whose recurrent layers take states and constants besides their input.

    python tests/interop/files/encoder_decoder.py PACKAGE [NAME ...]

All sentences are padded, so that a mask which is lost changes the outputs.
"""

import numpy as np
from own_classes import MinimalCell, ScaledCell
from storing import PACKAGE, RATE, keras, padded_ids, store, vectors, write

layers, Model = keras.layers, keras.models.Model
WORDS, UNITS = 9, 3


def embed(ids: object, name: object = None) -> object:
    return layers.Embedding(WORDS, UNITS, mask_zero=True, name=name)(ids)


def sentences() -> list:
    return [padded_ids(WORDS), padded_ids(WORDS)[::-1]]


def targets() -> np.ndarray:
    return np.eye(WORDS)[np.random.randint(0, WORDS, (6, 5))].astype("float32")


def make_seq2seq(layer: object) -> tuple:
    """The training model, and the encoder and decoder cut from it."""
    source, target = layers.Input((None,)), layers.Input((None,))
    states = layer(UNITS, return_state=True, name="encoder")(embed(source))[1:]
    embedding, decoder = (
        layers.Embedding(WORDS, UNITS, mask_zero=True),
        layer(UNITS, return_sequences=True, return_state=True, name="decoder"),
    )
    scores = layers.Dense(WORDS, activation="softmax")
    outputs = scores(decoder(embedding(target), initial_state=states)[0])
    given = [layers.Input((UNITS,)) for _ in states]
    read = decoder(embedding(target), initial_state=given)
    parts = Model(source, states), Model([target, *given], [scores(read[0]), *read[1:]])
    return (Model([source, target], outputs), *parts)


def seq2seq_lstm(name: str) -> None:
    model, encoder, decoder = make_seq2seq(layers.LSTM)
    rule = keras.optimizers.RMSprop(**{RATE: 0.01})
    model.compile(rule, "categorical_crossentropy", ["accuracy"])
    source, target = sentences()
    store(name, model, [source, target], targets())
    store(name + "_encoder", encoder, source)
    states = [np.random.normal(size=(6, UNITS)).astype("float32") for _ in range(2)]
    store(name + "_decoder", decoder, [target, *states])


def seq2seq_gru(name: str) -> None:
    model, encoder, decoder = make_seq2seq(layers.GRU)
    model.compile(keras.optimizers.SGD(**{RATE: 0.1}), "categorical_crossentropy")
    source, target = sentences()
    store(name, model, [source, target], targets())
    store(name + "_encoder", encoder, source)
    store(name + "_decoder", decoder, [target, np.random.normal(size=(6, UNITS)).astype("float32")])


def seq2seq_nested(name: str) -> None:
    """The encoder and the decoder are models, and the decoder is called twice.

    In Keras 2.2.4 the second call would use the mask of the first.
    """
    source, target = layers.Input((None,)), layers.Input((None,))
    encoder = Model(source, layers.LSTM(UNITS, return_state=True)(embed(source))[1:], name="encoder")
    given = [layers.Input((UNITS,)) for _ in range(2)]
    read = layers.LSTM(UNITS, return_sequences=True, return_state=True)(embed(target), initial_state=given)
    scores = layers.TimeDistributed(layers.Dense(WORDS))(read[0])
    decoder = Model([target, *given], [scores, *read[1:]], name="decoder")
    outer = [layers.Input((None,)), layers.Input((None,))]
    first = decoder([outer[1], *encoder(outer[0])])
    second = [] if PACKAGE == "keras" else decoder([outer[0], *first[1:]])
    store(name, Model(outer, [*first, *second]), sentences())


def seq2seq_bidirectional(name: str) -> None:
    """Four states for two directions, and two of twice the width."""
    source, target = layers.Input((None,)), layers.Input((None,))
    _, *states = layers.Bidirectional(layers.LSTM(UNITS, return_state=True), name="encoder")(embed(source))
    both = layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True), merge_mode="sum", name="decoder")
    wide = [layers.concatenate([states[n], states[n + 2]]) for n in range(2)]
    words = embed(target)
    second = layers.LSTM(2 * UNITS, return_sequences=True)(words, initial_state=wide)
    store(name, Model([source, target], [both(words, initial_state=states), second]), sentences())


def seq2seq_shared(name: str) -> None:
    """One layer for both languages, called with and without states, and a state that is one tensor."""
    source, target = layers.Input((None,)), layers.Input((None,))
    embedding = layers.Embedding(WORDS, UNITS, mask_zero=True)
    shared = layers.GRU(UNITS, return_sequences=True, return_state=True, name="shared")
    simple = layers.SimpleRNN(UNITS, name="simple")
    words, state = shared(embedding(source))
    answer, last = shared(embedding(target), initial_state=state)
    outputs = [answer, simple(words), simple(answer, initial_state=last)]
    store(name, Model([source, target], outputs), sentences())


def seq2seq_repeat(name: str) -> None:
    """A model without states: the sentence's vector is the input of every step."""
    model = keras.models.Sequential()
    model.add(layers.Embedding(WORDS, UNITS, input_length=5, mask_zero=True))
    model.add(layers.LSTM(4))
    model.add(layers.RepeatVector(4))
    model.add(layers.LSTM(4, return_sequences=True))
    model.add(layers.TimeDistributed(layers.Dense(WORDS, activation="softmax")))
    model.compile(keras.optimizers.Adam(**{RATE: 0.02}), "categorical_crossentropy", ["accuracy"])
    store(name, model, padded_ids(WORDS), targets()[:, :4])


def seq2seq_luong(name: str) -> None:
    """Attention of dots and a softmax, as it was written before there was a layer for it."""
    source, target = layers.Input((5,)), layers.Input((5,))
    words, *states = layers.LSTM(UNITS, return_sequences=True, return_state=True)(
        layers.Embedding(WORDS, UNITS)(source)
    )
    read = layers.LSTM(UNITS, return_sequences=True)(
        layers.Embedding(WORDS, UNITS)(target), initial_state=states
    )
    weights = layers.Activation("softmax", name="attention")(layers.dot([read, words], axes=[2, 2]))
    context = layers.dot([weights, words], axes=[2, 1])
    both = layers.concatenate([context, read])
    outputs = layers.TimeDistributed(layers.Dense(WORDS, activation="softmax"))(both)
    store(name, Model([source, target], outputs), sentences())


def seq2seq_stacked(name: str) -> None:
    """Three cells in one layer. In Keras 2 the output of padding would be a state of the first cell."""
    source, target = layers.Input((None,)), layers.Input((None,))

    def cells() -> list:
        return [layers.LSTMCell(UNITS), layers.GRUCell(2), layers.SimpleRNNCell(UNITS)]

    def words(ids: object) -> object:
        return layers.Embedding(WORDS, UNITS, mask_zero=PACKAGE != "keras")(ids)

    _, *states = layers.RNN(cells(), return_state=True, name="encoder")(words(source))
    read = layers.RNN(cells(), return_sequences=True, return_state=True, name="decoder")(
        words(target), initial_state=states
    )
    store(name, Model([source, target], list(read)), sentences())


def seq2seq_constants(name: str) -> None:
    """A cell of one's own, which sees a vector of the sentence at every step."""
    source, target = layers.Input((None,)), layers.Input((None,))
    vector, state = layers.GRU(UNITS, return_state=True)(embed(source))
    decoder = layers.RNN(ScaledCell(UNITS), return_sequences=True, name="decoder")
    outputs = decoder(embed(target), initial_state=[state], constants=[layers.Dense(UNITS)(vector)])
    store(name, Model([source, target], outputs), sentences(), custom_objects={"ScaledCell": ScaledCell})


def own_cell(name: str) -> None:
    """A cell of one's own, in both directions."""
    ids = layers.Input((None,))
    layer = layers.RNN(MinimalCell(UNITS), return_sequences=True)
    custom_objects = {"MinimalCell": MinimalCell}
    with keras.utils.CustomObjectScope(custom_objects):
        outputs = layers.Bidirectional(layer)(embed(ids))
        store(name, Model(ids, outputs), padded_ids(WORDS), custom_objects=custom_objects)


def conv_states(name: str) -> None:
    """The last pictures of one ConvLSTM2D are the first states of another.

    Keras 2.2 and TensorFlow 1 cannot do it.
    """
    first, second = layers.Input((None, 4, 4, 2)), layers.Input((None, 4, 4, 2))
    options = {"kernel_size": 3, "padding": "same", "return_sequences": True}
    _, *states = layers.ConvLSTM2D(2, 3, padding="same", return_state=True)(first)
    outputs = layers.ConvLSTM2D(2, **options)(second, initial_state=states)
    pictures = [np.random.normal(size=(2, 3, 4, 4, 2)).astype("float32") for _ in range(2)]
    store(name, Model([first, second], outputs), pictures)


def given_state(name: str) -> None:
    """Floats with a mask, and states that are inputs of the model."""
    floats, state = layers.Input((5, 3)), layers.Input((UNITS,))
    data = vectors()
    data[:3, 3:] = 0.0
    masked = layers.Masking()(floats)
    outputs = [
        layers.GRU(UNITS, return_sequences=True)(masked, initial_state=state),
        layers.LSTM(UNITS, go_backwards=True)(masked, initial_state=[state, state]),
    ]
    store(name, Model([floats, state], outputs), [data, data[:, 0]])


MAKERS = (
    seq2seq_lstm,
    seq2seq_gru,
    seq2seq_nested,
    seq2seq_bidirectional,
    seq2seq_shared,
    seq2seq_repeat,
    seq2seq_luong,
    seq2seq_stacked,
    seq2seq_constants,
    own_cell,
    conv_states,
    given_state,
)
if __name__ == "__main__":
    write({maker.__name__: maker for maker in MAKERS})

"""Words are translated letter by letter; the model is saved, and its file is cut into two for decoding."""

import pathlib
import tempfile

import keras
import numpy as np
import pytest

from ...variants import examples
from .drop_in import Outcome, assert_drop_in, ways

UNITS = 12
LETTERS = "abcdefgh"
START, STOP = "\t", "\n"
TARGETS = START + STOP + LETTERS.upper()


def pairs():
    """Words, and the words in capitals from their end."""
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list(LETTERS), random.integers(2, 5))) for _ in range(24)]
    return words, [START + word[::-1].upper() + STOP for word in words]


def one_hot(texts, symbols, length):
    coded = np.zeros((len(texts), length, len(symbols)), "float32")
    for row, text in enumerate(texts):
        for step, symbol in enumerate(text):
            coded[row, step, symbols.index(symbol)] = 1.0
    return coded


def arrays():
    sources, targets = pairs()
    length = max(map(len, targets))
    read = one_hot(sources, LETTERS, max(map(len, sources)))
    written = one_hot(targets, TARGETS, length)
    following = one_hot([text[1:] for text in targets], TARGETS, length)
    return [read, written], following


def translator(recurrent):
    encoder_inputs = keras.Input(shape=(None, len(LETTERS)))
    encoder = recurrent.LSTM(UNITS, return_state=True)
    _, state_h, state_c = encoder(encoder_inputs)
    decoder_inputs = keras.Input(shape=(None, len(TARGETS)))
    decoder = recurrent.LSTM(UNITS, return_sequences=True, return_state=True)
    decoded, _, _ = decoder(decoder_inputs, initial_state=[state_h, state_c])
    outputs = keras.layers.Dense(len(TARGETS), activation="softmax")(decoded)
    model = keras.Model([encoder_inputs, decoder_inputs], outputs)
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def cut(model):
    """The encoder and the decoder of a loaded model, made of its layers' inputs and outputs."""
    encoder_inputs = model.input[0]
    _, *states = model.layers[2].output
    encoder = keras.Model(encoder_inputs, states)

    decoder_inputs = model.input[1]
    before = [keras.Input(shape=(UNITS,)) for _ in states]
    decoded, *after = model.layers[3](decoder_inputs, initial_state=before)
    return encoder, keras.Model([decoder_inputs, *before], [model.layers[4](decoded), *after])


def write(encoder, decoder, source):
    """The likeliest letter at every step."""
    states = encoder.predict(source, verbose=0)
    symbol, text = START, ""
    while symbol != STOP and len(text) < 4:
        scores, *states = decoder.predict([one_hot([symbol], TARGETS, 1), *states], verbose=0)
        symbol = TARGETS[int(np.argmax(scores[0, -1]))]
        text += symbol
    return text


def seq2seq(recurrent, convert):
    x, y = arrays()
    model = convert(translator(recurrent))
    history = model.fit(x, y, batch_size=8, epochs=2, validation_split=0.25, verbose=0)
    models, texts, predictions = [model], [], [model.predict(x, verbose=0)]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("s2s.keras", "s2s.h5")[: examples(1, thorough=2)]:
            path = pathlib.Path(folder, name)
            model.save(path)
            loaded = keras.models.load_model(path)
            encoder, decoder = cut(loaded)
            texts += [write(encoder, decoder, x[0][row : row + 1]) for row in (0, 1)]
            predictions += [loaded(x), encoder(x[0]), *decoder([keras.ops.array(x[1]), *encoder(x[0])])]
            models += [loaded, encoder, decoder]
    return Outcome(history.history, predictions, texts, models, lambda: model(x))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("way", ways("copied"))
def test_a_translator_is_trained_saved_cut_and_decoded_alike(way):
    assert_drop_in(seq2seq, way)

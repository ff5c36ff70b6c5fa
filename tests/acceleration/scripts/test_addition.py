"""A network reads "12+7" digit by digit and writes "19"."""

import keras
import numpy as np
import pytest

from .drop_in import Outcome, assert_drop_in, ways

layers = keras.layers
SYMBOLS = "0123456789+ "
DIGITS = 2
QUESTION, ANSWER = 2 * DIGITS + 1, DIGITS + 1


def one_hot(texts, length):
    ids = [[SYMBOLS.index(symbol) for symbol in text.ljust(length)] for text in texts]
    return np.eye(len(SYMBOLS), dtype=bool)[ids]


def read(scores):
    return "".join(SYMBOLS[number] for number in np.argmax(scores, axis=-1))


def sums(count):
    """Different sums; the questions are written backwards, which makes them easier to learn."""
    drawn = np.random.default_rng(0).permutation(10 ** (2 * DIGITS))[:count]
    pairs = [divmod(int(number), 10**DIGITS) for number in drawn]
    questions = [f"{a}+{b}".ljust(QUESTION)[::-1] for a, b in pairs]
    return one_hot(questions, QUESTION), one_hot([str(a + b) for a, b in pairs], ANSWER)


def addition(recurrent, convert):
    x, y = sums(40)
    train, held_out = (x[:32], y[:32]), (x[32:], y[32:])
    model = keras.Sequential(
        [
            layers.Input((QUESTION, len(SYMBOLS))),
            recurrent.LSTM(16),
            layers.RepeatVector(ANSWER),
            recurrent.LSTM(16, return_sequences=True),
            layers.Dense(len(SYMBOLS), activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    model = convert(model)
    summary, histories, guesses = [], [], []
    model.summary(print_fn=summary.append)
    for _ in range(2):
        history = model.fit(*train, batch_size=16, epochs=1, validation_data=held_out, verbose=0)
        histories.append(history.history)
        row = held_out[0][np.array([5])]
        guesses.append(read(model.predict(row, verbose=0)[0]))
    return Outcome(
        histories, model.predict(held_out[0], verbose=0), [summary, guesses], [model], lambda: model(train[0])
    )


@pytest.mark.parametrize("way", ways())
def test_addition_is_learned_alike(way):
    assert_drop_in(addition, way)

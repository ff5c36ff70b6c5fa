"""Reviews, as padded ids of words, are judged by two bidirectional LSTMs."""

import keras
import numpy as np
import pytest

from .drop_in import Outcome, assert_drop_in, ways

layers = keras.layers
WORDS, LENGTH = 50, 6


def reviews(count, seed):
    """Sequences of many lengths; words above the middle are praise."""
    random = np.random.default_rng(seed)
    texts = [random.integers(1, WORDS, random.integers(2, LENGTH + 3)).tolist() for _ in range(count)]
    labels = np.array([np.mean(text) > WORDS / 2 for text in texts], dtype="int64")
    return keras.utils.pad_sequences(texts, maxlen=LENGTH), labels


def sentiment(recurrent, convert, **embedding):
    (x, y), held_out = reviews(32, seed=0), reviews(16, seed=1)
    inputs = keras.Input(shape=(None,), dtype="int32")
    hidden = layers.Embedding(WORDS, 8, **embedding)(inputs)
    hidden = layers.Bidirectional(recurrent.LSTM(6, return_sequences=True, dropout=0.2))(hidden)
    hidden = layers.Bidirectional(recurrent.LSTM(6, dropout=0.2, recurrent_dropout=0.1))(hidden)
    outputs = layers.Dense(1, activation="sigmoid")(layers.Dropout(0.3)(hidden))
    model = keras.Model(inputs, outputs)
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy", keras.metrics.AUC()])
    model = convert(model)
    history = model.fit(
        x, y, batch_size=16, epochs=2, validation_data=held_out, class_weight={0: 1.0, 1: 2.0}, verbose=0
    )
    twin = keras.models.clone_model(model)
    again = keras.Model.from_config(model.get_config())
    for other in (twin, again):
        other.set_weights(model.get_weights())
    return Outcome(
        [history.history, model.evaluate(*held_out, verbose=0)],
        [each(held_out[0]) for each in (model, twin, again)],
        [[layer.name for layer in each.layers] for each in (model, twin, again)],
        [model, twin, again],
        lambda: model(x),
    )


def masked_sentiment(recurrent, convert):
    return sentiment(recurrent, convert, mask_zero=True)


@pytest.mark.parametrize("way", ways())
def test_reviews_are_judged_alike(way):
    assert_drop_in(sentiment, way)


@pytest.mark.parametrize("way", ways())
def test_padded_reviews_are_judged_alike(way):
    assert_drop_in(masked_sentiment, way)

"""A series is read to its end and then continued, every forecast being the next step's input."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from .drop_in import Outcome, assert_drop_in, ways

WIDTH, AHEAD = 6, 4


class FeedBack(keras.Model):
    """Warms up with a layer, and goes on step by step with its cell."""

    def __init__(self, rnn, cell, features):
        super().__init__()
        self.cell, self.rnn = cell, rnn
        self.dense = keras.layers.Dense(features)

    def warmup(self, inputs):
        x, *state = self.rnn(inputs)
        return self.dense(x), state

    def call(self, inputs, training=None):
        prediction, state = self.warmup(inputs)
        predictions = [prediction]
        for _ in range(1, AHEAD):
            x, state = self.cell(predictions[-1], states=state, training=training)
            predictions.append(self.dense(x))
        return tf.transpose(tf.stack(predictions), [1, 0, 2])


def windows():
    times = np.arange(80)[:, None] / [3.0, 7.0]
    series = (np.sin(times) + 0.05 * np.random.default_rng(0).normal(size=(80, 2))).astype("float32")
    data = keras.utils.timeseries_dataset_from_array(
        series, targets=None, sequence_length=WIDTH + AHEAD, shuffle=True, batch_size=16, seed=3
    )
    return data.map(lambda part: (part[:, :WIDTH], part[:, WIDTH:])).take(2)


def forecast(model, convert):
    data = windows()
    for inputs, _ in data.take(1):
        example = inputs
    assert model(example).shape == (16, AHEAD, 2)
    model.compile(
        loss=keras.losses.MeanSquaredError(),
        optimizer=keras.optimizers.Adam(),
        metrics=[keras.metrics.MeanAbsoluteError()],
    )
    model = convert(model)
    stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=2, mode="min")
    history = model.fit(data, epochs=2, validation_data=data, callbacks=[stopping], verbose=0)
    figures = [history.history, model.evaluate(data, verbose=0, return_dict=True)]
    warmed, states = model.warmup(example)
    predictions = [warmed, states, model.predict(example, verbose=0)]
    return Outcome(figures, predictions, 0, [model], lambda: model(example))


def with_a_layers_cell(recurrent, convert):
    rnn = recurrent.LSTM(8, return_state=True)
    return forecast(FeedBack(rnn, rnn.cell, 2), convert)


def with_a_cell(recurrent, convert):
    cell = keras.layers.LSTMCell(8)
    rnn = keras.layers.RNN(cell, return_state=True, name="loop")
    return forecast(FeedBack(rnn, cell, 2), convert)


@pytest.mark.parametrize("way", ways())
def test_a_series_is_continued_alike_with_the_cell_of_a_layer(way):
    assert_drop_in(with_a_layers_cell, way)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:.*gains nothing")
@pytest.mark.parametrize("way", ways("in place"))
def test_a_series_is_continued_alike_with_a_bare_cell(way):
    assert_drop_in(with_a_cell, way)

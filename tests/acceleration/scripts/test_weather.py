"""Hourly measurements, hundreds of them in windows, and the temperature some hours later."""

import pathlib
import tempfile

import keras
import numpy as np
import pytest

from .drop_in import Outcome, assert_drop_in, ways

layers = keras.layers
PAST, FUTURE, EVERY, BATCH = 24, 6, 4, 16


def measurements():
    """Temperature, pressure and wind: waves of a day and of a week, with noise."""
    random, hours = np.random.default_rng(0), np.arange(220)
    temperature = np.sin(hours * 2 * np.pi / 24) + 0.1 * random.normal(size=hours.size)
    pressure = np.cos(hours * 2 * np.pi / 168) + 0.1 * random.normal(size=hours.size)
    table = np.stack([10 + 8 * temperature, 990 + 9 * pressure, random.gamma(2.0, size=hours.size)], axis=1)
    seen = table[:150]
    return ((table - seen.mean(axis=0)) / seen.std(axis=0)).astype("float32")


def windows(table, first, last):
    return keras.utils.timeseries_dataset_from_array(
        table[first:last],
        table[first + PAST + FUTURE : last + PAST + FUTURE, 0:1],
        sequence_length=PAST // EVERY,
        sampling_rate=EVERY,
        batch_size=BATCH,
    )


def weather(recurrent, convert):
    table = measurements()
    train, held_out = windows(table, 0, 60), windows(table, 120, 160)
    for inputs, _ in train.take(1):
        shape = inputs.shape[1:]
    inputs = layers.Input(shape=shape)
    hidden = recurrent.LSTM(16)(inputs)
    model = keras.Model(inputs=inputs, outputs=layers.Dense(1)(hidden))
    model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.001), loss="mse")
    model = convert(model)
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "best.weights.h5"))
        stopping = keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=0, patience=5)
        best = keras.callbacks.ModelCheckpoint(
            monitor="val_loss", filepath=path, save_weights_only=True, save_best_only=True
        )
        slower = keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=1, min_delta=0.5)
        history = model.fit(
            train, epochs=2, validation_data=held_out, callbacks=[stopping, best, slower], verbose=0
        )
        model.load_weights(path)
    shown = [model.predict(x, verbose=0)[0] for x, _ in held_out.take(2)]
    return Outcome(history.history, shown, len(history.epoch), [model], lambda: model(np.ones((2, *shape))))


class ForgetAfterEpoch(keras.callbacks.Callback):
    """The state of a stateful layer is that of one pass over the series."""

    def on_epoch_end(self, epoch, logs=None):
        for layer in self.model.layers:
            if hasattr(layer, "reset_state"):
                layer.reset_state()


def stateful(recurrent, convert):
    table = measurements()[:128].reshape(2, 64, 3)[:, :48]  # two series, side by side
    x = np.concatenate(np.split(table, 8, axis=1))  # in pieces that follow each other
    y = np.roll(x[..., :1], -1, axis=1)
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(2, None, 3)),
            recurrent.GRU(8, return_sequences=True, stateful=True),
            recurrent.SimpleRNN(8, return_sequences=True, stateful=True, dropout=0.1),
            layers.Dense(1),
        ]
    )
    model.compile(loss="mae", optimizer=keras.optimizers.RMSprop(clipvalue=1.0))
    model = convert(model)
    history = model.fit(
        x, y, batch_size=2, epochs=2, shuffle=False, callbacks=[ForgetAfterEpoch()], verbose=0
    )
    first = model.predict(x[:4], batch_size=2, verbose=0)
    carried = model.predict(x[4:8], batch_size=2, verbose=0)
    model.layers[0].reset_states()
    model.layers[1].reset_states()
    again = model.predict(x[:4], batch_size=2, verbose=0)
    np.testing.assert_allclose(again, first, atol=1e-6)
    return Outcome(
        history.history, [first, carried, model.layers[0].states], 0, [model], lambda: model(x[:2])
    )


@pytest.mark.parametrize("way", ways("layers"))
def test_the_weather_is_forecast_alike(way):
    assert_drop_in(weather, way)


@pytest.mark.parametrize("way", ways())
def test_a_stateful_network_goes_on_and_forgets_alike(way):
    assert_drop_in(stateful, way)

"""The next note of a melody: its pitch, its distance from the last one, and its duration."""

import pathlib
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from .drop_in import Outcome, assert_drop_in, ways

PITCHES, WINDOW, BATCH = 24, 5, 8
KEYS = ("pitch", "step", "duration")


def melody(count=32):
    random = np.random.default_rng(0)
    pitch = np.abs(np.cumsum(random.integers(-2, 3, count))) % PITCHES
    return np.stack([pitch, random.gamma(2.0, 0.2, count), random.gamma(3.0, 0.2, count)], axis=1)


def examples(notes):
    """Windows of notes, and the note after each."""
    windows = tf.data.Dataset.from_tensor_slices(notes.astype("float32")).window(
        WINDOW + 1, shift=1, stride=1, drop_remainder=True
    )
    sequences = windows.flat_map(lambda part: part.batch(WINDOW + 1, drop_remainder=True))

    def split(sequence):
        scaled = sequence / [PITCHES, 1.0, 1.0]
        return scaled[:-1], {key: sequence[-1][number] for number, key in enumerate(KEYS)}

    return (
        sequences.map(split, num_parallel_calls=tf.data.AUTOTUNE)
        .shuffle(len(notes))
        .batch(BATCH, drop_remainder=True)
        .apply(tf.data.experimental.assert_cardinality((len(notes) - WINDOW) // BATCH))
        .cache()
        .prefetch(tf.data.AUTOTUNE)
    )


def positive_mse(true, predicted):
    """Squares of the errors, and ten times what is below zero, as no time is."""
    squares = (true - predicted) ** 2
    return tf.reduce_mean(squares + 10 * tf.maximum(-predicted, 0.0))


def next_note(model, notes, temperature=0.8):
    predictions = model.predict(tf.expand_dims(notes, 0), verbose=0)
    pitch = tf.random.categorical(predictions["pitch"] / temperature, num_samples=1)
    times = [max(0.0, float(predictions[key][0, 0])) for key in ("step", "duration")]
    return [int(pitch[0, 0]), *times]


def music(recurrent, convert):
    notes = melody()
    dataset = examples(notes)
    inputs = keras.Input((WINDOW, len(KEYS)))
    hidden = recurrent.LSTM(16)(inputs)
    sizes = {"pitch": PITCHES, "step": 1, "duration": 1}
    model = keras.Model(
        inputs, {key: keras.layers.Dense(size, name=key)(hidden) for key, size in sizes.items()}
    )
    losses = {
        "pitch": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "step": positive_mse,
        "duration": positive_mse,
    }
    model.compile(loss=losses, optimizer=keras.optimizers.Adam(learning_rate=0.005))
    before = model.evaluate(dataset, return_dict=True, verbose=0)
    model.compile(
        loss=losses,
        loss_weights={"pitch": 0.05, "step": 1.0, "duration": 1.0},
        optimizer=keras.optimizers.Adam(learning_rate=0.005),
    )
    model = convert(model)
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [
            keras.callbacks.ModelCheckpoint(
                filepath=str(pathlib.Path(folder, "{epoch}.weights.h5")), save_weights_only=True
            ),
            keras.callbacks.EarlyStopping(monitor="loss", patience=5, restore_best_weights=True),
        ]
        history = model.fit(dataset, epochs=2, callbacks=callbacks, verbose=0)
        saved = sorted(path.name for path in pathlib.Path(folder).iterdir())
    played = notes[:WINDOW] / [PITCHES, 1.0, 1.0]
    written = []
    for _ in range(3):
        note = next_note(model, played)
        written.append(note)
        played = np.append(played[1:], [[note[0] / PITCHES, *note[1:]]], axis=0)
    return Outcome(
        [before, history.history], written, [saved, model.output_names], [model], lambda: model(played[None])
    )


@pytest.mark.parametrize("way", ways())
def test_a_melody_goes_on_alike(way):
    assert_drop_in(music, way)

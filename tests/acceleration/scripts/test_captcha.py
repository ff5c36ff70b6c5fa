"""Letters in a picture are read by convolutions and two bidirectional LSTMs, with the loss of CTC."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from .drop_in import Outcome, assert_drop_in, ways

layers, ops = keras.layers, keras.ops
LETTERS = "abcde"
WIDTH, HEIGHT, LENGTH, BATCH = 32, 8, 2, 8


def picture(text, random):
    """Each letter is a pattern of its own, half the picture wide, under noise."""
    image = 0.1 * random.random((WIDTH, HEIGHT, 1))
    for place, letter in enumerate(text):
        at = place * WIDTH // LENGTH + random.integers(1, 5)
        image[at : at + 10, LETTERS.index(letter) :: len(LETTERS)] += 0.8
    return image.astype("float32")


def texts(count):
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list(LETTERS), LENGTH, replace=False)) for _ in range(count)]
    return words, np.stack([picture(word, random) for word in words])


class CTCLayer(layers.Layer):
    """Adds the loss while the model trains, and gives back the predictions."""

    def call(self, labels, scores):
        batch, steps = ops.shape(scores)[0], ops.shape(scores)[1]
        lengths = ops.full((batch,), ops.shape(labels)[1], dtype="int32")
        losses = ops.ctc_loss(
            ops.cast(labels, "int32"), scores, lengths, ops.full((batch,), steps, dtype="int32"), mask_index=0
        )
        self.add_loss(ops.mean(losses))
        return scores


def reader(recurrent):
    image = layers.Input(shape=(WIDTH, HEIGHT, 1), name="image", dtype="float32")
    labels = layers.Input(name="label", shape=(None,), dtype="int64")
    x = layers.Conv2D(4, (3, 3), activation="relu", padding="same", name="conv")(image)
    x = layers.MaxPooling2D((4, 2), name="pool")(x)
    x = layers.Reshape(target_shape=(WIDTH // 4, HEIGHT // 2 * 4), name="reshape")(x)
    x = layers.Dropout(0.2)(layers.Dense(8, activation="relu", name="dense1")(x))
    x = layers.Bidirectional(recurrent.LSTM(8, return_sequences=True, dropout=0.25))(x)
    x = layers.Bidirectional(recurrent.LSTM(6, return_sequences=True, dropout=0.25))(x)
    x = layers.Dense(len(LETTERS) + 1, name="dense2")(x)
    model = keras.Model(inputs=[image, labels], outputs=CTCLayer(name="ctc_loss")(labels, x), name="ocr")
    model.compile(optimizer=keras.optimizers.Adam())
    return model


def decode(scores):
    steps = np.full(scores.shape[0], scores.shape[1])
    best, _ = ops.ctc_decode(scores, steps, strategy="greedy", mask_index=0)
    return ["".join(LETTERS[symbol - 1] for symbol in row if symbol > 0) for row in np.array(best[0])]


def captcha(recurrent, convert):
    words, images = texts(24)
    look_up = layers.StringLookup(vocabulary=list(LETTERS), num_oov_indices=1)

    def encode(image, word):
        letters = tf.strings.unicode_split(word, input_encoding="UTF-8")
        return {"image": image, "label": look_up(letters)}

    def dataset(chosen):
        data = tf.data.Dataset.from_tensor_slices((images[chosen], words[chosen]))
        return data.map(encode).batch(BATCH).prefetch(buffer_size=tf.data.AUTOTUNE)

    train, held_out = dataset(slice(16)), dataset(slice(16, None))
    model = convert(reader(recurrent))
    stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True)
    history = model.fit(train, validation_data=held_out, epochs=2, callbacks=[stopping], verbose=0)
    prediction = keras.Model(model.input[0], model.get_layer(name="dense2").output)
    scores = prediction.predict(images[16:], verbose=0)
    return Outcome(history.history, scores, decode(scores), [model, prediction], lambda: prediction(images))


@pytest.mark.parametrize("way", ways())
def test_pictures_are_read_alike(way):
    assert_drop_in(captcha, way)

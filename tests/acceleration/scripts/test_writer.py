"""A GRU in a model of one's own learns a text letter by letter, and goes on writing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from .drop_in import Outcome, assert_drop_in, ways

TEXT = "the rain falls on the hills and the hills send it to the sea; the sea gives it back. " * 2
LENGTH, BATCH = 8, 8


class Writer(keras.Model):
    def __init__(self, gru, symbols):
        super().__init__()
        self.embedding = keras.layers.Embedding(symbols, 8)
        self.gru = gru
        self.dense = keras.layers.Dense(symbols)

    def call(self, inputs, states=None, return_state=False, training=False):
        x = self.embedding(inputs, training=training)
        if states is None:
            states = self.gru.get_initial_state(tf.shape(x)[0])
        x, states = self.gru(x, initial_state=states, training=training)
        x = self.dense(x, training=training)
        return (x, states) if return_state else x


class OwnStep(Writer):
    @tf.function
    def train_step(self, data):
        inputs, labels = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=labels, y_pred=self(inputs, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


class OneStep(keras.Model):
    """Draws the next letter; never the one that stands for the unknown."""

    def __init__(self, model, look_up, back, temperature=1.0):
        super().__init__()
        self.temperature, self.model = temperature, model
        self.look_up, self.back = look_up, back
        self.seed = keras.random.SeedGenerator(5)
        unknown = self.look_up(["[UNK]"])[:, None]
        sparse = tf.SparseTensor(unknown, [-float("inf")], [len(look_up.get_vocabulary())])
        self.never = tf.sparse.to_dense(sparse)

    @tf.function
    def next_letter(self, inputs, states=None):
        letters = tf.strings.unicode_split(inputs, "UTF-8")
        ids = self.look_up(letters.to_tensor())
        scores, states = self.model(inputs=ids, states=states, return_state=True)
        scores = scores[:, -1, :] / self.temperature + self.never
        drawn = tf.squeeze(keras.random.categorical(scores, num_samples=1, seed=self.seed), axis=-1)
        return self.back(drawn), states


def dataset(look_up):
    ids = look_up(tf.strings.unicode_split(TEXT, "UTF-8"))
    sequences = tf.data.Dataset.from_tensor_slices(ids).batch(LENGTH + 1, drop_remainder=True)
    pairs = sequences.map(lambda sequence: (sequence[:-1], sequence[1:]))
    return pairs.shuffle(100).batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def written(step, start, count):
    states, letter, text = None, tf.constant([start]), [start]
    for _ in range(count):
        letter, states = step.next_letter(letter, states=states)
        text.append(letter[0].numpy().decode())
    return "".join(text), states


def train(recurrent, convert, kind):
    look_up = keras.layers.StringLookup(vocabulary=sorted(set(TEXT)), mask_token=None)
    back = keras.layers.StringLookup(vocabulary=look_up.get_vocabulary(), invert=True, mask_token=None)
    data = dataset(look_up)
    gru = recurrent.GRU(16, return_sequences=True, return_state=True)
    model = kind(gru, len(look_up.get_vocabulary()))
    for inputs, _ in data.take(1):
        example = inputs
    model(example)
    model.compile(
        optimizer=keras.optimizers.Adam(), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model = convert(model)
    history = model.fit(data, epochs=2, verbose=0)
    step = OneStep(model, look_up, back)
    text, states = written(step, "the ", 8)
    return Outcome(history.history, [model(example), states], text, [model, step], lambda: model(example))


def writer(recurrent, convert):
    return train(recurrent, convert, Writer)


def with_own_step(recurrent, convert):
    return train(recurrent, convert, OwnStep)


def own_loop(recurrent, convert):
    """The training loop of one's own, in which nothing of `fit` is left."""
    x = np.random.default_rng(0).integers(0, 9, (12, LENGTH))
    model = Writer(recurrent.GRU(8, return_sequences=True, return_state=True, dropout=0.2), 9)
    model(x[:1])
    model = convert(model)
    optimizer = keras.optimizers.Adam(1e-2)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    mean = keras.metrics.Mean()

    @tf.function
    def step(batch):
        with tf.GradientTape() as tape:
            loss = loss_of(batch[:, 1:], model(batch[:, :-1], training=True))
        gradients = tape.gradient(loss, model.trainable_weights)
        gradients, norm = tf.clip_by_global_norm(gradients, 1.0)
        optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
        mean.update_state(loss)
        return loss, norm

    losses = [[float(each) for each in step(tf.constant(x[at : at + 4]))] for at in (0, 4, 8, 0)]
    return Outcome([losses, float(mean.result())], model(x), 0, [model], lambda: model(x))


@pytest.mark.parametrize("way", ways())
def test_a_text_goes_on_alike(way):
    assert_drop_in(writer, way)


@pytest.mark.parametrize("way", ways("layers"))
def test_a_text_goes_on_alike_after_a_training_step_of_ones_own(way):
    assert_drop_in(with_own_step, way)


@pytest.mark.parametrize("way", ways())
def test_a_training_loop_of_ones_own_learns_alike(way):
    assert_drop_in(own_loop, way)

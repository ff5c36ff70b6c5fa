"""Sentences are translated by an encoder, attention and a decoder, each a layer of one's own."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from .drop_in import Outcome, assert_drop_in, ways

layers = keras.layers
UNITS, BATCH = 8, 8
NOUNS = {"cat": "gato", "dog": "perro", "sun": "sol", "sea": "mar"}
VERBS = {"sees": "ve", "wants": "quiere", "loves": "ama"}


def sentences(count):
    random = np.random.default_rng(0)
    pairs = []
    for _ in range(count):
        who, whom = random.choice(list(NOUNS), 2)
        does = random.choice(list(VERBS))
        more = random.integers(0, 3)
        english = " ".join(
            ["the", who, does, *["the", whom][: 2 * more], *["and", "the", "sun"][: 3 * (more // 2)]]
        )
        spanish = " ".join(
            [
                "el",
                NOUNS[who],
                VERBS[does],
                *["al", NOUNS[whom]][: 2 * more],
                *["y", "al", "sol"][: 3 * (more // 2)],
            ]
        )
        pairs.append((english, spanish))
    return pairs


def with_marks(text):
    text = tf.strings.regex_replace(tf.strings.lower(text), "[^ a-z?]", "")
    return tf.strings.join(["[START]", tf.strings.strip(text), "[END]"], separator=" ")


class Encoder(layers.Layer):
    def __init__(self, recurrent, words):
        super().__init__()
        self.words = words
        self.embedding = layers.Embedding(words.vocabulary_size(), UNITS, mask_zero=True)
        self.rnn = layers.Bidirectional(
            merge_mode="sum", layer=recurrent.GRU(UNITS, return_sequences=True, dropout=0.1)
        )

    def call(self, ids):
        return self.rnn(self.embedding(ids))

    def convert_input(self, texts):
        texts = tf.convert_to_tensor(texts)
        if len(texts.shape) == 0:
            texts = tf.convert_to_tensor(texts)[tf.newaxis]
        return self(self.words(texts).to_tensor())


class CrossAttention(layers.Layer):
    def __init__(self):
        super().__init__()
        self.attention = layers.MultiHeadAttention(key_dim=UNITS, num_heads=1)
        self.norm = layers.LayerNormalization()
        self.add = layers.Add()

    def call(self, x, context):
        attended, weights = self.attention(query=x, value=context, return_attention_scores=True)
        self.last_weights = keras.ops.mean(weights, axis=1)
        return self.norm(self.add([x, attended]))


class Decoder(layers.Layer):
    def __init__(self, recurrent, words):
        super().__init__()
        vocabulary = words.get_vocabulary()
        self.to_id = layers.StringLookup(vocabulary=vocabulary, mask_token="", oov_token="[UNK]")
        self.to_word = layers.StringLookup(
            vocabulary=vocabulary, mask_token="", oov_token="[UNK]", invert=True
        )
        self.start, self.end = (self.to_id([mark])[0] for mark in ("[START]", "[END]"))
        self.embedding = layers.Embedding(len(vocabulary), UNITS, mask_zero=True)
        self.rnn = recurrent.GRU(
            UNITS, return_sequences=True, return_state=True, recurrent_initializer="glorot_uniform"
        )
        self.attention = CrossAttention()
        self.output_layer = layers.Dense(len(vocabulary))

    def call(self, context, ids, state=None, return_state=False):
        x, state = self.rnn(self.embedding(ids), initial_state=state)
        scores = self.output_layer(self.attention(x, context))
        return (scores, state) if return_state else scores

    def initial_state(self, context):
        batch = tf.shape(context)[0]
        return (
            tf.fill([batch, 1], self.start),
            tf.zeros([batch, 1], tf.bool),
            self.rnn.get_initial_state(batch)[0],
        )

    def next_token(self, context, token, done, state):
        scores, state = self(context, token, state=state, return_state=True)
        token = tf.argmax(scores, axis=-1)
        done = done | (token == self.end)
        return tf.where(done, tf.constant(0, tf.int64), token), done, state


class Translator(keras.Model):
    def __init__(self, recurrent, sources, targets):
        super().__init__()
        self.encoder, self.decoder = Encoder(recurrent, sources), Decoder(recurrent, targets)

    def call(self, inputs):
        context, x = inputs
        scores = self.decoder(self.encoder(context), x)
        with contextlib.suppress(AttributeError):
            del scores._keras_mask  # else Keras scales the losses by it
        return scores

    def translate(self, texts, max_length=4):
        context = self.encoder.convert_input(texts)
        token, done, state = self.decoder.initial_state(context)
        tokens, attention = [], []
        for _ in range(max_length):
            token, done, state = self.decoder.next_token(context, token, done, state)
            tokens.append(token)
            attention.append(self.decoder.attention.last_weights)
            if tf.executing_eagerly() and tf.reduce_all(done):
                break
        words = self.decoder.to_word(tf.concat(tokens, axis=-1))
        return tf.strings.strip(tf.strings.reduce_join(words, axis=1, separator=" ")), tf.concat(attention, 1)


def masked_loss(true, predicted):
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    loss = loss_of(true, predicted)
    mask = tf.cast(true != 0, loss.dtype)
    return tf.reduce_sum(loss * mask) / tf.reduce_sum(mask)


def masked_accuracy(true, predicted):
    match = tf.cast(true == tf.cast(tf.argmax(predicted, axis=-1), true.dtype), tf.float32)
    mask = tf.cast(true != 0, tf.float32)
    return tf.reduce_sum(match * mask) / tf.reduce_sum(mask)


def translation(recurrent, convert):
    pairs = np.array(sentences(24))
    words = [layers.TextVectorization(standardize=with_marks, ragged=True) for _ in range(2)]
    raw = tf.data.Dataset.from_tensor_slices((pairs[:, 0], pairs[:, 1])).shuffle(24).batch(BATCH)
    for number, vectorizer in enumerate(words):
        vectorizer.adapt(raw.map(lambda *texts, number=number: texts[number]))

    def process(source, target):
        context, ids = (vectorizer(text) for vectorizer, text in zip(words, (source, target), strict=True))
        return (context.to_tensor(), ids[:, :-1].to_tensor()), ids[:, 1:].to_tensor()

    train = raw.map(process, tf.data.AUTOTUNE)
    held_out = raw.take(1).map(process)
    for example, _ in train.take(1):
        inputs = example
    model = Translator(recurrent, *words)
    model(inputs)
    model.compile(optimizer="adam", loss=masked_loss, metrics=[masked_accuracy, masked_loss])
    model = convert(model)
    history = model.fit(
        train.repeat(),
        epochs=2,
        steps_per_epoch=2,
        validation_data=held_out,
        validation_steps=1,
        callbacks=[keras.callbacks.EarlyStopping(patience=3)],
        verbose=0,
    )
    texts, attention = model.translate(["The cat sees the dog.", "the sun wants"])
    return Outcome(
        history.history,
        [model(inputs), attention],
        [text.decode() for text in texts.numpy()],
        [model],
        lambda: model(inputs),
    )


@pytest.mark.thorough
@pytest.mark.parametrize("way", ways("in place"))
def test_sentences_are_translated_alike(way):
    assert_drop_in(translation, way)

"""The weights of n-grams: a linear model of the text that stands beside the recurrent layers."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from ostinato.cells.base import KerasOption
from ostinato.tasks.config import Settings

OF_CHARACTERS = 0.7
"""The length of the vector of characters where that of words has the length 1."""


@keras.saving.register_keras_serializable(package="ostinato")
class NGramLayer(keras.layers.Layer):
    """Scores of a text: a bias and the weights of its n-grams, times their values.

    The values are inverse document frequencies. Those of words are divided by their Euclidean norm, and those
    of characters by theirs, so that the many n-grams of characters do not outweigh the few of words. Training
    does not change the weights; they are found before it, see `ostinato.tasks.classifier.ngram_fit`.

    Args:
        outputs: the number of scores.
        ngrams: the number of known n-grams.
        of_words: how many of them, the first, are of words.
    """

    def __init__(self, outputs: int, ngrams: int, of_words: int, **options: KerasOption):
        super().__init__(**({"name": "ngrams", "trainable": False} | options))
        self.outputs, self.ngrams, self.of_words = outputs, ngrams, of_words

    def build(self, input_shape: object = None) -> None:
        """Makes the weights. The first row is that of padding."""
        self.rarity = self.add_weight((1 + self.ngrams,), "zeros", trainable=False, name="rarity")
        self.kernel = self.add_weight(
            (1 + self.ngrams, self.outputs), "zeros", trainable=False, name="kernel"
        )
        self.bias = self.add_weight((self.outputs,), "zeros", trainable=False, name="bias")
        self.built = True

    def set_rarity(self, rarity: np.ndarray) -> None:
        """Sets the inverse document frequency of each n-gram, shape (n-grams,)."""
        self.rarity.assign(np.concatenate([[0], rarity]))

    def values(self, grams: tf.Tensor) -> tf.Tensor:
        """The values of the n-grams of each text.

        Args:
            grams: ids, shape (batch, n-grams), int32; 0 is padding.

        Returns:
            float32, shape (batch, n-grams), zero for padding.
        """
        rarity = tf.gather(self.rarity, grams)
        characters = tf.cast(grams > self.of_words, tf.float32)
        squares = tf.square(rarity)
        norms = [
            tf.reduce_sum(squares * part, axis=1, keepdims=True) for part in (1 - characters, characters)
        ]
        of_words, of_characters = (tf.math.rsqrt(tf.maximum(norm, 1e-12)) for norm in norms)
        return rarity * ((1 - characters) * of_words + OF_CHARACTERS * characters * of_characters)

    def each(self, grams: tf.Tensor) -> tf.Tensor:
        """What each n-gram adds to the scores, shape (batch, n-grams, outputs); arguments as `values`."""
        return tf.expand_dims(self.values(grams), -1) * tf.gather(self.kernel, grams)

    def call(self, grams: tf.Tensor) -> tf.Tensor:
        """The scores, shape (batch, outputs); arguments as `values`."""
        return tf.reduce_sum(self.each(grams), axis=1) + self.bias

    def get_config(self) -> Settings:
        sizes = {"outputs": self.outputs, "ngrams": self.ngrams, "of_words": self.of_words}
        return super().get_config() | sizes

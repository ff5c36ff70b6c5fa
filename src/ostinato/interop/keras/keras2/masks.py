"""The mask of a sequence that a nested model gets from outside, for a layer that also gets a state."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="ostinato")
class MaskOf(keras.layers.Layer):
    """Gives the mask that a sequence carries, as a tensor.

    Keras 3 does not pass the mask of a sequence to a recurrent layer that gets a state, too. Within a nested
    model the mask is not known before it runs.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True

    def call(self, sequence: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        """The mask.

        Args:
            sequence: (batch, time, …).
            mask: (batch, time), or None; Keras gives the sequence's.

        Returns:
            The mask, (batch, time); without one, True everywhere.
        """
        return tf.ones(tf.shape(sequence)[:2], tf.bool) if mask is None else tf.cast(mask, tf.bool)

    def compute_output_spec(self, sequence: keras.KerasTensor, mask: Any = None) -> keras.KerasTensor:
        """The shape and dtype of the mask."""
        return keras.KerasTensor(sequence.shape[:2], "bool")

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """A mask has none itself."""

"""Recurrent layers whose cell gets constants at every step, which Keras 2 had and Keras 3 has not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="ostinato")
class RNNWithConstants(keras.layers.RNN):
    """Keras' RNN, whose cell is called as `cell(x, states, constants=constants)`.

    A cell learns the shapes of the constants in `build([shape of x, *shapes of constants])`, as in Keras 2.
    """

    def build(
        self,
        sequences_shape: Sequence[int | None],
        initial_state_shape: Any = None,
        constants_shape: Any = None,
    ) -> None:
        """Builds the cell for the shapes of a step and of the constants."""
        step = (sequences_shape[0], *sequences_shape[2:])
        if not self.cell.built:
            self.cell.build([step, *map(tuple, constants_shape or ())] if constants_shape else step)
            self.cell.built = True
        self.built = True

    def call(
        self,
        sequences: tf.Tensor,
        initial_state: Any = None,
        mask: tf.Tensor | None = None,
        training: bool = False,
        constants: Sequence[tf.Tensor] = (),
    ) -> Any:
        """Runs the cell over time.

        Args:
            sequences: (batch, time, features).
            initial_state: as of Keras' RNN.
            mask: (batch, time), false where a step is skipped.
            training: whether dropout acts.
            constants: tensors (batch, …) that the cell gets at every step.
        """
        cell_call = self.cell.call
        self.cell.call = lambda inputs, states, **given: cell_call(
            inputs, states, constants=list(constants), **given
        )
        try:
            return super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        finally:
            del self.cell.call

"""Recurrent layers whose cell gets constants at every step, which Keras 2 had and Keras 3 has not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras.src import backend


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
        self._constants = list(constants)
        try:
            return super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        finally:
            self._constants = []

    def inner_loop(
        self, sequences: tf.Tensor, initial_state: Any, mask: tf.Tensor | None, training: bool = False
    ) -> Any:
        """Keras' loop over time, with the constants for each call of the cell."""
        arguments = {"training": training} if self.cell._call_has_training_arg else {}

        def step(inputs: tf.Tensor, states: Any) -> tuple[tf.Tensor, list[tf.Tensor]]:
            output, states = self.cell(inputs, states, constants=self._constants, **arguments)
            return output, list(states) if isinstance(states, list | tuple) else [states]

        return backend.rnn(
            step,
            sequences,
            initial_state,
            go_backwards=self.go_backwards,
            mask=mask,
            unroll=self.unroll,
            input_length=sequences.shape[1],
            zero_output_for_mask=self.zero_output_for_mask,
            return_all_outputs=self.return_sequences,
        )

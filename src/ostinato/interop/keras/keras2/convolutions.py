"""Convolutions of Keras 2 that Keras 3 does not have."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="ostinato")
class CausalSeparableConv1D(keras.layers.SeparableConv1D):
    """SeparableConv1D with `padding="causal"`: an output depends on no later step.

    Args:
        **options: of SeparableConv1D but for `padding`.
    """

    def __init__(self, **options: object) -> None:
        options.pop("padding", None)
        super().__init__(padding="valid", **options)  # pyright: ignore[reportArgumentType]

    def call(self, inputs: tf.Tensor) -> Any:
        """Convolves (batch, time, channels), or (batch, channels, time) with "channels_first"."""
        before = [self.dilation_rate[0] * (self.kernel_size[0] - 1), 0]
        last = self.data_format == "channels_last"
        return super().call(
            keras.ops.pad(inputs, [[0, 0], before, [0, 0]] if last else [[0, 0], [0, 0], before])
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the outputs, which have as many steps as the inputs with strides of one."""
        axis = 1 if self.data_format == "channels_last" else 2
        before = self.dilation_rate[0] * (self.kernel_size[0] - 1)
        padded = (size if n != axis or size is None else size + before for n, size in enumerate(input_shape))
        return super().compute_output_shape(tuple(padded))

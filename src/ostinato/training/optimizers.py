"""SGD, Adam and AdamW on TensorFlow's fused update ops.

The update rules are those of Keras, and the tests compare them. They are written out here for three reasons.
One fused op for each weight takes about half the time of Keras' dozen small ones. Gradients arrive already
reduced over replicas; a Keras optimizer would reduce them again. And the slots are plain named variables,
which a checkpoint saves as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from ostinato.training.config import TrainingConfig

if TYPE_CHECKING:
    import keras

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7
_SLOTS = {"sgd": (), "adam": ("momentum", "velocity"), "adamw": ("momentum", "velocity")}


class Optimizer:
    """Updates weights by their gradients.

    Args:
        config: names the update rule.
        names: stable names of the weights.
        weights: the trainable variables of a Keras model.
    """

    def __init__(self, config: TrainingConfig, names: Sequence[str], weights: Sequence[keras.Variable]):
        self._config = config
        # A Keras variable wraps TensorFlow's, which has the handle that the fused ops need.
        self._weights = [weight.value for weight in weights]
        self._decays = [
            weight.shape.rank > 1 and "bias" not in name
            for name, weight in zip(names, self._weights, strict=True)
        ]
        self.slots: dict[str, tf.Variable] = {
            f"{name}/{slot}": tf.Variable(tf.zeros_like(weight), trainable=False)
            for name, weight in zip(names, self._weights, strict=True)
            for slot in _SLOTS[config.optimizer]
        }

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor, step: tf.Tensor) -> None:
        """One step.

        Args:
            gradients: one for each weight, of its shape.
            learning_rate: scalar float32.
            step: the number of steps before this one, scalar integer.
        """
        slots = iter(self.slots.values())
        count = tf.cast(step, tf.float64) + 1.0
        beta_1_power = tf.cast(tf.pow(tf.constant(_BETA_1, tf.float64), count), tf.float32)
        beta_2_power = tf.cast(tf.pow(tf.constant(_BETA_2, tf.float64), count), tf.float32)
        for weight, gradient, decays in zip(self._weights, gradients, self._decays, strict=True):
            if self._config.optimizer == "sgd":
                tf.raw_ops.ResourceApplyGradientDescent(
                    var=weight.handle, alpha=learning_rate, delta=gradient
                )
                continue
            if self._config.optimizer == "adamw" and decays and self._config.weight_decay:
                decay = learning_rate * self._config.weight_decay * weight
                tf.raw_ops.AssignSubVariableOp(resource=weight.handle, value=decay)
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=next(slots).handle,
                v=next(slots).handle,
                beta1_power=beta_1_power,
                beta2_power=beta_2_power,
                lr=learning_rate,
                beta1=_BETA_1,
                beta2=_BETA_2,
                epsilon=_EPSILON,
                grad=gradient,
            )

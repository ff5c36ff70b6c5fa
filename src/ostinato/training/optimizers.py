"""SGD, Adam and AdamW, with clipping by the global norm.

The update rules are those of Keras, and the tests compare them. They are here for three reasons. One op of
the native engine for all weights takes a fraction of the time of Keras' dozen small ones for each. Gradients
arrive already reduced over replicas; a Keras optimizer would reduce them again. And the slots are plain named
variables, which a checkpoint saves as they are.

Where the engine's op gains nothing, TensorFlow's fused op updates one weight after the other: for many
weights with dense gradients, and where `engines/updating.py` has an obstacle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from ostinato.engines import updating
from ostinato.training.config import TrainingConfig

if TYPE_CHECKING:
    import keras

    from ostinato.engines.updating import Gradient

_SLOTS = {"sgd": (), "adam": ("momentum", "velocity"), "adamw": ("momentum", "velocity")}
_MOST_DENSE = 500_000
"""TensorFlow's ops update more weights than these as fast, as long as their gradients are dense."""


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
            weight.shape.rank > 1 and "bias" not in name and "embedding" not in name
            for name, weight in zip(names, self._weights, strict=True)
        ]
        decay = config.weight_decay if config.optimizer == "adamw" else 0.0
        self._rule = updating.Rule("sgd" if config.optimizer == "sgd" else "adam", decay=decay)
        self.slots: dict[str, tf.Variable] = {
            f"{name}/{slot}": tf.Variable(tf.zeros_like(weight), trainable=False)
            for name, weight in zip(names, self._weights, strict=True)
            for slot in _SLOTS[config.optimizer]
        }
        self._at_once = updating.obstacle(self._weights) is None

    def apply(
        self,
        gradients: Sequence[Gradient],
        learning_rate: tf.Tensor,
        step: tf.Tensor,
        total: tf.Tensor | float = 1.0,
    ) -> tf.Tensor:
        """One step, with gradients clipped to the norm of the settings.

        Args:
            gradients: one for each weight, of its shape, or the rows of a table in any order.
            learning_rate: scalar float32.
            step: the number of steps before this one, scalar integer.
            total: what the gradients are divided by, scalar float32.

        Returns:
            The norm of the divided gradients before clipping, scalar float32.
        """
        count = tf.cast(step, tf.float64) + 1.0
        powers = [
            tf.cast(tf.pow(tf.constant(beta, tf.float64), count), tf.float32)
            for beta in (self._rule.beta_1, self._rule.beta_2)
        ]
        dense = [
            weight.shape.num_elements() or 0
            for weight, gradient in zip(self._weights, gradients, strict=True)
            if not isinstance(gradient, tf.IndexedSlices)
        ]
        if not self._at_once or sum(dense) > _MOST_DENSE:
            return self._one_by_one(gradients, learning_rate, powers, tf.convert_to_tensor(total))
        return updating.update(
            self._rule,
            self._weights,
            self._slot_lists(),
            gradients,
            self._decays,
            rate=learning_rate,
            step_size=learning_rate * tf.sqrt(1.0 - powers[1]) / (1.0 - powers[0]),
            divisor=total,
            clip=self._config.clip,
        )

    def _slot_lists(self) -> list[list[tf.Variable]]:
        """The slots of all weights, one list for each kind."""
        slots, kinds = list(self.slots.values()), self._rule.slots
        return [slots[kind::kinds] for kind in range(kinds)]

    def _one_by_one(
        self,
        gradients: Sequence[Gradient],
        learning_rate: tf.Tensor,
        powers: Sequence[tf.Tensor],
        total: tf.Tensor,
    ) -> tf.Tensor:
        """`apply` with TensorFlow's op for each weight; these take dense gradients alone."""
        given = [updating.summed_rows(g) if isinstance(g, tf.IndexedSlices) else g for g in gradients]
        norm = tf.linalg.global_norm(given) / total
        scale = 1.0 / total
        if self._config.clip is not None:
            scale *= tf.minimum(1.0, self._config.clip / norm)
        slots, rule = list(zip(*self._slot_lists(), strict=True)), self._rule
        for place, (weight, gradient) in enumerate(zip(self._weights, given, strict=True)):
            if isinstance(gradient, tf.IndexedSlices):
                rows = gradient.indices[:, tf.newaxis]
                scaled = tf.scatter_nd(rows, gradient.values * scale, tf.shape(weight, rows.dtype))
            else:
                scaled = gradient * scale
            if rule.decay and self._decays[place]:
                decay = weight * rule.decay * learning_rate
                tf.raw_ops.AssignSubVariableOp(resource=weight.handle, value=decay)
            if rule.name == "sgd":
                tf.raw_ops.ResourceApplyGradientDescent(var=weight.handle, alpha=learning_rate, delta=scaled)
                continue
            momentum, velocity = slots[place]
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=momentum.handle,
                v=velocity.handle,
                beta1_power=powers[0],
                beta2_power=powers[1],
                lr=learning_rate,
                beta1=rule.beta_1,
                beta2=rule.beta_2,
                epsilon=rule.epsilon,
                grad=scaled,
            )
        return norm

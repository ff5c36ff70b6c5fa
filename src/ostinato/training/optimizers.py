"""SGD, Adam, AdamW and Muon, with clipping by the global norm.

The update rules are those of Keras, and the tests compare them. They are here for three reasons. One op of
the native engine for all weights takes a fraction of the time of Keras' dozen small ones for each. Gradients
arrive already reduced over replicas; a Keras optimizer would reduce them again. And the slots are plain named
variables, which a checkpoint saves as they are.

Where the engine's op gains nothing, TensorFlow's fused op updates one weight after the other: for many
weights with dense gradients, and where `engines/updating.py` has an obstacle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import tensorflow as tf

from ostinato.engines import updating
from ostinato.training import muon
from ostinato.training.config import TrainingConfig

if TYPE_CHECKING:
    import keras

    from ostinato.engines.updating import Gradient

Each = TypeVar("Each")

_SLOTS = {"sgd": (), "adam": ("momentum", "velocity")}
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
        decay = config.weight_decay if config.optimizer in ("adamw", "muon") else 0.0
        self._rule = updating.Rule("sgd" if config.optimizer == "sgd" else "adam", decay=decay)
        self._matrices = muon.matrices(names, self._weights) if config.optimizer == "muon" else []
        hidden = {matrix.place for matrix in self._matrices}
        self._others = [place for place in range(len(names)) if place not in hidden]
        self.slots: dict[str, tf.Variable] = {
            f"{name}/{slot}": tf.Variable(tf.zeros_like(weight), trainable=False)
            for place, (name, weight) in enumerate(zip(names, self._weights, strict=True))
            for slot in (("momentum",) if place in hidden else _SLOTS[self._rule.name])
        }
        slots = iter(self.slots.values())
        self._slots = [
            [next(slots) for _ in range(1 if place in hidden else self._rule.slots)]
            for place in range(len(names))
        ]
        self._at_once = updating.obstacle(self._of_others(self._weights)) is None

    def _of_others(self, each: Sequence[Each]) -> list[Each]:
        """Of one thing for each weight, those of weights that are no matrix of Muon."""
        return [each[place] for place in self._others]

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
        if not self._matrices:
            return self._of_numbers(gradients, learning_rate, step, tf.convert_to_tensor(total))
        norm = _norm(gradients) / total
        divisor = tf.convert_to_tensor(total)
        if self._config.clip is not None:
            divisor *= tf.maximum(1.0, norm / self._config.clip)
        places = [matrix.place for matrix in self._matrices]
        muon.update(
            self._matrices,
            [self._weights[place] for place in places],
            [self._slots[place][0] for place in places],
            [tf.convert_to_tensor(gradients[place]) / divisor for place in places],
            rate=learning_rate,
            decay=self._rule.decay,
        )
        if self._others:
            self._of_numbers(self._of_others(gradients), learning_rate, step, divisor, clips=False)
        return norm

    def _of_numbers(
        self,
        gradients: Sequence[Gradient],
        learning_rate: tf.Tensor,
        step: tf.Tensor,
        total: tf.Tensor,
        *,
        clips: bool = True,
    ) -> tf.Tensor:
        """`apply` for the weights whose numbers are updated one by one: all but the matrices of Muon."""
        count, clip = tf.cast(step, tf.float64) + 1.0, self._config.clip if clips else None
        powers = [
            tf.cast(tf.pow(tf.constant(beta, tf.float64), count), tf.float32)
            for beta in (self._rule.beta_1, self._rule.beta_2)
        ]
        weights = self._of_others(self._weights)
        dense = [
            weight.shape.num_elements() or 0
            for weight, gradient in zip(weights, gradients, strict=True)
            if not isinstance(gradient, tf.IndexedSlices)
        ]
        if not self._at_once or sum(dense) > _MOST_DENSE:
            return self._one_by_one(gradients, learning_rate, powers, total, clip)
        return updating.update(
            self._rule,
            weights,
            list(zip(*self._of_others(self._slots), strict=True)),
            gradients,
            self._of_others(self._decays),
            rate=learning_rate,
            step_size=learning_rate * tf.sqrt(1.0 - powers[1]) / (1.0 - powers[0]),
            divisor=total,
            clip=clip,
            wants_norm=clips,
        )

    def _one_by_one(
        self,
        gradients: Sequence[Gradient],
        learning_rate: tf.Tensor,
        powers: Sequence[tf.Tensor],
        total: tf.Tensor,
        clip: float | None,
    ) -> tf.Tensor:
        """`_of_numbers` with TensorFlow's op for each weight; these take dense gradients alone."""
        given = [updating.summed_rows(g) if isinstance(g, tf.IndexedSlices) else g for g in gradients]
        norm = tf.linalg.global_norm(given) / total
        scale = 1.0 / total
        if clip is not None:
            scale *= tf.minimum(1.0, clip / norm)
        slots, decays, rule = self._of_others(self._slots), self._of_others(self._decays), self._rule
        for place, (weight, gradient) in enumerate(zip(self._of_others(self._weights), given, strict=True)):
            if isinstance(gradient, tf.IndexedSlices):
                rows = gradient.indices[:, tf.newaxis]
                scaled = tf.scatter_nd(rows, gradient.values * scale, tf.shape(weight, rows.dtype))
            else:
                scaled = gradient * scale
            if rule.decay and decays[place]:
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


def _norm(gradients: Sequence[Gradient]) -> tf.Tensor:
    """The norm of all gradients together."""
    return tf.linalg.global_norm(
        [updating.summed_rows(g) if isinstance(g, tf.IndexedSlices) else g for g in gradients]
    )

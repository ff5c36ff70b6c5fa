"""Keras' SGD, Adam and AdamW, whose step is one op for all weights.

    model.compile(ostinato.optimizers.Adam(1e-3), "mse")

Arguments, variables, results and saved files are those of the Keras optimizers. Keras runs a dozen small ops
for each weight, which is much of the step of a small model. Here one op of the native engine updates all
weights. Without clipping the results are Keras' bit for bit, and with `global_clipnorm` up to the rounding of
the norm.

One result differs on purpose. The gradient of an `Embedding` comes as rows, one for each token. Keras' Adam
squares each row by itself and adds up the squares. Here, as in the paper and for a dense gradient in Keras,
the rows of a token are added up, and their sum is squared; norms are those of the sums, too.

Keras' own step runs for weights to which `engines.updating` has an obstacle (no engine, a GPU, another dtype
than float32, or many weights), under a distribution strategy and XLA, and with `amsgrad`, `use_ema` or
`gradient_accumulation_steps`. The method `obstacle` says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from ostinato.engines import updating

if TYPE_CHECKING:
    from ostinato.engines.updating import Gradient, Rule


class _AtOnce(keras.optimizers.Optimizer):
    """An optimizer of Keras that updates all weights at once where it can."""

    def obstacle(self, variables: Sequence[keras.Variable] | None = None) -> str | None:
        """Why Keras' own step runs; None when one op does.

        Args:
            variables: the weights to update; None means all that the optimizer was built for.
        """
        given = self._trainable_variables if variables is None else variables
        weights = [_tensorflow_variable(variable) for variable in given]
        for option in ("amsgrad", "use_ema", "gradient_accumulation_steps"):
            if getattr(self, option, None):
                return f"it is asked for {option}"
        if tf.distribute.has_strategy() or any(
            isinstance(w, tf.distribute.DistributedValues) for w in weights
        ):
            return "a distribution strategy adds up the gradients of its replicas"
        if control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
            return "XLA compiles only its own ops"
        return updating.obstacle(weights)

    def _rule(self, decay: float) -> Rule:
        """The update rule, with this weight decay."""
        raise NotImplementedError

    def _slot_lists(self) -> tuple[Any, ...]:
        """Lists of the slots, in the order of the weights that the optimizer was built for."""
        raise NotImplementedError

    def _backend_apply_gradients(
        self, grads: Sequence[Gradient], trainable_variables: Sequence[keras.Variable]
    ) -> None:
        if self.obstacle(trainable_variables) is not None:
            super()._backend_apply_gradients(grads, trainable_variables)
            return
        clip = self.global_clipnorm or None
        if self.clipnorm or self.clipvalue:
            # Keras' clipping of rows would be that of each token.
            dense = [tf.convert_to_tensor(gradient) for gradient in grads]
            grads = self._clip_gradients(dense)  # pyright: ignore[reportAssignmentType]
        weights = [_tensorflow_variable(variable) for variable in trainable_variables]
        places = [self._get_variable_index(variable) for variable in trainable_variables]
        rule = self._rule(self.weight_decay or 0.0)
        rate = tf.cast(self.learning_rate, tf.float32)
        step = tf.cast(self.iterations + 1, tf.float32)  # pyright: ignore[reportCallIssue, reportArgumentType, reportOptionalOperand]
        powers = [tf.pow(tf.constant(beta, tf.float32), step) for beta in (rule.beta_1, rule.beta_2)]
        updating.update(
            rule,
            weights,
            [[_tensorflow_variable(slots[place]) for place in places] for slots in self._slot_lists()],
            [_in_float32(gradient) for gradient in grads],
            [rule.decay > 0 and self._use_weight_decay(weight) for weight in weights],
            rate=rate,
            step_size=rate * tf.sqrt(1.0 - powers[1]) / (1.0 - powers[0]),
            clip=clip,
            wants_norm=clip is not None,
        )


@keras.saving.register_keras_serializable(package="ostinato")
class SGD(_AtOnce, keras.optimizers.SGD):
    """`keras.optimizers.SGD` in one op, with or without (Nesterov's) momentum; arguments are Keras'."""

    def _rule(self, decay: float) -> Rule:
        name = "sgd" if self.momentum == 0 else "nesterov" if self.nesterov else "momentum"
        return updating.Rule(name, momentum=self.momentum, decay=decay)

    def _slot_lists(self) -> tuple[Any, ...]:
        return (self.momentums,) if self.momentum != 0 else ()


@keras.saving.register_keras_serializable(package="ostinato")
class Adam(_AtOnce, keras.optimizers.Adam):
    """`keras.optimizers.Adam` in one op (Kingma & Ba 2014, arXiv:1412.6980); arguments are Keras'."""

    def _rule(self, decay: float) -> Rule:
        return updating.Rule(
            "adam", beta_1=self.beta_1, beta_2=self.beta_2, epsilon=self.epsilon, decay=decay
        )

    def _slot_lists(self) -> tuple[Any, ...]:
        return self._momentums, self._velocities


@keras.saving.register_keras_serializable(package="ostinato")
class AdamW(Adam, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` in one op (Loshchilov & Hutter 2017, arXiv:1711.05101)."""


def _tensorflow_variable(variable: keras.Variable) -> tf.Variable:
    return variable.value if isinstance(variable, keras.Variable) else variable


def _in_float32(gradient: Gradient) -> Gradient:
    if isinstance(gradient, tf.IndexedSlices):
        values = tf.cast(gradient.values, tf.float32)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return tf.cast(gradient, tf.float32)

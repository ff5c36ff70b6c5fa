"""The two things done with a batch, each as one `tf.function`: learn from it, or be judged by it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ostinato.tasks.task import Batch, State
from ostinato.training.config import TrainingConfig
from ostinato.training.optimizers import Optimizer


def as_tensors(batch: Batch) -> dict[str, tf.Tensor]:
    """A batch of arrays as tensors."""
    return {name: tf.constant(value) for name, value in batch.items()}


def _signature(task: Any, model: Any) -> list[Any] | None:
    """What a function of (batch, state) takes when sizes differ from batch to batch; None when they do not.

    One trace serves all sizes then. Were each size, or the first, traced for itself, TensorFlow would round
    differently in it, and a resumed training would end with other weights than one that was never stopped.
    """
    batch = task.signature()
    if batch is None:
        return None
    state = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in task.initial_state(model, 1))
    return [batch, state]


def make_train_step(
    task: Any, model: Any, optimizer: Optimizer, config: TrainingConfig
) -> Callable[..., Any]:
    """(batch, state, step, learning rate) → (loss, weight, sums, gradient norm, state), changing the weights.

    On several replicas, sums of loss, weight and gradients are reduced first; the mean is clipped once.
    """
    weights = list(model.trainable_variables)
    strategy = tf.distribute.get_strategy()

    def learn(batch, state: State, step: tf.Tensor, learning_rate: tf.Tensor):
        with tf.GradientTape() as tape:
            loss, weight, sums, state = task.loss(model, batch, state, step=step)
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, weights)]
        if strategy.num_replicas_in_sync > 1:
            context = tf.distribute.get_replica_context()
            loss, weight, sums, gradients = context.all_reduce("sum", (loss, weight, sums, gradients))
        norm = tf.linalg.global_norm(gradients) / weight
        scale = 1.0 / weight
        if config.clip is not None:
            scale *= tf.minimum(1.0, config.clip / norm)
        optimizer.apply([gradient * scale for gradient in gradients], learning_rate, step)
        return loss, weight, sums, norm, state

    arguments = _signature(task, model)
    scalars = (tf.TensorSpec((), tf.int32), tf.TensorSpec((), tf.float32))

    @tf.function(input_signature=None if arguments is None else [*arguments, *scalars])
    def train_step(batch, state: State, step: tf.Tensor, learning_rate: tf.Tensor):
        return strategy.run(learn, (batch, state, step, learning_rate))

    return train_step


class Evaluation:
    """Reads whole parts of a source, with the state carried from batch to batch."""

    def __init__(self, task: Any, model: Any):
        self._task, self._model = task, model
        self.seconds = 0.0  # what the last one took, for budgets that must include the next
        arguments = _signature(task, model)
        self._judge = tf.function(
            lambda batch, state: task.loss(model, batch, state),
            input_signature=arguments,
            reduce_retracing=arguments is None,
        )

    def __call__(
        self, split: str, on_batch: Callable[[int, int], None] | None = None
    ) -> tuple[dict[str, float], float]:
        """The task's metrics over a part, and the weight (tokens) they are over.

        Args:
            split: `train`, `validation` or `test`.
            on_batch: called with (batches done, batches in all).
        """
        began, task = time.perf_counter(), self._task
        state = task.initial_state(self._model, task.rows(split, evaluate=True))
        total_loss, total_weight, totals, batches = 0.0, 0.0, {}, task.steps(split, evaluate=True)
        for number, batch in enumerate(task.batches(split)):
            loss, weight, sums, state = self._judge(as_tensors(batch), state)
            total_loss += float(loss)
            total_weight += float(weight)
            totals = {name: totals.get(name, 0.0) + float(value) for name, value in sums.items()}
            if on_batch is not None:
                on_batch(number + 1, batches)
        self.seconds = time.perf_counter() - began
        return task.metrics(total_loss, total_weight, totals), total_weight

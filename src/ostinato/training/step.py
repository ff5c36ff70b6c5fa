"""The training step: gradients and a change of the weights, as one `tf.function`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import tensorflow as tf

from ostinato.cells.base import State
from ostinato.layers.tracing import traced
from ostinato.tasks.base import Batch, Task
from ostinato.training.optimizers import Optimizer
from ostinato.training.workers import Workers, single_worker

if TYPE_CHECKING:
    import keras

_Structure = TypeVar("_Structure")


def as_tensors(batch: Batch) -> dict[str, tf.Tensor]:
    """A batch of arrays as tensors."""
    return {name: tf.constant(value) for name, value in batch.items()}


def signature_of(
    task: Task, model: keras.Model, batch: Mapping[str, tf.TensorSpec] | None
) -> list[object] | None:
    """The input signature of a function of (batch, state) whose sizes differ; None when all sizes are equal.

    With it one trace serves all sizes. TensorFlow rounds differently in a trace for one size, and a resumed
    training would end with other weights than one that was never stopped.
    """
    if batch is None:
        return None
    state = tuple(tf.TensorSpec((None, *spec.shape), spec.dtype) for spec in task.states(model))
    return [batch, state]


class Learned(NamedTuple):
    """The results of a training step, over the whole global batch except for the states.

    Attributes:
        loss: the summed loss, in nats.
        weight: what the loss is summed over: loss / weight is the mean.
        sums: further sums of the task.
        norm: the norm of the mean gradient, before clipping.
        states: the new recurrent state of each of this worker's replicas.
        signals: the signals of all workers, summed.
    """

    loss: tf.Tensor
    weight: tf.Tensor
    sums: dict[str, tf.Tensor]
    norm: tf.Tensor
    states: tuple[State, ...]
    signals: tf.Tensor


def make_train_step(
    task: Task,
    model: keras.Model,
    signature: Mapping[str, tf.TensorSpec] | None,
    optimizer: Optimizer,
    workers: Workers | None = None,
) -> Callable[..., Learned]:
    """(batches, states, step, learning rate, signals) → `Learned`, changing the weights.

    There is one batch and one state for each of this worker's replicas. The sums of loss, weight and
    gradients and the signals of the workers are added up over all replicas in one message; the mean gradient
    is clipped once.

    Args:
        task, model: what is trained.
        signature: the type of every batch; None when all have the same sizes.
        optimizer: how it is trained.
        workers: the workers that train together; None is this process alone.
    """
    workers = workers or single_worker()
    weights, strategy, local = list(model.trainable_variables), workers.strategy, len(workers.replicas)

    def learn(batches, states, step: tf.Tensor, learning_rate: tf.Tensor, signals: tf.Tensor):
        replica = 0
        if local > 1:
            context = tf.distribute.get_replica_context()
            replica = int(tf.get_static_value(context.replica_id_in_sync_group)) - workers.replicas[0]
        with tf.GradientTape() as tape:
            found = task.loss(model, batches[replica], states[replica], step=step)
            loss, weight = tf.convert_to_tensor(found.total), tf.convert_to_tensor(found.weight)
            sums = {name: tf.convert_to_tensor(value) for name, value in found.sums.items()}
            learned_from = loss if isinstance(found.penalty, float) else loss + found.penalty
        gradients = tape.gradient(learned_from, weights)
        if workers.replica_count > 1:
            # In one message all gradients are dense.
            gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
            told = signals if replica == 0 else tf.zeros_like(signals)
            loss, weight, sums, gradients, signals = _added_up((loss, weight, sums, gradients, told))
        norm = optimizer.apply(gradients, learning_rate, step, weight)
        return Learned(loss, weight, sums, norm, (found.state,), signals)

    arguments = signature_of(task, model, signature)
    scalars = (tf.TensorSpec((), tf.int32), tf.TensorSpec((), tf.float32), tf.TensorSpec((None,), tf.float32))

    def train_step(batches, states, step: tf.Tensor, learning_rate: tf.Tensor, signals: tf.Tensor):
        results = strategy.run(learn, (batches, states, step, learning_rate, signals))
        here = [of_replica(results, number) for number in range(local)]
        return here[0]._replace(states=tuple(each.states[0] for each in here))

    def of_replica(results: Learned, number: int) -> Learned:
        return tf.nest.map_structure(
            lambda value: strategy.experimental_local_results(value)[number], results
        )

    signatures = None if arguments is None else [*((each,) * local for each in arguments), *scalars]
    return traced(train_step, input_signature=signatures)


def _added_up(values: _Structure) -> _Structure:
    """float32 tensors of any structure, added up over all replicas as one vector in one message."""
    parts = tf.nest.flatten(values)
    flat = tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)
    total = tf.distribute.get_replica_context().all_reduce("sum", flat)
    pieces = tf.split(total, [tf.size(part) for part in parts])
    pieces = [tf.reshape(piece, tf.shape(part)) for piece, part in zip(pieces, parts, strict=True)]
    return tf.nest.pack_sequence_as(values, pieces)

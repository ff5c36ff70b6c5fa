"""The two things done with a batch, each as one `tf.function`: learn from it, or be judged by it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ostinato.cells.base import initial_state
from ostinato.data.batches.shards import rows_of
from ostinato.tasks.base import Batch, Loss, Metrics, State, Task
from ostinato.training.config import TrainingConfig
from ostinato.training.optimizers import Optimizer
from ostinato.training.workers import Workers, alone


def as_tensors(batch: Batch) -> dict[str, tf.Tensor]:
    """A batch of arrays as tensors."""
    return {name: tf.constant(value) for name, value in batch.items()}


def _signature(task: Task, model: Any) -> list[Any] | None:
    """What a function of (batch, state) takes when sizes differ from batch to batch; None when they do not.

    One trace serves all sizes then. Were each size, or the first, traced for itself, TensorFlow would round
    differently in it, and a resumed training would end with other weights than one that was never stopped.
    """
    batch = task.signature()
    if batch is None:
        return None
    state = tuple(tf.TensorSpec((None, *spec.shape), spec.dtype) for spec in task.states(model))
    return [batch, state]


class Learned(NamedTuple):
    """What a change of the weights tells: of the whole global batch, but for the states.

    Attributes:
        loss: in nats, summed; `weight` is what the mean is over, `sums` are the task's further sums.
        norm: of the mean gradient, before it is clipped.
        states: the new recurrent state of each of this worker's replicas.
        signals: those of all workers, summed.
    """

    loss: tf.Tensor
    weight: tf.Tensor
    sums: dict[str, tf.Tensor]
    norm: tf.Tensor
    states: tuple[State, ...]
    signals: tf.Tensor


def make_train_step(
    task: Task, model: Any, optimizer: Optimizer, config: TrainingConfig, workers: Workers | None = None
) -> Callable[..., Learned]:
    """(batches, states, step, learning rate, signals) → `Learned`, changing the weights.

    There is a batch and a state for each of this worker's replicas. Their sums of loss, weight and gradients,
    and the numbers that workers signal to one another, are added up over all replicas in one message; the
    mean is clipped once.

    Args:
        task, model, optimizer, config: what learns, and how.
        workers: who learns together; None is this process alone.
    """
    workers = workers or alone()
    weights, strategy, local = list(model.trainable_variables), workers.strategy, len(workers.replicas)

    def learn(batches, states, step: tf.Tensor, learning_rate: tf.Tensor, signals: tf.Tensor):
        replica = 0
        if local > 1:
            context = tf.distribute.get_replica_context()
            replica = int(tf.get_static_value(context.replica_id_in_sync_group)) - workers.replicas[0]
        with tf.GradientTape() as tape:
            loss, weight, sums, state = task.loss(model, batches[replica], states[replica], step=step)
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, weights)]
        if workers.replica_count > 1:
            told = signals if replica == 0 else tf.zeros_like(signals)
            loss, weight, sums, gradients, signals = _added_up((loss, weight, sums, gradients, told))
        norm = tf.linalg.global_norm(gradients) / weight
        scale = 1.0 / weight
        if config.clip is not None:
            scale *= tf.minimum(1.0, config.clip / norm)
        optimizer.apply([gradient * scale for gradient in gradients], learning_rate, step)
        return Learned(loss, weight, sums, norm, (state,), signals)

    arguments = _signature(task, model)
    scalars = (tf.TensorSpec((), tf.int32), tf.TensorSpec((), tf.float32), tf.TensorSpec((None,), tf.float32))

    @tf.function(
        input_signature=None if arguments is None else [*((each,) * local for each in arguments), *scalars]
    )
    def train_step(batches, states, step: tf.Tensor, learning_rate: tf.Tensor, signals: tf.Tensor):
        results = strategy.run(learn, (batches, states, step, learning_rate, signals))
        here = [of_replica(results, number) for number in range(local)]
        return here[0]._replace(states=tuple(each.states[0] for each in here))

    def of_replica(results: Learned, number: int) -> Learned:
        return tf.nest.map_structure(
            lambda value: strategy.experimental_local_results(value)[number], results
        )

    return train_step


def _added_up(values: Any) -> Any:
    """float32 tensors of any structure, added up over all replicas as one vector: one message a step."""
    parts = tf.nest.flatten(values)
    flat = tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)
    total = tf.distribute.get_replica_context().all_reduce("sum", flat)
    pieces = tf.split(total, [tf.size(part) for part in parts])
    pieces = [tf.reshape(piece, tf.shape(part)) for piece, part in zip(pieces, parts, strict=True)]
    return tf.nest.pack_sequence_as(values, pieces)


class Evaluation:
    """Reads whole parts of a source, with the state carried from batch to batch.

    Args:
        task, model: what is judged.
        workers: each of which reads its rows of every batch; None is this process alone.
    """

    def __init__(self, task: Task, model: Any, workers: Workers | None = None):
        self._task, self._model, self._workers = task, model, workers or alone()
        self.seconds = 0.0  # what the last one took, for budgets that must include the next
        arguments = _signature(task, model)
        self._judge = tf.function(
            lambda batch, state: task.loss(model, batch, state),
            input_signature=arguments,
            reduce_retracing=arguments is None,
        )

    def __call__(
        self, split: str, on_batch: Callable[[int, int], None] | None = None
    ) -> tuple[Metrics, float]:
        """The task's metrics over a part, and the weight (tokens) they are over.

        Args:
            split: `train`, `validation` or `test`.
            on_batch: called with (batches done, batches in all).
        """
        found = self.unless_stopped(split, lambda: False, on_batch)
        assert found is not None
        return found

    def unless_stopped(
        self, split: str, stop: Callable[[], bool], on_batch: Callable[[int, int], None] | None = None
    ) -> tuple[Metrics, float] | None:
        """The same, but None as soon as `stop` says so to any of the workers."""
        began, task, stopped = time.perf_counter(), self._task, False
        shard = self._workers.shard
        rows = rows_of(shard, task.rows(split, evaluate=True))
        state = initial_state(task.states(self._model), len(rows))
        sums: dict[str, float] = {}
        batches = task.steps(split, evaluate=True)
        for number, batch in enumerate(task.batches(split, shard=shard)):
            if stopped := stop():
                break
            if any(np.ndim(value) and len(value) == 0 for value in batch.values()):
                continue  # fewer rows than workers, and none for this one
            loss, weight, further, state = self._judge(as_tensors(batch), state)
            for name, value in {"loss": loss, "weight": weight, **further}.items():
                sums[name] = sums.get(name, 0.0) + float(value)
            if on_batch is not None:
                on_batch(number + 1, batches)
        sums, stopped = self._of_all_workers(sums, stopped)
        self.seconds = float(self._workers.told_by(0, [time.perf_counter() - began])[0])
        if stopped:
            return None
        loss, weight = sums.pop("loss"), sums.pop("weight")
        return task.metrics(Loss(loss, weight, sums)), weight

    def _of_all_workers(self, sums: dict[str, float], stopped: bool) -> tuple[dict[str, float], bool]:
        workers = self._workers
        if workers.count == 1:
            return sums, stopped
        # Of a batch with too few rows for all, the last worker always has one.
        names = json.loads(workers.bytes_told_by(workers.count - 1, json.dumps(list(sums)).encode()))
        *totals, stops = workers.sum([*(sums.get(name, 0.0) for name in names), float(stopped)])
        return dict(zip(names, map(float, totals), strict=True)), stops > 0

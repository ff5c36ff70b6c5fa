"""The training loop, for every task.

It reads from top to bottom as the story of a run: set up, take a batch, learn, measure, evaluate, save, until
the budget is used up. Everything it must remember between two steps is in its `Snapshot`, so a training that
was killed resumes as if it had never stopped.

Each of several workers runs this loop, and all stay in step. The values that they decide by (the loss, the
time, whether Ctrl-C was pressed) are equal on all of them: they are summed over all, or broadcast by the
chief.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import tensorflow as tf

from ostinato.errors import ConfigError
from ostinato.runs.checkpoints import Checkpoint
from ostinato.runs.directory import RunDirectory
from ostinato.tasks.base import Batch, Data, Task
from ostinato.training.budget import Budget
from ostinato.training.config import TrainingConfig
from ostinato.training.events import Ended, EndReason, Event, Started, StepDone
from ostinato.training.interrupt import stop
from ostinato.training.measuring import Measuring
from ostinato.training.schedules import learning_rate
from ostinato.training.signals import Signals
from ostinato.training.snapshot import Snapshot
from ostinato.training.step import as_tensors, make_train_step
from ostinato.training.workers import Workers, single_worker
from ostinato.wording import option

if TYPE_CHECKING:
    import keras


class Trainer:
    """A running training.

    Args:
        task, data, model: what is trained; the model is built in the scope of the workers' strategy.
        config: the settings of the training.
        run: the directory that the chief saves into.
        emit: called with every event, on the chief only.
        workers: the workers that train together; None is this process alone.
        budget: what ends it; None is the budget of the settings.

    Raises:
        ConfigError: when patience lacks a validation part, or a batch has fewer rows than there are replicas.
    """

    def __init__(
        self,
        task: Task,
        data: Data,
        model: keras.Model,
        config: TrainingConfig,
        run: RunDirectory,
        emit: Callable[[Event], None],
        workers: Workers | None = None,
        budget: Budget | None = None,
    ):
        part = data.part("train")
        if part is None:
            raise ConfigError("there is nothing to train on")
        self._task, self._model, self._config, self._run, self._part = task, model, config, run, part
        self._workers = workers = workers or single_worker()
        self._emit = emit if workers.chief else lambda event: None
        self._budget = budget or Budget.of(config, part.steps)
        self._snapshot = Snapshot(task, model, part, config, run, workers)
        self._train_step = make_train_step(task, model, part.signature, self._snapshot.optimizer, workers)
        if config.patience is not None and data.part("validation") is None:
            raise ConfigError("patience needs a validation part; set a validation fraction above 0")
        if part.rows < workers.replica_count:
            raise ConfigError(
                f"a batch has {part.rows} rows, too few for {workers.replica_count} replicas; set "
                f"a larger {option('batch')}, or fewer devices"
            )
        self._signals = Signals(workers, config.checkpoint_minutes)
        self._measuring = Measuring(
            task, model, data, config, self._budget, self._snapshot, self._signals, workers, self._emit
        )

    def checkpoint(self) -> Checkpoint:
        """Everything needed to resume from here; every worker must call this at the same step."""
        return self._snapshot.checkpoint()

    def restore(self, checkpoint: Checkpoint, part: int = 0) -> None:
        """Goes back to a checkpoint, in this part. Raises RunError when it belongs to another network."""
        self._snapshot.restore(checkpoint)
        self._snapshot.position.begin(part)
        self._signals.seconds_before = self._snapshot.position.seconds

    def train(self, notes: tuple[str, ...] = ()) -> Ended:
        """Trains until the budget is used up, or patience runs out.

        Raises:
            TrainingError: when the loss is no longer finite; the last good checkpoint is kept.
            KeyboardInterrupt: after Ctrl-C; the current step is finished and saved first.
            SystemExit: after SIGTERM; the current step is finished and saved first.
        """
        position, budget, signals = self._snapshot.position, self._budget, self._signals
        measuring = self._measuring
        with signals.interrupt:
            self._start(notes)
            if position.step == 0:
                self._save()
            batches, stopped_by = self._batches(), None
            while position.ended is None:
                # An evaluation that was interrupted comes before anything else.
                if not measuring.evaluation_due():
                    self._learn(*next(batches))
                over = budget.used_up(position, measuring.reserve())
                if position.sums and (over or measuring.training_row_due()):
                    measuring.measure_training()
                due = over or measuring.evaluation_due()
                if due:
                    measuring.evaluate(over)
                stopped_by = signals.stopped_by  # read once: a later signal is for the next step
                if due or stopped_by or signals.save_due:
                    self._save()
                if stopped_by:
                    break
        if position.ended is None and stopped_by is not None:
            self._end("interrupted" if stopped_by == signal.SIGINT else "terminated")
            raise stop(stopped_by)
        return self._end("stopped early" if position.ended == "stopped early" else "finished")

    def _start(self, notes: tuple[str, ...]) -> None:
        parameters = sum(math.prod(variable.shape) for variable in self._model.trainable_variables)
        step, unit = self._snapshot.position.step, self._task.unit
        steps = self._budget.steps_per_epoch
        self._emit(Started(self._run.path, step, str(self._budget), steps, parameters, notes, unit))

    def _end(self, reason: EndReason) -> Ended:
        position = self._snapshot.position
        ended = Ended(
            self._run.path, position.step, reason, position.seconds, position.best_loss, position.best_step
        )
        self._emit(ended)
        return ended

    def _save(self) -> None:
        saved = self._snapshot.save()
        if saved is not None:
            self._emit(saved)
        self._signals.saved()

    def _batches(self) -> Iterator[tuple[Batch, ...]]:
        """Batches from the position on, epoch after epoch: for each replica of this worker, its rows."""
        position, workers = self._snapshot.position, self._workers
        while True:
            shards = (
                self._part.batches(
                    epoch=position.epoch, start=position.batch, shard=(replica, workers.replica_count)
                )
                for replica in workers.replicas
            )
            yield from zip(*shards, strict=True)
            position.epoch, position.batch = position.epoch + 1, 0

    def _learn(self, *batches: Batch) -> None:
        snapshot, position, budget = self._snapshot, self._snapshot.position, self._budget
        began = time.perf_counter()
        if position.batch == 0 or not self._part.carries_state:
            snapshot.begin_states()
        position.learning_rate = rate = learning_rate(self._config, budget.fraction(position))
        learned = self._train_step(
            tuple(as_tensors(batch) for batch in batches),
            snapshot.states,
            tf.constant(position.step),
            tf.constant(rate, tf.float32),
            tf.constant(self._signals.to_send(), tf.float32),
        )
        snapshot.states = learned.states
        loss, weight, norm = float(learned.loss), float(learned.weight), float(learned.norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise snapshot.diverged("the loss", position.step + 1)
        position.step += 1
        position.batch += 1
        snapshot.average.follow(position.step)
        for name, value in {"loss": loss, "weight": weight, **learned.sums}.items():
            position.sums[name] = position.sums.get(name, 0.0) + float(value)
        signals = learned.signals.numpy() if self._workers.count > 1 else self._signals.to_send()
        position.seconds = self._signals.receive(signals)
        position.step_seconds += time.perf_counter() - began
        fraction = budget.fraction(position)
        left = self._signals.session_seconds * (1 - fraction) / fraction if fraction else None
        if budget.unit == "minutes":
            left = 60 * budget.amount - position.seconds
        mean = loss / weight
        self._emit(
            StepDone(position.step, position.epoch, fraction, mean, weight, rate, position.seconds, left)
        )

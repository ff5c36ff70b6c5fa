"""The training loop, for every task.

It reads from top to bottom as the story of a run: set up, take a batch, learn, measure, evaluate, save, until
the budget is used up. Everything it must remember between two steps is in the `Position`, the weights, the
optimizer's slots and the recurrent state, and a checkpoint holds all of it: a training that was killed goes
on as if it had not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import tensorflow as tf

from ostinato.errors import ConfigError, RunError, TrainingError
from ostinato.runs import checkpoints, weights
from ostinato.runs.checkpoints import Checkpoint
from ostinato.runs.directory import RunDirectory
from ostinato.tasks.task import Batch, State
from ostinato.training.budget import Budget, Position
from ostinato.training.config import TrainingConfig
from ostinato.training.events import Ended, Event, Measured, Saved, Started, StepDone
from ostinato.training.interrupt import Interrupt
from ostinato.training.optimizers import Optimizer
from ostinato.training.schedules import learning_rate
from ostinato.training.step import Evaluation, as_tensors, make_train_step


class Trainer:
    """A training under way.

    Args:
        task: with its data prepared.
        model: from the task's `build`.
        config: how to train.
        run: where to save.
        emit: told every event.
    """

    def __init__(
        self,
        task: Any,
        model: Any,
        config: TrainingConfig,
        run: RunDirectory,
        emit: Callable[[Event], None],
    ):
        self._task, self._model, self._config, self._run, self._emit = task, model, config, run, emit
        self._budget = Budget.of(config, task.steps("train"))
        names = weights.names(model.trainable_variables)
        self._optimizer = Optimizer(config, names, model.trainable_variables)
        self._train_step = make_train_step(task, model, self._optimizer, config)
        self._evaluation = Evaluation(task, model) if task.has("validation") else None
        if config.patience is not None and self._evaluation is None:
            raise ConfigError("patience needs a validation part; set a validation fraction above 0")
        self._position = Position()
        self._state: State = task.initial_state(model, task.rows("train"))
        self._seconds_before = 0.0
        self._began = self._saved_at = time.perf_counter()

    # What a checkpoint holds, and going on from one.

    def checkpoint(self) -> Checkpoint:
        """Everything needed to go on from here.

        Raises:
            TrainingError: when a weight is no longer finite.
        """
        groups = {
            "weights": weights.to_arrays(self._model),
            "optimizer": {name: slot.numpy() for name, slot in self._optimizer.slots.items()},
            "state": dict(
                zip(self._task.state_names(self._model), (part.numpy() for part in self._state), strict=True)
            ),
        }
        if not all(np.isfinite(array).all() for array in groups["weights"].values()):
            raise self._diverged("a weight", self._position.step)
        return Checkpoint(self._position.step, self._position.to_json(), groups)

    def _save(self) -> None:
        position, folder = self._position, self._run.checkpoints
        position.metrics_bytes = self._run.sync_metrics()
        path = checkpoints.save(folder, self.checkpoint())
        newest = checkpoints.steps(folder)[-self._config.keep :]
        kept = {*newest, position.best_step}
        for step in newest:
            # Should a newer one be damaged, an older one still finds the best it knew.
            with suppress(RunError):
                kept.add(checkpoints.load(folder, step, groups=()).position.get("best_step"))
        checkpoints.remove_all_but(folder, kept)
        self._saved_at = time.perf_counter()
        self._emit(Saved(position.step, path, best=position.best_step == position.step))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back to a checkpoint.

        Raises:
            RunError: when it is another network's.
        """
        origin = str(self._run.path)
        weights.assign(self._model, checkpoint.groups["weights"], origin=origin)
        for name, slot in self._optimizer.slots.items():
            saved = checkpoint.groups["optimizer"].get(name)
            if saved is None or saved.shape != tuple(slot.shape):
                raise RunError(f"the checkpoint of {origin} is damaged: the optimizer's {name} does not fit")
            slot.assign(saved)
        names = self._task.state_names(self._model)
        if set(names) - set(checkpoint.groups["state"]):
            raise RunError(f"the checkpoint of {origin} is damaged: its recurrent state does not fit")
        self._state = tuple(tf.constant(checkpoint.groups["state"][name]) for name in names)
        self._position = Position.from_json(checkpoint.position)
        self._seconds_before = self._position.seconds

    # The run.

    def train(self, notes: tuple[str, ...] = ()) -> Ended:
        """Trains until the budget is used up, or patience runs out.

        Raises:
            TrainingError: when the loss is no longer finite; the last good checkpoint is kept.
            KeyboardInterrupt: after Ctrl-C; the step under way is finished and saved first.
        """
        position, budget = self._position, self._budget
        parameters = sum(math.prod(variable.shape) for variable in self._model.trainable_variables)
        with Interrupt() as interrupt:
            self._emit(
                Started(
                    self._run.path,
                    position.step,
                    str(budget),
                    budget.steps_per_epoch,
                    parameters,
                    notes,
                    self._task.unit,
                )
            )
            if position.step == 0:
                self._save()
            batches = self._batches()
            while position.ended is None:
                self._learn(next(batches))
                reserve = self._evaluation.seconds if self._evaluation else 0.0
                if budget.used_up(position, reserve):
                    position.ended = "finished"
                if position.ended or self._row_due():
                    self._measure_training()
                if position.ended or self._evaluation_due():
                    self._evaluate()
                    self._save()
                elif interrupt.requested or self._save_due():
                    self._save()
                if interrupt.requested and position.ended is None:
                    self._emit(self._end("interrupted"))
                    raise KeyboardInterrupt
        ended = self._end(position.ended)
        self._emit(ended)
        return ended

    def _batches(self) -> Iterator[Batch]:
        """Batches from the position on, epoch after epoch."""
        position = self._position
        while True:
            yield from self._task.batches("train", epoch=position.epoch, start=position.batch)
            position.epoch, position.batch = position.epoch + 1, 0

    def _learn(self, batch: Batch) -> None:
        position, budget = self._position, self._budget
        began = time.perf_counter()
        if position.batch == 0 or not self._task.carries_state:
            self._state = self._task.initial_state(self._model, self._task.rows("train"))
        position.learning_rate = rate = learning_rate(self._config, budget.fraction(position))
        loss, weight, sums, norm, self._state = self._train_step(
            as_tensors(batch), self._state, tf.constant(position.step), tf.constant(rate, tf.float32)
        )
        loss, weight, norm = float(loss), float(weight), float(norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._diverged("the loss", position.step + 1)
        position.step += 1
        position.batch += 1
        for name, value in {"loss": loss, "weight": weight, **sums}.items():
            position.sums[name] = position.sums.get(name, 0.0) + float(value)
        position.seconds = self._seconds_before + time.perf_counter() - self._began
        position.step_seconds += time.perf_counter() - began
        fraction = budget.fraction(position)
        left = (time.perf_counter() - self._began) * (1 - fraction) / fraction if fraction else None
        if budget.unit == "minutes":
            left = 60 * budget.amount - position.seconds
        self._emit(
            StepDone(
                position.step, position.epoch, fraction, loss / weight, weight, rate, position.seconds, left
            )
        )

    def _diverged(self, what: str, step: int) -> TrainingError:
        return TrainingError(
            f"{what} is no longer finite at step {step} with learning rate "
            f"{self._position.learning_rate:g}; the last good checkpoint, of step "
            f"{checkpoints.steps(self._run.checkpoints)[-1]}, is kept; "
            "try a lower learning rate, or clip the gradient to a smaller norm"
        )

    # Measuring.

    def _row_due(self) -> bool:
        position = self._position
        return position.batch % self._config.log_every == 0 or position.batch == self._budget.steps_per_epoch

    def _measure_training(self) -> None:
        position = self._position
        sums = dict(position.sums)
        loss, weight = sums.pop("loss"), sums.pop("weight")
        metrics = self._task.metrics(loss, weight, sums)
        self._row("train", metrics, weight / position.step_seconds)
        position.sums, position.step_seconds = {}, 0.0

    def _evaluation_due(self) -> bool:
        """Whether there is a validation part, and another of the evaluations over the budget has come."""
        if self._evaluation is None:
            return False
        share = self._budget.fraction(self._position) * self._config.evaluations
        return math.floor(share + 1e-9) > self._position.evaluations

    def _evaluate(self) -> None:
        position = self._position
        position.evaluations = math.floor(self._budget.fraction(position) * self._config.evaluations + 1e-9)
        if self._evaluation is None:
            return
        metrics, weight = self._evaluation("validation")
        if not math.isfinite(metrics["loss"]):
            raise self._diverged("the validation loss", position.step)
        position.seconds = self._seconds_before + time.perf_counter() - self._began
        self._row("validation", metrics, weight / self._evaluation.seconds)
        position.evaluations_since_best += 1
        if position.best_loss is None or metrics["loss"] < position.best_loss:
            position.best_loss, position.best_step = metrics["loss"], position.step
            position.evaluations_since_best = 0
        patience = self._config.patience
        if position.ended is None and patience is not None and position.evaluations_since_best >= patience:
            position.ended = "stopped early"

    def _row(self, split: str, metrics: dict[str, float], per_second: float) -> None:
        position = self._position
        epoch = position.epoch + position.batch / self._budget.steps_per_epoch
        row = {"step": position.step, "epoch": epoch, "split": split, **metrics}
        row |= {
            "learning_rate": position.learning_rate,
            f"{self._task.unit}_per_second": per_second,
            "seconds": position.seconds,
        }
        self._emit(Measured(row))

    def _save_due(self) -> bool:
        return time.perf_counter() - self._saved_at >= 60 * self._config.checkpoint_minutes

    def _end(self, reason: Any) -> Ended:
        position = self._position
        return Ended(
            self._run.path, position.step, reason, position.seconds, position.best_loss, position.best_step
        )

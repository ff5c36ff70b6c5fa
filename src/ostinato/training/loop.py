"""The training loop, for every task.

It reads from top to bottom as the story of a run: set up, take a batch, learn, measure, evaluate, save, until
the budget is used up. Everything it must remember between two steps is in the `Position`, the weights, the
optimizer's slots and the recurrent state, and a checkpoint holds all of it: a training that was killed goes
on as if it had not.

Several workers each run this loop and stay in step: what they decide by (the loss, the time, whether somebody
pressed Ctrl-C) is the same for all, since it was added up over all or told by the chief.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import tensorflow as tf

from ostinato.cells.base import initial_state
from ostinato.errors import ConfigError, RunError, TrainingError
from ostinato.runs import checkpoints, weights
from ostinato.runs.checkpoints import Checkpoint
from ostinato.runs.directory import RunDirectory
from ostinato.tasks.base import Batch, Loss, Metrics, State, Task, as_figures
from ostinato.training.budget import Budget, Position
from ostinato.training.config import TrainingConfig
from ostinato.training.events import Ended, Evaluating, Event, Measured, Saved, Started, StepDone
from ostinato.training.interrupt import Interrupt, stop
from ostinato.training.optimizers import Optimizer
from ostinato.training.schedules import learning_rate
from ostinato.training.step import Evaluation, as_tensors, make_train_step
from ostinato.training.workers import Workers, alone


class Trainer:
    """A training under way.

    Args:
        task: with its data prepared.
        model: from the task's `build`.
        config: how to train.
        run: where the chief saves.
        emit: told every event; on the chief only.
        workers: who trains together; None is this process alone. The model was built in its strategy's scope.

    Raises:
        ConfigError: when patience has nothing to go by, or a batch fewer rows than there are replicas.
    """

    def __init__(
        self,
        task: Task,
        model: Any,
        config: TrainingConfig,
        run: RunDirectory,
        emit: Callable[[Event], None],
        workers: Workers | None = None,
    ):
        self._task, self._model, self._config, self._run = task, model, config, run
        self._workers = workers = workers or alone()
        self._emit = emit if workers.chief else lambda event: None
        self._budget = Budget.of(config, task.steps("train"))
        names = weights.names(model, model.trainable_variables)
        with workers.strategy.scope():
            self._optimizer = Optimizer(config, names, model.trainable_variables)
        self._train_step = make_train_step(task, model, self._optimizer, config, workers)
        self._evaluation = Evaluation(task, model, workers) if task.has("validation") else None
        if config.patience is not None and self._evaluation is None:
            raise ConfigError("patience needs a validation part; set a validation fraction above 0")
        if task.rows("train") < workers.replica_count:
            raise ConfigError(
                f"a batch has {task.rows('train')} rows, too few for {workers.replica_count} replicas; take "
                "a larger --batch, or fewer of them"
            )
        self._position = Position()
        self._state_specs = task.states(model)
        self._states: tuple[State, ...] = self._initial_states()
        self._interrupt = Interrupt()
        self._signalled: int | None = None  # the signal of the system that all workers know of
        self._save_asked = False  # by the chief's clock
        self._seconds_before = 0.0
        self._began = self._saved_at = time.perf_counter()

    # What a checkpoint holds, and going on from one.

    def checkpoint(self) -> Checkpoint:
        """Everything needed to go on from here; every worker must ask for it at the same step.

        Raises:
            TrainingError: when a weight is no longer finite.
        """
        groups = {
            "weights": weights.to_arrays(self._model),
            "optimizer": {name: slot.numpy() for name, slot in self._optimizer.slots.items()},
            "state": {
                **dict(zip((spec.name for spec in self._state_specs), self._whole_state(), strict=True)),
                **{name: seed.numpy() for name, seed in weights.seeds(self._model).items()},
            },
        }
        if not all(np.isfinite(array).all() for array in groups["weights"].values()):
            raise self._diverged("a weight", self._position.step)
        return Checkpoint(self._position.step, self._position.to_json(), groups)

    def _whole_state(self) -> list[np.ndarray]:
        """The recurrent state of all rows of the global batch, whichever replica they are on."""
        workers, rows = self._workers, self._task.rows("train")
        whole = []
        for parts in zip(*self._states, strict=True):
            array = np.zeros((rows, *parts[0].shape[1:]), parts[0].dtype.as_numpy_dtype)
            for replica, part in zip(workers.replicas, parts, strict=True):
                array[workers.rows(replica, rows)] = part.numpy()
            whole.append(workers.sum(array).astype(array.dtype) if workers.count > 1 else array)
        return whole

    def _save(self) -> None:
        if self._workers.chief:
            self._position.metrics_bytes = self._run.sync_metrics()
        checkpoint = self.checkpoint()
        if self._workers.chief:
            self._write(checkpoint)
        self._saved_at = time.perf_counter()

    def _write(self, checkpoint: Checkpoint) -> None:
        position, folder = self._position, self._run.checkpoints
        path = checkpoints.save(folder, checkpoint)
        newest = checkpoints.steps(folder)[-self._config.keep :]
        kept = {*newest, position.best_step}
        for step in newest:
            # Should a newer one be damaged, an older one still finds the best it knew.
            with suppress(RunError):
                kept.add(Position.from_json(checkpoints.load(folder, step, groups=()).position).best_step)
        checkpoints.remove_all_but(folder, kept)
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
            if saved is None or (saved.shape, saved.dtype) != (tuple(slot.shape), slot.dtype.as_numpy_dtype):
                raise RunError(f"the checkpoint of {origin} is damaged: the optimizer's {name} does not fit")
            slot.assign(saved)
        seeds, names = weights.seeds(self._model), [spec.name for spec in self._state_specs]
        for name, seed in seeds.items():
            saved = checkpoint.groups["state"].get(name)
            if saved is None or saved.shape != tuple(seed.shape):
                raise RunError(f"the checkpoint of {origin} is damaged: its {name} does not fit")
            seed.assign(saved)
        if set(names) - set(checkpoint.groups["state"]):
            raise RunError(f"the checkpoint of {origin} is damaged: its recurrent state does not fit")
        whole = [checkpoint.groups["state"][name] for name in names]
        for name, array, part in zip(names, whole, self._initial_states()[0], strict=True):
            expected = (self._task.rows("train"), *part.shape[1:]), part.dtype.as_numpy_dtype
            if (array.shape, array.dtype) != expected:
                raise RunError(
                    f"the checkpoint of {origin} is damaged: its recurrent state {name} does not fit"
                )
        self._states = tuple(
            tuple(tf.constant(array[self._workers.rows(replica, len(array))]) for array in whole)
            for replica in self._workers.replicas
        )
        self._position = Position.from_json(checkpoint.position)
        self._seconds_before = self._position.seconds

    # The run.

    def train(self, notes: tuple[str, ...] = ()) -> Ended:
        """Trains until the budget is used up, or patience runs out.

        Raises:
            TrainingError: when the loss is no longer finite; the last good checkpoint is kept.
            KeyboardInterrupt: after Ctrl-C; the step under way is finished and saved first.
            SystemExit: the same after SIGTERM.
        """
        position, budget = self._position, self._budget
        parameters = sum(math.prod(variable.shape) for variable in self._model.trainable_variables)
        with self._interrupt:
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
            batches, stopped_by = self._batches(), None
            while position.ended is None:
                # An evaluation that was broken off comes before anything else.
                if not self._evaluation_due():
                    self._learn(*next(batches))
                over = budget.used_up(position, self._reserve())
                if position.sums and (over or self._row_due()):
                    self._measure_training()
                due = over or self._evaluation_due()
                if due:
                    self._evaluate(over)
                stopped_by = self._stopped_by  # asked once: what comes after it is for the next step
                if due or stopped_by or self._save_asked:
                    self._save()
                if stopped_by:
                    break
        if position.ended is None and stopped_by is not None:
            self._emit(self._end("interrupted" if stopped_by == signal.SIGINT else "terminated"))
            raise stop(stopped_by)
        ended = self._end(position.ended)
        self._emit(ended)
        return ended

    def _batches(self) -> Iterator[tuple[Batch, ...]]:
        """Batches from the position on, epoch after epoch; of each the rows of this worker's replicas."""
        position, workers = self._position, self._workers
        while True:
            shards = (
                self._task.batches(
                    "train",
                    epoch=position.epoch,
                    start=position.batch,
                    shard=(replica, workers.replica_count),
                )
                for replica in workers.replicas
            )
            yield from zip(*shards, strict=True)
            position.epoch, position.batch = position.epoch + 1, 0

    def _initial_states(self) -> tuple[State, ...]:
        rows = self._task.rows("train")
        shares = (self._workers.rows(replica, rows) for replica in self._workers.replicas)
        return tuple(initial_state(self._state_specs, share.stop - share.start) for share in shares)

    def _learn(self, *batches: Batch) -> None:
        position, budget = self._position, self._budget
        began = time.perf_counter()
        if position.batch == 0 or not self._task.carries_state:
            self._states = self._initial_states()
        position.learning_rate = rate = learning_rate(self._config, budget.fraction(position))
        learned = self._train_step(
            tuple(as_tensors(batch) for batch in batches),
            self._states,
            tf.constant(position.step),
            tf.constant(rate, tf.float32),
            tf.constant(self._signals(), tf.float32),
        )
        self._states = learned.states
        loss, weight, norm = float(learned.loss), float(learned.weight), float(learned.norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._diverged("the loss", position.step + 1)
        position.step += 1
        position.batch += 1
        for name, value in {"loss": loss, "weight": weight, **learned.sums}.items():
            position.sums[name] = position.sums.get(name, 0.0) + float(value)
        self._heed(learned.signals.numpy() if self._workers.count > 1 else self._signals())
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

    def _signals(self) -> list[float]:
        """What this worker has to tell the others: was it interrupted, and how, what does the clock say?"""
        came, chief = self._interrupt.signal, self._workers.chief
        seconds = self._seconds_before + time.perf_counter() - self._began
        due = time.perf_counter() - self._saved_at >= 60 * self._config.checkpoint_minutes
        flags = [came == signal.SIGINT, came == signal.SIGTERM, chief and due]
        return [*map(float, flags), seconds if chief else 0.0]

    @property
    def _stopped_by(self) -> int | None:
        """The signal to save and stop; of several workers, what all of them have heard of."""
        return self._interrupt.signal if self._workers.count == 1 else self._signalled

    def _heed(self, signals: Iterable[float]) -> None:
        """Takes over what all workers have signalled together."""
        interrupted, terminated, save_asked, self._position.seconds = map(float, signals)
        self._save_asked = save_asked > 0
        if interrupted or terminated:
            self._signalled = signal.SIGINT if interrupted else signal.SIGTERM

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
        metrics = self._task.metrics(Loss(loss, weight, sums))
        self._row("train", metrics, weight / position.step_seconds)
        position.sums, position.step_seconds = {}, 0.0

    def _evaluation_due(self) -> bool:
        """Whether there is a validation part, and another of the evaluations over the budget has come."""
        if self._evaluation is None:
            return False
        share = self._budget.fraction(self._position) * self._config.evaluations
        if math.floor(share + 1e-9) <= self._position.evaluations:
            return False
        return self._budget.affords_evaluation(self._position, self._expected_seconds())

    def _expected_seconds(self) -> float:
        """What an evaluation takes: as the last one; before the first, as long as training on its rows."""
        position, task = self._position, self._task
        if position.evaluation_seconds or not position.step:
            return position.evaluation_seconds
        rows = task.rows("validation", evaluate=True) / task.rows("train")
        return position.seconds / position.step * task.steps("validation", evaluate=True) * rows

    def _reserve(self) -> float:
        """The seconds to leave for the last evaluation, when the budget is in minutes."""
        if self._evaluation is None or self._budget.unit != "minutes":
            return 0.0
        measured = self._position.evaluation_seconds > 0
        return self._budget.reserve(self._expected_seconds(), measured=measured)

    def _evaluate(self, over: bool) -> None:
        """Reads the validation part; when it is broken off, the position stays, and it is still due.

        Args:
            over: whether the budget is used up.
        """
        position = self._position
        if self._evaluation is not None:
            found = self._evaluation.unless_stopped(
                "validation",
                lambda: self._interrupt.requested,
                lambda done, batches: self._emit(Evaluating(done, batches)),
            )
            self._heed(self._workers.sum(self._signals()))
            if found is None:
                return
            position.evaluation_seconds = self._evaluation.seconds
            position.all_evaluations_seconds += self._evaluation.seconds
            self._validated(*found)
        # One that came late, as it may in a budget in minutes, counts for the next when that is nearer.
        late = 0.5 if self._budget.unit == "minutes" else 1e-9
        position.evaluations = math.floor(self._budget.fraction(position) * self._config.evaluations + late)
        patience = self._config.patience
        if over:
            position.ended = "finished"
        elif patience is not None and position.evaluations_since_best >= patience:
            position.ended = "stopped early"

    def _validated(self, metrics: Metrics, weight: float) -> None:
        position, first = self._position, metrics[0]
        assert self._evaluation is not None
        if not math.isfinite(first.value):
            raise self._diverged(f"the validation {first.name.replace('_', ' ')}", position.step)
        self._row("validation", metrics, weight / self._evaluation.seconds)
        position.evaluations_since_best += 1
        if first.beats(position.best_loss):
            position.best_loss, position.best_step = first.value, position.step
            position.evaluations_since_best = 0

    def _row(self, split: str, metrics: Metrics, per_second: float) -> None:
        position = self._position
        epoch = position.epoch + position.batch / self._budget.steps_per_epoch
        row = {"step": position.step, "epoch": epoch, "split": split, **as_figures(metrics)}
        row |= {
            "learning_rate": position.learning_rate,
            f"{self._task.unit}_per_second": per_second,
            "seconds": position.seconds,
        }
        self._emit(Measured(row))

    def _end(self, reason: Any) -> Ended:
        position = self._position
        return Ended(
            self._run.path, position.step, reason, position.seconds, position.best_loss, position.best_step
        )

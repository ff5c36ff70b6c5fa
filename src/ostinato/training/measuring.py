"""The measurements of a training: training metrics, validation metrics, and the best result."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ostinato.tasks.base import Data, Loss, Metrics, Part, Task, as_figures
from ostinato.training.budget import Budget
from ostinato.training.config import TrainingConfig
from ostinato.training.evaluation import Evaluator
from ostinato.training.events import Evaluating, Event, Measured
from ostinato.training.signals import Signals
from ostinato.training.snapshot import Snapshot
from ostinato.training.workers import Workers

if TYPE_CHECKING:
    import keras


class _Evaluated(NamedTuple):
    metrics: Metrics
    weight: float
    seconds: float


class Measuring:
    """The measurements of a training. Evaluations are spread evenly over its budget.

    Args:
        task, model, data: what is trained.
        config, budget: how it is trained.
        snapshot: the progress of the training.
        signals, workers: interrupt an evaluation.
        emit: called with the rows.
    """

    def __init__(
        self,
        task: Task,
        model: keras.Model,
        data: Data,
        config: TrainingConfig,
        budget: Budget,
        snapshot: Snapshot,
        signals: Signals,
        workers: Workers,
        emit: Callable[[Event], None],
    ):
        self._task, self._config, self._budget, self._snapshot = task, config, budget, snapshot
        self._signals, self._workers, self._emit = signals, workers, emit
        part = data.part("validation")
        self._validation = None if part is None else (part, Evaluator(task, model, workers))

    # Training.

    def training_row_due(self) -> bool:
        """Whether training metrics must be logged: every `log_every` batches, and at the end of an epoch."""
        position = self._snapshot.position
        return position.batch % self._config.log_every == 0 or position.batch == self._budget.steps_per_epoch

    def measure_training(self) -> None:
        """Logs the metrics over the batches since the previous row of training metrics."""
        position = self._snapshot.position
        sums = dict(position.sums)
        loss, weight = sums.pop("loss"), sums.pop("weight")
        self._row("train", self._task.metrics(Loss(loss, weight, sums)), weight / position.step_seconds)
        position.sums, position.step_seconds = {}, 0.0

    # Validation.

    def evaluation_due(self) -> bool:
        """Whether there is a validation part, and its next evaluation is due."""
        position = self._snapshot.position
        if self._validation is None:
            return False
        share = self._budget.fraction(position) * self._config.evaluations
        if math.floor(share + 1e-9) <= position.evaluations:
            return False
        return self._budget.affords_evaluation(position, self._expected_seconds())

    def reserve(self) -> float:
        """The seconds to reserve for the last evaluation, when time ends the training."""
        if self._validation is None or math.isinf(self._budget.seconds):
            return 0.0
        measured = self._snapshot.position.evaluation_seconds > 0
        return self._budget.reserve(self._expected_seconds(), measured=measured)

    def _expected_seconds(self) -> float:
        """The expected time of an evaluation: that of the last one or, at first, of training on as many
        rows."""
        position = self._snapshot.position
        if position.evaluation_seconds or not position.step or self._validation is None:
            return position.evaluation_seconds
        part = self._validation[0]
        rows = part.rows / self._snapshot.part.rows
        return position.seconds / position.step * part.steps * rows

    def evaluate(self, over: bool) -> None:
        """Evaluates on the validation part. If that is interrupted, it is still due afterwards.

        Args:
            over: whether the budget is used up.
        """
        if self._validation is not None and not self._validated(*self._validation):
            return
        position, patience = self._snapshot.position, self._config.patience
        # A late evaluation, as a budget in minutes may have, counts as the next one if that is nearer.
        late = 0.5 if self._budget.unit == "minutes" else 1e-9
        position.evaluations = math.floor(self._budget.fraction(position) * self._config.evaluations + late)
        if over:
            position.ended = "finished"
        elif patience is not None and position.evaluations_since_best >= patience:
            position.ended = "stopped early"

    def _validated(self, part: Part, evaluator: Evaluator) -> bool:
        """Logs the validation metrics of the weights and of their average, and notes whether they are the
        best; False if interrupted."""
        position, average = self._snapshot.position, self._snapshot.average
        raw = self._evaluated(part, evaluator)
        averaged = None
        if raw is not None and average.has_begun(position.step):
            with average.in_place():
                averaged = self._evaluated(part, evaluator)
            raw = None if averaged is None else raw
        position.seconds = self._signals.receive(self._workers.sum(self._signals.to_send()))
        if raw is None:
            return False
        first = raw.metrics[0]
        if not math.isfinite(first.value):
            raise self._snapshot.diverged(f"the validation {first.name.replace('_', ' ')}", position.step)
        position.evaluation_seconds = raw.seconds + (0.0 if averaged is None else averaged.seconds)
        position.all_evaluations_seconds += position.evaluation_seconds
        position.averaged = False
        self._row("validation", raw.metrics, raw.weight / raw.seconds)
        if averaged is not None:
            self._row("average", averaged.metrics, averaged.weight / averaged.seconds)
            position.averaged = averaged.metrics[0].beats(first.value)
            first = averaged.metrics[0] if position.averaged else first
        position.evaluations_since_best += 1
        if first.beats(position.best_loss):
            position.best_loss, position.best_step = first.value, position.step
            position.best_averaged, position.evaluations_since_best = position.averaged, 0
        return True

    def _evaluated(self, part: Part, evaluator: Evaluator) -> _Evaluated | None:
        """The metrics of the network as it is; None if the evaluation was interrupted."""
        found = evaluator.unless_stopped(
            part,
            lambda: self._signals.interrupt.requested,
            lambda done, batches: self._emit(Evaluating(done, batches)),
        )
        return None if found is None else _Evaluated(*found, evaluator.seconds)

    def _row(self, split: str, metrics: Metrics, per_second: float) -> None:
        position = self._snapshot.position
        epoch = position.epoch + position.batch / self._budget.steps_per_epoch
        row = {"step": position.step, "epoch": epoch, "split": split, **as_figures(metrics)}
        row |= {
            "learning_rate": position.learning_rate,
            f"{self._task.unit}_per_second": per_second,
            "seconds": position.seconds,
        }
        self._emit(Measured(row))

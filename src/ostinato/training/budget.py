"""The progress of a training: its position, and the budget that ends it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields

from ostinato.errors import RunError
from ostinato.tasks.base import Json
from ostinato.training.config import TrainingConfig
from ostinato.wording import quoted, shown

_EVALUATING = 0.1
"""The share of a budget in minutes that all evaluations may take together."""
_LAST_STEP = 2**31 - 1  # the train step counts in int32
_LARGEST_COUNT = 2**53  # beyond it floats, which fractions of a budget are, skip whole numbers


@dataclass
class Position:
    """The position of a training; the manifest of a checkpoint has it.

    Attributes:
        step: training steps so far.
        epoch: whole epochs so far.
        batch: batches of the current epoch so far.
        seconds: the time so far, over all sessions.
        evaluations: how many of the planned evaluations are done or past.
        evaluation_seconds: the time of the last evaluation.
        all_evaluations_seconds: the time of all evaluations.
        best_loss: the best value so far of the task's first validation metric, which is the loss in our
            tasks.
        best_step: the step of `best_loss`.
        best_averaged: whether `best_loss` is that of the averaged weights.
        averaged: whether the averaged weights were better at the last evaluation.
        preferred: whether this checkpoint was preferred to that of `best_loss` when the training ended; see
            `ostinato.tasks.abilities.RanksCheckpoints`.
        evaluations_since_best: evaluations in a row without a better one.
        sums: training loss, weight and further sums since the last row of training metrics.
        step_seconds: time spent on the steps in `sums`.
        metrics_bytes: the length of metrics.jsonl.
        learning_rate: the learning rate of the last step.
        ended: why the training is over, or None.
        part: how many budgets were added before this one.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    evaluations: int = 0
    evaluation_seconds: float = 0.0
    all_evaluations_seconds: float = 0.0
    best_loss: float | None = None
    best_step: int | None = None
    best_averaged: bool = False
    averaged: bool = False
    preferred: bool = False
    evaluations_since_best: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    step_seconds: float = 0.0
    metrics_bytes: int = 0
    learning_rate: float = 0.0
    ended: str | None = None
    part: int = 0

    def begin(self, part: int) -> None:
        """Begins an added budget, unless it has begun already: its evaluations and its patience are new."""
        if part > self.part:
            self.part, self.ended, self.preferred = part, None, False
            self.evaluations, self.evaluations_since_best = 0, 0
            self.all_evaluations_seconds = 0.0

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Json) -> Position:
        """A position from JSON. Raises RunError when the data is not a position."""
        try:
            position = cls(**data)
        except TypeError as error:
            raise _damaged(quoted(error)) from None
        for each in fields(cls):
            value = getattr(position, each.name)
            if not _IS[str(each.type)](value):
                raise _damaged(f"{each.name} = {shown(repr(value))}")
        if max(position.step, position.best_step or 0) > _LAST_STEP:
            raise _damaged(f"step = {max(position.step, position.best_step or 0):,} is beyond any training")
        return position


def _damaged(detail: str) -> RunError:
    return RunError(f"the checkpoint's position is damaged: {detail}")


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _LARGEST_COUNT


def _is_amount(value: object) -> bool:
    return _is_count(value) or (type(value) is float and 0 <= value < math.inf)


# The valid values of a position's fields, by type, for files from strangers.
_IS: dict[str, Callable[[object], bool]] = {
    "int": _is_count,
    "bool": lambda value: isinstance(value, bool),
    "float": _is_amount,
    "int | None": lambda value: value is None or _is_count(value),
    "float | None": lambda value: value is None or _is_amount(value),
    "str | None": lambda value: value is None or isinstance(value, str),
    "dict[str, float]": lambda value: isinstance(value, dict) and all(map(_is_amount, value.values())),
}


@dataclass(frozen=True)
class Budget:
    """The budget that ends a run: epochs, steps or minutes.

    Attributes:
        unit: `epochs`, `steps` or `minutes`.
        amount: the number of them.
        steps_per_epoch: batches in an epoch.
        minutes: a limit, whatever the budget; None without.
        steps_before, seconds_before: what an added budget begins after, which counts towards the amount, but
            not towards the fraction.
    """

    unit: str
    amount: float
    steps_per_epoch: int
    minutes: float | None = None
    steps_before: int = 0
    seconds_before: float = 0.0

    @classmethod
    def of(cls, config: TrainingConfig, steps_per_epoch: int) -> Budget:
        for unit in ("epochs", "steps", "minutes"):
            amount = getattr(config, unit)
            if amount is not None:
                break
        else:
            unit, amount = "epochs", 1
        if unit == "epochs" and config.min_steps is not None:
            amount = max(amount, math.ceil(config.min_steps / steps_per_epoch))
        return cls(unit, amount, steps_per_epoch, config.max_minutes)

    def __str__(self) -> str:
        amount = f"{self.amount:,}" if self.unit != "minutes" else f"{self.amount:g}"
        limit = "" if self.minutes is None else f", or {self.minutes:g} minutes"
        return f"{amount} {self.unit if self.amount != 1 else self.unit[:-1]}{limit}"

    @property
    def seconds(self) -> float:
        """The seconds after which the training is over; infinite if time does not end it."""
        minutes = self.amount if self.unit == "minutes" else self.minutes
        return math.inf if minutes is None else 60 * minutes

    def fraction(self, position: Position) -> float:
        """The fraction of the budget that is used, 0 to 1."""
        of_time = (position.seconds - self.seconds_before) / (self.seconds - self.seconds_before)
        if self.unit == "minutes":
            return min(1.0, of_time)
        steps = self.amount * (self.steps_per_epoch if self.unit == "epochs" else 1)
        return min(1.0, max(of_time, (position.step - self.steps_before) / (steps - self.steps_before)))

    def used_up(self, position: Position, reserve: float = 0.0) -> bool:
        """Whether the training is over.

        Args:
            position: the progress of the training.
            reserve: the seconds for the last evaluation, which a budget in minutes includes.
        """
        timed_out = position.seconds + reserve >= self.seconds
        return timed_out if self.unit == "minutes" else timed_out or self.fraction(position) >= 1.0

    def reserve(self, expected: float, *, measured: bool) -> float:
        """The seconds to reserve for the last evaluation.

        Args:
            expected: the expected seconds of an evaluation.
            measured: whether one was measured; if not, the reserve is at most the share of all evaluations.
        """
        return expected if measured else min(expected, _EVALUATING * (self.seconds - self.seconds_before))

    def affords_evaluation(self, position: Position, expected: float) -> bool:
        """Whether the budget allows an evaluation that is not the last.

        In a budget in minutes, all evaluations together take at most a tenth; if they are slow, there are
        fewer. The share of the last one is reserved, and the share of the others grows with time, which
        spreads them out.

        Args:
            position: the progress of the training.
            expected: the expected seconds of an evaluation.
        """
        if self.unit != "minutes":
            return True
        others = max(0.0, _EVALUATING * (self.seconds - self.seconds_before) - expected)
        return position.all_evaluations_seconds + expected <= others * self.fraction(position)

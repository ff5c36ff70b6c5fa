"""Going on with a finished run: a larger budget, with everything else as it was.

The weights, the optimizer, the recurrent state and the place in the epoch are those of the last checkpoint.
The run keeps each added budget with the position at which it began, so an interruption within it resumes
exactly.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from ostinato.errors import ConfigError, RunError
from ostinato.tasks.base import Json
from ostinato.training.budget import Budget, Position
from ostinato.training.config import BUDGETS, LIMITS, TrainingConfig
from ostinato.wording import shown


@dataclass(frozen=True)
class More:
    """What is asked for, checked.

    Attributes:
        unit: `epochs`, `steps` or `minutes`.
        amount: the number of them in all, with those of before.
        schedule: the schedule of the added part; None keeps the last learning rate.
    """

    unit: Literal["epochs", "steps", "minutes"]
    amount: float
    schedule: str | None

    @classmethod
    def of(
        cls, epochs: int | None, steps: int | None, minutes: float | None, schedule: str | None
    ) -> More | None:
        """What is asked for; None if nothing is.

        Raises:
            ConfigError: when a value is out of range, there are two budgets, or a schedule without a budget.
        """
        given = {"epochs": epochs, "steps": steps, "minutes": minutes}
        budget = {unit: amount for unit, amount in given.items() if amount is not None}
        settings: dict[str, Any] = budget | ({} if schedule is None else {"schedule": schedule})
        checked = TrainingConfig(**settings)
        if not budget:
            if schedule is not None:
                raise ConfigError(
                    "a schedule needs a larger budget to span; give epochs, steps or minutes, too"
                )
            return None
        (unit,) = budget
        return cls(cast(Any, unit), getattr(checked, unit), schedule)


@dataclass(frozen=True)
class Added:
    """A budget that was added to a finished run.

    Attributes:
        unit, amount, schedule: as in `More`.
        step, seconds: the training steps and the seconds before it.
        learning_rate: that of the last step before it.
    """

    unit: str
    amount: float
    schedule: str | None
    step: int
    seconds: float
    learning_rate: float

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Json) -> Added:
        """An added budget of a run. Raises RunError when it is damaged."""
        try:
            added = cls(**data)
            Position.from_json(
                {"step": added.step, "seconds": added.seconds, "learning_rate": added.learning_rate}
            )
            schedule = {} if added.schedule is None else {"schedule": added.schedule}
            TrainingConfig(**({added.unit: added.amount} | schedule))  # pyright: ignore[reportArgumentType]
        except (TypeError, ConfigError, RunError):
            raise RunError(f"the run's budgets are damaged: {shown(repr(data))}") from None
        if added.unit not in BUDGETS:
            raise RunError(f"the run's budgets are damaged: {shown(repr(data))}")
        return added

    def config(self, training: TrainingConfig) -> TrainingConfig:
        """The settings of the added part.

        Args:
            training: the settings that the run began with. Its rate, warmup and other settings of a schedule
                hold for a new schedule; without one the rate stays what it was at last.
        """
        changes: dict[str, Any] = dict.fromkeys((*BUDGETS, *LIMITS)) | {self.unit: self.amount}
        if self.schedule is None:
            changes |= {"schedule": "constant", "warmup": 0.0, "learning_rate": self.learning_rate}
        else:
            changes |= {"schedule": self.schedule}
        return training.model_copy(update=changes)

    def budget(self, steps_per_epoch: int) -> Budget:
        """The budget, whose fractions are those of the added part. Raises RunError when nothing was added."""
        whole = Budget(self.unit, self.amount, steps_per_epoch)
        if whole.used_up(Position(step=self.step, seconds=self.seconds)):
            raise RunError(
                f"the run's budgets are damaged: {self.amount:g} {self.unit} were over before they began"
            )
        return Budget(
            self.unit, self.amount, steps_per_epoch, steps_before=self.step, seconds_before=self.seconds
        )

    @property
    def note(self) -> str:
        """A sentence about the learning rate."""
        if self.schedule is not None:
            return f"going on after step {self.step:,} with a new {self.schedule} schedule"
        return f"going on after step {self.step:,} at its learning rate, {self.learning_rate:g}"


def add(more: More, position: Position, before: Budget) -> Added:
    """The added budget of a finished run.

    What a run has had is known in every unit: its steps, so the epochs, too, and its seconds.

    Args:
        more: what is asked for.
        position: the position at the end of the run.
        before: the budget that ended it.

    Raises:
        ConfigError: when it is not more than the run has had.
    """
    asked = Budget(more.unit, more.amount, before.steps_per_epoch)
    finished = position.ended == "finished"
    if asked.used_up(position) or (finished and more.unit == before.unit and more.amount <= before.amount):
        had: dict[str, float] = {
            "epochs": position.step / before.steps_per_epoch,
            "steps": position.step,
            "minutes": position.seconds / 60,
        }
        if finished:
            had[before.unit] = max(had[before.unit], before.amount)
        raise ConfigError(
            f"{more.unit} must be more than the {had[more.unit]:,.6g} that the run has had, because "
            f"they count from its beginning; got {more.amount:g}"
        )
    return Added(
        more.unit, more.amount, more.schedule, position.step, position.seconds, position.learning_rate
    )

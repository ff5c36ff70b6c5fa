"""How a network is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from ostinato.tasks.config import COMMON_TRAINING, TRAINING, Config, Flag

BUDGETS = ("epochs", "steps", "minutes")
LIMITS = ("min_steps", "max_minutes")
"""What raises or limits a budget."""


class TrainingConfig(Config):
    """How a network is trained."""

    epochs: Annotated[int | None, COMMON_TRAINING] = Field(default=None, ge=1, le=10_000_000)
    """Train for so many passes over the training part. Give only one of `epochs`, `steps` and `minutes`;
    without any, training lasts one epoch."""
    steps: Annotated[int | None, COMMON_TRAINING] = Field(default=None, ge=1, le=10_000_000_000)
    """Train for so many changes of the weights."""
    minutes: Annotated[float | None, COMMON_TRAINING] = Field(default=None, gt=0, le=1_000_000)
    """Train for so many minutes, evaluation and checkpoints included."""
    min_steps: Annotated[int | None, Flag("Training", none="no minimum")] = Field(
        default=None, ge=1, le=10_000_000_000
    )
    """With a budget in epochs: train for at least so many changes of the weights, that is, for more epochs
    where the training part is small."""
    max_minutes: Annotated[float | None, Flag("Training", none="no limit")] = Field(
        default=None, gt=0, le=1_000_000
    )
    """With a budget in epochs or steps: train for at most so many minutes. The schedule then ends with
    them."""
    optimizer: Annotated[Literal["sgd", "adam", "adamw"], TRAINING] = "adam"
    """The optimizer: `sgd`, `adam` (Kingma & Ba 2014, arXiv:1412.6980) or `adamw` (Loshchilov & Hutter 2017,
    arXiv:1711.05101)."""
    learning_rate: Annotated[float, Flag("Training", common=True, names=("--lr", "--learning-rate"))] = Field(
        default=1e-3, gt=0, le=1000
    )
    """The highest learning rate of the training; `schedule` and `warmup` lower it."""
    schedule: Annotated[Literal["constant", "step", "cosine"], TRAINING] = "constant"
    """How the learning rate falls: `constant` (not at all), `step` (by `step_factor` at each point of
    `step_at`) or `cosine` (to `final_factor` of the highest rate at the end)."""
    warmup: Annotated[float, TRAINING] = Field(default=0.0, ge=0, lt=1)
    """Fraction of the training during which the learning rate rises from zero."""
    step_at: Annotated[tuple[float, ...], TRAINING] = (0.5, 0.75)
    """When the `step` schedule lowers the learning rate: fractions of the training, between 0 and 1."""
    step_factor: Annotated[float, TRAINING] = Field(default=0.1, gt=0, le=1)
    """Factor that the `step` schedule multiplies the learning rate by."""
    final_factor: Annotated[float, TRAINING] = Field(default=0.05, ge=0, le=1)
    """Fraction of the highest learning rate at which the `cosine` schedule ends."""
    clip: Annotated[
        float | None, Flag("Training", none="never clips"), BeforeValidator(lambda clip: clip or None)
    ] = Field(default=1.0, gt=0)
    """Largest global norm of the gradient; larger gradients are scaled down to it. 0 never clips."""
    weight_decay: Annotated[float, TRAINING] = Field(default=0.01, ge=0, le=100)
    """Weight decay of `adamw`, multiplied by the learning rate; it applies to matrices and not to biases."""
    averaging: Annotated[float, TRAINING] = Field(default=0.0, ge=0, lt=0.5)
    """Keep an average of the weights, evaluated beside them; the better of the two is kept as the best. The
    value is the mean age of the averaged weights as a fraction of the training so far, for example 0.05.
    0 keeps no average."""
    evaluations: Annotated[int, TRAINING] = Field(default=10, ge=1, le=100_000)
    """Number of evaluations on the validation part, spread evenly over the training; the last is at its
    end."""
    patience: Annotated[int | None, Flag("Training", common=True, none="never stops early")] = Field(
        default=None, ge=1
    )
    """Stop early after so many evaluations in a row without a better result."""
    log_every: Annotated[int, TRAINING] = Field(default=100, ge=1)
    """Log training metrics after every so many batches, and at the end of each epoch."""
    checkpoint_minutes: Annotated[float, TRAINING] = Field(default=1.0, ge=0)
    """Save a checkpoint at least every so many minutes; one is also saved at each evaluation."""
    keep: Annotated[int, TRAINING] = Field(default=2, ge=1, le=1000)
    """Number of newest checkpoints to keep, besides the best one."""

    @model_validator(mode="after")
    def _one_budget(self) -> TrainingConfig:
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"a run has one budget, but {' and '.join(given)} are given; choose one")
        if self.min_steps is not None and (self.steps or self.minutes):
            raise ValueError("min_steps raises a budget in epochs; give epochs, or leave min_steps out")
        if self.max_minutes is not None and self.minutes:
            raise ValueError(
                "max_minutes limits a budget in epochs or steps; give one of them, or leave max_minutes out"
            )
        if any(not 0 < fraction < 1 for fraction in self.step_at):
            raise ValueError(f"step_at must be fractions between 0 and 1, got {list(self.step_at)}")
        return self

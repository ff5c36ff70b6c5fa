"""How a network is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from ostinato.tasks.config import COMMON_TRAINING, TRAINING, Config, Flag

BUDGETS = ("epochs", "steps", "minutes")


class TrainingConfig(Config):
    """How a network is trained."""

    epochs: Annotated[int | None, COMMON_TRAINING] = Field(default=None, ge=1, le=10_000_000)
    """Budget: passes over the training part. At most one of `epochs`, `steps` and `minutes` is given; without
    any, the budget is one epoch."""
    steps: Annotated[int | None, COMMON_TRAINING] = Field(default=None, ge=1, le=10_000_000_000)
    """Budget: changes of the weights."""
    minutes: Annotated[float | None, COMMON_TRAINING] = Field(default=None, gt=0, le=1_000_000)
    """Budget: minutes on the clock, tracing, evaluation and checkpoints included."""
    optimizer: Annotated[Literal["sgd", "adam", "adamw"], TRAINING] = "adam"
    """`sgd`, `adam` (Kingma & Ba 2014, arXiv:1412.6980) or `adamw` (Loshchilov & Hutter 2017,
    arXiv:1711.05101)."""
    learning_rate: Annotated[float, Flag("Training", common=True, names=("--lr", "--learning-rate"))] = Field(
        default=1e-3, gt=0, le=1000
    )
    """The highest learning rate."""
    schedule: Annotated[Literal["constant", "step", "cosine"], TRAINING] = "constant"
    """`constant`; `step`, which multiplies the learning rate by `step_factor` at each of `step_at`; or
    `cosine`, which falls to `final_factor` of the highest value at the budget's end."""
    warmup: Annotated[float, TRAINING] = Field(default=0.0, ge=0, lt=1)
    """The fraction of the budget over which the learning rate first rises from zero."""
    step_at: Annotated[tuple[float, ...], TRAINING] = (0.5, 0.75)
    """Where the schedule `step` acts: fractions of the budget."""
    step_factor: Annotated[float, TRAINING] = Field(default=0.1, gt=0, le=1)
    """What the schedule `step` multiplies by."""
    final_factor: Annotated[float, TRAINING] = Field(default=0.05, ge=0, le=1)
    """What fraction of the learning rate the schedule `cosine` ends at."""
    clip: Annotated[
        float | None, Flag("Training", none="never clips"), BeforeValidator(lambda clip: clip or None)
    ] = Field(default=1.0, gt=0)
    """The gradient's global norm is scaled down to this; 0 does not clip."""
    weight_decay: Annotated[float, TRAINING] = Field(default=0.01, ge=0, le=100)
    """AdamW's weight decay, per unit of learning rate; on matrices, not on biases."""
    evaluations: Annotated[int, TRAINING] = Field(default=10, ge=1, le=100_000)
    """How often to evaluate on the validation part, spread evenly over the budget, the last at its end."""
    patience: Annotated[int | None, Flag("Training", common=True, none="never stops early")] = Field(
        default=None, ge=1
    )
    """Stop when so many evaluations in a row brought nothing better; None never stops early."""
    log_every: Annotated[int, TRAINING] = Field(default=100, ge=1)
    """Log training metrics every so many batches of an epoch, and at its end."""
    checkpoint_minutes: Annotated[float, TRAINING] = Field(default=1.0, ge=0)
    """Save a checkpoint at least this often; one is also saved at each evaluation."""
    keep: Annotated[int, TRAINING] = Field(default=2, ge=1, le=1000)
    """How many of the newest checkpoints to keep, besides the best."""

    @model_validator(mode="after")
    def _one_budget(self) -> TrainingConfig:
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"a run has one budget, but {' and '.join(given)} are given; choose one")
        if any(not 0 < fraction < 1 for fraction in self.step_at):
            raise ValueError(
                f"step_at = {list(self.step_at)}: expected fractions of the budget between 0 and 1"
            )
        return self

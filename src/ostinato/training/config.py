"""How a network is trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ostinato.tasks.config import Config


class TrainingConfig(Config):
    """How a network is trained.

    Attributes:
        epochs: budget: passes over the training part. Exactly one of `epochs`, `steps` and `minutes` is
            given; without any, the budget is one epoch.
        steps: budget: changes of the weights.
        minutes: budget: minutes on the clock, tracing, evaluation and checkpoints included.
        optimizer: `sgd`, `adam` (Kingma & Ba 2014, arXiv:1412.6980) or `adamw` (Loshchilov & Hutter 2017,
            arXiv:1711.05101).
        learning_rate: its highest value.
        schedule: `constant`; `step`, which multiplies by `step_factor` at each of `step_at`; or `cosine`,
            which falls to `final_factor` of the highest value at the budget's end.
        warmup: the fraction of the budget over which the learning rate first rises from zero.
        step_at: fractions of the budget.
        step_factor: see `schedule`.
        final_factor: see `schedule`.
        clip: the gradient's global norm is scaled down to this; None does not clip.
        weight_decay: AdamW's, per unit of learning rate; on matrices, not on biases.
        evaluations: how often the validation part is read, spread evenly over the budget; the last time at
            its end.
        patience: stop when so many evaluations in a row brought no better validation loss; None never stops
            early.
        log_every: write a row of training metrics every so many batches of an epoch, besides the one at its
            end.
        checkpoint_minutes: save at least this often; also saved at each evaluation.
        keep: how many of the newest checkpoints to keep, besides the best.
    """

    epochs: int | None = Field(default=None, ge=1, le=10_000_000)
    steps: int | None = Field(default=None, ge=1, le=10_000_000_000)
    minutes: float | None = Field(default=None, gt=0, le=1_000_000)
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0, le=1000)
    schedule: Literal["constant", "step", "cosine"] = "constant"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    step_at: tuple[float, ...] = (0.5, 0.75)
    step_factor: float = Field(default=0.1, gt=0, le=1)
    final_factor: float = Field(default=0.05, ge=0, le=1)
    clip: float | None = Field(default=1.0, gt=0)
    weight_decay: float = Field(default=0.01, ge=0, le=100)
    evaluations: int = Field(default=10, ge=1, le=100_000)
    patience: int | None = Field(default=None, ge=1)
    log_every: int = Field(default=100, ge=1)
    checkpoint_minutes: float = Field(default=1.0, ge=0)
    keep: int = Field(default=2, ge=1, le=1000)

    @model_validator(mode="after")
    def _one_budget(self) -> TrainingConfig:
        given = [name for name in ("epochs", "steps", "minutes") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"a run has one budget, but {' and '.join(given)} are given; choose one")
        if any(not 0 < fraction < 1 for fraction in self.step_at):
            raise ValueError(
                f"step_at = {list(self.step_at)}: expected fractions of the budget between 0 and 1"
            )
        return self

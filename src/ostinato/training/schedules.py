"""The learning rate over a training's budget."""

from __future__ import annotations

import math

from ostinato.training.config import TrainingConfig


def learning_rate(config: TrainingConfig, fraction: float) -> float:
    """The learning rate when this fraction of the budget is used.

    Args:
        config: names the schedule.
        fraction: 0 at the start, 1 at the end.
    """
    highest = config.learning_rate
    if fraction < config.warmup:
        # Never quite zero: the first step should move.
        return highest * max(fraction / config.warmup, 0.01)
    if config.schedule == "step":
        return highest * config.step_factor ** sum(fraction >= at for at in config.step_at)
    if config.schedule == "cosine":
        after_warmup = min(1.0, (fraction - config.warmup) / (1.0 - config.warmup))
        lowest = highest * config.final_factor
        return lowest + (highest - lowest) * 0.5 * (1.0 + math.cos(math.pi * after_warmup))
    return highest

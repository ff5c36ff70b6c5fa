"""Settings that follow from the data, the budget and the speed of this machine.

Each task has its rule, see `ostinato.tasks.fitting`. Here the rule gets what it needs to know: the budget,
and how fast a recurrent layer learns on this machine, from a second of trial steps. Of several workers the
chief measures, and all take its choice. What was chosen is kept in the run, so a resumed training asks no
rule.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Collection
from dataclasses import dataclass

import tensorflow as tf

from ostinato.cells.registry import recurrent
from ostinato.layers.tracing import traced
from ostinato.tasks import registry
from ostinato.tasks.base import Data, Json
from ostinato.tasks.config import RecurrentConfig, TaskConfig
from ostinato.tasks.fitting import REFERENCE_UNITS, Facts, Fitted, TakesConfig
from ostinato.training.budget import Budget
from ostinato.training.config import TrainingConfig
from ostinato.training.workers import Workers

_ROWS, _STEPS, _FEATURES = 32, 64, 32
_TRIAL_SECONDS, _FEWEST, _MOST = 0.6, 3, 40


@dataclass(frozen=True)
class Choice:
    """Settings with what a rule has chosen in them.

    Attributes:
        config, training: all settings.
        data: the data, which takes its settings from the config.
        notes: sentences for the user.
        chosen: what was chosen and why, for the run.
    """

    config: TaskConfig
    training: TrainingConfig
    data: Data
    notes: tuple[str, ...]
    chosen: Json


def choose(
    config: TaskConfig, training: TrainingConfig, data: Data, free: Collection[str], workers: Workers
) -> Choice:
    """The settings that the task's rule chooses; those given where there is none, or nothing is free.

    Args:
        config, training: the settings.
        data: what is trained on, read with these settings.
        free: the names of settings that the rule may choose.
        workers: every one of them must call this.
    """
    rule = registry.rule_of(config)
    if rule is None or not free or not isinstance(data, TakesConfig):
        return Choice(config, training, data, (), {})
    said = b""
    with workers.all_or_none():
        if workers.chief:
            fitted = rule(config, data, _facts(config, training, data, free, workers))
            said = json.dumps(fitted._asdict()).encode()
    found = json.loads(workers.broadcast_bytes(0, said) if workers.count > 1 else said)
    fitted = Fitted(found["task"], found["training"], found["because"])
    if not fitted.task and not fitted.training:
        return Choice(config, training, data, (), {})
    config = type(config)(**config.model_dump() | fitted.task)
    training = TrainingConfig(**training.model_dump() | fitted.training)
    chosen = {"settings": [*fitted.task, *fitted.training], "because": fitted.because}
    return Choice(config, training, data.with_config(config), (fitted.note,), chosen)


def _facts(
    config: TaskConfig, training: TrainingConfig, data: Data, free: Collection[str], workers: Workers
) -> Facts:
    part = data.part("train")
    steps = 1 if part is None else part.steps
    budget = Budget.of(training, steps)
    if budget.unit == "minutes":
        speed = measured_speed(config) * workers.count
        return Facts(frozenset(free), seconds=budget.seconds, speed=speed)
    epochs = budget.amount / (steps if budget.unit == "steps" else 1)
    return Facts(frozenset(free), epochs=epochs)


def measured_speed(config: TaskConfig) -> float:
    """Time steps of one row a second that a layer of `REFERENCE_UNITS` units learns, forward and backward.

    Takes about a second, the first call of TensorFlow included.
    """
    settings = config.model_dump() if isinstance(config, RecurrentConfig) else {}
    layer = recurrent(
        settings.get("cell", "lstm"),
        REFERENCE_UNITS,
        return_sequences=True,
        engine=settings.get("engine", "auto"),
    )
    x = tf.random.stateless_normal((_ROWS, _STEPS, _FEATURES), (0, 0))
    layer(x)

    @traced
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, training=True))
        return tape.gradient(loss, layer.trainable_variables)

    step()
    seconds: list[float] = []
    while len(seconds) < _FEWEST or (sum(seconds) < _TRIAL_SECONDS and len(seconds) < _MOST):
        began = time.perf_counter()
        step()[0].numpy()
        seconds.append(time.perf_counter() - began)
    return _ROWS * _STEPS / statistics.median(seconds)

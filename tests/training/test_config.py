"""How a network is trained: one budget, and values that make sense."""

import json

import pytest

from ostinato.errors import ConfigError
from ostinato.training.config import TrainingConfig


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epochs": 1, "steps": 5}, "a run has one budget, but epochs and steps are given; choose one"),
        ({"steps": 5, "minutes": 1}, "a run has one budget, but steps and minutes are given"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"steps": -5}, "steps must be at least 1, got -5"),
        ({"minutes": 0}, "minutes must be more than 0, got 0"),
        ({"minutes": float("inf")}, "minutes must be at most 1,000,000, got inf"),
        ({"learning_rate": 0.0}, "learning_rate must be more than 0, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be at most 1,000, got nan"),
        ({"learning_rate": 1e9}, "learning_rate must be at most 1,000, got 1000000000.0"),
        ({"optimizer": "sdg"}, "optimizer must be 'sgd', 'adam' or 'adamw', got 'sdg'"),
        ({"schedule": "linear"}, "schedule must be 'constant', 'step' or 'cosine', got 'linear'"),
        ({"warmup": 1.0}, "warmup must be less than 1, got 1.0"),
        ({"step_at": (0.5, 1.0)}, r"step_at must be fractions between 0 and 1, got \[0.5, 1.0\]"),
        ({"clip": -1.0}, "clip must be more than 0, got -1.0"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"learnin_rate": 0.1}, "unknown setting 'learnin_rate'; did you mean 'learning_rate'"),
    ],
)
def test_settings_that_do_not_work_are_refused_in_one_sentence(settings, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        TrainingConfig(**settings)
    assert "\n" not in str(caught.value)


def test_settings_come_back_from_json():
    config = TrainingConfig(minutes=2.5, schedule="step", step_at=(0.3, 0.6), clip=None, patience=3)
    assert TrainingConfig(**json.loads(json.dumps(config.model_dump(mode="json")))) == config


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"minutes": 1, "min_steps": 5}, "min_steps raises a budget in epochs"),
        ({"steps": 9, "min_steps": 5}, "min_steps raises a budget in epochs"),
        ({"minutes": 1, "max_minutes": 5}, "max_minutes limits a budget in epochs or steps"),
    ],
)
def test_limits_need_a_budget_that_they_fit(settings, says):
    with pytest.raises(ConfigError, match=says):
        TrainingConfig(**settings)

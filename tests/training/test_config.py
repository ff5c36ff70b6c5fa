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
        ({"epochs": 0}, "epochs = 0: input should be greater than or equal to 1"),
        ({"steps": -5}, "steps = -5"),
        ({"minutes": 0}, "minutes = 0"),
        ({"minutes": float("inf")}, "minutes = inf"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0: input should be greater than 0"),
        ({"learning_rate": float("nan")}, "learning_rate = nan"),
        ({"learning_rate": 1e9}, "learning_rate = 1000000000.0: input should be less than or equal to 1000"),
        ({"optimizer": "sdg"}, "optimizer = 'sdg': input should be 'sgd', 'adam' or 'adamw'"),
        ({"schedule": "linear"}, "schedule = 'linear'"),
        ({"warmup": 1.0}, "warmup = 1.0"),
        ({"step_at": (0.5, 1.0)}, r"step_at = \[0.5, 1.0\]: expected fractions of the budget"),
        ({"clip": -1.0}, "clip = -1.0"),
        ({"patience": 0}, "patience = 0"),
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

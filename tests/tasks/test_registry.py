"""Tasks are found by name, or by their config."""

import pytest

from ostinato import tasks
from ostinato.errors import ConfigError, RunError
from ostinato.tasks.classifier import Classifier, ClassifierConfig
from ostinato.tasks.language_model import LanguageModel, LanguageModelConfig
from ostinato.training.config import TrainingConfig


def test_a_task_is_found_by_its_name_and_by_its_config():
    assert tasks.names() == ("language_model", "classifier", "translator")
    assert tasks.task_classes("classifier") == (Classifier, ClassifierConfig)
    assert tasks.task_classes("language_model") == (LanguageModel, LanguageModelConfig)
    for config, task_class in (
        (LanguageModelConfig(units=5), LanguageModel),
        (ClassifierConfig(), Classifier),
    ):
        task = tasks.task_for(config)
        assert isinstance(task, task_class)
        assert task.config is config


def test_an_unknown_task_is_refused_with_the_known_ones():
    with pytest.raises(RunError, match="unknown task 'painter'; this version has language_model, classifier"):
        tasks.task_classes("painter")


def test_what_is_no_tasks_config_is_refused():
    with pytest.raises(ConfigError, match=r"TrainingConfig is no task's config.*LanguageModelConfig"):
        tasks.task_for(TrainingConfig())

"""The tasks: whole jobs for recurrent networks, one file each."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ostinato.errors import ConfigError, RunError

if TYPE_CHECKING:
    from ostinato.tasks.base import Task

# Task name, as configs and recipes spell it: (module, task class, config class).
_TASKS = {
    "language_model": ("ostinato.tasks.language_model", "LanguageModel", "LanguageModelConfig"),
    "classifier": ("ostinato.tasks.classifier", "Classifier", "ClassifierConfig"),
    "translator": ("ostinato.tasks.translator", "Translator", "TranslatorConfig"),
}


def names() -> tuple[str, ...]:
    """The tasks there are."""
    return tuple(_TASKS)


def task_classes(name: str) -> tuple[type[Any], type[Any]]:
    """A task's class and its config's class.

    Raises:
        RunError: for a name that is no task of this version.
    """
    config = config_class(name)
    module_name, task, _ = _TASKS[name]
    return getattr(importlib.import_module(module_name), task), config


def config_class(name: str) -> type[Any]:
    """The class of a task's config; unlike the task, it does without TensorFlow.

    Raises:
        RunError: for a name that is no task of this version.
    """
    if name not in _TASKS:
        raise RunError(f"unknown task {name!r}; this version has {', '.join(_TASKS)}")
    module, _, config = _TASKS[name]
    return getattr(importlib.import_module(module), config)


def task_for(config: Any) -> Task:
    """The task that a config belongs to, made with it.

    Raises:
        ConfigError: when it is no task's config.
    """
    name = getattr(config, "task", None)
    if name not in _TASKS:
        known = ", ".join(config_name for *_, config_name in _TASKS.values())
        raise ConfigError(f"{type(config).__name__} is no task's config; expected one of {known}")
    return task_classes(name)[0](config)

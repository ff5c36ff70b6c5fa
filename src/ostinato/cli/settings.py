"""From a recipe and the flags that override it to checked settings."""

from __future__ import annotations

from typing import Any, TypeVar

from ostinato import layers
from ostinato.errors import ConfigError
from ostinato.runs.directory import open_run
from ostinato.tasks.config import RecurrentConfig
from ostinato.training.config import TrainingConfig
from ostinato.training.recipes import Recipe, read_recipe, read_recipe_file

_BUDGETS = ("epochs", "steps", "minutes")
_Config = TypeVar("_Config", bound=RecurrentConfig)


def settings(config_class: type[_Config], flags: dict[str, Any]) -> tuple[_Config, TrainingConfig]:
    """The settings of a task, and of its training.

    Args:
        config_class: of the task, for example `LanguageModelConfig`.
        flags: by name; None where a flag was not given.

    Raises:
        ConfigError: for anything unknown, out of range or contradictory.
    """
    recipe = _recipe(config_class.task, flags)
    task, training = dict(recipe.task), dict(recipe.training)
    if flags["init_from"] is not None and flags["recipe"] is None and flags["config"] is None:
        base = open_run(flags["init_from"])
        if base.task != config_class.task:
            raise ConfigError(f"{base.path} is a {base.task} run, not a {config_class.task} run")
        task = dict(base.task_config)
    given = {name: value for name, value in flags.items() if value is not None}
    if "units" in given:
        given["units"] = _units(given["units"])
        task.pop("layers", None)
    if any(name in given for name in _BUDGETS):
        training = {name: value for name, value in training.items() if name not in _BUDGETS}
    if given.get("clip") == 0:
        training, given = {**training, "clip": None}, {k: v for k, v in given.items() if k != "clip"}
    task |= {name: given[name] for name in (*config_class.model_fields, "layers") if name in given}
    training |= {name: given[name] for name in TrainingConfig.model_fields if name in given}
    config = config_class(**task)
    if flags["reset_before"] is not None and not layers.has_reset_gate(config.cell):
        raise ConfigError(
            f"--reset-before and --reset-after are about a reset gate, which the cell {config.cell!r} lacks"
        )
    return config, TrainingConfig(**training)


def _recipe(task: str, flags: dict[str, Any]) -> Recipe:
    if flags["config"] is not None:
        return read_recipe_file(task, flags["config"])
    return read_recipe(task, flags["recipe"] or "default")


def _units(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--units {text}: expected whole numbers, 256 or 256,128") from None

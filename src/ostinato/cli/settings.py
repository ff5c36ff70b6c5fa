"""From a recipe and the flags that override it to checked settings."""

from __future__ import annotations

from typing import Any, TypeVar

from ostinato import engines, layers
from ostinato.decoding.choices import Beam
from ostinato.errors import ConfigError
from ostinato.runs.directory import RunDirectory, open_run
from ostinato.tasks.config import RecurrentConfig
from ostinato.training.config import TrainingConfig
from ostinato.training.recipes import Recipe, read_recipe, read_recipe_file

_BUDGETS = ("epochs", "steps", "minutes")
_SEARCH = {"beam": "size", "n_best": "n_best", "length_penalty": "length_penalty"}
_SEARCH |= {"coverage_penalty": "coverage_penalty", "no_repeat": "no_repeat"}
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
    given |= {name: _units(name, given[name]) for name in ("units", "decoder_units") if name in given}
    if "units" in given:
        task.pop("layers", None)
    if any(name in given for name in _BUDGETS):
        training = {name: value for name, value in training.items() if name not in _BUDGETS}
    if given.get("clip") == 0:
        training, given = {**training, "clip": None}, {k: v for k, v in given.items() if k != "clip"}
    task |= {name: given[name] for name in (*config_class.model_fields, "layers") if name in given}
    training |= {name: given[name] for name in TrainingConfig.model_fields if name in given}
    config = config_class(**task)
    engines.check(config.engine)  # a default is not checked, and OSTINATO_ENGINE may ask for none there is
    if flags["reset_before"] is not None and not layers.has_reset_gate(config.cell):
        raise ConfigError(
            f"--reset-before and --reset-after are about a reset gate, which the cell {config.cell!r} lacks"
        )
    return config, TrainingConfig(**training)


def search(flags: dict[str, Any], directory: RunDirectory) -> dict[str, Any]:
    """How a translator of a run shall search: {"beam": …}, or nothing where no flag is given.

    Raises:
        ConfigError: a flag is given, and the run is of another task.
    """
    given = {name: flags[name] for name in _SEARCH if flags.get(name) is not None}
    if not given:
        return {}
    if directory.task != "translator":
        flag = f"--{next(iter(given)).replace('_', '-')}"
        raise ConfigError(f"{flag} is about translating; {directory.path} is a {directory.task} run")
    return {"beam": Beam(**{_SEARCH[name]: value for name, value in given.items()})}


def _recipe(task: str, flags: dict[str, Any]) -> Recipe:
    if flags["config"] is not None:
        return read_recipe_file(task, flags["config"])
    return read_recipe(task, flags["recipe"] or "default")


def _units(name: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"--{name.replace('_', '-')} {text}: expected whole numbers, 256 or 256,128"
        ) from None

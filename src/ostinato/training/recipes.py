"""Recipes: settings that are known to work, as TOML files in the folder `recipes` of each task.

description = "what it is for"
[language_model]     # the task's settings
[training]           # the training's settings
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import tomli_w

from ostinato.errors import ConfigError
from ostinato.files.plain import read_plain
from ostinato.tasks import registry
from ostinato.tasks.config import Settings, TaskConfig
from ostinato.training.config import TrainingConfig
from ostinato.wording import did_you_mean, quoted, shown

_LARGEST = 1 << 20  # bytes; a recipe has some hundred


@dataclass(frozen=True)
class Recipe:
    """Settings for a task and its training; settings that are left out have the config's default."""

    name: str
    description: str
    task: Settings
    training: Settings


def names(task: str) -> list[str]:
    """The names of a task's recipes, including `default`."""
    return sorted({"default", *_texts(task)})


def read_recipe(task: str, name: str) -> Recipe:
    """A recipe from the task's package; if there is no `default`, it is the defaults of all settings.

    Raises:
        ConfigError: when the name is unknown; suggests the nearest.
    """
    known = names(task)
    if name not in known:
        hint = did_you_mean(name, known)
        hint = f"{hint} Known" if hint else "known"
        raise ConfigError(
            f"unknown recipe {name!r}; {hint} are {', '.join(known)}; your own go with --config FILE.toml"
        )
    return parse_recipe(task, _texts(task).get(name, 'description = "the defaults of all settings"'), name)


def _texts(task: str) -> dict[str, str]:
    """The recipes in the folder `recipes` beside a task's config, by name."""
    package = registry.spec(task).config.__module__.rpartition(".")[0]
    folder = resources.files(package) / "recipes" if package else None
    if folder is None or not folder.is_dir():
        return {}
    files = [file for file in folder.iterdir() if file.name.endswith(".toml")]
    return {file.name.removesuffix(".toml"): file.read_text("utf-8") for file in files}


def read_recipe_file(task: str, path: Path) -> Recipe:
    """A recipe from a file of the user.

    Raises:
        ConfigError: when it cannot be read, is not TOML, or has an unknown key or table.
    """
    try:
        text = read_plain(path, _LARGEST).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"could not read the config {path}: {reason}") from None
    return parse_recipe(task, text, str(path))


def parse_recipe(task: str, text: str, name: str) -> Recipe:
    """A recipe from TOML; `name` is for messages."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number may be too long, or arrays too deep
        raise ConfigError(f"{name} is not TOML: {quoted(error)}") from None
    known = ["description", task, "training"]
    for key in data:
        if key not in known:
            hint = did_you_mean(key, known) or f"known are {', '.join(known)}"
            raise ConfigError(f"{name}: unknown key {shown(repr(key))}; {hint}")
    for table in (task, "training"):
        if not isinstance(data.get(table, {}), dict):
            raise ConfigError(f"{name}: {table} must be a table, [{table}]")
    return Recipe(name, str(data.get("description", "")), data.get(task, {}), data.get("training", {}))


def to_toml(description: str, task: TaskConfig, training: TrainingConfig) -> str:
    """TOML of all settings that are not None, which `parse_recipe` reads again.

    Args:
        description: the purpose of the recipe.
        task, training: the settings.
    """
    return tomli_w.dumps(
        {
            "description": description,
            task.task: task.model_dump(mode="json", exclude_none=True),
            "training": training.model_dump(mode="json", exclude_none=True) | {"clip": training.clip or 0},
        }
    )

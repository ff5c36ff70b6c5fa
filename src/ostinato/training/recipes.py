"""Recipes: settings that are known to work, as TOML files inside the package, one folder a task.

description = "what it is for"
[language_model]     # the task's settings
[training]           # the training's settings
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ostinato.errors import ConfigError
from ostinato.files.plain import read_plain
from ostinato.wording import did_you_mean, quoted, shown

_LARGEST = 1 << 20  # bytes; a recipe has some hundred


@dataclass(frozen=True)
class Recipe:
    """Settings for a task and its training; what is left out has the config's own default."""

    name: str
    description: str
    task: dict[str, Any]
    training: dict[str, Any]


def names(task: str) -> list[str]:
    """The recipes there are for a task."""
    folder = resources.files("ostinato") / "recipes" / task
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def read_recipe(task: str, name: str) -> Recipe:
    """A recipe of the package.

    Raises:
        ConfigError: for an unknown name, suggesting the nearest.
    """
    known = names(task)
    if name not in known:
        hint = did_you_mean(name, known)
        hint = f"{hint} Known" if hint else "known"
        raise ConfigError(
            f"unknown recipe {name!r}; {hint} are {', '.join(known)}; your own go with --config FILE.toml"
        )
    text = (resources.files("ostinato") / "recipes" / task / f"{name}.toml").read_text("utf-8")
    return parse_recipe(task, text, name)


def read_recipe_file(task: str, path: Path) -> Recipe:
    """A recipe of the user's own.

    Raises:
        ConfigError: when it cannot be read, is not TOML, or has a key or table that no recipe has.
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

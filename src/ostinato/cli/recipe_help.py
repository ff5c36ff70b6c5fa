"""The values of the recipes as the help of `ostinato train` shows them."""

from __future__ import annotations

from collections.abc import Iterable

from ostinato.cli.flags import Parameter
from ostinato.cli.usage import Command
from ostinato.tasks.base import TaskSpec
from ostinato.tasks.config import Settings
from ostinato.training.config import TrainingConfig


def show_recipes(spec: TaskSpec, settings: Iterable[Parameter], params: list[Command]) -> None:
    """Makes the help show, as the default of each setting, its values in the recipes."""
    from ostinato.training.recipes import names

    recipes = {name: settings_of_recipe(spec, name) for name in ("default", *names(spec.config.task))}
    usual, others = recipes.pop("default"), recipes
    none = {setting.name: setting.flag.none for setting in settings}
    for param in params:
        if param.name in usual:
            value = _shown(param, usual[param.name], none[param.name])
            each = {name: _shown(param, read[param.name], none[param.name]) for name, read in others.items()}
            differing = [f"{name}: {shown}" for name, shown in each.items() if shown != value]
            param.show_default = "; ".join([value, *differing])


def settings_of_recipe(spec: TaskSpec, recipe: str) -> Settings:
    """The settings of a recipe by flag, with defaults for those that it leaves out."""
    from ostinato.training.recipes import read_recipe

    read = read_recipe(spec.config.task, recipe)
    return {
        **spec.config(**read.task).shown_settings(),
        **TrainingConfig(**read.training).model_dump(),
    }


def _shown(param: Command, value: object, none: str) -> str:
    """The value as a user types it; `none` is the text for None."""
    if value is None:
        return none
    if isinstance(value, bool):
        return (param.opts if value else param.secondary_opts)[0].lstrip("-")
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)

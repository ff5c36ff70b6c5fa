"""Help for the training commands: it shows the default of each setting, read from the recipes."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

_TASKS = {"lm": "language_model", "classify": "classifier", "translate": "translator"}
_NONE = {
    "decoder_units": "as --units",
    "max_tokens": "all",
    "output_dropout": "as --dropout",
    "patience": "never stops early",
}
"""What a setting that is not given means, where that is not just none of it."""


class RecipesCommand(TyperCommand):
    """A command whose settings come from recipes, and whose help shows what they are there."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from ostinato.training.recipes import names

        task = _TASKS[str(self.name)]
        recipes = {name: settings_of_recipe(task, name) for name in ("default", *names(task))}
        usual, others = recipes.pop("default"), recipes
        param: Any
        for param in self.params:
            if param.name in usual:
                value = _shown(param, usual[param.name])
                own = {name: _shown(param, settings[param.name]) for name, settings in others.items()}
                differing = [f"{name}: {shown}" for name, shown in own.items() if shown != value]
                param.show_default = "; ".join([value, *differing])
        super().format_help(ctx, formatter)


def settings_of_recipe(task: str, recipe: str) -> dict[str, Any]:
    """What a recipe sets of a task and its training, and what stands where it says nothing, by flag."""
    from ostinato.tasks import config_class
    from ostinato.training.config import TrainingConfig
    from ostinato.training.recipes import read_recipe

    read = read_recipe(task, recipe)
    config = config_class(task)(**read.task)
    return {
        **config.model_dump(),
        **TrainingConfig(**read.training).model_dump(),
        "layers": len(config.units),
    }


def _shown(param: Any, value: Any) -> str:
    """The value as it is typed."""
    if value is None:
        return _NONE.get(param.name, "none")
    if isinstance(value, bool):
        return (param.opts if value else param.secondary_opts)[0].lstrip("-")
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)

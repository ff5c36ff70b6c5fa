"""The help: commands in the order in which one meets them, and what every setting really is unless told."""

import re

import pytest
from typer.main import get_command

from ostinato.cli.app import app
from ostinato.cli.settings import settings
from ostinato.tasks import config_class
from ostinato.training.recipes import names

TASKS = {"lm": "language_model", "classify": "classifier", "translate": "translator"}


def commands() -> dict:
    return get_command(app).commands["train"].commands  # type: ignore[attr-defined]


def test_what_a_newcomer_needs_comes_first(ostinato, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    listed = re.findall(r"^│ (\w+) ", ostinato("--help").out.split("Commands")[1], re.MULTILINE)
    assert listed[:4] == ["train", "generate", "predict", "evaluate"]
    assert sorted(listed) == sorted(get_command(app).commands)  # type: ignore[attr-defined]


def typed(param, value) -> str:
    """A value as the flag takes it; of None what the help says of it is free."""
    if isinstance(value, bool):
        return (param.opts if value else param.secondary_opts)[0].removeprefix("--")
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return format(value, "g") if isinstance(value, float) else str(value)


@pytest.mark.parametrize("command", TASKS)
def test_the_help_shows_what_each_recipe_sets(ostinato, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "400")
    shown = ostinato("train", command, "--help").out
    assert "the recipe's value" not in shown
    task, walked = TASKS[command], 0
    params = commands()[command].params
    for recipe in names(task):
        flags = {param.name: None for param in params} | {"recipe": recipe}
        found = settings(config_class(task), flags)
        values = {**found[0].model_dump(), **found[1].model_dump(), "layers": len(found[0].units)}
        for param in params:
            if param.name not in values:
                continue
            flag = max(param.opts, key=len)
            (line,) = (line for line in shown.splitlines() if re.search(rf"^│ .*{flag}[ ,]", line[:60]))
            (default,) = re.findall(r"\[default: \((.*)\)\]", line)
            usual, *others = default.split("; ")
            of_recipe = dict(other.split(": ") for other in others)
            value, said = values[param.name], of_recipe.get(recipe, usual)
            assert recipe != "default" or recipe not in of_recipe
            if value is not None:
                assert said == typed(param, value), (flag, recipe, default)
            else:
                assert not re.search(r"\d", said), (flag, recipe, default)
            walked += 1
    assert walked > 50


def test_a_setting_that_recipes_have_differently_says_so(ostinato, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert "(384; d2l: 256)" in ostinato("train", "lm", "--help").out

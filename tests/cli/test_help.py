"""The help: commands in the order in which one meets them, and what every setting really is unless told."""

import re

import pytest

from ostinato.cli import app
from ostinato.cli.commands.train import task_command
from ostinato.tasks import registry
from ostinato.training.recipes import names

SPECS = pytest.mark.parametrize("spec", registry.specs(), ids=lambda spec: spec.command)


def test_what_a_newcomer_needs_comes_first(ostinato, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    listed = re.findall(r"^│ (\w+) ", ostinato("--help").out.split("Commands")[1], re.MULTILINE)
    assert listed[:4] == ["train", "generate", "predict", "evaluate"]
    assert listed == list(app.COMMANDS)


def typed(param, value) -> str:
    """A value as the flag takes it; of None what the help says of it is free."""
    if isinstance(value, bool):
        return (param.opts if value else param.secondary_opts)[0].removeprefix("--")
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return format(value, "g") if isinstance(value, float) else str(value)


@SPECS
def test_the_help_shows_what_each_recipe_sets(ostinato, asked, monkeypatch, spec):
    monkeypatch.setenv("COLUMNS", "400")
    shown = ostinato("train", spec.command, "--help-all").out
    assert "the recipe's value" not in shown
    walked = 0
    for recipe in names(spec.config.task):
        found = asked(spec.command, "--recipe", recipe)
        values = {**dict(found.config), **dict(found.training), "layers": len(found.config.units)}
        for param in task_command(spec).params:
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
    assert "(384; d2l: 256; lines: 256)" in ostinato("train", "lm", "--help").out

"""ostinato recipes"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ostinato.cli.usage import Command, click_command


def command() -> Command:
    """What Click runs."""
    return click_command(recipes)


def recipes(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list with every setting.")] = False,
) -> None:
    """Lists the recipes: settings that are known to work, by task."""
    from ostinato.tasks import registry
    from ostinato.training import recipes as known

    found = [(task, known.read_recipe(task, name)) for task in registry.names() for name in known.names(task)]
    if as_json:
        rows = [
            {"task": task, "name": recipe.name, "description": recipe.description, task: recipe.task}
            | {"training": recipe.training}
            for task, recipe in found
        ]
        print(json.dumps(rows))
        return
    from rich.console import Console
    from rich.table import Table

    from ostinato.wording import print_table

    table = Table("recipe", "task", "what it is for", box=None, header_style="bold", pad_edge=False)
    for task, recipe in found:
        table.add_row(recipe.name, task.replace("_", " "), recipe.description)
    print_table(table, Console(), wraps=["what it is for"])

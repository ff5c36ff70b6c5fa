"""ostinato recipes"""

from ostinato.tasks import registry
from ostinato.training.recipes import names, read_recipe


def test_every_recipe_is_listed_with_what_it_is_for(ostinato, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    answer = ostinato("recipes")
    assert (answer.code, answer.err) == (0, "")
    known = [(task, name) for task in registry.names() for name in names(task)]
    _, *lines = answer.out.splitlines()
    for (task, name), line in zip(known, lines, strict=True):
        assert line.split()[0] == name
        assert task.replace("_", " ") in line
        assert read_recipe(task, name).description in line


def test_json_lists_every_setting(ostinato):
    rows = ostinato("recipes", "--json").json
    assert [(row["task"], row["name"]) for row in rows] == [
        (task, name) for task in registry.names() for name in names(task)
    ]
    for row in rows:
        recipe = read_recipe(row["task"], row["name"])
        assert (row[row["task"]], row["training"]) == (recipe.task, recipe.training)
        assert row["description"] == recipe.description

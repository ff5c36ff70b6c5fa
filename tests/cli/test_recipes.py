"""ostinato recipes"""

from ostinato.training.recipes import names, read_recipe


def test_every_recipe_is_listed_with_what_it_is_for(ostinato, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    answer = ostinato("recipes")
    assert (answer.code, answer.err) == (0, "")
    for name in names("language_model"):
        (line,) = [line for line in answer.out.splitlines() if line.startswith(name)]
        assert read_recipe("language_model", name).description in line


def test_json_lists_every_setting(ostinato):
    rows = ostinato("recipes", "--json").json
    assert [row["name"] for row in rows] == names("language_model")
    for row in rows:
        recipe = read_recipe(row["task"], row["name"])
        assert (row["language_model"], row["training"]) == (recipe.task, recipe.training)
        assert row["description"] == recipe.description

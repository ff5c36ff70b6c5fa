"""ostinato tune"""

import json
import re
import tomllib
from pathlib import Path

import pytest

from ostinato.runs.directory import open_run
from ostinato.training import tuning
from ostinato.training.recipes import read_recipe_file


@pytest.fixture
def short(monkeypatch):
    """Trainings of a search may be shorter than a user's."""
    monkeypatch.setattr(tuning, "_SHORTEST", 0.05)


FLAGS = ["--minutes", "0.1", "--evaluations", "1", "--cell", "rnn", "--units", "8", "--seq-len", "8"]


def test_a_search_prints_what_it_tried_and_writes_a_recipe_that_trains(ostinato, folder, short, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    answer = ostinato("tune", "lm", "text.txt", *FLAGS, "--batch", "4", "--out", "search")
    assert answer.code == 0
    *table, recipe = answer.out.splitlines()
    assert recipe == "search/recipe.toml"
    assert re.match(r"settings +loss, round 1 +loss, round 2 +loss, round 3", table[0])
    assert sum("the settings of a training without a search" in line for line in table) == 1
    assert "use it: ostinato train lm SOURCE --config search/recipe.toml --minutes 10" in answer.err
    assert "go on with" not in answer.err  # of a single training
    assert "training perplexity" not in answer.err
    assert tomllib.loads(Path(recipe).read_text())["description"].startswith("the best of 9 settings")
    found = read_recipe_file("language_model", Path(recipe))
    assert (found.task["cell"], found.task["units"], found.task["seq_len"]) == ("rnn", [8], 8)
    answer = ostinato("train", "lm", "text.txt", "--config", recipe, "--steps", "1", "--out", "run")
    assert answer.code == 0
    assert open_run("run").training["learning_rate"] == found.training["learning_rate"]


def test_a_search_that_is_over_is_told_again(ostinato, folder, short):
    assert ostinato("tune", "lm", "text.txt", *FLAGS, "--batch", "4", "--out", "search").code == 0
    again = ostinato("tune", "--resume", "search", "--json").json
    assert (again["recipe"], again["metric"], len(again["tried"])) == ("search/recipe.toml", "loss", 9)
    saved = json.loads(Path("search/search.json").read_text())
    best = max(saved["trials"], key=lambda trial: len(trial["results"]))
    assert again["tried"][0]["round 3"] == best["results"][-1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["lm", "text.txt", "--minutes", "0.5"], "minutes must be at least 1.35"),
        (["lm", "nothing.txt"], "nothing.txt"),
        (["lm", "text.txt", "--out", "."], "exists and is not empty; go on with its search"),
        (["--resume", "nowhere"], "nowhere is not a search: it has no search.json"),
        (["--resume", "nowhere", "lm", "text.txt"], "--resume takes everything from the search"),
        (["lm", "text.txt", "--lr", "1", "--units", "4", "--output-dropout", "0"], "nothing to search"),
        (["lm", "text.txt", "--epochs", "3"], "--epochs"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_sentence(ostinato, folder, arguments, sentence):
    answer = ostinato("tune", *arguments)
    assert answer.code == 2
    assert sentence in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_every_task_can_be_searched(ostinato):
    for task in ("lm", "classify", "translate", "music"):
        answer = ostinato("tune", task, "--help")
        assert answer.code == 0
        assert "--minutes" in answer.out

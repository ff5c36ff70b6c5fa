"""Recipes: TOML files with settings that are known to work."""

import warnings

import pytest

from ostinato.cli.app import app
from ostinato.cli.training import only_checking
from ostinato.errors import ConfigError, ConfigWarning
from ostinato.tasks import registry
from ostinato.training.config import TrainingConfig
from ostinato.training.recipes import names, parse_recipe, read_recipe, read_recipe_file

TASK = "language_model"


@pytest.mark.parametrize("task", registry.names())
def test_every_recipe_makes_valid_settings_and_says_what_it_is_for(task):
    config_class = registry.spec(task).config
    assert "default" in names(task)
    for name in names(task):
        recipe = read_recipe(task, name)
        assert recipe.name == name
        assert recipe.description
        with warnings.catch_warnings(action="error"):  # none has a setting under an older name
            config_class(**recipe.task)
        training = TrainingConfig(**recipe.training)
        assert [training.epochs, training.steps, training.minutes].count(None) == 2


def test_the_textbooks_recipe_is_the_textbooks():
    recipe = read_recipe(TASK, "d2l")
    config_class = registry.spec(TASK).config
    config, training = config_class(**recipe.task), TrainingConfig(**recipe.training)
    assert (config.normalize, config.max_tokens, config.validation_fraction) == ("letters", 10_000, 0.0)
    assert (config.units, config.embedding, config.cell, config.reset_after) == ((256,), 0, "gru", False)
    assert (config.batch, config.seq_len, config.init_stddev) == (32, 35, None)
    assert (training.optimizer, training.learning_rate, training.clip) == ("sgd", 1.0, 1.0)
    assert training.epochs == 500


def test_an_unknown_recipe_is_refused_with_the_nearest():
    with pytest.raises(
        ConfigError, match=r"unknown recipe 'dl2'; did you mean 'd2l'\? Known are d2l, default, lines"
    ):
        read_recipe(TASK, "dl2")
    with pytest.raises(ConfigError, match="unknown recipe 'x'; known are d2l, default, lines; your"):
        read_recipe(TASK, "x")


def test_a_recipe_of_ones_own_is_read(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('description = "mine"\n[language_model]\nunits = [8, 4]\n[training]\nsteps = 3\n')
    recipe = read_recipe_file(TASK, file)
    assert (recipe.task, recipe.training) == ({"units": [8, 4]}, {"steps": 3})
    assert recipe.description == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("units = 8", "mine: unknown key 'units'; known are description, language_model, training"),
        ("[trainin]\nsteps = 3", r"mine: unknown key 'trainin'; did you mean 'training'\?"),
        ("[language_model", "mine is not TOML: "),
        ("a = 1\na = 2", "mine is not TOML: "),
        ("a = " + "9" * 5000, "mine is not TOML: "),
        ("a = " + "[" * 5000, "mine is not TOML: "),
        ("training = 3", r"mine: training must be a table, \[training\]"),
        ('language_model = "lstm"', "mine: language_model must be a table"),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_name(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_recipe(TASK, text, "mine")


def test_files_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b'description = "\xe9"')
    with pytest.raises(ConfigError, match=r"could not read the config .*latin\.toml: it is not UTF-8"):
        read_recipe_file(TASK, tmp_path / "latin.toml")
    with pytest.raises(ConfigError, match=r"could not read the config .*gone\.toml: No such file"):
        read_recipe_file(TASK, tmp_path / "gone.toml")
    with pytest.raises(ConfigError, match=r"could not read the config .*: Is a directory"):
        read_recipe_file(TASK, tmp_path)


def test_a_flag_overrides_the_older_word_of_a_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.toml").write_text('[language_model]\ncell = "gru"\nreset_before = true\n')
    (tmp_path / "book.txt").write_text("a text")
    command = ["train", "lm", "book.txt", "--config", "old.toml", "--save-recipe"]
    for name, flags, after in (("one.toml", [], False), ("other.toml", ["--reset-after"], True)):
        with only_checking(), pytest.warns(ConfigWarning, match="reset_before is now called reset_after"):
            app([*command, name, *flags], standalone_mode=False)
        assert read_recipe_file(TASK, tmp_path / name).task["reset_after"] is after

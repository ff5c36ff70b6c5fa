"""Settings are checked when they are made, and what is wrong with them is said in one sentence."""

import json
import shutil
import warnings
from pathlib import Path

import pytest
from pydantic import Field

from ostinato.errors import ConfigError, ConfigWarning, RunError
from ostinato.runs.directory import open_run
from ostinato.runs.opened import settings_of
from ostinato.tasks import registry
from ostinato.tasks.config import Config, Flag
from ostinato.training.config import TrainingConfig
from ostinato.training.recipes import parse_recipe, to_toml

KEPT = Path(__file__).parents[1] / "golden" / "kept"
TASKS = pytest.mark.parametrize("config_class", [spec.config for spec in registry.specs()])


class Recorder(Config):
    tracks: int = Field(default=4, ge=1)
    tempo: float = 120.0


def test_a_misspelt_setting_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"^unknown setting 'track'; did you mean 'tracks'\?$"):
        Recorder(track=2)


def test_a_setting_like_no_other_is_refused_with_all_there_are():
    with pytest.raises(ConfigError, match="unknown setting 'colour'; known are tracks, tempo"):
        Recorder(colour="red")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"tracks": 0}, "tracks must be at least 1, got 0"),
        ({"tracks": "many"}, "tracks must be a whole number, got 'many'"),
        ({"tempo": None}, "tempo must be a number, got None"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_what_was_expected(settings, sentence):
    with pytest.raises(ConfigError) as caught:
        Recorder(**settings)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_settings_do_not_change():
    recorder = Recorder(tracks=2)
    with pytest.raises(ValueError, match="frozen"):
        recorder.tracks = 3


# What the command line and the tables of docs/settings.md are made from.

SETTINGS = [
    pytest.param(config, name, id=f"{config.__name__}.{name}")
    for config in (*(spec.config for spec in registry.specs()), TrainingConfig)
    for name in config.model_fields
]


@pytest.mark.parametrize(("config", "name"), SETTINGS)
def test_every_setting_says_what_it_is_and_how_the_command_line_shows_it(config, name):
    field = config.model_fields[name]
    description = " ".join((field.description or "").split())
    assert description.endswith(".")
    assert description[0].isupper() or description[0] in "`0123456789"
    flags = [each for each in field.metadata if isinstance(each, Flag)]
    assert len(flags) == 1
    assert flags[0].group in ("Data", "Network", "Training")


@TASKS
def test_every_task_says_what_it_does_with_examples(config_class):
    assert config_class.__doc__.count("Example: ostinato train ") >= 1
    assert config_class.task == registry.spec_of(config_class()).config.task


# Settings of older versions.


def with_the_older_word(config_class, before):
    """Settings of before, when `reset_before` was the word."""
    settings = config_class().model_dump(mode="json")
    settings.pop("reset_after")
    return settings | {"reset_before": before}


@TASKS
@pytest.mark.parametrize("before", [True, False])
def test_the_older_word_is_read_turned_around_and_both_words_are_told(config_class, before):
    with pytest.warns(ConfigWarning) as told:
        config = config_class(**with_the_older_word(config_class, before))
    assert config.reset_after is not before
    assert config == config_class(reset_after=not before)
    assert [str(each.message) for each in told] == [
        "the setting reset_before is now called reset_after: "
        f"reset_before = {before} is reset_after = {not before}"
    ]
    assert told[0].filename == __file__


@TASKS
def test_settings_under_their_new_name_are_told_nothing(config_class):
    with warnings.catch_warnings(action="error"):
        config = config_class(reset_after=False)
        assert config_class(**config.model_dump()) == config
    assert "reset_before" not in config.model_dump()


@TASKS
@pytest.mark.parametrize("after", [True, False])
def test_a_setting_under_both_of_its_names_is_refused(config_class, after):
    with pytest.raises(
        ConfigError, match=r"^reset_before is the older name of reset_after; give one of the two$"
    ):
        config_class(reset_before=not after, reset_after=after)


@pytest.mark.parametrize(("value", "after"), [("true", False), ("no", True), (1, False), ("false", True)])
@TASKS
def test_the_older_word_takes_what_any_yes_or_no_takes(config_class, value, after):
    with pytest.warns(ConfigWarning):
        assert config_class(reset_before=value).reset_after is after


@TASKS
def test_what_is_no_yes_or_no_is_refused_under_the_older_word(config_class):
    with pytest.raises(ConfigError, match=r"^reset_before must be true or false, got 'maybe'"):
        config_class(reset_before="maybe")


@TASKS
def test_a_recipe_of_before_is_read_and_kept_again_under_the_new_name(config_class):
    recipe = parse_recipe(config_class.task, f"[{config_class.task}]\nreset_before = true\n", "mine")
    with pytest.warns(ConfigWarning, match="reset_before is now called reset_after"):
        config = config_class(**recipe.task)
    assert not config.reset_after
    kept = to_toml("mine", config, TrainingConfig())
    assert "reset_after = false" in kept
    assert "reset_before" not in kept


@pytest.mark.parametrize("name", sorted(path.name for path in KEPT.iterdir()))
def test_a_run_of_before_is_read_with_a_warning(name):
    run = open_run(KEPT / name / "run")
    with pytest.warns(ConfigWarning, match="reset_before is now called reset_after"):
        config = settings_of(run)
    assert config.reset_after is not run.task_config["reset_before"]


def test_a_run_with_both_words_is_damaged(tmp_path):
    run = shutil.copytree(KEPT / "lm-char" / "run", tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["task_config"]["reset_after"] = True
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"config\.json is damaged: reset_before is the older name"):
        settings_of(open_run(run))

"""Settings that a rule chooses at the beginning of a training."""

import pytest

import ostinato
from ostinato.tasks.language_model.config import LanguageModelConfig
from ostinato.training.config import TrainingConfig
from ostinato.training.events import Started
from ostinato.training.fitting import measured_speed

from ..tiny import text


@pytest.fixture(scope="module")
def chosen(text_file, tmp_path_factory):
    """A run whose settings were chosen but for its cell and rate, what was told of it, and its settings."""
    told, settings = [], []
    run = ostinato.train(
        LanguageModelConfig(cell="gru", seq_len=16, batch=4),
        text_file,
        training=TrainingConfig(steps=3, learning_rate=0.02),
        choose=True,
        on_settings=lambda *both: settings.append(both),
        on_event=told.append,
        out=tmp_path_factory.mktemp("chosen") / "run",
    )
    return run, told, settings


def test_the_choice_is_said_and_kept_in_the_run(chosen):
    run, told, _ = chosen
    kept = run.directory.chosen
    assert {"units", "output_dropout", "averaging"} <= {*kept["settings"]}
    assert not {"cell", "learning_rate", "seq_len", "batch"} & {*kept["settings"]}
    (started,) = (event for event in told if isinstance(event, Started))
    assert any(note.startswith(f"chosen {kept['because']}: units ") for note in started.notes)
    assert ostinato.load(run.directory.path).directory.chosen == kept


def test_what_was_given_stays(chosen):
    run, _, ((config, training),) = chosen
    assert (config.cell, config.seq_len, training.learning_rate) == ("gru", 16, 0.02)
    assert run.directory.task_config == config.model_dump(mode="json")
    assert run.directory.training == training.model_dump(mode="json")


def test_a_run_goes_on_with_the_settings_that_were_chosen(chosen):
    run, _, _ = chosen
    more = ostinato.resume(run, steps=5)
    assert more.directory.task_config == run.directory.task_config
    assert more.directory.chosen == run.directory.chosen


def test_without_being_asked_nothing_is_chosen(start, tmp_path):
    run = start(tmp_path / "run", training={"steps": 1})
    assert run.directory.chosen == {}
    assert run.directory.task_config["units"] == [8]


def test_names_of_settings_can_be_given(tmp_path):
    run = ostinato.train(
        LanguageModelConfig(units=8, seq_len=16, batch=4),
        [text()],
        training=TrainingConfig(steps=1),
        choose={"learning_rate"},
        out=tmp_path / "run",
    )
    assert run.directory.chosen["settings"] == ["learning_rate"]
    assert run.directory.training["learning_rate"] == 8e-3
    assert run.directory.task_config["units"] == [8]


@pytest.mark.parametrize("cell", ["lstm", "gru", "mingru"])
def test_the_speed_of_this_machine_is_a_number(cell):
    assert 100 < measured_speed(LanguageModelConfig(cell=cell)) < 1e9

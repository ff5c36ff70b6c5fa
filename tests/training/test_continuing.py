"""A finished run that goes on with a larger budget."""

import json
import shutil

import numpy as np
import pytest

import ostinato
from ostinato.errors import ConfigError, RunError
from ostinato.runs.directory import open_run
from ostinato.training.budget import Budget, Position
from ostinato.training.config import TrainingConfig
from ostinato.training.continuing import Added, More, add
from ostinato.training.events import Saved, Started, StepDone

from ..tiny import change, copy_at


def over(step, seconds=90.0, ended="finished") -> Position:
    return Position(step=step, seconds=seconds, learning_rate=0.01, ended=ended)


# Without training.


@pytest.mark.parametrize(
    ("unit", "too_few", "enough"), [("epochs", 3, 4), ("steps", 30, 31), ("minutes", 1.5, 1.6)]
)
def test_a_budget_in_any_unit_must_be_more_than_the_run_has_had(unit, too_few, enough):
    position, before = over(30), Budget.of(TrainingConfig(epochs=3), 10)
    with pytest.raises(ConfigError, match=rf"{unit} must be more than the {too_few} that .*; got {too_few}"):
        add(More(unit, too_few, None), position, before)
    added = add(More(unit, enough, None), position, before)
    assert (added.unit, added.amount, added.step, added.learning_rate) == (unit, enough, 30, 0.01)
    assert Added.from_json(json.loads(json.dumps(added.to_json()))) == added


def test_minutes_that_ended_a_little_early_are_used_up_and_a_run_stopped_early_may_have_as_many_again():
    before = Budget.of(TrainingConfig(minutes=2.0), 10)
    with pytest.raises(ConfigError, match="minutes must be more than the 2 that"):
        add(More("minutes", 2.0, None), over(30, 119.0), before)
    assert add(More("minutes", 2.0, None), over(30, 50.0, "stopped early"), before).seconds == 50.0


def test_the_fraction_of_an_added_budget_is_that_of_what_is_added():
    steps = Added("steps", 50, None, 30, 90.0, 0.01).budget(10)
    assert [steps.fraction(Position(step=step)) for step in (30, 40, 50)] == [0.0, 0.5, 1.0]
    epochs = Added("epochs", 5, None, 30, 90.0, 0.01).budget(10)
    assert epochs.fraction(Position(step=35)) == 0.25
    minutes = Added("minutes", 2.0, None, 30, 90.0, 0.01).budget(10)
    assert minutes.fraction(Position(seconds=105.0)) == 0.5
    assert minutes.used_up(Position(seconds=110.0), reserve=10.0)
    assert minutes.reserve(100.0, measured=False) == pytest.approx(3.0)  # a tenth of half a minute


def test_the_rate_stays_what_it_was_at_last_and_a_schedule_begins_again():
    training = TrainingConfig(epochs=3, schedule="cosine", learning_rate=0.5, warmup=0.1, patience=4)
    same = Added("steps", 50, None, 30, 90.0, 0.01).config(training)
    assert (same.epochs, same.steps, same.schedule, same.learning_rate) == (None, 50, "constant", 0.01)
    assert (same.warmup, same.patience) == (0.0, 4)
    new = Added("minutes", 2.0, "step", 30, 90.0, 0.01).config(training)
    assert (new.minutes, new.schedule, new.learning_rate, new.warmup) == (2.0, "step", 0.5, 0.1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((3, 3, None, None), "a run has one budget, but epochs and steps are given"),
        ((None, None, None, "cosine"), "a schedule needs a larger budget to span"),
        ((0, None, None, None), "epochs must be at least 1, got 0"),
        ((3, None, None, "cosin"), "schedule must be .*, got 'cosin'; did you mean 'cosine'"),
    ],
)
def test_what_cannot_be_asked_for_is_said_in_one_sentence(arguments, sentence):
    with pytest.raises(ConfigError, match=sentence):
        More.of(*arguments)
    assert More.of(None, None, None, None) is None


@pytest.mark.parametrize(
    "damage",
    [
        {"unit": "years"},
        {"amount": "many"},
        {"amount": -1},
        {"schedule": 7},
        {"step": -1},
        {"seconds": None},
        {"learning_rate": float("nan")},
        {"more": 1},
    ],
    ids=str,
)
def test_a_damaged_budget_of_a_run_is_refused(damage):
    data = Added("steps", 50, None, 30, 90.0, 0.01).to_json() | damage
    with pytest.raises(RunError, match="the run's budgets are damaged"):
        Added.from_json(data)


def test_a_budget_that_was_over_before_it_began_is_refused():
    with pytest.raises(RunError, match="30 steps were over before they began"):
        Added("steps", 30, None, 30, 90.0, 0.01).budget(10)


# With training.


def assert_equal_ends(path, expected) -> None:
    """Equal weights, optimizer, state and place, bit for bit."""
    found, expected = (open_run(each).newest_checkpoint()[0] for each in (path, expected))
    np.testing.assert_equal(found.groups, expected.groups)
    for name in ("step", "epoch", "batch", "part", "evaluations", "best_loss", "best_step", "ended"):
        assert found.position[name] == expected.position[name], name


@pytest.fixture(scope="module")
def longer(whole_run, tmp_path_factory):
    """The path of the run of three epochs that has gone on to four, and of copies of it on its way."""
    place = tmp_path_factory.mktemp("longer")
    path, begun, within = shutil.copytree(whole_run, place / "run"), place / "begun", place / "within"
    last = open_run(path).newest_checkpoint()[0].step
    copies = (copy_at(last, path, begun, Started), copy_at(last + 5, path, within, Saved))
    events = []

    def listen(event):
        events.append(event)
        for copy in copies:
            copy(event)

    change(path, training={"checkpoint_minutes": 0})
    ostinato.resume(path, epochs=4, on_event=listen)
    return path, begun, within, events


def test_a_run_that_goes_on_ends_as_one_with_the_larger_budget_from_the_beginning(start, longer, tmp_path):
    start(tmp_path / "whole", training={"epochs": 4})
    found, expected = (open_run(each).newest_checkpoint()[0] for each in (longer[0], tmp_path / "whole"))
    np.testing.assert_equal(found.groups, expected.groups)
    assert (found.step, found.position["epoch"]) == (expected.step, expected.position["epoch"])


def test_an_added_part_has_its_own_evaluations_and_is_written_down(longer, whole_run):
    path, _, _, events = longer
    before = open_run(whole_run).newest_checkpoint()[0]
    started = next(event for event in events if isinstance(event, Started))
    assert started.notes == (f"going on after step {before.step} at its learning rate, 0.01",)
    assert started.budget == "4 epochs"
    rows = [row for row in open_run(path).rows() if row["split"] == "validation"]
    assert len([row for row in rows if row["step"] > before.step]) == 6
    config = json.loads((path / "config.json").read_text())
    assert config["training"]["epochs"] == 3
    (budget,) = config["budgets"]
    assert (budget["unit"], budget["amount"], budget["step"]) == ("epochs", 4, before.step)
    fractions = [event.fraction for event in events if isinstance(event, StepDone)]
    assert fractions[-1] == 1.0
    assert fractions[0] == pytest.approx(1 / len(fractions))


@pytest.mark.parametrize("moment", ["before its first step", "within"])
def test_an_added_part_that_was_killed_is_resumed_exactly(longer, moment):
    path, begun, within, _ = longer
    killed = begun if moment == "before its first step" else within
    assert open_run(killed).newest_checkpoint()[0].step < open_run(path).newest_checkpoint()[0].step
    ostinato.resume(killed)
    assert_equal_ends(killed, path)


def test_a_finished_run_says_so_and_one_that_is_not_finished_gets_no_more(start, longer, tmp_path):
    path, told = longer[0], []
    ostinato.resume(path, on_event=told.append)
    assert told[0].sentence == f"{path} is finished; there is nothing to resume"
    before = (path / "config.json").read_bytes()
    with pytest.raises(ConfigError, match="epochs must be more than the 4 that"):
        ostinato.resume(path, epochs=4)
    assert (path / "config.json").read_bytes() == before

    def crash(event):
        if isinstance(event, StepDone):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", on_event=crash)
    with pytest.raises(RunError, match="is not finished, so it cannot go on"):
        ostinato.resume(tmp_path / "run", steps=100)


def test_a_run_that_patience_stopped_goes_on_with_new_patience_and_schedule(start, tmp_path):
    training = {"steps": 40, "evaluations": 20, "patience": 3, "learning_rate": 1e-30, "optimizer": "sgd"}
    path = start(tmp_path / "run", task={"output_dropout": 0.0}, training=training).directory.path
    first = open_run(path).newest_checkpoint()[0].position
    assert first["ended"] == "stopped early"
    rates = []
    ostinato.resume(
        path,
        steps=first["step"] + 8,
        schedule="cosine",
        on_event=lambda event: rates.append(event.learning_rate) if isinstance(event, StepDone) else None,
    )
    assert rates[0] == 1e-30
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0]
    assert open_run(path).newest_checkpoint()[0].position["part"] == 1


def test_budgets_that_are_no_list_of_objects_are_refused(whole_run, tmp_path):
    path = shutil.copytree(whole_run, tmp_path / "run")
    config = json.loads((path / "config.json").read_text())
    for damage in (7, [7], {"unit": "steps"}):
        (path / "config.json").write_text(json.dumps(config | {"budgets": damage}))
        with pytest.raises(RunError, match="is damaged: its budgets are"):
            open_run(path)
    (path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "budgets"}))
    assert open_run(path).budgets == []

"""The average of the weights: its formula, its part in a training, and exactness on resume."""

from contextlib import suppress

import keras
import numpy as np
import pytest

import ostinato
from ostinato.runs import checkpoints
from ostinato.training.averaging import EVERY, WeightAverage
from ostinato.training.events import Saved
from ostinato.training.workers import single_worker

from ..tiny import copy_at


def averaged_by_hand(values, lag):
    """The mean of values with the weights of the power profile, from its recursion."""
    average = np.zeros_like(values[0])
    for number, value in enumerate(values, 1):
        keep = (1 - 1 / number) ** (1 / lag - 1)
        average = keep * average + (1 - keep) * value
    return average


@pytest.mark.parametrize("lag", [0.02, 0.1, 0.4])
def test_the_average_has_the_profile_of_a_power_of_time(lag):
    variable = keras.Variable(np.zeros((2, 3), np.float32))
    average = WeightAverage(lag, ["w"], [variable], single_worker())
    values = np.random.default_rng(0).normal(size=(20, 2, 3)).astype(np.float32)
    for number, value in enumerate(values, 1):
        variable.assign(value)
        average.follow(number * EVERY)
        average.follow(number * EVERY + 1)  # between two updates nothing changes
    np.testing.assert_allclose(
        average.to_arrays({})["w"], averaged_by_hand(values, lag), rtol=2e-5, atol=1e-6
    )


def test_the_mean_age_in_the_average_is_the_lag():
    variable = keras.Variable(np.zeros((), np.float32))
    average = WeightAverage(0.1, ["w"], [variable], single_worker())
    for number in range(1, 1001):
        variable.assign(float(number))
        average.follow(number * EVERY)
    assert (1000 - average.to_arrays({})["w"]) / 1000 == pytest.approx(0.1, rel=0.02)


def test_within_its_context_the_network_has_the_averages_and_afterwards_its_own_weights():
    variable = keras.Variable(np.ones(3, np.float32))
    average = WeightAverage(0.1, ["w"], [variable], single_worker())
    average.follow(EVERY)
    variable.assign(np.full(3, 5.0))
    with suppress(KeyError), average.in_place():
        np.testing.assert_array_equal(variable.numpy(), 1.0)
        raise KeyError
    np.testing.assert_array_equal(variable.numpy(), 5.0)


@pytest.fixture(scope="module")
def run(start, tmp_path_factory):
    """A run with an average, and a copy of it as it was at step 16."""
    place = tmp_path_factory.mktemp("averaging")
    listen = copy_at(16, place / "run", place / "copy", Saved)
    settings = {"epochs": 6, "averaging": 0.3, "learning_rate": 0.3, "checkpoint_minutes": 0.0, "keep": 9}
    return start(place / "run", training=settings, on_event=listen), place / "copy"


def test_the_average_is_evaluated_beside_the_weights_and_the_better_one_is_the_best(run):
    trained, _ = run
    losses = {}
    for row in trained.directory.rows():
        if row["split"] != "train":
            losses.setdefault(row["step"], {})[row["split"]] = row["loss"]
    assert all({*each} == {"validation", "average"} for step, each in losses.items() if step >= EVERY)
    last, _ = trained.directory.newest_checkpoint()
    step, position = last.position["best_step"], last.position
    assert position["best_loss"] == min(min(each.values()) for each in losses.values())
    assert position["best_averaged"] == (losses[step]["average"] < losses[step]["validation"])
    whole = checkpoints.load(trained.directory.checkpoints, step)
    group = "average" if position["best_averaged"] else "weights"
    loaded = trained.directory.weights("best").groups["weights"]
    for name, array in loaded.items():
        np.testing.assert_array_equal(array, whole.groups[group][name])
    assert position["best_averaged"]  # at this rate the weights jump about, and their mean is better


def test_a_loaded_run_with_averaged_weights_measures_what_training_measured(run):
    trained, _ = run
    loaded = ostinato.load(trained.directory.path)
    for name, array in trained.directory.weights("best").groups["weights"].items():
        found = {w.path.split("/", 1)[-1]: w.numpy() for w in loaded.model.weights}
        assert any(np.array_equal(array, each) for each in found.values()), name


def test_a_training_that_was_killed_has_the_same_average(run):
    trained, copy = run
    resumed = ostinato.resume(copy)
    one, _ = trained.directory.newest_checkpoint()
    other, _ = resumed.directory.newest_checkpoint()
    assert one.groups.keys() == other.groups.keys() == {"weights", "optimizer", "state", "average"}
    for group, arrays in one.groups.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, other.groups[group][name], err_msg=f"{group} {name}")
    times = {"seconds", "step_seconds", "evaluation_seconds", "all_evaluations_seconds", "metrics_bytes"}
    assert {k: v for k, v in one.position.items() if k not in times} == {
        k: v for k, v in other.position.items() if k not in times
    }


def test_an_average_of_another_network_is_refused(start, tmp_path):
    trained = start(tmp_path / "run", training={"steps": 8, "averaging": 0.1})
    last, _ = trained.directory.newest_checkpoint()
    average = WeightAverage(0.1, ["w"], [keras.Variable(np.ones(3, np.float32))], single_worker())
    assert average.restore(last.groups["average"]) == "w"
    assert average.restore({"w": np.array([1, np.nan, 1], np.float32)}) == "w"
    assert average.restore({"w": np.array([1, 2, 3], np.float32)}) is None


def test_without_averaging_nothing_of_it_is_kept(start, tmp_path):
    trained = start(tmp_path / "run", training={"steps": 8})
    last, _ = trained.directory.newest_checkpoint()
    assert "average" not in last.groups
    assert {row["split"] for row in trained.directory.rows()} == {"train", "validation"}

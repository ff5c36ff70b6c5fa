"""Rows of training metrics, evaluations on the validation part, and the best of them."""

import math
import time

import numpy as np
import pytest

from ostinato.errors import TrainingError
from ostinato.training.events import Measured, StepDone

from .scripted import Script


@pytest.mark.parametrize("log_every", [1, 2, 3, 100])
def test_every_epoch_has_a_row_of_training_at_its_end(prepare, log_every):
    training = prepare(Script(), epochs=3, log_every=log_every)
    training.train()
    found = training.rows("train")
    assert {row["step"] for row in found} >= {5, 10, 15}
    assert [row["epoch"] for row in found if row["step"] % 5 == 0] == [1.0, 2.0, 3.0]
    # Each row is over the steps since the one before, and together they are over all.
    losses = [event.loss for event in training.events if isinstance(event, StepDone)]
    start = 0
    for row in found:
        assert row["loss"] == pytest.approx(np.mean(losses[start : row["step"]]))
        start = row["step"]


def test_evaluations_are_spread_evenly_and_the_last_is_at_the_end(prepare):
    training = prepare(Script([3.0] * 4), steps=13, evaluations=4)
    training.train()
    assert [row["step"] for row in training.rows("validation")] == [4, 7, 10, 13]


def test_evaluations_that_take_long_are_fewer_and_the_last_happens(prepare):
    class Slow(Script):
        def _validate(self, *read):
            until = time.perf_counter() + 0.2
            while time.perf_counter() < until:
                pass
            yield from super()._validate(*read)

    training, took = prepare(Slow([1.0] * 1000), minutes=0.05, evaluations=1000), []

    def note(event):
        if isinstance(event, Measured) and event.row["split"] == "validation":
            took.append(training.position.evaluation_seconds)

    training.listeners.append(note)
    ended = training.train()
    # All may take 0.3 s. Once one has taken 0.2 s, or more on a slow machine, only the last may follow it.
    assert len(training.rows("validation")) == len(took) in (1, 2)
    assert min(took) >= 0.2
    assert training.position.all_evaluations_seconds == pytest.approx(sum(took))
    assert training.rows("validation")[-1]["step"] == ended.step


@pytest.mark.parametrize(("better", "best"), [("lower", 2), ("higher", 4)])
def test_the_first_metric_and_its_better_way_choose_the_best_checkpoint(prepare, better, best):
    training = prepare(
        Script(
            [0.4, 0.1, 0.3, 0.9, 0.5],
        ),
        better,
        steps=5,
        evaluations=5,
    )
    ended = training.train()
    assert (ended.best_step, ended.best_loss) == (best, {2: pytest.approx(0.1), 4: pytest.approx(0.9)}[best])
    assert training.run.weights("best").step == best


def test_patience_stops_early_after_so_many_evaluations_without_a_better_one(prepare):
    losses = [5.0, 4.0, 4.5, 3.0, 3.0, 3.5, 2.0]
    training = prepare(Script(losses), steps=70, evaluations=7, patience=2)
    ended = training.train()
    assert (ended.reason, ended.step, ended.best_step) == ("stopped early", 60, 40)
    assert training.run.weights("last").position["ended"] == "stopped early"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_validation_loss_that_is_not_finite_stops_before_it_is_written_or_saved(prepare, bad):
    training = prepare(Script([3.0, bad, 1.0]), steps=6, evaluations=3)
    with pytest.raises(TrainingError, match="the validation loss is no longer finite at step 4 "):
        training.train()
    assert training.run.newest_checkpoint()[0].step == 2
    assert [row["step"] for row in training.rows("validation")] == [2]

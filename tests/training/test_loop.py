"""The loop, with a task of one weight whose validation losses are written in advance."""

import math
import signal

import numpy as np
import pytest

from ostinato.errors import ConfigError, TrainingError
from ostinato.runs import checkpoints
from ostinato.tasks.base import Metric
from ostinato.training.events import Ended, Measured, Saved, Started, StepDone

from .scripted import STEPS_PER_EPOCH, Script


def test_the_events_come_in_the_order_of_the_story(prepare):
    training = prepare(Script([2.0, 1.0]), steps=4, evaluations=2, log_every=2)
    ended = training.train(("a note",))
    told = [
        event.row["split"] if isinstance(event, Measured) else type(event).__name__
        for event in training.events
    ]
    half = ["StepDone", "StepDone", "train", "Evaluating", "validation", "Saved"]
    assert told == ["Started", "Saved", *half, *half, "Ended"]
    started, saved, step, *_ = training.events
    assert (started.step, started.budget, started.steps_per_epoch, started.parameters, started.notes) == (
        0,
        "4 steps",
        STEPS_PER_EPOCH,
        2,
        ("a note",),
    )
    assert saved == Saved(0, checkpoints.path_of(training.run.checkpoints, 0), best=False)
    assert (step.step, step.epoch, step.fraction, step.learning_rate) == (1, 0, 0.25, 0.1)
    assert (ended.step, ended.reason, ended.best_loss, ended.best_step) == (4, "finished", 1.0, 4)
    assert training.events[-1] is ended


@pytest.mark.parametrize(
    ("budget", "last"), [({"steps": 7}, 7), ({"epochs": 2}, 10), ({"steps": 1}, 1), ({"steps": 13}, 13)]
)
def test_epochs_follow_one_another_and_the_budget_ends_them(prepare, budget, last):
    training = prepare(Script(), **budget)
    assert training.train().step == last
    assert training.script.batches_taken == [divmod(n, STEPS_PER_EPOCH) for n in range(last)]
    assert training.steps[-1] == last


def test_the_state_is_carried_within_an_epoch_and_begins_anew_with_the_next(prepare):
    training = prepare(Script(), epochs=2, log_every=1)
    training.task.metrics = lambda sums: (Metric("counted", sums.sums["counted"]),)
    training.train()
    assert [row["counted"] for row in training.rows("train")] == [0, 1, 2, 3, 4] * 2


def test_checkpoints_are_saved_as_often_as_asked(prepare):
    training = prepare(Script(), steps=6, evaluations=1, checkpoint_minutes=0, keep=100)
    training.train()
    assert training.steps == [0, 1, 2, 3, 4, 5, 6]


def test_patience_without_a_validation_part_is_refused(prepare):
    with pytest.raises(ConfigError, match="patience needs a validation part"):
        prepare(Script(), steps=5, patience=2)


def test_a_signal_that_comes_before_the_first_step_waits_for_it(prepare):
    training = prepare(Script(), steps=7)

    def press(event):
        if isinstance(event, Started):
            signal.raise_signal(signal.SIGTERM)

    training.listeners.append(press)
    with pytest.raises(SystemExit):
        training.train()
    assert training.steps[-1] == training.events[-1].step == 1


def test_a_training_loss_that_is_not_finite_stops_with_step_and_rate(prepare):
    targets = (1.0, 2.0, math.inf, 4.0, 5.0)
    training = prepare(Script(targets=targets), steps=5, checkpoint_minutes=0, learning_rate=0.25)
    with pytest.raises(TrainingError) as caught:
        training.train()
    assert str(caught.value).startswith(
        "the loss is no longer finite at step 3 with learning rate 0.25; "
        "the last good checkpoint, of step 2, is kept"
    )
    last, problems = training.run.newest_checkpoint()
    assert (last.step, problems) == (2, [])
    assert np.isfinite(last.groups["weights"]["w"]).all()


def test_a_gradient_that_is_not_finite_stops_it_too(prepare):
    training = prepare(Script(targets=(1e19,) * 5), steps=5)  # the loss is 1e38, the squared norm is not
    with pytest.raises(TrainingError, match="no longer finite at step 1 "):
        training.train()


def test_a_trainer_restored_from_any_checkpoint_ends_where_the_first_did(prepare):
    settings = {"steps": 12, "optimizer": "adam", "evaluations": 3, "checkpoint_minutes": 0, "keep": 100}
    first = prepare(Script([3.0, 2.0, 1.0]), **settings)
    first.train()
    expected = checkpoints.load(first.run.checkpoints, 12)
    for step in (0, 1, 4, 5, 6, 11):
        again = prepare(Script([3.0, 2.0, 1.0][step // 4 :]), **settings)
        again.trainer.restore(checkpoints.load(first.run.checkpoints, step))
        again.train()
        found = checkpoints.load(again.run.checkpoints, 12)
        np.testing.assert_equal(found.groups, expected.groups)
        for name in ("step", "epoch", "batch", "best_loss", "best_step", "ended", "evaluations"):
            assert found.position[name] == expected.position[name]


def test_a_started_event_of_a_restored_trainer_says_where_it_goes_on(prepare):
    training = prepare(Script(), steps=3, checkpoint_minutes=0)
    training.train()
    again = prepare(Script(), steps=3)
    again.trainer.restore(checkpoints.load(training.run.checkpoints, 2))
    again.train()
    assert isinstance(again.events[0], Started)
    assert again.events[0].step == 2
    assert isinstance(again.events[-1], Ended)
    assert [event.step for event in again.events if isinstance(event, StepDone)] == [3]

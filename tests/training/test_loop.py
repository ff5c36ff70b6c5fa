"""The loop, with a task of one weight whose validation losses are written in advance."""

import json
import math
import signal
import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato.cells.base import StateSpec
from ostinato.errors import ConfigError, RunError, TrainingError
from ostinato.runs import checkpoints
from ostinato.runs.directory import RunDirectory
from ostinato.runs.weights import to_arrays
from ostinato.tasks.base import Loss, Metric
from ostinato.training.config import TrainingConfig
from ostinato.training.events import Ended, Measured, Saved, Started, StepDone
from ostinato.training.loop import Trainer

STEPS_PER_EPOCH = 5


class Line(keras.Model):
    def __init__(self):
        super().__init__(name="line")
        self.w = self.add_weight(shape=(2, 1), initializer="ones", name="w")


class Scripted:
    """Fits one weight to numbers; its n-th validation loss is the n-th of a list."""

    name, prefix, unit, carries_state = "scripted", "scripted", "tokens", True

    def __init__(self, validation_losses=None, targets=(1.0, 2.0, 3.0, 4.0, 5.0), better="lower"):
        self.better = better
        self.config = SimpleNamespace()
        self.validation_losses = validation_losses
        self.targets = targets
        self.batches_taken = []
        self._evaluated = 0

    def has(self, split):
        return split == "train" or self.validation_losses is not None

    def rows(self, split, *, evaluate=False):
        return 1

    def steps(self, split, *, evaluate=False):
        return STEPS_PER_EPOCH if split == "train" else 1

    def batches(self, split, *, epoch=None, start=0, shard=(0, 1)):
        if split == "validation":
            loss = self.validation_losses[self._evaluated]
            self._evaluated += 1
            yield {"given": np.float32(loss)}
            return
        for number in range(start, STEPS_PER_EPOCH):
            self.batches_taken.append((epoch, number))
            yield {"target": np.float32(self.targets[number])}

    def signature(self):
        return None

    def build(self):
        return Line()

    def states(self, model):
        return (StateSpec("count", (1,)),)

    def loss(self, model, batch, state, *, step=None):
        weight = tf.constant(1.0)
        if "given" in batch:
            return Loss(batch["given"], weight, state=state)
        loss = tf.reduce_sum((model.w - batch["target"]) ** 2)
        return Loss(loss, weight, {"counted": state[0][0, 0]}, (state[0] + 1.0,))

    def metrics(self, sums):
        return (Metric("loss", sums.total / sums.weight, better=self.better), Metric("other", 1.0))


@pytest.fixture
def prepare(tmp_path):
    """prepare(task, training settings) -> a Trainer on a new run; its events, run and task are attributes."""

    def prepare(task, **settings):
        config = TrainingConfig(**({"learning_rate": 0.1, "optimizer": "sgd", "clip": None} | settings))
        path = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        run = RunDirectory(path, task.name, {}, config.model_dump(mode="json"), {}, {})
        events = []
        trainer = Trainer(task, task.build(), config, run, events.append)
        run.create(trainer.checkpoint())
        return SimpleNamespace(train=trainer.train, trainer=trainer, events=events, run=run, task=task)

    return prepare


def test_a_signal_that_comes_before_the_first_step_waits_for_it(prepare):
    training = prepare(Scripted(), steps=7)
    tell = training.trainer._emit

    def press(event):
        tell(event)
        if isinstance(event, Started):
            signal.raise_signal(signal.SIGTERM)

    training.trainer._emit = press
    with pytest.raises(SystemExit):
        training.train()
    assert steps(training)[-1] == training.events[-1].step == 1


def steps(training) -> list[int]:
    return checkpoints.steps(training.run.checkpoints)


def rows(training, split: str) -> list[dict]:
    return [e.row for e in training.events if isinstance(e, Measured) and e.row["split"] == split]


def test_the_events_come_in_the_order_of_the_story(prepare):
    training = prepare(Scripted([2.0, 1.0]), steps=4, evaluations=2, log_every=2)
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


def test_evaluations_that_take_long_are_fewer_and_the_last_happens(prepare):
    class Slow(Scripted):
        def batches(self, split, **options):
            if split == "validation":
                until = time.perf_counter() + 0.2
                while time.perf_counter() < until:
                    pass
            yield from super().batches(split, **options)

    training = prepare(Slow([1.0] * 1000), minutes=0.05, evaluations=1000)
    tell, position, took = training.trainer._emit, training.trainer._position, []

    def note(event):
        tell(event)
        if isinstance(event, Measured) and event.row["split"] == "validation":
            took.append(position.evaluation_seconds)

    training.trainer._emit = note
    ended = training.train()
    # All may take 0.3 s. Once one has taken 0.2 s, or more on a slow machine, only the last may follow it.
    assert len(rows(training, "validation")) == len(took) in (1, 2)
    assert min(took) >= 0.2
    assert position.all_evaluations_seconds == pytest.approx(sum(took))
    assert rows(training, "validation")[-1]["step"] == ended.step


@pytest.mark.parametrize(
    ("budget", "last"), [({"steps": 7}, 7), ({"epochs": 2}, 10), ({"steps": 1}, 1), ({"steps": 13}, 13)]
)
def test_epochs_follow_one_another_and_the_budget_ends_them(prepare, budget, last):
    training = prepare(Scripted(), **budget)
    assert training.train().step == last
    assert training.task.batches_taken == [divmod(n, STEPS_PER_EPOCH) for n in range(last)]
    assert steps(training)[-1] == last


def test_the_state_is_carried_within_an_epoch_and_begins_anew_with_the_next(prepare):
    training = prepare(Scripted(), epochs=2, log_every=1)
    training.trainer._task.metrics = lambda sums: (Metric("counted", sums.sums["counted"]),)
    training.train()
    assert [row["counted"] for row in rows(training, "train")] == [0, 1, 2, 3, 4] * 2


@pytest.mark.parametrize("log_every", [1, 2, 3, 100])
def test_every_epoch_has_a_row_of_training_at_its_end(prepare, log_every):
    training = prepare(Scripted(), epochs=3, log_every=log_every)
    training.train()
    found = rows(training, "train")
    assert {row["step"] for row in found} >= {5, 10, 15}
    assert [row["epoch"] for row in found if row["step"] % 5 == 0] == [1.0, 2.0, 3.0]
    # Each row is over the steps since the one before, and together they are over all.
    losses = [event.loss for event in training.events if isinstance(event, StepDone)]
    start = 0
    for row in found:
        assert row["loss"] == pytest.approx(np.mean(losses[start : row["step"]]))
        start = row["step"]


def test_evaluations_are_spread_evenly_and_the_last_is_at_the_end(prepare):
    training = prepare(Scripted([3.0] * 4), steps=13, evaluations=4)
    training.train()
    assert [row["step"] for row in rows(training, "validation")] == [4, 7, 10, 13]


def test_the_best_and_the_newest_checkpoints_are_kept_and_others_removed(prepare):
    training = prepare(Scripted([4.0, 1.0, 3.0, 2.0, 5.0]), steps=10, evaluations=5, keep=2)
    training.train()
    assert steps(training) == [4, 8, 10]
    assert training.run.weights("best").step == 4
    assert training.run.weights("last").step == 10
    assert [event.step for event in training.events if isinstance(event, Saved) and event.best] == [2, 4]


@pytest.mark.parametrize(("better", "best"), [("lower", 2), ("higher", 4)])
def test_the_first_metric_and_its_better_way_choose_the_best_checkpoint(prepare, better, best):
    training = prepare(Scripted([0.4, 0.1, 0.3, 0.9, 0.5], better=better), steps=5, evaluations=5)
    ended = training.train()
    assert (ended.best_step, ended.best_loss) == (best, {2: pytest.approx(0.1), 4: pytest.approx(0.9)}[best])
    assert training.run.weights("best").step == best


def test_the_best_that_an_older_checkpoint_knows_is_kept_with_it(prepare):
    # Should the newest be damaged, the one before it still finds its best.
    training = prepare(Scripted([2.0, 3.0, 1.0]), steps=6, evaluations=3, keep=2)
    training.train()
    assert steps(training) == [2, 4, 6]
    (checkpoints.path_of(training.run.checkpoints, 6) / "manifest.json").unlink()
    assert training.run.weights("best").step == 2


def test_without_validation_the_newest_is_kept_and_used(prepare):
    training = prepare(Scripted(), steps=10, evaluations=5, keep=1)
    training.train()
    assert steps(training) == [10]
    assert training.run.weights("best").step == 10


def test_checkpoints_are_saved_as_often_as_asked(prepare):
    training = prepare(Scripted(), steps=6, evaluations=1, checkpoint_minutes=0, keep=100)
    training.train()
    assert steps(training) == [0, 1, 2, 3, 4, 5, 6]


def test_patience_stops_early_after_so_many_evaluations_without_a_better_one(prepare):
    losses = [5.0, 4.0, 4.5, 3.0, 3.0, 3.5, 2.0]
    training = prepare(Scripted(losses), steps=70, evaluations=7, patience=2)
    ended = training.train()
    assert (ended.reason, ended.step, ended.best_step) == ("stopped early", 60, 40)
    assert training.run.weights("last").position["ended"] == "stopped early"


def test_patience_without_a_validation_part_is_refused(prepare):
    with pytest.raises(ConfigError, match="patience needs a validation part"):
        prepare(Scripted(), steps=5, patience=2)


# Losses that are no longer finite.


def test_a_training_loss_that_is_not_finite_stops_with_step_and_rate(prepare):
    targets = (1.0, 2.0, math.inf, 4.0, 5.0)
    training = prepare(Scripted(targets=targets), steps=5, checkpoint_minutes=0, learning_rate=0.25)
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
    training = prepare(Scripted(targets=(1e19,) * 5), steps=5)  # the loss is 1e38, the squared norm is not
    with pytest.raises(TrainingError, match="no longer finite at step 1 "):
        training.train()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_validation_loss_that_is_not_finite_stops_before_it_is_written_or_saved(prepare, bad):
    training = prepare(Scripted([3.0, bad, 1.0]), steps=6, evaluations=3)
    with pytest.raises(TrainingError, match="the validation loss is no longer finite at step 4 "):
        training.train()
    assert training.run.newest_checkpoint()[0].step == 2
    assert [row["step"] for row in rows(training, "validation")] == [2]


def test_weights_that_are_not_finite_are_not_saved(prepare):
    # Each step multiplies the weights by about −10⁵; that overflows before the loss of the next batch does.
    training = prepare(
        Scripted(targets=(0.0,) * 5),
        steps=100,
        optimizer="adamw",
        learning_rate=1000.0,
        weight_decay=100.0,
        checkpoint_minutes=0,
    )
    with pytest.raises(TrainingError, match="no longer finite"):
        training.train()
    last, _ = training.run.newest_checkpoint()
    assert last.step > 0
    assert np.isfinite(last.groups["weights"]["w"]).all()


# Going on.


def test_a_trainer_restored_from_any_checkpoint_ends_where_the_first_did(prepare):
    settings = {"steps": 12, "optimizer": "adam", "evaluations": 3, "checkpoint_minutes": 0, "keep": 100}
    first = prepare(Scripted([3.0, 2.0, 1.0]), **settings)
    first.train()
    expected = checkpoints.load(first.run.checkpoints, 12)
    for step in (0, 1, 4, 5, 6, 11):
        again = prepare(Scripted([3.0, 2.0, 1.0][step // 4 :]), **settings)
        again.trainer.restore(checkpoints.load(first.run.checkpoints, step))
        again.train()
        found = checkpoints.load(again.run.checkpoints, 12)
        np.testing.assert_equal(found.groups, expected.groups)
        for name in ("step", "epoch", "batch", "best_loss", "best_step", "ended", "evaluations"):
            assert found.position[name] == expected.position[name]


@pytest.mark.parametrize(
    ("group", "arrays", "message"),
    [
        ("weights", {"v": np.ones((2, 1), "f4")}, "another network's"),
        ("optimizer", {}, "the optimizer's w/momentum does not fit"),
        ("optimizer", {"w/momentum": np.ones(5, "f4")}, "the optimizer's w/momentum does not fit"),
        ("state", {}, "its recurrent state does not fit"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(prepare, group, arrays, message):
    training = prepare(Scripted(), steps=3, optimizer="adam")
    checkpoint = training.trainer.checkpoint()
    checkpoint.groups[group] = arrays
    with pytest.raises(RunError, match=message):
        training.trainer.restore(checkpoint)


def test_a_checkpoint_holds_everything(prepare):
    training = prepare(Scripted([1.0]), steps=3, optimizer="adam", evaluations=1)
    training.train()
    saved = checkpoints.load(training.run.checkpoints, 3)
    np.testing.assert_equal(saved.groups["weights"], to_arrays(training.trainer._model))
    assert saved.groups["optimizer"].keys() == {"w/momentum", "w/velocity"}
    np.testing.assert_array_equal(saved.groups["state"]["count"], [[3.0]])
    json.dumps(saved.position, allow_nan=False)


def test_a_started_event_of_a_restored_trainer_says_where_it_goes_on(prepare):
    training = prepare(Scripted(), steps=3, checkpoint_minutes=0)
    training.train()
    again = prepare(Scripted(), steps=3)
    again.trainer.restore(checkpoints.load(training.run.checkpoints, 2))
    again.train()
    assert isinstance(again.events[0], Started)
    assert again.events[0].step == 2
    assert isinstance(again.events[-1], Ended)
    assert [event.step for event in again.events if isinstance(event, StepDone)] == [3]

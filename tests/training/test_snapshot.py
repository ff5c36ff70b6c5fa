"""What a training remembers between two steps: whole in every checkpoint, and read back or refused."""

import json

import numpy as np
import pytest

from ostinato.errors import RunError, TrainingError
from ostinato.runs import checkpoints
from ostinato.runs.weights import to_arrays
from ostinato.training.events import Saved

from .scripted import Script


def test_the_best_and_the_newest_checkpoints_are_kept_and_others_removed(prepare):
    training = prepare(Script([4.0, 1.0, 3.0, 2.0, 5.0]), steps=10, evaluations=5, keep=2)
    training.train()
    assert training.steps == [4, 8, 10]
    assert training.run.weights("best").step == 4
    assert training.run.weights("last").step == 10
    assert [event.step for event in training.events if isinstance(event, Saved) and event.best] == [2, 4]


def test_the_best_that_an_older_checkpoint_knows_is_kept_with_it(prepare):
    # Should the newest be damaged, the one before it still finds its best.
    training = prepare(Script([2.0, 3.0, 1.0]), steps=6, evaluations=3, keep=2)
    training.train()
    assert training.steps == [2, 4, 6]
    (checkpoints.path_of(training.run.checkpoints, 6) / "manifest.json").unlink()
    assert training.run.weights("best").step == 2


def test_without_validation_the_newest_is_kept_and_used(prepare):
    training = prepare(Script(), steps=10, evaluations=5, keep=1)
    training.train()
    assert training.steps == [10]
    assert training.run.weights("best").step == 10


def test_weights_that_are_not_finite_are_not_saved(prepare):
    # Each step multiplies the weights by about −10⁵; that overflows before the loss of the next batch does.
    training = prepare(
        Script(targets=(0.0,) * 5),
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
    training = prepare(Script(), steps=3, optimizer="adam")
    checkpoint = training.trainer.checkpoint()
    checkpoint.groups[group] = arrays
    with pytest.raises(RunError, match=message):
        training.trainer.restore(checkpoint)


def test_a_checkpoint_holds_everything(prepare):
    training = prepare(Script([1.0]), steps=3, optimizer="adam", evaluations=1)
    training.train()
    saved = checkpoints.load(training.run.checkpoints, 3)
    np.testing.assert_equal(saved.groups["weights"], to_arrays(training.model))
    assert saved.groups["optimizer"].keys() == {"w/momentum", "w/velocity"}
    np.testing.assert_array_equal(saved.groups["state"]["count"], [[3.0]])
    json.dumps(saved.position, allow_nan=False)

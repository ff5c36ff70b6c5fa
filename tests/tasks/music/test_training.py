"""Training a music model: resumed or shared, it ends as one that went through alone."""

import numpy as np
import pytest

import ostinato
from ostinato.errors import RunError
from ostinato.runs.directory import open_run
from ostinato.tasks.music import MusicConfig
from ostinato.training.events import StepDone

from ...tiny import copy_at
from .test_data import rolls

SETTINGS = {"units": (6, 5), "hidden": 8, "batch": 3, "seq_len": 10, "dropout": 0.2, "recurrent_dropout": 0.2}


def train(place, out, on_event=None, **changes):
    training = ostinato.TrainingConfig(epochs=3, learning_rate=0.02, evaluations=3, log_every=2)
    config = MusicConfig(**(SETTINGS | changes))
    return ostinato.train(
        config, rolls(place / "set.npz"), training=training, out=place / out, on_event=on_event
    )


@pytest.mark.parametrize("step", [1, 8])
def test_a_training_resumed_ends_with_the_weights_of_one_that_went_through(tmp_path, step):
    killed = copy_at(step, tmp_path / "whole", tmp_path / "run", StepDone)
    train(tmp_path, "whole", on_event=killed)
    ostinato.resume(tmp_path / "run")
    run, whole = (open_run(tmp_path / path).weights("last") for path in ("run", "whole"))
    assert run.step == whole.step > step
    np.testing.assert_equal(run.groups, whole.groups)
    rows = open_run(tmp_path / "whole").rows()
    losses = [row["loss"] for row in rows if row["split"] == "train"]
    assert losses[-1] < losses[0]


def test_the_copied_run_needs_what_it_was_trained_on(tmp_path):
    run = train(tmp_path, "run")
    use = ostinato.load(tmp_path / "run").use
    piece = use.generate(steps=5, seed=1)
    assert 0 <= use.copied(piece).steps <= 5
    rolls(tmp_path / "set.npz", lengths=(4, 5, 6))
    with pytest.raises(RunError, match="what it was trained on has changed since"):
        use.copied(piece)
    (tmp_path / "set.npz").unlink()
    with pytest.raises(RunError, match="what it was trained on cannot be read"):
        use.copied(piece)
    assert run.directory.path == tmp_path / "run"

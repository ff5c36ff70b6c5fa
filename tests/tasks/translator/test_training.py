"""Trainings of a translator, from beginning to end."""

import numpy as np
import pytest

import ostinato
from ostinato.runs.directory import open_run
from ostinato.tasks.translator import TranslatorConfig
from ostinato.training.events import StepDone

from ...eagerly import run_eagerly
from ...tiny import copy_at
from ...variants import thorough
from .numbers import PAIRS, RATES


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "cubes.tsv"
    path.write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS))
    return path


def start(out, source, on_event=None, init_from=None, epochs=1, **changes):
    settings = {"units": 5, "embedding": 6, "batch": 16, "target_encoder": "word", "source_encoder": "word"}
    config = TranslatorConfig(**(settings | changes))
    training = ostinato.TrainingConfig(epochs=epochs, learning_rate=0.02, evaluations=2, log_every=2)
    return ostinato.train(config, source, training=training, out=out, on_event=on_event, init_from=init_from)


def timeless(rows):
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "tokens_per_second")}
        for row in rows
    ]


@pytest.mark.parametrize(
    "network",
    [
        thorough({"attention": "additive", "units": (5, 4), "decoder_units": 5}),
        {"attention": "multiplicative", "units": (5, 4), "decoder_units": 6, "bidirectional": True},
    ],
    ids=["additive", "multiplicative"],
)
def test_a_run_that_was_interrupted_and_resumed_equals_one_that_was_not(pairs_file, tmp_path, network):
    settings = network | dict.fromkeys(RATES, 0.2) | {"label_smoothing": 0.1, "validation_fraction": 0.2}
    settings |= {"scheduled_sampling": 0.5, "scheduled_sampling_steps": 4, "epochs": 3}
    events, killed = [], copy_at(7, tmp_path / "whole", tmp_path / "run", StepDone)
    start(tmp_path / "whole", pairs_file, on_event=killed, **settings)
    ostinato.resume(tmp_path / "run", on_event=events.append)
    assert (events[0].step, events[0].steps_per_epoch) == (5, 3)  # in the midst of an epoch
    run, whole = open_run(tmp_path / "run"), open_run(tmp_path / "whole")
    assert timeless(run.rows()) == timeless(whole.rows())
    assert {row["split"] for row in run.rows()} == {"train", "validation"}
    np.testing.assert_equal(run.weights("last").groups, whole.weights("last").groups)


def test_one_file_two_files_and_pairs_in_python_train_the_same_network(pairs_file, tmp_path):
    for side, name in enumerate(("cubes.en", "cubes.fr")):
        (tmp_path / name).write_text("".join(f"{pair[side]}\n" for pair in PAIRS))
    sources = [pairs_file, (tmp_path / "cubes.en", tmp_path / "cubes.fr"), iter(PAIRS)]
    options = {"attention": "none", "validation_fraction": 0.0}
    with run_eagerly():
        runs = [start(tmp_path / str(n), source, **options) for n, source in enumerate(sources)]
    expected = runs[0].directory.weights("last").groups["weights"]
    for run in runs[1:]:
        np.testing.assert_equal(run.directory.weights("last").groups["weights"], expected)
        assert run.directory.source["sha256"] == runs[0].directory.source["sha256"]

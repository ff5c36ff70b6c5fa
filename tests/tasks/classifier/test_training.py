"""Trainings of a classifier, from beginning to end."""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import ostinato
from ostinato.data.sources.tables import open_table
from ostinato.errors import RunError, SourceError
from ostinato.runs.directory import open_run
from ostinato.runs.trained import TrainedRun
from ostinato.tasks.classifier import ClassifierConfig
from ostinato.tasks.classifier.data import Tables
from ostinato.training.evaluation import evaluate_in_detail
from ostinato.training.events import StepDone

from ...eagerly import run_eagerly
from ...tiny import copy_at
from ...variants import thorough
from .reviews import PAIRS


@pytest.fixture(scope="module")
def table_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "reviews.csv"
    path.write_text("review,sentiment\n" + "".join(f"{text},{label}\n" for text, label in PAIRS))
    return path


def start(out, source, on_event=None, init_from=None, epochs=6, **changes):
    settings = {"units": (6, 4), "embedding": 4, "batch": 8, "dropout": 0.2, "word_dropout": 0.1}
    settings |= {"bidirectional": True, "pooling": "max", "recurrent_dropout": 0.2}
    config = ClassifierConfig(**(settings | {"validation_fraction": 0.2, "test_fraction": 0.2} | changes))
    training = ostinato.TrainingConfig(epochs=epochs, learning_rate=0.02, evaluations=3, log_every=2)
    return ostinato.train(config, source, training=training, out=out, on_event=on_event, init_from=init_from)


class Begun(NamedTuple):
    """A run, and copies of it as it was at some steps."""

    run: TrainedRun
    killed: dict[int, Path]


@pytest.fixture(scope="module")
def begun(table_file, tmp_path_factory):
    place = tmp_path_factory.mktemp("begun")
    killed = {step: place / f"killed at {step}" for step in (1, 6, 17)}
    copies = [copy_at(step, place / "run", copy, StepDone) for step, copy in killed.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTINATO_CACHE", str(place / "cache"))
        run = start(place / "run", table_file, on_event=lambda event: [copy(event) for copy in copies])
    return Begun(run, killed)


def pictures_in(run, pattern="*"):
    found = {path.stem: path.read_bytes() for path in sorted((run / "report").glob(f"{pattern}.png"))}
    assert all(picture.startswith(b"\x89PNG") for picture in found.values())
    return found


def timeless(rows):
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "texts_per_second")}
        for row in rows
    ]


def test_a_training_learns_and_its_evaluations_are_complete(begun, table_file):
    run, path = begun.run, begun.run.directory.path
    rows = run.directory.rows()
    train = [row["loss"] for row in rows if row["split"] == "train"]
    assert train[-1] < train[0]
    assert {"loss", "accuracy", "texts_per_second"} <= rows[-1].keys()
    assert ostinato.evaluate(path) == ostinato.evaluate(run, split="test")
    figures = ostinato.evaluate(run, table_file)
    assert figures["examples"] == len(PAIRS)
    parts = [ostinato.evaluate(run, split=part) for part in ("train", "validation", "test")]
    total = sum(part["loss"] * part["examples"] for part in parts)
    assert total == pytest.approx(figures["loss"] * len(PAIRS), rel=1e-5)
    assert [prediction.label for prediction in run.predict(["great", "dull"])] == ["+", "-"]


@pytest.mark.parametrize("step", [thorough(1), 6, thorough(17)])
def test_a_run_that_was_interrupted_and_resumed_equals_one_that_was_not(begun, tmp_path, step):
    shutil.copytree(begun.killed[step], tmp_path / "run")
    ostinato.resume(tmp_path / "run")
    run, whole = open_run(tmp_path / "run"), begun.run.directory
    assert timeless(run.rows()) == timeless(whole.rows())
    np.testing.assert_equal(run.weights("last").groups, whole.weights("last").groups)
    drawn = pictures_in(tmp_path / "run", "*-validation")
    assert len(drawn) == 3
    assert drawn == pictures_in(whole.path, "*-validation")


def test_a_training_that_ends_has_drawn_the_validation_part_with_the_best_weights_and_no_test_part(tmp_path):
    # Where validation says the opposite of what is learned, the last weights are not the best.
    opposite = [(text, "-" if label == "+" else "+") for text, label in PAIRS]
    with run_eagerly():
        run = start(tmp_path / "run", Tables(open_table(PAIRS), open_table(opposite)), epochs=2)
    last, _ = run.directory.newest_checkpoint()
    assert run.step < last.step
    drawn = pictures_in(tmp_path / "run")
    of_validation = ["confusion-validation", "reliability-validation", "roc-validation"]
    assert list(drawn) == sorted(["accuracy", "loss", *of_validation])
    for checkpoint, same in (("last", False), ("best", True)):
        with run_eagerly():
            evaluate_in_detail(tmp_path / "run", split="validation", checkpoint=checkpoint)
        again = pictures_in(tmp_path / "run")
        assert (drawn["reliability-validation"] == again["reliability-validation"]) is same
    assert again == drawn
    assert ostinato.evaluate(tmp_path / "run", split="test")["examples"] > 0  # there is one to be left alone


def test_without_a_validation_part_a_training_draws_its_curves_only(table_file, tmp_path):
    with run_eagerly():
        start(tmp_path / "run", table_file, epochs=1, validation_fraction=0.0)
    assert list(pictures_in(tmp_path / "run")) == ["accuracy", "loss"]


def test_a_picture_that_cannot_be_written_is_told_and_loses_nothing(table_file, tmp_path):
    run = tmp_path / "run"

    def stand_in_the_way(event):
        (run / "report" / "confusion-validation.png").mkdir(parents=True, exist_ok=True)

    says = r"could not write .*report: .*; what was saved before is intact"
    with run_eagerly(), pytest.raises(RunError, match=says):
        start(run, table_file, on_event=stand_in_the_way, epochs=1)
    assert ostinato.resume(run).step == ostinato.load(run).step > 0


def test_fine_tuning_starts_from_the_other_runs_weights_vocabulary_and_labels(begun, tmp_path):
    base, path, events = begun.run, begun.run.directory.path, []
    more = [("a joy and great fun", "+"), ("dull and awful", "-")] * 10
    with run_eagerly():
        options = {"init_from": path, "max_tokens": 3, "epochs": 1}
        tuned = start(tmp_path / "tuned", more, on_event=events.append, **options)
    assert events[0].notes[-1] == f"starting from the weights of {path}, step {base.step}"
    known, before = tuned.directory.vocabulary, base.directory.vocabulary
    assert (known["encoder"], known["labels"]) == (before["encoder"], before["labels"])
    assert (known["max_tokens"], before["max_tokens"] > 3) == (3, True)
    with pytest.raises(SourceError, match="which is not in training"):
        start(tmp_path / "odd", [("a joy", "+"), ("dull", "?")] * 5, init_from=path)
    assert not (tmp_path / "odd").exists()


def test_a_changed_table_is_refused(table_file, tmp_path):
    copy = tmp_path / "reviews.csv"
    copy.write_bytes(table_file.read_bytes())
    with run_eagerly():
        start(tmp_path / "run", copy, epochs=1)
    copy.write_text(copy.read_text() + "more,+\n")
    with pytest.raises(RunError, match="has changed since training began"):
        ostinato.evaluate(tmp_path / "run")

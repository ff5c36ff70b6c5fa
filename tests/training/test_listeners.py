"""Everything that is measured is found again: in metrics.jsonl, in TensorBoard, in a picture."""

import json

import pytest
import tensorflow as tf
from tensorboard.compat.proto.event_pb2 import Event

from ostinato.errors import RunError
from ostinato.runs.directory import RunDirectory
from ostinato.training.events import Ended, Measured, StepDone
from ostinato.training.listeners import MetricsFile, Report, TensorBoard
from ostinato.training.report import draw_losses


def row(step: int, split: str, loss: float) -> dict:
    return {"step": step, "epoch": step / 10, "split": split, "loss": loss, "seconds": 2.0 * step}


ROWS = [row(5, "train", 3.0), row(10, "train", 2.0), row(10, "validation", 2.5)]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    (tmp_path / "run").mkdir()
    return RunDirectory(tmp_path / "run", "painter", {}, {}, {}, {})


def tell(run: RunDirectory, *listeners) -> None:
    for listener in listeners:
        for measured in ROWS:
            listener(StepDone(1, 0, 0.1, 3.0, 32.0, 0.1, 0.1, None))
            listener(Measured(measured))
        listener(Ended(run.path, 10, "finished", 20.0, 2.5, 10))


def test_metrics_are_one_json_object_a_line(run):
    tell(run, MetricsFile(run))
    assert [json.loads(line) for line in run.metrics.read_text().splitlines()] == ROWS
    assert run.rows() == ROWS


def test_tensorboard_has_every_figure_at_its_step_one_folder_a_split(run):
    tell(run, TensorBoard(run))
    for split in ("train", "validation"):
        (file,) = (run.tensorboard / split).glob("events.out.tfevents.*")
        found = {}
        for record in tf.data.TFRecordDataset(str(file)):
            event = Event.FromString(record.numpy())
            for value in event.summary.value:
                found[event.step, value.tag] = tf.make_ndarray(value.tensor).item()
        assert found == {
            (measured["step"], name): pytest.approx(value)
            for measured in ROWS
            if measured["split"] == split
            for name, value in measured.items()
            if name not in ("step", "split")
        }


def test_tensorboard_takes_a_perplexity_beyond_float32(run):
    TensorBoard(run)(Measured(row(5, "train", 100.0) | {"perplexity": 1e300}))


def test_tensorboard_that_cannot_be_written_is_said_in_one_sentence(run):
    run.tensorboard.write_text("in the way")
    with pytest.raises(RunError, match=r"could not write .*tensorboard"):
        tell(run, TensorBoard(run))


@pytest.mark.parametrize("reason", ["finished", "interrupted"])
def test_a_picture_of_the_losses_is_drawn_at_the_end(run, reason):
    report = Report(run)
    report(Ended(run.path, 0, reason, 20.0, None, None))
    assert not run.report.exists()  # nothing was measured: there is nothing to draw
    tell(run, MetricsFile(run))
    report(Ended(run.path, 10, reason, 20.0, 2.5, 10))
    assert (run.report / "loss.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], ROWS[2:]], ids=["both", "train only", "validation only"])
def test_a_picture_is_drawn_of_whatever_there_is(rows, tmp_path):
    draw_losses(rows, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(PNG)

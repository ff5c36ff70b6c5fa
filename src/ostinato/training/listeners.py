"""Listeners of a training: metrics.jsonl, TensorBoard, and a picture of the losses at the end."""

from __future__ import annotations

import tensorflow as tf

from ostinato.errors import RunError
from ostinato.files import atomic
from ostinato.runs.directory import RunDirectory
from ostinato.training.events import Ended, Event, Measured, Row
from ostinato.training.report import draw_accuracies, draw_losses


class MetricsFile:
    """Appends every row to the run's metrics.jsonl."""

    def __init__(self, run: RunDirectory):
        self._run = run

    def __call__(self, event: Event) -> None:
        if isinstance(event, Measured):
            self._run.append_metrics(event.row)


class TensorBoard:
    """Writes every row as TensorBoard scalars, with one folder for each split."""

    def __init__(self, run: RunDirectory):
        self._run = run
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, Measured):
            try:
                self._write(event.row)
            except tf.errors.OpError as error:
                raise RunError(f"could not write {self._run.tensorboard}: {error.message}") from error
        elif isinstance(event, Ended):
            for writer in self._writers.values():
                writer.close()

    def _write(self, row: Row) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.scalar.summary import scalar_pb

        if row["split"] not in self._writers:
            folder = self._run.tensorboard / row["split"]
            self._writers[row["split"]] = tf.summary.create_file_writer(str(folder))
        scalars = Summary()
        for name, value in row.items():
            if name not in ("step", "split"):
                # TensorBoard stores float32; the perplexity of a diverging training may be larger.
                scalars.MergeFrom(scalar_pb(name, min(value, float(tf.float32.max))))
        # One call for all: epochs may be as short as a few steps.
        with self._writers[row["split"]].as_default():
            tf.summary.experimental.write_raw_pb(scalars.SerializeToString(), step=row["step"])


class Report:
    """Draws report/loss.png, and accuracy.png if there is an accuracy, when a training ends."""

    def __init__(self, run: RunDirectory, unit: str = "tokens"):
        self._run, self._unit = run, unit

    def __call__(self, event: Event) -> None:
        if isinstance(event, Ended):
            self.draw()

    def draw(self) -> None:
        """Draws the rows of metrics.jsonl."""
        rows = self._run.rows()
        if rows:
            with atomic.writing(self._run.report), atomic.placed_in(self._run.report) as report:
                draw_losses(rows, report / "loss.png", self._unit)
                if "accuracy" in rows[-1]:
                    draw_accuracies(rows, report / "accuracy.png")

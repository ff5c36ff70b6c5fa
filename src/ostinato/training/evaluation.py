"""Evaluating a trained network: figures, and pictures in the run's report folder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ostinato.cells.base import initial_state
from ostinato.data.batches.shards import rows_of
from ostinato.errors import RunError, SourceError
from ostinato.files import atomic
from ostinato.layers.tracing import traced
from ostinato.runs.directory import RunDirectory
from ostinato.runs.trained import TrainedRun, from_checkpoint, load
from ostinato.tasks import registry
from ostinato.tasks.abilities import AdaptsWhileReading, Chooses, MeasuresLines, RanksCheckpoints
from ostinato.tasks.base import (
    Answer,
    Data,
    Evaluates,
    Evaluation,
    Loss,
    Metrics,
    OnBatch,
    Part,
    ReadsInOrder,
    Task,
    as_figures,
)
from ostinato.training.source import read_again
from ostinato.training.step import as_tensors, signature_of
from ostinato.training.workers import Workers, single_worker
from ostinato.wording import option

if TYPE_CHECKING:
    import keras


def _adaptation(
    *, dynamic: bool = False, dynamic_rate: float | None = None, dynamic_decay: float | None = None
) -> dict[str, float | None] | None:
    """The options of a dynamic evaluation from those of an evaluation; None if none is asked for."""
    return {"rate": dynamic_rate, "decay": dynamic_decay} if dynamic else None


class Evaluator:
    """Evaluates whole parts, with the state carried from batch to batch.

    Args:
        task, model: what is evaluated.
        workers: the workers, each of which reads its rows of every batch; None is this process alone.
    """

    def __init__(self, task: Task, model: keras.Model, workers: Workers | None = None):
        self._task, self._model, self._workers = task, model, workers or single_worker()
        self.seconds = 0.0  # the time of the last evaluation, for budgets that must include the next
        self._losses: dict[bool, Callable[..., Loss]] = {}

    def _loss(self, part: Part) -> Callable[..., Loss]:
        """The loss of a batch as a function, traced once for parts of fixed sizes and once for all others."""
        task, model = self._task, self._model
        fixed = part.signature is None
        if fixed not in self._losses:
            self._losses[fixed] = traced(
                lambda batch, state: task.loss(model, batch, state),
                input_signature=signature_of(task, model, part.signature),
                reduce_retracing=fixed,
            )
        return self._losses[fixed]

    def __call__(self, part: Part, on_batch: OnBatch | None = None) -> tuple[Metrics, float]:
        """The task's metrics over a part, and their weight (such as the number of tokens).

        Args:
            part: a part of the data.
            on_batch: called with (batches done, total batches).
        """
        found = self.unless_stopped(part, lambda: False, on_batch)
        if found is None:
            raise AssertionError("another worker has stopped, which only a training does")
        return found

    def unless_stopped(
        self, part: Part, stop: Callable[[], bool], on_batch: OnBatch | None = None
    ) -> tuple[Metrics, float] | None:
        """The same, or None as soon as `stop` returns True on any worker."""
        began, task, stopped, loss_of = time.perf_counter(), self._task, False, self._loss(part)
        shard = self._workers.shard
        state = initial_state(task.states(self._model), len(rows_of(shard, part.rows)))
        sums: dict[str, float] = {}
        for number, batch in enumerate(part.batches(shard=shard)):
            if stopped := stop():
                break
            if any(np.ndim(value) and len(value) == 0 for value in batch.values()):
                continue  # fewer rows than workers, and no row for this one
            loss, weight, further, state, _ = loss_of(as_tensors(batch), state)
            for name, value in {"loss": loss, "weight": weight, **further}.items():
                sums[name] = sums.get(name, 0.0) + float(value)
            if on_batch is not None:
                on_batch(number + 1, part.steps)
        sums, stopped = self._of_all_workers(sums, stopped)
        self.seconds = float(self._workers.broadcast(0, [time.perf_counter() - began])[0])
        if stopped:
            return None
        loss, weight = sums.pop("loss"), sums.pop("weight")
        return task.metrics(Loss(loss, weight, sums)), weight

    def _of_all_workers(self, sums: dict[str, float], stopped: bool) -> tuple[dict[str, float], bool]:
        workers = self._workers
        if workers.count == 1:
            return sums, stopped
        # If a batch has too few rows for all workers, the last one still has a row.
        names = json.loads(workers.broadcast_bytes(workers.count - 1, json.dumps(list(sums)).encode()))
        *totals, stops = workers.sum([*(sums.get(name, 0.0) for name in names), float(stopped)])
        return dict(zip(names, map(float, totals), strict=True)), stops > 0


def evaluate(
    path: str | os.PathLike[str] | TrainedRun,
    source: object = None,
    *,
    split: str | None = None,
    checkpoint: str = "best",
    on_batch: OnBatch | None = None,
    **options: object,
) -> dict[str, float]:
    """The figures over a whole part of the run's source, or over the whole of another source.

    A language model reads from beginning to end with its state carried.

    Args:
        path: the run directory, or a loaded run.
        source: another source, read as a whole; None is the run's own source.
        split: `train`, `validation` or `test`, for the run's own source. None is the test part of a
            classifier or translator that kept one, otherwise the validation part.
        checkpoint: `best` or `last`; ignored for a loaded run.
        on_batch: called with (batches done, total batches).
        **options: for a translator `beam`, an `ostinato.decoding.beam.Beam`; for a language model `dynamic`,
            true to evaluate it with weights that adapt to the text, too, with `dynamic_rate` and
            `dynamic_decay`.

    Returns:
        The task's metrics, and the number of tokens, texts or sentences.

    Raises:
        RunError: when the source has changed since training, or the run kept no such part.
        ConfigError: when the task does not take an option.
    """
    run, data, name, part = _run_and_data(path, source, split, checkpoint, options)
    return _evaluation(run, data, name, part, on_batch, options).figures


def evaluate_in_detail(
    path: str | os.PathLike[str] | TrainedRun,
    source: object = None,
    *,
    split: str | None = None,
    checkpoint: str = "best",
    on_batch: OnBatch | None = None,
    **options: object,
) -> Evaluation:
    """All that an evaluation finds, of which `evaluate` returns the figures.

    The arguments and errors are those of `evaluate`.

    Returns:
        An `Evaluation`: the part, figures and notes. A classifier adds the confusion matrix, the most
        confident mistakes and every decision; a translator adds signatures, BLEU by length and samples. What
        they find in a part of the run's own source is also drawn, into the run's report folder.
    """
    run, data, name, part = _run_and_data(path, source, split, checkpoint, options)
    evaluation = _evaluation(run, data, name, part, on_batch, options)
    if source is None and isinstance(run.use, Evaluates):
        _draw(run.directory, run.use, evaluation)
    return evaluation


def line_losses(
    path: str | os.PathLike[str] | TrainedRun,
    source: object = None,
    *,
    split: str | None = None,
    checkpoint: str = "best",
    on_batch: OnBatch | None = None,
) -> Iterator[Answer]:
    """The loss of every line of a part, or of another source, by a language model of lines.

    The arguments and errors are those of `evaluate`.

    Returns:
        A `LineLoss` for every line, in the order of the list: the line, its loss in nats and its number of
        tokens, both with its end.

    Raises:
        ConfigError: when the run's task does not measure lines.
    """
    run, data, name, _ = _run_and_data(path, source, split, checkpoint, ())
    return run.use_that(MeasuresLines, "measure every line").line_losses(data, name, on_batch)


class Figures(NamedTuple):
    """The evaluation of a task that finds nothing but figures.

    Attributes:
        part: what was evaluated.
        figures: the task's metrics, and how much they are over.
        notes: none.
    """

    part: str
    figures: dict[str, float]
    notes: tuple[str, ...] = ()


def _evaluation(
    run: TrainedRun,
    data: Data,
    name: str,
    part: Part,
    on_batch: OnBatch | None,
    options: Mapping[str, object],
) -> Evaluation:
    """The evaluation of a part."""
    if isinstance(run.use, Evaluates):
        return run.use.evaluate(data, name, on_batch, **options)
    metrics, weight = Evaluator(run.task, run.model)(part, on_batch)
    figures = {**as_figures(metrics), run.task.unit: int(weight)}
    if (how := _adaptation(**options)) is not None:  # pyright: ignore[reportArgumentType]
        adapts = run.use_that(AdaptsWhileReading, "adapt while it reads")
        figures |= adapts.dynamic(data, name, on_batch, **how)
    return Figures(name, figures)


def evaluate_at_end(run: TrainedRun, data: Data, on_batch: OnBatch | None = None) -> None:
    """Evaluates on the validation part at the end of a training and draws the result, if the task can.

    The test part stays unseen, for those who choose settings by these pictures.
    """
    if isinstance(run.use, Evaluates) and data.part("validation") is not None:
        _draw(run.directory, run.use, run.use.evaluate_quickly(data, "validation", on_batch))


def prefer_at_end(run: TrainedRun, data: Data) -> tuple[TrainedRun, str | None]:
    """The run with the weights of its best or its last checkpoint, whichever answers better.

    Args:
        run: the run, with the weights of the lowest validation loss.
        data: its data.

    Returns:
        The run, and a sentence if the last checkpoint is the better one; it is then kept as the best.
    """
    if not isinstance(run.use, RanksCheckpoints) or data.part("validation") is None:
        return run, None
    last = run.directory.weights("last")
    if last.step == run.step:
        return run, None
    measure, lowest = run.use.quality(data, "validation")
    other = from_checkpoint(run.directory, last, run.model)
    _, value = run.use.quality(data, "validation")  # the same network, now with the last weights
    if value <= lowest:
        return from_checkpoint(run.directory, run.directory.weights("best"), run.model), None
    run.directory.prefer(last.step)
    said = f"step {last.step:,} has a {measure} of {value:.4g}, step {run.step:,} one of {lowest:.4g}"
    return other, f"the last checkpoint is kept as the best: on the validation part {said}"


def choose_at_end(run: TrainedRun, data: Data) -> TrainedRun:
    """The run with what its task chooses on the validation part, such as thresholds, kept in the run."""
    if not isinstance(run.use, Chooses) or data.part("validation") is None:
        return run
    vocabulary = run.use.with_choices(data, "validation")
    if vocabulary is None:
        return run
    return TrainedRun(run.directory.with_vocabulary(vocabulary), run.task, run.model, run.step)


def _draw(run: RunDirectory, use: Evaluates, evaluation: Evaluation) -> None:
    with atomic.writing(run.report), atomic.placed_in(run.report) as report:
        use.draw(evaluation, report)


def _run_and_data(
    path: str | os.PathLike[str] | TrainedRun,
    source: object,
    split: str | None,
    checkpoint: str,
    options: Iterable[str],
) -> tuple[TrainedRun, Data, str, Part]:
    """The run, the data to evaluate on, and the part of it, as it is read exactly."""
    run = path if isinstance(path, TrainedRun) else load(path, checkpoint=checkpoint)
    if isinstance(run.use, Evaluates):
        takes = run.use.evaluate
    else:
        takes = _adaptation if isinstance(run.use, AdaptsWhileReading) else Evaluator.__call__
    run.check_options(takes, options)
    vocabulary = run.directory.vocabulary
    if source is not None:
        opened = registry.spec(run.directory.task).open(source, vocabulary)
        data, name = run.task.read(opened, vocabulary=vocabulary, whole=True), "train"
    else:
        data = read_again(run.task, run.directory, None)
        name = split or next((part for part in run.task.evaluated_first if data.part(part)), "validation")
    part = data.in_order(name) if isinstance(data, ReadsInOrder) else data.part(name)
    if part is not None:
        return run, data, name, part
    if source is not None:
        raise SourceError("the source is too short: there is nothing to predict in it")
    raise RunError(
        f"{run.directory.path} kept no {name} part; evaluate another ({option('split', 'train')}) or give a "
        "source"
    )

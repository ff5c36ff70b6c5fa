"""Judging what came of a training: figures, and pictures in the run's report folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from ostinato.errors import ConfigError, RunError, SourceError
from ostinato.files import atomic as files
from ostinato.runs.directory import RunDirectory
from ostinato.runs.trained import TrainedRun, check_options, load
from ostinato.tasks.base import Evaluates, Task, as_figures
from ostinato.training.source import prepare_again
from ostinato.training.step import Evaluation


def evaluate(
    path: str | os.PathLike[str] | TrainedRun,
    source: Any = None,
    *,
    split: str | None = None,
    checkpoint: str = "best",
    on_batch: Callable[[int, int], None] | None = None,
    **options: Any,
) -> dict[str, float]:
    """The figures over all of a part of the run's source, or over all of another source.

    A language model reads from beginning to end with its state carried.

    Args:
        path: the run directory, or a run that is loaded.
        source: another source, judged as a whole; None takes the run's own.
        split: `train`, `validation` or `test`, of the run's own source; None is the validation part, for a
            classifier or translator that kept a test part that.
        checkpoint: `best` or `last`; of a run that is loaded it means nothing.
        on_batch: called with (batches done, batches in all).
        **options: of a translator `beam`, an `ostinato.decoding.beam.Beam`.

    Returns:
        The task's metrics, and the number of tokens, texts or sentences they are over.

    Raises:
        RunError: when the source has changed since training, or the run kept no such part.
        ConfigError: when the task takes no such option.
    """
    run, task, split = _for_judging(path, source, split, checkpoint, options)
    if isinstance(task, Evaluates):
        return task.judge(run.model, split, on_batch, **options).figures
    metrics, weight = Evaluation(task, run.model)(split, on_batch)
    return {**as_figures(metrics), task.unit: int(weight)}


def judge(
    path: str | os.PathLike[str] | TrainedRun,
    source: Any = None,
    *,
    split: str | None = None,
    checkpoint: str = "best",
    on_batch: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Any:
    """All that an evaluation of a classifier or translator finds, of which `evaluate` returns the figures.

    The arguments and errors are those of `evaluate`.

    Returns:
        A `Judgement`: figures, and of a classifier confusion matrix, the most confident mistakes, every
        decision; of a translator signatures, BLEU by length, samples. Of a part of the run's own source it is
        also drawn, into the run's report folder.

    Raises:
        ConfigError: when the run's task has nothing but figures.
    """
    run, task, split = _for_judging(path, source, split, checkpoint, options)
    if not isinstance(task, Evaluates):
        raise ConfigError(f"{run.directory.path} is a {task.name} run, which has figures only; use evaluate")
    judgement = task.judge(run.model, split, on_batch, **options)
    if source is None:
        _draw(run.directory, task, judgement)
    return judgement


def judge_validation(run: TrainedRun, task: Task, on_batch: Callable[[int, int], None] | None = None) -> None:
    """Judges a run on the validation part at the end of its training, and draws that, where its task can.

    The test part stays unseen: whoever chooses settings by these pictures shall still have it.
    """
    if isinstance(task, Evaluates) and task.has("validation"):
        _draw(run.directory, task, task.judge_quickly(run.model, "validation", on_batch))


def _draw(run: RunDirectory, task: Evaluates, judgement: Any) -> None:
    with files.writing(run.report), files.placed_in(run.report) as report:
        task.draw(judgement, report)


def _for_judging(
    path: str | os.PathLike[str] | TrainedRun,
    source: Any,
    split: str | None,
    checkpoint: str,
    options: Iterable[str],
) -> tuple[TrainedRun, Task, str]:
    """The run, its task with the data to judge on, and which part of it that is."""
    run = path if isinstance(path, TrainedRun) else load(path, checkpoint=checkpoint)
    judge = run.task.judge if isinstance(run.task, Evaluates) else Evaluation.__call__
    check_options(run, judge, options)
    task = run.task.for_evaluation(whole=source is not None)
    if source is not None:
        part = "train"
        task.prepare(source)
    else:
        prepare_again(task, run.directory, None)
        part = split or next((part for part in task.judged_first if task.has(part)), "validation")
    if not task.has(part):
        if source is not None:
            raise SourceError("the source has only one token, so there is nothing to predict in it")
        raise RunError(
            f"{run.directory.path} kept no {part} part; evaluate another (--split train) or give a source"
        )
    return run, task, part

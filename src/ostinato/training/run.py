"""Starting a training, going on with one, and judging what came of it; the whole of it from Python.

run = ostinato.train(LanguageModelConfig(units=128), "book.txt", training=TrainingConfig(epochs=3))
print(run.generate(prompt="The ", length=200)[0])
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from ostinato.errors import ConfigError, EncodingError, RunError, SourceError, TrainingError
from ostinato.runs import checkpoints, files, weights
from ostinato.runs.directory import RunDirectory, check_free, next_path, open_run
from ostinato.runs.trained import TrainedRun, check_options, load, restore_task
from ostinato.tasks import task_for
from ostinato.tasks.task import OnProgress
from ostinato.training.budget import Position
from ostinato.training.config import TrainingConfig
from ostinato.training.events import Event, Listener
from ostinato.training.listeners import MetricsFile, Report, TensorBoard
from ostinato.training.loop import Trainer
from ostinato.training.step import Evaluation


def train(
    config: Any,
    source: Any = None,
    *,
    training: TrainingConfig | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    init_from: str | os.PathLike[str] | None = None,
    on_event: Listener | None = None,
    on_progress: OnProgress | None = None,
) -> TrainedRun:
    """Trains a new run.

    Args:
        config: the task's settings, for example a `LanguageModelConfig`.
        source: a path, the name of a corpus, or an iterable of texts; None is the default corpus.
        training: how to train; None trains one epoch.
        out: the run directory; None takes runs/lm-001 and so on.
        overwrite: replace a run that is there.
        init_from: start from the weights of this run; its vocabulary is kept.
        on_event: told every event of `ostinato.training.events`.
        on_progress: told (bytes read, bytes in all or None) while a long source is read.

    Returns:
        The run, with the best weights. A classifier's or translator's are judged on the validation part (a
        translator's greedily) and drawn, as `judge` does, into the run's report folder.

    Raises:
        OstinatoError: for settings, sources and paths that do not work; nothing is written then.
        KeyboardInterrupt: after Ctrl-C, when everything is saved.
    """
    task = task_for(config)
    training = training or TrainingConfig(epochs=1)
    path = Path(out) if out is not None else next_path(task.prefix)
    check_free(path, overwrite=overwrite)
    base = load(init_from) if init_from is not None else None
    if base is not None:
        _check_same_task(base, task)
        task.restore(base.directory.vocabulary)
    try:
        task.prepare(source, on_progress)
    except EncodingError as error:
        if base is None:
            raise
        raise EncodingError(
            f"the vocabulary of {base.directory.path} does not fit the source: {error}"
        ) from None
    with _enough_memory(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras adds advice to whatever stops a layer from being built
        model = task.build()
    notes = task.notes
    if base is not None:
        weights.assign(model, weights.to_arrays(base.model), origin=str(base.directory.path))
        notes = (
            *notes,
            f"starting from the weights of {base.directory.path}, step {base.step}",
        )
    run = RunDirectory(
        path,
        task.name,
        config.model_dump(mode="json"),
        training.model_dump(mode="json"),
        task.source,
        task.vocabulary(),
    )
    listeners = _listeners(run, task, on_event)
    trainer = Trainer(task, model, training, run, lambda event: _tell(listeners, event))
    run.create(trainer.checkpoint(), overwrite=overwrite)
    with _enough_memory():
        trainer.train(notes)
    return _trained(path, task)


def resume(
    path: str | os.PathLike[str],
    *,
    on_event: Listener | None = None,
    on_progress: OnProgress | None = None,
) -> TrainedRun:
    """Goes on with a training that was interrupted or killed, as if it had not been.

    A run that is finished is only loaded.

    Raises:
        RunError: when it is no run, damaged, or its source has changed.
        SourceError: when its source cannot be read any more.
        KeyboardInterrupt: after Ctrl-C, when everything is saved.
    """
    run = open_run(path)
    checkpoint, problems = run.newest_checkpoint()
    position = Position.from_json(checkpoint.position)
    if position.ended is not None:
        return load(path)
    task = restore_task(run)
    try:
        training = TrainingConfig(**run.training)
    except ConfigError as error:
        raise RunError(f"{run.path / 'config.json'} is damaged: {error}") from None
    _prepare_again(task, run, on_progress)
    model = task.build()
    listeners = _listeners(run, task, on_event)
    trainer = Trainer(task, model, training, run, lambda event: _tell(listeners, event))
    trainer.restore(checkpoint)
    run.cut_metrics(position.metrics_bytes)
    older = {step for step in checkpoints.steps(run.checkpoints) if step <= checkpoint.step}
    checkpoints.remove_all_but(run.checkpoints, {*older})
    notes = tuple(f"{problem}; going on from step {checkpoint.step} instead" for problem in problems)
    with _enough_memory():
        trainer.train((*notes, f"resuming at step {checkpoint.step:,}"))
    return _trained(path, task)


def is_finished(path: str | os.PathLike[str]) -> bool:
    """Whether a run's budget is used up, or it stopped early."""
    checkpoint, _ = open_run(path).newest_checkpoint()
    return Position.from_json(checkpoint.position).ended is not None


def evaluate(
    path: str | os.PathLike[str],
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
        path: the run directory.
        source: another source, judged as a whole; None takes the run's own.
        split: `train`, `validation` or `test`, of the run's own source; None is the validation part, for a
            classifier or translator that kept a test part that.
        checkpoint: `best` or `last`.
        on_batch: called with (batches done, batches in all).
        **options: of a translator `beam`, an `ostinato.decoding.beam.Beam`.

    Returns:
        The task's metrics, and the number of tokens, texts or sentences they are over.

    Raises:
        RunError: when the source has changed since training, or the run kept no such part.
        ConfigError: when the task takes no such option.
    """
    run, task, split = _for_judging(path, source, split, checkpoint, options)
    if hasattr(task, "judge"):
        return task.judge(run.model, split, on_batch, **options).figures
    metrics, weight = Evaluation(task, run.model)(split, on_batch)
    return {**metrics, task.unit: int(weight)}


def judge(
    path: str | os.PathLike[str],
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
    if not hasattr(task, "judge"):
        raise ConfigError(f"{path} is a {task.name} run, which has figures only; use evaluate")
    judgement = task.judge(run.model, split, on_batch, **options)
    if source is None:
        _draw(run.directory, task, judgement)
    return judgement


def _trained(path: str | os.PathLike[str], task: Any) -> TrainedRun:
    """The run at the end of its training, with the best weights judged on the validation part and drawn.

    The test part stays unseen: whoever chooses settings by these pictures shall still have it.
    """
    run = load(path)
    if hasattr(task, "judge") and task.has("validation"):
        judge = getattr(task, "judge_quickly", task.judge)
        _draw(run.directory, task, judge(run.model, "validation"))
    return run


def _draw(run: RunDirectory, task: Any, judgement: Any) -> None:
    with files.writing(run.report):
        run.report.mkdir(exist_ok=True)
        task.draw(judgement, run.report)


def _for_judging(
    path: str | os.PathLike[str],
    source: Any,
    split: str | None,
    checkpoint: str,
    options: Iterable[str],
) -> tuple[TrainedRun, Any, str]:
    """The run, its task with the data to judge on, and which part of it that is."""
    run = load(path, checkpoint=checkpoint)
    check_options(run, getattr(run.task, "judge", Evaluation.__call__), options)
    task = run.task.for_evaluation(whole=source is not None)
    if source is not None:
        part = "train"
        task.prepare(source)
    else:
        _prepare_again(task, run.directory, None)
        part = split or next((part for part in task.judged_first if task.has(part)), "validation")
    if not task.has(part):
        if source is not None:
            raise SourceError("the source has only one token, so there is nothing to predict in it")
        raise RunError(f"{path} kept no {part} part; evaluate another (--split train) or give a source")
    return run, task, part


def _prepare_again(task: Any, run: RunDirectory, on_progress: OnProgress | None) -> None:
    """Reads a run's own source again, and refuses another text."""
    try:
        expected = run.source["sha256"]
        source, name = task.reopen(run.source["description"])
    except (KeyError, TypeError) as error:
        raise RunError(f"{run.path / 'config.json'} is damaged: its source: {error!r}") from None
    changed = f"the source of {run.path} has changed since training began ({name})"
    try:
        task.prepare(source, on_progress)
    except EncodingError as error:
        raise RunError(f"{changed}: {error}") from None
    if task.source["sha256"] != expected:
        raise RunError(f"{changed}; restore it, or start a new run")


@contextmanager
def _enough_memory() -> Iterator[None]:
    """Turns running out of memory into one sentence."""
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise TrainingError(
            "there is not enough memory for this network; take fewer --units or --layers, or a smaller "
            "--batch or --seq-len"
        ) from None


def _check_same_task(base: TrainedRun, task: Any) -> None:
    if base.task.name != task.name:
        raise ConfigError(f"{base.directory.path} is a {base.task.name} run, not a {task.name} run")


def _listeners(run: RunDirectory, task: Any, on_event: Listener | None) -> list[Listener]:
    told = [MetricsFile(run), TensorBoard(run), Report(run, task.unit)]
    return told if on_event is None else [*told, on_event]


def _tell(listeners: list[Listener], event: Event) -> None:
    for listener in listeners:
        listener(event)

"""Starting a training, and going on with one; the whole of it from Python.

run = ostinato.train(LanguageModelConfig(units=128), "book.txt", training=TrainingConfig(epochs=3))
print(run.generate(prompt="The ", length=200)[0])
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf

import ostinato
from ostinato.errors import ConfigError, EncodingError, RunError, TrainingError
from ostinato.files import atomic
from ostinato.files.lock import RunLock, refuse_if_locked
from ostinato.layers import registry as cells
from ostinato.runs import checkpoints, weights
from ostinato.runs.directory import RunDirectory, check_free, next_path, open_run
from ostinato.runs.opened import settings_of
from ostinato.runs.trained import TrainedRun, build, from_checkpoint, load
from ostinato.tasks import registry
from ostinato.tasks.base import Data, Json, OnProgress, Task
from ostinato.tasks.config import RecurrentConfig, TaskConfig
from ostinato.training import handover
from ostinato.training.budget import Position
from ostinato.training.config import TrainingConfig
from ostinato.training.evaluation import evaluate_at_end
from ostinato.training.events import Evaluating, Event, Listener, Notice
from ostinato.training.listeners import MetricsFile, Report, TensorBoard
from ostinato.training.loop import Trainer
from ostinato.training.source import read_again
from ostinato.training.workers import Workers, join

if TYPE_CHECKING:
    import keras


def train(
    config: TaskConfig,
    source: object = None,
    *,
    training: TrainingConfig | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    init_from: str | os.PathLike[str] | None = None,
    devices: int | None = None,
    on_event: Listener | None = None,
    on_progress: OnProgress | None = None,
) -> TrainedRun:
    """Trains a new run.

    Where `TF_CONFIG` or Slurm names several workers, each of them calls this with the same arguments, before
    anything else of TensorFlow is used; see docs/distributed.md.

    Args:
        config: the task's settings, for example a `LanguageModelConfig`.
        source: a path, the name of a corpus, or an iterable of texts; None is the default corpus.
        training: how to train; None trains one epoch.
        out: the run directory; None takes runs/lm-001 and so on.
        overwrite: replace a run that is there.
        init_from: start from the weights of this run; its vocabulary is kept.
        devices: devices to share each batch among: GPUs or, where there are none, parts of the CPU. None is
            one, or on several workers all their GPUs.
        on_event: told every event of `ostinato.training.events`; on the chief only.
        on_progress: told (bytes read, bytes in all or None) while a long source is read.

    Returns:
        The run, with the best weights. A classifier's or translator's are evaluated on the validation
        part (a translator's greedily) and drawn into the run's report folder. On a worker that is
        not the chief, the run with its last weights; its directory is the chief's.

    Raises:
        OstinatoError: for settings, sources and paths that do not work; nothing is written then. Also when
            another worker is gone; the run can be resumed then.
        KeyboardInterrupt: after Ctrl-C, when everything is saved.
        SystemExit: the same after SIGTERM.
    """
    spec, task, training = (
        registry.spec_of(config),
        registry.make(config),
        training or TrainingConfig(epochs=1),
    )
    workers = join(devices, _sentence_teller(on_event))
    with workers.attended(), ExitStack() as locks:
        workers.check_same("the arguments", b"train")
        with workers.together():
            path = Path(out) if out is not None else next_path(spec.command)
            if workers.chief:
                check_free(path, overwrite=overwrite)
                refuse_if_locked(path)
            base = None if init_from is None else _base(init_from, config)
            data = _read(task, spec.open(source), base, on_progress)
        with workers.together(), workers.strategy.scope(), _enough_memory(), warnings.catch_warnings():
            # Keras adds advice to whatever stops a layer from being built.
            warnings.simplefilter("ignore", UserWarning)
            vocabulary = data.vocabulary
            model = task.build(vocabulary)
        notes = data.notes
        if base is not None:
            with workers.together():
                weights.assign(model, weights.to_arrays(base.model), origin=str(base.directory.path))
            notes = (*notes, f"starting from the weights of {base.directory.path}, step {base.step}")
        run = RunDirectory(
            path,
            config.task,
            config.model_dump(mode="json"),
            training.model_dump(mode="json"),
            data.source,
            vocabulary,
            _packages(config),
        )
        workers.check_same("the settings, source or first weights", _fingerprint(run, model))
        trainer = Trainer(task, data, model, training, run, _teller(run, task, on_event), workers)
        first = trainer.checkpoint()
        with workers.together():
            if workers.chief:
                with ExitStack() as replaced:
                    if overwrite and (path / "config.json").exists():
                        replaced.enter_context(RunLock.acquire(path, _sentence_teller(on_event)))
                    run.create(first, overwrite=overwrite)
                locks.enter_context(RunLock.acquire(path))
        with _enough_memory():
            ended = trainer.train((*notes, *_company(workers)))
        return _trained(TrainedRun(run, task, model, ended.step), data, workers, on_event)


def resume(
    path: str | os.PathLike[str],
    *,
    devices: int | None = None,
    on_event: Listener | None = None,
    on_progress: OnProgress | None = None,
) -> TrainedRun:
    """Goes on with a training that was interrupted or killed, as if it had not been.

    A run that is finished is only loaded. Another number of workers and devices may go on where some
    stopped; with more than one, weights are equal but for rounding.

    Args:
        path: the run directory; of several workers only the chief reads it, and hands it to the others.
        devices, on_event, on_progress: as for `train`.

    Raises:
        RunError: when it is no run, damaged, trained by another process right now, or its source has changed.
        SourceError: when its source cannot be read any more.
        TrainingError: when another worker is gone.
        KeyboardInterrupt: after Ctrl-C, when everything is saved.
        SystemExit: the same after SIGTERM.
    """
    tell = _sentence_teller(on_event)
    workers = join(devices, tell)
    with workers.attended(), ExitStack() as locks:
        workers.check_same("the arguments", b"resume")
        found, problems = None, []
        with workers.together():
            if workers.chief:
                run = open_run(path)
                checkpoint, _ = run.newest_checkpoint(())
                if Position.from_json(checkpoint.position).ended is not None:
                    checkpoint, _ = run.newest_checkpoint(("weights",))
                if Position.from_json(checkpoint.position).ended is None:
                    locks.enter_context(RunLock.acquire(run.path, tell))
                    checkpoint, problems = run.newest_checkpoint()
                found = run, checkpoint
        run, checkpoint = handover.hand_over(found, workers)
        position = Position.from_json(checkpoint.position)
        if position.ended is not None:
            tell(f"{run.path} is finished; there is nothing to resume")
            return _finished(run, checkpoint, workers)
        with workers.together(), workers.strategy.scope(), _enough_memory():
            task = registry.make(settings_of(run))
            training = _settings(run)
            data = read_again(task, run, on_progress)
            model = build(task, checkpoint, run)
        trainer = Trainer(task, data, model, training, run, _teller(run, task, on_event), workers)
        with workers.together():
            trainer.restore(checkpoint)
            if workers.chief:
                run.cut_metrics(position.metrics_bytes)
                older = {step for step in checkpoints.steps(run.checkpoints) if step <= checkpoint.step}
                checkpoints.remove_all_but(run.checkpoints, {*older})
        notes = [f"{problem}; going on from step {checkpoint.step} instead" for problem in problems]
        if run.masks == 1 and settings_of(run).draws_masks:
            notes.append("an older version began this run; it continues with other dropout masks")
        with _enough_memory():
            ended = trainer.train((*notes, f"resuming at step {checkpoint.step:,}", *_company(workers)))
        return _trained(TrainedRun(run, task, model, ended.step), data, workers, on_event)


def _packages(config: TaskConfig) -> dict[str, str]:
    """The other packages that a run needs, by the name of the task or cell that they bring."""
    needed = {config.task: registry.package_of(config)}
    if isinstance(config, RecurrentConfig):
        cell = str(config.model_dump()["cell"])
        needed[cell] = cells.package_of(cell)
    return {name: package for name, package in needed.items() if package is not None}


def _finished(run: RunDirectory, checkpoint: checkpoints.Checkpoint, workers: Workers) -> TrainedRun:
    """A run that needs no more training: the chief's with its best weights, the others' with the last."""
    if workers.chief:
        trained = load(run.path)
        if not (run.report / "loss.png").exists():  # it was killed in between
            Report(run, trained.task.unit).draw()
        return trained
    return from_checkpoint(run, checkpoint)


def _base(path: str | os.PathLike[str], config: TaskConfig) -> TrainedRun:
    """The run to start from. Raises ConfigError when it is of another task."""
    base = load(path)
    if base.directory.task != config.task:
        raise ConfigError(f"{base.directory.path} is a {base.directory.task} run, not a {config.task} run")
    return base


def _read(task: Task, source: object, base: TrainedRun | None, on_progress: OnProgress | None) -> Data:
    """Reads the source, with the vocabulary of the run to start from."""
    if base is None:
        return task.read(source, on_progress=on_progress)
    vocabulary: Json = base.directory.vocabulary
    try:
        return task.read(source, vocabulary=vocabulary, on_progress=on_progress)
    except EncodingError as error:
        raise EncodingError(
            f"the vocabulary of {base.directory.path} does not fit the source: {error}"
        ) from None


def _settings(run: RunDirectory) -> TrainingConfig:
    try:
        return TrainingConfig(**run.training)
    except ConfigError as error:
        raise RunError(f"{run.path / 'config.json'} is damaged: {error}") from None


def _fingerprint(run: RunDirectory, model: keras.Model) -> bytes:
    """A digest of all that must be equal on every worker before the first step."""
    versions = [ostinato.__version__, tf.__version__]
    settings = [run.task, run.task_config, run.training, run.source["sha256"], run.vocabulary, versions]
    digest = hashlib.sha256(atomic.to_json(settings))
    for name, array in weights.to_arrays(model).items():
        digest.update(name.encode() + array.tobytes())
    return digest.digest()


def _company(workers: Workers) -> tuple[str, ...]:
    """A note of who trains, unless it is one process alone."""
    if workers.replica_count == 1:
        return ()
    replicas = workers.replica_count // workers.count
    of_each = "" if replicas == 1 else f" with {replicas} devices" + (" each" if workers.count > 1 else "")
    return (f"{workers.count} worker{'s' if workers.count > 1 else ''}{of_each} share every batch",)


def _trained(run: TrainedRun, data: Data, workers: Workers, on_event: Listener | None) -> TrainedRun:
    """The run at the end of its training: the chief's has the best weights, evaluated; others wait."""
    with workers.together():
        if workers.chief:
            # Replicas' variables are tied to their strategy; else no network has to be made again.
            model = run.model if workers.replica_count == 1 else None
            run = from_checkpoint(run.directory, run.directory.weights("best"), model)
            tell: Listener = on_event or (lambda event: None)
            evaluate_at_end(run, data, lambda done, batches: tell(Evaluating(done, batches)))
    return run


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


def _teller(run: RunDirectory, task: Task, on_event: Listener | None) -> Callable[[Event], None]:
    """Tells an event to all who listen."""
    listeners: list[Listener] = [MetricsFile(run), TensorBoard(run), Report(run, task.unit)]
    listeners += [] if on_event is None else [on_event]

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


def _sentence_teller(on_event: Listener | None) -> Callable[[str], None]:
    return lambda sentence: None if on_event is None else on_event(Notice(sentence))

"""Training a new run, and resuming one that was stopped, from Python.

run = ostinato.train(LanguageModelConfig(units=128), "book.txt", training=TrainingConfig(epochs=3))
print(run.generate(prompt="The ", length=200)[0])
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf

import ostinato
from ostinato.cells import registry as cells
from ostinato.errors import ConfigError, RunError, TrainingError
from ostinato.files import atomic
from ostinato.files.lock import RunLock, refuse_if_locked
from ostinato.runs import checkpoints, weights
from ostinato.runs.directory import RunDirectory, check_free, next_path, open_run
from ostinato.runs.opened import check_start, settings_of
from ostinato.runs.trained import TrainedRun, build, from_checkpoint, load
from ostinato.tasks import registry
from ostinato.tasks.base import Data, Json, OnProgress, Task
from ostinato.tasks.config import RecurrentConfig, TaskConfig
from ostinato.training import fitting
from ostinato.training.broadcast import broadcast_run
from ostinato.training.budget import Budget, Position
from ostinato.training.cluster import join
from ostinato.training.config import TrainingConfig
from ostinato.training.continuing import Added, More, add
from ostinato.training.evaluation import choose_at_end, evaluate_at_end, prefer_at_end
from ostinato.training.events import Evaluating, Event, Listener, Notice
from ostinato.training.listeners import MetricsFile, Report, TensorBoard
from ostinato.training.loop import Trainer
from ostinato.training.source import read_again
from ostinato.training.starting import Start
from ostinato.training.workers import Workers
from ostinato.wording import option

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
    extend_vocabulary: bool = False,
    choose: bool | Collection[str] = False,
    devices: int | None = None,
    on_settings: Callable[[TaskConfig, TrainingConfig], None] | None = None,
    on_event: Listener | None = None,
    on_progress: OnProgress | None = None,
) -> TrainedRun:
    """Trains a new run.

    Where `TF_CONFIG` or Slurm describes several workers, each of them calls this with the same arguments,
    before any other use of TensorFlow; see docs/distributed.md.

    Args:
        config: the task's settings, for example a `LanguageModelConfig`.
        source: a path, the name of a corpus, or an iterable of texts; None is the default corpus.
        training: how to train; None trains one epoch.
        out: the run directory; None takes the next free one: runs/lm-001 and so on.
        overwrite: replace an existing run.
        init_from: start from the weights of this run, and keep its vocabulary.
        extend_vocabulary: with `init_from`, add the symbols of the source that the vocabulary lacks: what the
            network knows of the others stays, and the new ones begin as in a new network.
        choose: the names of settings that the task's rule chooses for the data and the budget, as the command
            line does (docs/recipes.md); True are all that neither config was given.
        devices: how many devices share each batch: GPUs or, without any, parts of the CPU. None is one or,
            with several workers, all their GPUs.
        on_settings: called with all settings, those that were chosen included, on the chief only.
        on_event: called with every event of `ostinato.training.events`, on the chief only.
        on_progress: called with (bytes read, total bytes or None) while a long source is read.

    Returns:
        The run, with its best weights. A classifier or translator is also evaluated on the validation part
        (a translator with greedy search), with pictures in the run's report folder. On the other workers, the
        run has its last weights, and its directory is the chief's.

    Raises:
        OstinatoError: when a setting, source or path is not valid; nothing is written then. Also when another
            worker is lost; the run can be resumed then.
        KeyboardInterrupt: after Ctrl-C, when everything is saved.
        SystemExit: after SIGTERM, when everything is saved.
    """
    spec, task = registry.spec_of(config), registry.make(config)
    training = training or TrainingConfig(epochs=1)
    workers = join(devices, _notifier(on_event))
    with workers.stopping_when_one_is_lost(), ExitStack() as locks:
        workers.check_same("the arguments", b"train")
        with workers.all_or_none():
            path = Path(out) if out is not None else next_path(spec.command)
            if workers.chief:
                check_free(path, overwrite=overwrite)
                refuse_if_locked(path)
            base = None if init_from is None else load(check_start(init_from, type(config)))
            start = Start(base, extend_vocabulary)
            data = start.read(task, spec.open(source), on_progress)
        choice = fitting.choose(config, training, data, _free(choose, config, training), workers)
        config, training, data = choice.config, choice.training, choice.data
        task = registry.make(config)
        if on_settings is not None and workers.chief:
            on_settings(config, training)
        model = _built(task, data.vocabulary, workers)
        with workers.all_or_none():
            start.assign(model)
        notes = (*data.notes, *choice.notes, *start.notes, *start.prepare(task, model, data, workers))
        run = RunDirectory(
            path,
            config.task,
            config.model_dump(mode="json"),
            training.model_dump(mode="json"),
            data.source,
            data.vocabulary,
            _packages(config),
            chosen=choice.chosen,
        )
        workers.check_same("the settings, source or first weights", _fingerprint(run, model))
        trainer = Trainer(task, data, model, training, run, _emitter(run, task, on_event), workers)
        first = trainer.checkpoint()
        with workers.all_or_none():
            if workers.chief:
                with ExitStack() as replaced:
                    if overwrite and (path / "config.json").exists():
                        replaced.enter_context(RunLock.acquire(path, _notifier(on_event)))
                    run.create(first, overwrite=overwrite)
                locks.enter_context(RunLock.acquire(path))
        with _enough_memory():
            ended = trainer.train((*notes, *_workers_note(workers)))
        return _trained(TrainedRun(run, task, model, ended.step), data, workers, on_event)


def resume(
    path: str | os.PathLike[str] | TrainedRun,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    schedule: str | None = None,
    devices: int | None = None,
    on_event: Listener | None = None,
    on_progress: OnProgress | None = None,
) -> TrainedRun:
    """Resumes a training that was interrupted or killed; it ends as if it had never stopped.

    A run that is finished is only loaded or, with a larger budget, goes on: with its optimizer and its exact
    position, at the last learning rate of its schedule. An interruption in the added part is resumed without
    naming the budget again. The number of workers and devices may differ from before; with more
    than one, the weights are equal up to rounding.

    Args:
        path: the run directory, or a loaded run; of several workers only the chief reads it and broadcasts it
            to the others.
        epochs, steps, minutes: one larger budget for a finished run. It counts from the beginning of the run,
            in any unit.
        schedule: `constant`, `step` or `cosine`, over the added part, from the run's highest learning rate.
        devices, on_event, on_progress: as for `train`.

    Raises:
        ConfigError: when the budget is not more than the run has had.
        RunError: when the path is not a run, when a run that is not finished gets a larger budget, when the
            run is damaged or another process trains it, or when its source has changed.
        SourceError: when the source can no longer be read.
        TrainingError: when another worker is lost.
        KeyboardInterrupt: after Ctrl-C, when everything is saved.
        SystemExit: after SIGTERM, when everything is saved.
    """
    more = More.of(epochs, steps, minutes, schedule)
    notify = _notifier(on_event)
    workers = join(devices, notify)
    with workers.stopping_when_one_is_lost(), ExitStack() as locks:
        workers.check_same("the arguments", f"resume {more}".encode())
        found, problems = None, []
        with workers.all_or_none():
            if workers.chief:
                given = path.directory.path if isinstance(path, TrainedRun) else path
                run, checkpoint, problems = _to_resume(given, more, locks, notify)
                found = run, checkpoint
        run, checkpoint = broadcast_run(found, workers)
        position = Position.from_json(checkpoint.position)
        if more is None and _is_over(run, position):
            notify(f"{run.path} is finished; there is nothing to resume")
            return _finished(run, checkpoint, workers)
        with workers.all_or_none(), workers.strategy.scope(), _enough_memory():
            config, training = settings_of(run), _settings(run)
            task = registry.make(config)
            data = read_again(task, run, on_progress)
            if more is not None:
                run = _with_more(run, more, position, training, data)
            part, added = _part_of(run, position)
            budget = None
            if added is not None:
                training, budget = added.config(training), added.budget(_steps(data))
            model = build(task, checkpoint, run)
        trainer = Trainer(task, data, model, training, run, _emitter(run, task, on_event), workers, budget)
        with workers.all_or_none():
            trainer.restore(checkpoint, part)
            if workers.chief:
                if more is not None:
                    run.write_budgets()
                run.cut_metrics(position.metrics_bytes)
                older = {step for step in checkpoints.steps(run.checkpoints) if step <= checkpoint.step}
                checkpoints.remove_all_but(run.checkpoints, {*older})
        notes = [f"{problem}; resuming at step {checkpoint.step} instead" for problem in problems]
        if run.masks == 1 and config.draws_masks:
            notes.append("an older version began this run; it continues with other dropout masks")
        begins = added if position.ended is not None else None
        notes.append(f"resuming at step {checkpoint.step:,}" if begins is None else begins.note)
        with _enough_memory():
            ended = trainer.train((*notes, *_workers_note(workers)))
        return _trained(TrainedRun(run, task, model, ended.step), data, workers, on_event)


def _built(task: Task, vocabulary: Json, workers: Workers) -> keras.Model:
    """A new network on all devices of the workers."""
    with workers.all_or_none(), workers.strategy.scope(), _enough_memory(), warnings.catch_warnings():
        # Keras warns with advice when a layer cannot be built; the error says enough.
        warnings.simplefilter("ignore", UserWarning)
        return task.build(vocabulary)


def _free(choose: bool | Collection[str], config: TaskConfig, training: TrainingConfig) -> Collection[str]:
    """The names of the settings that a rule may choose."""
    if not isinstance(choose, bool):
        return choose
    known = {*type(config).model_fields, *TrainingConfig.model_fields}
    return known - config.model_fields_set - training.model_fields_set if choose else ()


def _to_resume(
    path: str | os.PathLike[str], more: More | None, locks: ExitStack, notify: Callable[[str], None]
) -> tuple[RunDirectory, checkpoints.Checkpoint, list[str]]:
    """The run, its newest intact checkpoint, and the errors of newer ones; locked unless it is over.

    Raises:
        RunError: when a larger budget is asked for, but the run is not finished.
    """
    run = open_run(path)
    checkpoint, _ = run.newest_checkpoint(())
    if more is None and _is_over(run, Position.from_json(checkpoint.position)):
        checkpoint, _ = run.newest_checkpoint(("weights",))
        if _is_over(run, Position.from_json(checkpoint.position)):
            return run, checkpoint, []
    locks.enter_context(RunLock.acquire(run.path, notify))
    run = open_run(path)
    checkpoint, problems = run.newest_checkpoint()
    if more is not None and not _is_over(run, Position.from_json(checkpoint.position)):
        raise RunError(
            f"{run.path} is not finished, so it cannot go on with a larger budget; resume it first, without "
            f"--{more.unit}"
        )
    return run, checkpoint, problems


def _is_over(run: RunDirectory, position: Position) -> bool:
    """Whether a run has used up all its budgets, or was stopped early in the last."""
    return position.ended is not None and position.part >= len(run.budgets)


def _with_more(
    run: RunDirectory, more: More, position: Position, training: TrainingConfig, data: Data
) -> RunDirectory:
    """The run with a larger budget. Raises ConfigError when it is not more than the run has had."""
    steps = _steps(data)
    before = Added.from_json(run.budgets[-1]).budget(steps) if run.budgets else Budget.of(training, steps)
    return run.with_budget(add(more, position, before).to_json())


def _part_of(run: RunDirectory, position: Position) -> tuple[int, Added | None]:
    """The number of the budget that a run trains on now, and that budget; 0 and None for its first.

    Raises:
        RunError: when the run lacks it.
    """
    part = position.part + (position.ended is not None)
    if part > len(run.budgets):
        raise RunError(
            f"{run.path} is damaged: it has {len(run.budgets)} added budgets, and lacks number {part}"
        )
    return part, Added.from_json(run.budgets[part - 1]) if part else None


def _steps(data: Data) -> int:
    """The steps of an epoch."""
    part = data.part("train")
    return 1 if part is None else part.steps


def _packages(config: TaskConfig) -> dict[str, str]:
    """The further packages that a run needs, by the name of the task or cell that each provides."""
    needed = {config.task: registry.package_of(config)}
    if isinstance(config, RecurrentConfig):
        cell = str(config.model_dump()["cell"])
        needed[cell] = cells.package_of(cell)
    return {name: package for name, package in needed.items() if package is not None}


def _finished(run: RunDirectory, checkpoint: checkpoints.Checkpoint, workers: Workers) -> TrainedRun:
    """A run that is finished already: on the chief with its best weights, on the others with the last."""
    if workers.chief:
        trained = load(run.path)
        if not (run.report / "loss.png").exists():  # killed after the last step
            Report(run, trained.task.unit).draw()
        return trained
    return from_checkpoint(run, checkpoint)


def _settings(run: RunDirectory) -> TrainingConfig:
    try:
        return TrainingConfig(**run.training)
    except ConfigError as error:
        raise RunError(f"{run.path / 'config.json'} is damaged: {error}") from None


def _fingerprint(run: RunDirectory, model: keras.Model) -> bytes:
    """A digest of everything that must be equal on every worker before the first step."""
    versions = [ostinato.__version__, tf.__version__]
    settings = [run.task, run.task_config, run.training, run.source["sha256"], run.vocabulary, versions]
    digest = hashlib.sha256(atomic.to_json(settings))
    for name, array in weights.to_arrays(model).items():
        digest.update(name.encode() + array.tobytes())
    return digest.digest()


def _workers_note(workers: Workers) -> tuple[str, ...]:
    """A note of how many workers and devices train, where there are several."""
    if workers.replica_count == 1:
        return ()
    replicas = workers.replica_count // workers.count
    of_each = "" if replicas == 1 else f" with {replicas} devices" + (" each" if workers.count > 1 else "")
    return (f"{workers.count} worker{'s' if workers.count > 1 else ''}{of_each} share every batch",)


def _trained(run: TrainedRun, data: Data, workers: Workers, on_event: Listener | None) -> TrainedRun:
    """The run at the end of its training. The chief loads the best weights and evaluates; the others wait."""
    with workers.all_or_none():
        if workers.chief:
            # The variables of several replicas are tied to their strategy, so the network is built anew.
            model = run.model if workers.replica_count == 1 else None
            run = from_checkpoint(run.directory, run.directory.weights("best"), model)
            emit: Listener = on_event or (lambda event: None)
            run, preferred = prefer_at_end(run, data)
            if preferred is not None:
                emit(Notice(preferred))
            run = choose_at_end(run, data)
            evaluate_at_end(run, data, lambda done, batches: emit(Evaluating(done, batches)))
    return run


@contextmanager
def _enough_memory() -> Iterator[None]:
    """A context that reports running out of memory in one sentence."""
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise TrainingError(
            f"there is not enough memory for this network; set fewer {option('units')} or "
            f"{option('layers')}, or a smaller {option('batch')} or {option('seq_len')}"
        ) from None


def _emitter(run: RunDirectory, task: Task, on_event: Listener | None) -> Callable[[Event], None]:
    """A function that passes an event to all listeners."""
    listeners: list[Listener] = [MetricsFile(run), TensorBoard(run), Report(run, task.unit)]
    listeners += [] if on_event is None else [on_event]

    def emit(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return emit


def _notifier(on_event: Listener | None) -> Callable[[str], None]:
    """A function that sends a sentence as a `Notice`."""
    return lambda sentence: None if on_event is None else on_event(Notice(sentence))

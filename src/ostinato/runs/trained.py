"""A trained run, ready for use."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from ostinato import engines
from ostinato.errors import ConfigError, RunError
from ostinato.layers.dry_build import dry_build
from ostinato.runs import weights
from ostinato.runs.checkpoints import Checkpoint
from ostinato.runs.directory import RunDirectory, open_run
from ostinato.runs.usable import check_checkpoint, refusal, settings_of
from ostinato.tasks import task_classes
from ostinato.tasks.base import Aligns, Attributes, ComparesWords, Generates, Predicts, Task
from ostinato.wording import quoted

_Capability = TypeVar("_Capability")


@dataclass(frozen=True)
class TrainedRun:
    """A run directory with its task and its model.

    Attributes:
        directory: where it lies.
        task: for example a `LanguageModel`.
        model: the keras.Model with the trained weights.
        step: the training step the weights are from.
    """

    directory: RunDirectory
    task: Task
    model: Any
    step: int

    def generate(self, **options: Any) -> list[str]:
        """Writes text; see the task's `generate`.

        Raises:
            ConfigError: when the task does not generate.
        """
        return self._task_that(Generates, "generate").generate(self.model, **options)

    def predict(self, texts: Iterable[str], **options: Any) -> list[Any]:
        """Says what each text is, or translates it; see the task's `predict`.

        Args:
            texts: any texts, for example a list.
            **options: of a translator `beam`, an `ostinato.decoding.beam.Beam`.

        Returns:
            One `Prediction` a text: label, probability, the probabilities of all labels, and what was odd. Of
            a translator one `Translation`: the text, its score, the n best, and what was odd.

        Raises:
            ConfigError: when the task does not predict, or takes no such option.
        """
        return list(self.predictions(texts, **options))

    def predictions(self, texts: Iterable[str], **options: Any) -> Iterator[Any]:
        """`predict`, one after another while the texts come in, a few thousand at a time."""
        task = self._task_that(Predicts, "predictions")
        check_options(self, task.predictions, options)
        return task.predictions(self.model, texts, **options)

    def align(self, source: str, target: str) -> Any:
        """Where a translator looks while it reads a translation; see the task's `align`.

        Args:
            source: a sentence.
            target: its translation, the model's own or another.

        Raises:
            ConfigError: when the task does not translate, the model has no attention, or the source is empty.
        """
        return self._task_that(Aligns, "align").align(self.model, source, target)

    def explain(self, texts: Iterable[str], **options: Any) -> list[Any]:
        """Says what each text is, and how each of its words moved that; see the task's `explain`.

        Args:
            texts: any texts, for example a list.
            **options: for example `steps`.

        Returns:
            One `Explanation` a text: the prediction, and the words with what each contributed.

        Raises:
            ConfigError: when the task does not explain.
        """
        return list(self.explanations(texts, **options))

    def explanations(self, texts: Iterable[str], **options: Any) -> Iterator[Any]:
        """`explain`, one after another."""
        task = self._task_that(Attributes, "explain")
        check_options(self, task.explain, options)
        return task.explain(self.model, texts, **options)

    def neighbors(self, word: str, count: int = 10) -> Any:
        """The words whose embeddings are nearest to a word's, and those farthest; see the task's `neighbors`.

        Raises:
            ConfigError: when the task has no embedding to ask.
            EncodingError: when the vocabulary lacks the word.
        """
        return self._task_that(ComparesWords, "neighbors").neighbors(self.model, word, count)

    def _task_that(self, can: type[_Capability], use: str) -> _Capability:
        """The run's task, which has a capability.

        Args:
            can: one of the protocols of `ostinato.tasks.base`.
            use: one of `ostinato.runs.usable.USES`.

        Raises:
            ConfigError: it has not.
        """
        if not isinstance(self.task, can):
            raise refusal(self.directory, self.task.name, use)
        return self.task


def check_options(run: TrainedRun, use: Callable[..., Any], options: Iterable[str]) -> None:
    """Refuses options that a use of a run's task does not take.

    Raises:
        ConfigError: naming the first of them.
    """
    known = inspect.signature(use).parameters
    for name in options:
        if name not in known:
            raise ConfigError(
                f"{run.directory.path} is a {run.task.name} run, to which the option {name!r} means nothing"
            )


def restore_task(directory: RunDirectory) -> Task:
    """The run's task with its vocabulary, without data and without weights.

    Raises:
        RunError: when the run's settings are damaged.
    """
    config = settings_of(directory)
    task = task_classes(directory.task)[0](config)
    task.restore(directory.vocabulary)
    return task


def load(path: str | os.PathLike[str] | RunDirectory, *, checkpoint: str = "best") -> TrainedRun:
    """Loads a trained run.

    Args:
        path: the run directory.
        checkpoint: `best` (lowest validation loss) or `last`. A `RunWarning` says when that is an older one,
            since a newer one is damaged.

    Raises:
        RunError: when it is no run, damaged, or of a newer version.
    """
    check_checkpoint(checkpoint)
    directory = open_run(path)
    settings_of(directory)  # what is wrong with them is told before the weights are read
    return from_checkpoint(directory, directory.weights(checkpoint))


def from_checkpoint(directory: RunDirectory, saved: Checkpoint, model: Any = None) -> TrainedRun:
    """A run with the weights of a checkpoint that is read already.

    Args:
        directory: the run.
        saved: the checkpoint, with its weights.
        model: the run's network, which then gets these weights; None makes a new one.

    Raises:
        RunError: when it is damaged.
    """
    task = restore_task(directory)
    if model is None:
        model = build(task, saved, directory)
    weights.assign(model, saved.groups["weights"], origin=str(directory.path))
    return TrainedRun(directory, task, model, saved.step)


def build(task: Task, saved: Checkpoint, directory: RunDirectory) -> Any:
    """The network of a run's task, once it is certain that a checkpoint's weights are those of such a one.

    Were it made first, a config of a few bytes could ask for more memory than any machine has.

    Args:
        task: from `restore_task`.
        saved: with its weights, which are not put into the network.
        directory: the run.

    Raises:
        RunError: when the weights are another network's, or the settings are those of none.
        EngineError: when this machine lacks the engine that the run asks for, or OSTINATO_ENGINE is wrong.
    """
    engines.choose(getattr(task.config, "engine", "auto"))
    built = dry_build(lambda: weights.kinds(task.build()))
    if built.result is None:
        reason = quoted(" ".join(str(built.error).split()))
        raise RunError(f"{directory.path} is damaged: its settings make no network: {reason}") from None
    weights.check(built.result, saved.groups["weights"], origin=str(directory.path))
    return task.build()

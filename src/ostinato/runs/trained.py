"""A trained run, ready for use."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from ostinato import engines
from ostinato.errors import ConfigError, RunError, warn
from ostinato.layers.dry_build import dry_build
from ostinato.runs import weights
from ostinato.runs.checkpoints import Checkpoint
from ostinato.runs.directory import RunDirectory, open_run
from ostinato.runs.opened import check_checkpoint, refusal, settings_of
from ostinato.tasks import registry
from ostinato.tasks.abilities import ReadsItsSource
from ostinato.tasks.base import (
    Aligns,
    Answer,
    Attributes,
    ComparesWords,
    Generates,
    Predicts,
    Task,
)
from ostinato.wording import quoted

if TYPE_CHECKING:
    import keras

_Capability = TypeVar("_Capability")


@dataclass(frozen=True)
class TrainedRun:
    """A run directory with its task and its model.

    Attributes:
        directory: the run directory.
        task: for example a `LanguageModel`.
        model: the keras.Model with the trained weights.
        step: the training step of the weights.
    """

    directory: RunDirectory
    task: Task
    model: keras.Model = field(repr=False)
    step: int

    @cached_property
    def use(self) -> object:
        """The use of the network; see `ostinato.tasks.base.Task.use`."""
        use = self.task.use(self.model, self.directory.vocabulary)
        return use.reading(self.directory.source) if isinstance(use, ReadsItsSource) else use

    def generate(self, **options: object) -> list[str]:
        """Writes text; see the `generate` of the task's answers, as in
        `ostinato.tasks.language_model.answers`.

        Raises:
            ConfigError: when the task does not generate, or does not take an option.
        """
        use = self.use_that(Generates, "generate")
        self.check_options(use.generate, options)
        return use.generate(**options)

    def predict(self, texts: Iterable[str], **options: object) -> list[Answer]:
        """Classifies or translates each text; see the `predictions` of the task's answers.

        Args:
            texts: any texts, for example a list.
            **options: for a translator `beam`, an `ostinato.decoding.beam.Beam`.

        Returns:
            For each text a `Prediction`: label, probability, the probabilities of all labels, and whether the
            text was cut or empty. For a translator a `Translation`: the text, its score, the n best
            translations, and whether the source was cut, empty or unknown.

        Raises:
            ConfigError: when the task does not predict, or does not take an option.
        """
        return list(self.predictions(texts, **options))

    def predictions(self, texts: Iterable[str], **options: object) -> Iterator[Answer]:
        """`predict` as an iterator, which reads a few thousand texts at a time."""
        use = self.use_that(Predicts, "predict")
        self.check_options(use.predictions, options)
        return use.predictions(texts, **options)

    def align(self, source: str, target: str) -> Answer:
        """The attention of a translator over a sentence and its translation.

        Args:
            source: a sentence.
            target: its translation, by the model or by someone else.

        Raises:
            ConfigError: when the task does not translate, the model has no attention, or the source is empty.
        """
        return self.use_that(Aligns, "align").align(source, target)

    def attribute(self, texts: Iterable[str], **options: object) -> list[Answer]:
        """Classifies each text, with the contribution of each word to the prediction.

        Args:
            texts: any texts, for example a list.
            **options: for example `steps`.

        Returns:
            For each text an `Attribution`: the prediction, and the words with their contributions.

        Raises:
            ConfigError: when the task does not attribute, or does not take an option.
        """
        return list(self.attributions(texts, **options))

    def attributions(self, texts: Iterable[str], **options: object) -> Iterator[Answer]:
        """`attribute` as an iterator."""
        use = self.use_that(Attributes, "attribute")
        self.check_options(use.attributions, options)
        return use.attributions(texts, **options)

    def neighbors(self, word: str, count: int = 10) -> Answer:
        """The words with the nearest and the farthest embeddings.

        Raises:
            ConfigError: when the task has no word embedding.
            EncodingError: when the vocabulary lacks the word.
        """
        return self.use_that(ComparesWords, "neighbors").neighbors(word, count)

    def explain(self, texts: Iterable[str], **options: object) -> list[Answer]:
        """The older name of `attribute`."""
        warn("run.explain is now called run.attribute", DeprecationWarning)
        return self.attribute(texts, **options)

    def use_that(self, can: type[_Capability], use: str) -> _Capability:
        """The use of the network, checked to have a capability.

        Args:
            can: one of the protocols of `ostinato.tasks.base`.
            use: its name in messages.

        Raises:
            ConfigError: when the network lacks it.
        """
        if not isinstance(self.use, can):
            raise refusal(self.directory, use)
        return self.use

    def check_options(self, use: Callable[..., object], options: Iterable[str]) -> None:
        """Refuses options that a use of the run does not take. Raises ConfigError naming the first."""
        known = inspect.signature(use).parameters
        for name in options:
            if name not in known:
                raise ConfigError(
                    f"{self.directory.path} is a {self.directory.task} run, to which the option {name!r} "
                    "means nothing"
                )


def load(path: str | os.PathLike[str] | RunDirectory, *, checkpoint: str = "best") -> TrainedRun:
    """Loads a trained run.

    Args:
        path: the run directory.
        checkpoint: `best` (by the first validation metric, or the last one if the task found its answers
            better) or `last`. If it is damaged, an older one is loaded, with a `RunWarning`.

    Raises:
        RunError: when the path is not a run, or the run is damaged or of a newer version.
    """
    check_checkpoint(checkpoint)
    directory = open_run(path)
    settings_of(directory)  # reports wrong settings before the weights are read
    return from_checkpoint(directory, directory.weights(checkpoint))


def from_checkpoint(
    directory: RunDirectory, saved: Checkpoint, model: keras.Model | None = None
) -> TrainedRun:
    """A run with the weights of a loaded checkpoint.

    Args:
        directory: the run.
        saved: the checkpoint, with its weights.
        model: the run's network, which receives these weights; None builds a new one.

    Raises:
        RunError: when it is damaged.
    """
    task = registry.make(settings_of(directory))
    if model is None:
        model = build(task, saved, directory)
    weights.assign(model, saved.groups["weights"], origin=str(directory.path))
    return TrainedRun(directory, task, model, saved.step)


def build(task: Task, saved: Checkpoint, directory: RunDirectory) -> keras.Model:
    """The network of a run's task, built after a check that the checkpoint's weights fit it.

    Without the check, a config of a few bytes could ask for more memory than any machine has.

    Args:
        task: the task of the run.
        saved: the checkpoint, whose weights are not assigned here.
        directory: the run.

    Raises:
        RunError: when the weights belong to another network, or the settings do not make a network.
        EngineError: when this machine lacks the engine of the run, or OSTINATO_ENGINE is wrong.
    """
    engines.choose(directory.task_config.get("engine", "auto"))
    vocabulary = directory.vocabulary
    built = dry_build(lambda: weights.kinds(task.build(vocabulary)))
    if isinstance(built.error, RunError):
        raise built.error
    if built.result is None:
        reason = quoted(" ".join(str(built.error).split()))
        raise RunError(f"{directory.path} is damaged: its settings make no network: {reason}") from None
    weights.check(built.result, saved.groups["weights"], origin=str(directory.path))
    return task.build(vocabulary)

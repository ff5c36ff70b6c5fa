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
from ostinato.tasks.base import Aligns, Answer, Attributes, ComparesWords, Generates, Predicts, Task
from ostinato.wording import quoted

if TYPE_CHECKING:
    import keras

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
    model: keras.Model = field(repr=False)
    step: int

    @cached_property
    def use(self) -> object:
        """What the network can do; see `ostinato.tasks.base.Task.use`."""
        return self.task.use(self.model, self.directory.vocabulary)

    def generate(self, **options: object) -> list[str]:
        """Writes text; see the `generate` of the task's answers, as in
        `ostinato.tasks.language_model.answers`.

        Raises:
            ConfigError: the task does not generate, or takes no such option.
        """
        use = self.use_that(Generates, "generate")
        self.check_options(use.generate, options)
        return use.generate(**options)

    def predict(self, texts: Iterable[str], **options: object) -> list[Answer]:
        """Says what each text is, or translates it; see the `predictions` of the task's answers.

        Args:
            texts: any texts, for example a list.
            **options: of a translator `beam`, an `ostinato.decoding.beam.Beam`.

        Returns:
            One `Prediction` a text: label, probability, the probabilities of all labels, and what was odd. Of
            a translator one `Translation`: the text, its score, the n best, and what was odd.

        Raises:
            ConfigError: the task does not predict, or takes no such option.
        """
        return list(self.predictions(texts, **options))

    def predictions(self, texts: Iterable[str], **options: object) -> Iterator[Answer]:
        """`predict`, one after another while the texts come in, a few thousand at a time."""
        use = self.use_that(Predicts, "predict")
        self.check_options(use.predictions, options)
        return use.predictions(texts, **options)

    def align(self, source: str, target: str) -> Answer:
        """Where a translator looks while it reads a translation.

        Args:
            source: a sentence.
            target: its translation, the model's own or another.

        Raises:
            ConfigError: the task does not translate, the model has no attention, or the source is empty.
        """
        return self.use_that(Aligns, "align").align(source, target)

    def attribute(self, texts: Iterable[str], **options: object) -> list[Answer]:
        """Says what each text is, and how each of its words moved that.

        Args:
            texts: any texts, for example a list.
            **options: for example `steps`.

        Returns:
            One `Attribution` a text: the prediction, and the words with what each contributed.

        Raises:
            ConfigError: the task does not attribute, or takes no such option.
        """
        return list(self.attributions(texts, **options))

    def attributions(self, texts: Iterable[str], **options: object) -> Iterator[Answer]:
        """`attribute`, one after another."""
        use = self.use_that(Attributes, "attribute")
        self.check_options(use.attributions, options)
        return use.attributions(texts, **options)

    def neighbors(self, word: str, count: int = 10) -> Answer:
        """The words whose embeddings are nearest to a word's, and those farthest.

        Raises:
            ConfigError: the task has no embedding to ask.
            EncodingError: the vocabulary lacks the word.
        """
        return self.use_that(ComparesWords, "neighbors").neighbors(word, count)

    def explain(self, texts: Iterable[str], **options: object) -> list[Answer]:
        """The older name of `attribute`."""
        warn("run.explain is now called run.attribute", DeprecationWarning)
        return self.attribute(texts, **options)

    def use_that(self, can: type[_Capability], use: str) -> _Capability:
        """The use of the network, which has a capability.

        Args:
            can: one of the protocols of `ostinato.tasks.base`.
            use: what it is called in messages.

        Raises:
            ConfigError: it has not.
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
        checkpoint: `best` (by the first validation metric) or `last`. A `RunWarning` says when that is an
            older one, since a newer one is damaged.

    Raises:
        RunError: when it is no run, damaged, or of a newer version.
    """
    check_checkpoint(checkpoint)
    directory = open_run(path)
    settings_of(directory)  # what is wrong with them is told before the weights are read
    return from_checkpoint(directory, directory.weights(checkpoint))


def from_checkpoint(
    directory: RunDirectory, saved: Checkpoint, model: keras.Model | None = None
) -> TrainedRun:
    """A run with the weights of a checkpoint that is read already.

    Args:
        directory: the run.
        saved: the checkpoint, with its weights.
        model: the run's network, which then gets these weights; None makes a new one.

    Raises:
        RunError: when it is damaged.
    """
    task = registry.make(settings_of(directory))
    if model is None:
        model = build(task, saved, directory)
    weights.assign(model, saved.groups["weights"], origin=str(directory.path))
    return TrainedRun(directory, task, model, saved.step)


def build(task: Task, saved: Checkpoint, directory: RunDirectory) -> keras.Model:
    """The network of a run's task, once it is certain that a checkpoint's weights are those of such a
    network.

    Were it made first, a config of a few bytes could ask for more memory than any machine has.

    Args:
        task: of the run.
        saved: with its weights, which are not put into the network.
        directory: the run.

    Raises:
        RunError: when the weights are another network's, or the settings are those of none.
        EngineError: when this machine lacks the engine that the run asks for, or OSTINATO_ENGINE is wrong.
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

"""A trained run, ready for use."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ostinato.errors import ConfigError, RunError
from ostinato.runs import weights
from ostinato.runs.directory import RunDirectory, open_run
from ostinato.tasks import task_classes


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
    task: Any
    model: Any
    step: int

    def generate(self, **options: Any) -> list[str]:
        """Writes text; see the task's `generate`.

        Raises:
            ConfigError: when the task does not generate.
        """
        if not hasattr(self.task, "generate"):
            raise ConfigError(
                f"{self.directory.path} is a {self.task.name} run, which does not generate text"
            )
        return self.task.generate(self.model, **options)

    def predict(self, texts: Iterable[str]) -> list[Any]:
        """Says what each text is; see the task's `predict`.

        Args:
            texts: any texts, for example a list.

        Returns:
            One `Prediction` a text: label, probability, the probabilities of all labels, and what was odd.

        Raises:
            ConfigError: when the task does not predict.
        """
        return list(self.predictions(texts))

    def predictions(self, texts: Iterable[str]) -> Iterator[Any]:
        """`predict`, one after another while the texts come in, a few thousand at a time."""
        if not hasattr(self.task, "predictions"):
            raise ConfigError(
                f"{self.directory.path} is a {self.task.name} run, which does not predict labels; "
                "ostinato train classify trains one that does"
            )
        return self.task.predictions(self.model, texts)

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
        if not hasattr(self.task, "explain"):
            raise ConfigError(
                f"{self.directory.path} is a {self.task.name} run, which has no decisions to explain; "
                "ostinato train classify trains one that does"
            )
        return self.task.explain(self.model, texts, **options)

    def neighbors(self, word: str, count: int = 10) -> Any:
        """The words whose embeddings are nearest to a word's, and those farthest; see the task's `neighbors`.

        Raises:
            ConfigError: when the task has no embedding to ask.
            EncodingError: when the vocabulary lacks the word.
        """
        if not hasattr(self.task, "neighbors"):
            raise ConfigError(
                f"{self.directory.path} is a {self.task.name} run, which has no neighbors of words"
            )
        return self.task.neighbors(self.model, word, count)


def restore_task(directory: RunDirectory) -> Any:
    """The run's task with its vocabulary, without data and without weights.

    Raises:
        RunError: when the run's settings are damaged.
    """
    task_class, config_class = task_classes(directory.task)
    try:
        config = config_class(**directory.task_config)
    except (ConfigError, TypeError) as error:
        raise RunError(f"{directory.path / 'config.json'} is damaged: {error}") from None
    task = task_class(config)
    task.restore(directory.vocabulary)
    return task


def load(path: str | os.PathLike[str], *, checkpoint: str = "best") -> TrainedRun:
    """Loads a trained run.

    Args:
        path: the run directory.
        checkpoint: `best` (lowest validation loss) or `last`.

    Raises:
        RunError: when it is no run, damaged, or of a newer version.
    """
    if checkpoint not in ("best", "last"):
        raise ConfigError(f"checkpoint = {checkpoint!r}: expected 'best' or 'last'")
    directory = open_run(path)
    task = restore_task(directory)
    saved = directory.weights(checkpoint)
    model = task.build()
    weights.assign(model, saved.groups["weights"], origin=str(directory.path))
    return TrainedRun(directory, task, model, saved.step)

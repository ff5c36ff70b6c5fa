"""Runs, looked at before TensorFlow is imported, which takes seconds: whether a command can use them."""

from __future__ import annotations

from contextlib import suppress
from os import PathLike
from typing import Any, NamedTuple

from ostinato.data.encoders.registry import Encoder, encoder_from_json
from ostinato.data.examples.sentences import Sentences, sentences_from_json
from ostinato.data.sources.corpora import open_corpus, reopen
from ostinato.data.sources.pairs import open_pairs
from ostinato.data.sources.tables import open_table, open_table_like
from ostinato.errors import ConfigError, RunError
from ostinato.runs.checkpoints import Checkpoint
from ostinato.runs.directory import RunDirectory, open_run
from ostinato.runs.usable import check_checkpoint, check_use, settings_of


class Opened(NamedTuple):
    """A run whose network is not made yet.

    Attributes:
        directory: where it lies.
        config: its task's settings.
        saved: the checkpoint that was asked for, with its weights.
    """

    directory: RunDirectory
    config: Any
    saved: Checkpoint

    def loaded(self) -> Any:
        """The `TrainedRun`; imports TensorFlow."""
        from ostinato.runs.trained import from_checkpoint

        return from_checkpoint(self.directory, self.saved)


def open_for(use: str | None, path: str | PathLike[str], checkpoint: str) -> Opened:
    """The run that a command uses.

    Args:
        use: one of `ostinato.runs.usable.USES`; None is one that all tasks have.
        path: the run directory.
        checkpoint: `best` or `last`.

    Raises:
        ConfigError: the task cannot do this, or `checkpoint` is neither "best" nor "last".
        RunError: the path is not a run directory, is damaged, or was written by a newer version.
    """
    check_checkpoint(checkpoint)
    directory = open_run(path)
    config = settings_of(directory)
    if use is not None:
        check_use(directory, use)
    return Opened(directory, config, directory.weights(checkpoint))


def check_start(path: str | PathLike[str], task: str) -> None:
    """Refuses a run that a training of another kind of network would start from.

    Args:
        path: the run directory.
        task: the task of the new run.

    Raises:
        ConfigError: the run is of another task.
        RunError: the path is not a run directory, is damaged, or was written by a newer version.
    """
    directory = open_run(path)
    if directory.task != task:
        raise ConfigError(f"{directory.path} is a {directory.task} run, not a {task} run")
    settings_of(directory)
    directory.newest_checkpoint(())


def check_resume(path: str | PathLike[str]) -> None:
    """Refuses a run that cannot go on. Raises RunError; SourceError when its source is not there any more."""
    directory = open_run(path)
    settings_of(directory)
    checkpoint, _ = directory.newest_checkpoint(())
    if checkpoint.position.get("ended") is None:
        check_own_source(directory)


def check_own_source(directory: RunDirectory) -> None:
    """Refuses a run whose own source is not there any more. Raises SourceError."""
    # What is wrong with the description itself, `ostinato.training.source` says.
    with suppress(KeyError, TypeError, AttributeError, RunError):
        described = directory.source["description"]
        if directory.task == "language_model":
            reopen(described)
        elif directory.task == "translator":
            open_pairs(dict(described))
        else:
            for one in (described["table"], described["validation"]):
                if one is not None:
                    open_table(dict(one))


def open_source(directory: RunDirectory, source: str) -> Any:
    """A source to judge a run on, opened as its task takes it. Raises SourceError."""
    if directory.task == "language_model":
        return open_corpus(source)
    if directory.task == "translator":
        return open_pairs(source)
    columns = directory.vocabulary.get("columns")
    named = isinstance(columns, list) and [type(name) for name in columns] == [str, str]
    skip = directory.vocabulary.get("skip_bad_rows", False)
    known = (columns[0], columns[1]) if columns and named else None
    return open_table_like(source, known, skip_bad_rows=skip is True)


def encoder_of(directory: RunDirectory) -> Encoder:
    """The encoder of a language model or classifier. Raises RunError when it is damaged."""
    vocabulary = directory.vocabulary
    return encoder_from_json(
        vocabulary if directory.task == "language_model" else vocabulary.get("encoder", {})
    )


def target_sentences(directory: RunDirectory) -> Sentences:
    """The target side of a translator's vocabulary. Raises RunError when it is damaged."""
    return sentences_from_json(directory.vocabulary.get("target", {}))

"""Starting a training from the weights of another run, perhaps with new symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import safetensors.numpy

from ostinato.errors import ConfigError, EncodingError
from ostinato.runs import weights
from ostinato.runs.trained import TrainedRun
from ostinato.tasks.abilities import Extends, Prepares
from ostinato.tasks.base import Data, Json, OnProgress, Task
from ostinato.training.workers import Workers
from ostinato.wording import option

if TYPE_CHECKING:
    import keras


class Start:
    """What a new run begins with.

    Args:
        base: the run whose weights it begins with; None begins with new ones.
        extend: whether its vocabulary is extended by the symbols of the source.

    Raises:
        ConfigError: when there is no vocabulary to extend.
    """

    def __init__(self, base: TrainedRun | None, extend: bool):
        if extend and base is None:
            raise ConfigError(
                f"{option('extend_vocabulary', True)} extends that of another run; name the run with "
                f"{option('init_from')}"
            )
        self._base, self._extend = base, extend
        self._places: np.ndarray | None = None

    def read(self, task: Task, source: object, on_progress: OnProgress | None) -> Data:
        """Reads the source with the vocabulary of the run to start from, perhaps extended.

        Raises:
            ConfigError: when the task cannot extend a vocabulary, or this one knows every text.
            EncodingError: when the vocabulary lacks symbols of the source.
        """
        if self._base is None:
            return task.read(source, on_progress=on_progress)
        vocabulary: Json = self._base.directory.vocabulary
        if self._extend:
            if not isinstance(task, Extends):
                raise ConfigError(
                    f"{option('extend_vocabulary', True)} is for language models; other runs read what they "
                    "do not know as unknown, and leave unknown characters out"
                )
            vocabulary, self._places = task.extended(source, vocabulary, on_progress)
        try:
            return task.read(source, vocabulary=vocabulary, on_progress=on_progress)
        except EncodingError as error:
            adds = f"; {option('extend_vocabulary', True)} adds them"
            way_out = adds if isinstance(task, Extends) else ""
            raise EncodingError(
                f"the vocabulary of {self._base.directory.path} does not fit the source: {error}{way_out}"
            ) from None

    def assign(self, model: keras.Model) -> None:
        """Sets the weights of the run to start from. Raises RunError when they do not fit."""
        if self._base is not None:
            arrays = weights.to_arrays(self._base.model)
            if self._places is not None:
                arrays = weights.extended(model, arrays, self._places)
            weights.assign(model, arrays, origin=str(self._base.directory.path))

    def prepare(self, task: Task, model: keras.Model, data: Data, workers: Workers) -> tuple[str, ...]:
        """Sets the weights that a task finds from the data; the chief finds them for all workers.

        Returns:
            Sentences for the user.
        """
        if not isinstance(task, Prepares):
            return ()
        notes: tuple[str, ...] = ()
        with workers.all_or_none():
            if workers.chief:
                notes = task.prepare(model, data)
        if workers.count > 1:
            found = safetensors.numpy.save(weights.to_arrays(model)) if workers.chief else b""
            arrays = safetensors.numpy.load(workers.broadcast_bytes(0, found))
            weights.assign(model, arrays, origin="worker 0")
        return notes

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user."""
        if self._base is None:
            return ()
        note = f"starting from the weights of {self._base.directory.path}, step {self._base.step}"
        if self._places is None:
            return (note,)
        return (note, "the vocabulary is extended by the new symbols of the source")

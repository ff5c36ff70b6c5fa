"""What a task's network gives to exports: functions of tensors, and what its numbers stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import tensorflow as tf

from ostinato.cells.base import StateSpec


class ExportedInput(NamedTuple):
    """An input.

    Attributes:
        name: its name.
        shape: with the batch first; None is an open size.
        dtype: its dtype.
        ids: the half-open range of ids that it holds; None when it holds none.
        axis: a word for the size of its second axis; inputs with the same word have the same size.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    ids: tuple[int, int] | None = None
    axis: str = "time"


class Exported(NamedTuple):
    """A part of a network, as a function.

    Attributes:
        part: the name of the part, "" for the whole; files of other parts are called x.PART.onnx.
        inputs: what it reads.
        states: the state that goes round.
        outputs: the names of its results.
        run: maps inputs and states to outputs and the next states.
        metadata: JSON by the name that files have it under: "vocabulary", "labels".
    """

    part: str
    inputs: tuple[ExportedInput, ...]
    states: tuple[StateSpec, ...]
    outputs: tuple[str, ...]
    run: Callable[[Sequence[tf.Tensor], Sequence[tf.Tensor]], tuple[list[tf.Tensor], list[tf.Tensor]]]
    metadata: Mapping[str, str]


@runtime_checkable
class Exports(Protocol):
    """The use of a network that other programs can run."""

    def exported(self) -> Sequence[Exported]:
        """The parts of the network, the main one first.

        Raises:
            ConfigError: a setting of the network cannot be exported.
        """
        ...

"""The state between two calls of a program: one array in memory, so that a call copies it at once."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from ostinato.errors import ConfigError
from ostinato.runtime.library import address


class State(Sequence[np.ndarray]):
    """The states of all recurrences, in order: arrays (batch, units) of float32, h and for the LSTM c.

    A sequence of arrays. They lie side by side in memory; what is written to one changes the state.
    """

    __slots__ = ("batch", "numbers", "sizes")

    def __init__(self, numbers: np.ndarray, sizes: Sizes, batch: int):
        self.numbers, self.sizes, self.batch = numbers, sizes, batch

    def __len__(self) -> int:
        return len(self.sizes.units)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._arrays())

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[np.ndarray, ...]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | tuple[np.ndarray, ...]:
        return self._arrays()[index]

    def __repr__(self) -> str:
        return f"State({self._arrays()!r})"

    def _arrays(self) -> tuple[np.ndarray, ...]:
        begin = self.sizes.begins(self.batch)
        pieces = itertools.pairwise((*begin, len(self.numbers)))
        return tuple(self.numbers[first:last].reshape(self.batch, -1) for first, last in pieces)


class Sizes:
    """The units of each array of a state."""

    def __init__(self, units: Sequence[int]):
        self.units = tuple(units)
        self._pack = struct.Struct(f"{len(self.units)}P").pack
        self._before = tuple(itertools.accumulate(self.units, initial=0))  # units before each array
        self._offsets: tuple[int, tuple[int, ...]] = (
            0,
            (),
        )  # of the last batch: its rows, bytes before each array

    def begins(self, batch: int) -> tuple[int, ...]:
        """The number that each array of a batch begins with."""
        return tuple(batch * before for before in self._before[:-1])

    def zeros(self, batch: int) -> State:
        """The state before the first step."""
        return State(np.zeros(batch * self._before[-1], np.float32), self, batch)

    def copied(self, state: Sequence[np.ndarray], batch: int) -> tuple[State, bytes]:
        """A copy of a state, and the addresses of its arrays.

        Raises:
            ConfigError: the state has other shapes.
        """
        if type(state) is State and state.batch == batch and state.sizes.units == self.units:
            numbers = state.numbers.copy()
        else:
            self._check(state, batch)
            parts = [np.asarray(each, np.float32).reshape(-1) for each in state]
            numbers = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        rows, offsets = self._offsets
        if rows != batch:
            offsets = tuple(4 * first for first in self.begins(batch))
            self._offsets = batch, offsets
        begin = address(numbers)
        return State(numbers, self, batch), self._pack(*[begin + offset for offset in offsets])

    def _check(self, state: Sequence[np.ndarray], batch: int) -> None:
        wanted = [(batch, units) for units in self.units]
        given = [np.shape(each) for each in state]
        if wanted != given:
            raise ConfigError(f"the state must be arrays of the shapes {wanted}, got {given}")

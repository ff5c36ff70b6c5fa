"""The keys that a model knows, and how the network has them: from the highest to the lowest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ostinato.data.events.midi import KEYS
from ostinato.data.events.rolls import LOWEST, PIANO
from ostinato.errors import ConfigError, RunError
from ostinato.tasks.base import Json


@dataclass(frozen=True)
class Keyboard:
    """A range of keys and the length of a step.

    Attributes:
        lowest: MIDI's number of the lowest key.
        size: the number of keys.
        grid: steps of a quarter note.
    """

    lowest: int
    size: int
    grid: int

    @classmethod
    def of(cls, rolls: list[np.ndarray], grid: int) -> Self:
        """A piano's keys, and those that the rolls have beyond."""
        used = np.flatnonzero(np.any([roll.any(axis=0) for roll in rolls], axis=0))
        first, last = min(LOWEST, int(used.min(initial=LOWEST))), LOWEST + PIANO - 1
        last = max(last, int(used.max(initial=last)))
        return cls(first, last + 1 - first, grid)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """The inverse of `to_json`. Raises RunError when the data is malformed."""
        names = ("lowest", "size", "grid")
        if isinstance(data, dict) and all(type(data.get(name)) is int for name in names):
            found = cls(*(data[name] for name in names))
            if found.lowest >= 0 and 1 <= found.size <= KEYS - found.lowest and 1 <= found.grid <= 480:
                return found
        raise RunError("the keyboard of the run is damaged: it must have lowest, size and grid")

    def to_json(self) -> Json:
        return {"lowest": self.lowest, "size": self.size, "grid": self.grid}

    def chords(self, roll: np.ndarray) -> np.ndarray:
        """Which keys sound at each step of a roll, the highest first: bool (steps, size).

        Raises:
            ConfigError: the roll has other keys.
        """
        outside = np.flatnonzero(roll.any(axis=0))
        outside = outside[(outside < self.lowest) | (outside >= self.lowest + self.size)]
        if len(outside):
            raise ConfigError(
                f"keys must be {self.lowest} to {self.lowest + self.size - 1}, those of the model, got "
                f"{', '.join(map(str, outside[:5]))}{', …' if len(outside) > 5 else ''}"
            )
        return roll[:, self.lowest : self.lowest + self.size][:, ::-1] > 0

    def roll(self, chords: np.ndarray) -> np.ndarray:
        """The keys of all 128 that sound at each step, bool (steps, 128): the inverse of `chords`."""
        keys = np.zeros((len(chords), KEYS), bool)
        keys[:, self.lowest : self.lowest + self.size] = chords[:, ::-1]
        return keys

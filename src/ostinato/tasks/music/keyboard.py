"""The keys that a model knows, and how the network has them: from the highest to the lowest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ostinato.data.events.midi import KEYS, STRUCK, as_roll
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
        onsets: whether chords tell a key that is struck again from one that is held.
    """

    lowest: int
    size: int
    grid: int
    onsets: bool = False

    @classmethod
    def of(cls, rolls: list[np.ndarray], grid: int, onsets: bool) -> Self:
        """A piano's keys, and those that the rolls have beyond."""
        used = np.flatnonzero(np.any([roll.any(axis=0) for roll in rolls], axis=0))
        first, last = min(LOWEST, int(used.min(initial=LOWEST))), LOWEST + PIANO - 1
        last = max(last, int(used.max(initial=last)))
        return cls(first, last + 1 - first, grid, onsets)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """The inverse of `to_json`. Raises RunError when the data is malformed."""
        names = ("lowest", "size", "grid")
        if isinstance(data, dict) and all(type(data.get(name)) is int for name in names):
            found = cls(*(data[name] for name in names), onsets=data.get("onsets") is True)
            if found.lowest >= 0 and 1 <= found.size <= KEYS - found.lowest and 1 <= found.grid <= 480:
                return found
        raise RunError("the keyboard of the run is damaged: it must have lowest, size and grid")

    def to_json(self) -> Json:
        return {"lowest": self.lowest, "size": self.size, "grid": self.grid, "onsets": self.onsets}

    @property
    def width(self) -> int:
        """The number of values of a chord."""
        return 2 * self.size if self.onsets else self.size

    def chords(self, roll: np.ndarray) -> np.ndarray:
        """Which keys sound at each step of a roll, the highest first, and then, with onsets, which of those
        that sounded before are struck again: bool (steps, width).

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
        own = as_roll(roll)[:, self.lowest : self.lowest + self.size][:, ::-1]
        if not self.onsets:
            return own > 0
        again = own == STRUCK
        again[:1] = False
        again[1:] &= own[:-1] > 0
        return np.concatenate([own > 0, again], axis=1)

    def roll(self, chords: np.ndarray) -> np.ndarray:
        """What each of all 128 keys does at each step, uint8 (steps, 128): the inverse of `chords`."""
        keys, again = (np.zeros((len(chords), KEYS), bool) for _ in range(2))
        keys[:, self.lowest : self.lowest + self.size] = chords[:, : self.size][:, ::-1]
        again[:, self.lowest : self.lowest + self.size] = (
            chords[:, self.size :][:, ::-1] if self.onsets else False
        )
        return np.where(keys & again, STRUCK, as_roll(keys)).astype(np.uint8)

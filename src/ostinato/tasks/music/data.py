"""Pieces of music in parts, and their batches: every row reads piece after piece, in windows."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ostinato.data.batches.shards import rows_of
from ostinato.data.events.rolls import Parts, content_hash
from ostinato.data.examples.splits import random_parts
from ostinato.errors import ConfigError, SourceError
from ostinato.tasks.base import PARTS, Batch, Json, OnProgress
from ostinato.tasks.music.config import MusicConfig
from ostinato.tasks.music.keyboard import Keyboard
from ostinato.tasks.music.pieces import read_pieces, usual_grid
from ostinato.tasks.music.source import Music


@dataclass(frozen=True, eq=False)
class MusicPart:
    """A `Part` of pieces. A window is of one piece; the next one of its row continues it, or begins another.

    Attributes:
        pieces: the chords of each piece, bool (steps, width), see `Keyboard.chords`.
        keys: the number of keys.
        config: the settings of the task.
    """

    pieces: tuple[np.ndarray, ...] = field(repr=False)
    keys: int
    config: MusicConfig
    signature: None = None
    carries_state: bool = True

    @property
    def rows(self) -> int:
        return min(self.config.batch, len(self.pieces))

    @property
    def steps(self) -> int:
        return self._most_windows

    @cached_property
    def _most_windows(self) -> int:
        return max(sum(self._windows(piece) for piece in row) for row in self._plan(None))

    def batches(
        self, *, epoch: int | None = None, start: int = 0, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """Batches of {"chords", "weights", "begins", "first_row"}.

        Their shapes are (rows, 1 + time, width), (rows, time), (rows,) and ().
        `chords` begins with the one before the window, which is silent where a piece begins.
        """
        rows, length, steps = rows_of(shard, self.rows), self.config.seq_len, self.steps
        plan = self._plan(epoch)
        readers = [self._windows_of(plan[row], epoch) for row in rows]
        for number in range(steps):
            windows = [next(reader, None) for reader in readers]
            if number < start:
                continue
            shape = len(windows), 1 + length, self.pieces[0].shape[1]
            chords, weights = np.zeros(shape, np.float32), np.zeros((len(windows), length), np.float32)
            begins = np.zeros(len(windows), np.float32)
            for row, window in enumerate(windows):
                if window is not None:
                    first, content = window
                    begins[row] = first
                    chords[row, : len(content)] = content
                    weights[row, : len(content) - 1] = 1.0
            yield {"chords": chords, "weights": weights, "begins": begins, "first_row": rows.start}

    def _windows(self, number: int) -> int:
        return -(-len(self.pieces[number]) // self.config.seq_len)

    def _plan(self, epoch: int | None) -> list[list[int]]:
        """The pieces of each row in their order: long ones first to the shortest row, then shuffled.

        Pieces of as many windows change places, so an epoch has as many batches as any other.
        """
        order = np.arange(len(self.pieces))
        random = None if epoch is None else np.random.default_rng([self.config.seed, epoch, 0])
        if random is not None:
            random.shuffle(order)
        order = sorted(order.tolist(), key=self._windows, reverse=True)
        rows = [(0, row, []) for row in range(self.rows)]
        for number in order:
            load, row, pieces = heapq.heappop(rows)
            pieces.append(number)
            heapq.heappush(rows, (load + self._windows(number), row, pieces))
        plan = [pieces for _, _, pieces in sorted(rows, key=lambda row: row[1])]
        for pieces in plan:
            if random is not None:
                random.shuffle(pieces)
        return plan

    def _windows_of(self, numbers: Sequence[int], epoch: int | None) -> Iterator[tuple[bool, np.ndarray]]:
        """(whether a piece begins, chords from the one before on) of the windows of some pieces."""
        length = self.config.seq_len
        for number in numbers:
            chords = self.pieces[number]
            if epoch is not None and self.config.transpose:
                chords = self._transposed(chords, np.random.default_rng([self.config.seed, epoch, 1, number]))
            padded = np.concatenate([np.zeros((1, chords.shape[1]), bool), chords])
            for first in range(0, len(chords), length):
                yield first == 0, padded[first : first + length + 1]

    def _transposed(self, chords: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The chords, moved by up to `transpose` semitones within the keyboard."""
        of_keys = chords.reshape(len(chords), -1, self.keys)
        used = np.flatnonzero(of_keys.any(axis=(0, 1)))
        if not len(used):
            return chords
        most = self.config.transpose
        up, down = min(most, int(used[0])), min(most, self.keys - 1 - int(used[-1]))
        moved = np.roll(of_keys, random.integers(-up, down + 1), axis=2)  # the highest key is the first
        return moved.reshape(chords.shape)


@dataclass(frozen=True, eq=False)
class MusicData:
    """Pieces; see `ostinato.tasks.base.Data`."""

    config: MusicConfig
    keyboard: Keyboard
    parts: dict[str, tuple[np.ndarray, ...]] = field(repr=False)
    _music: Music
    _content: str
    notes: tuple[str, ...] = ()

    @property
    def vocabulary(self) -> Json:
        """The keyboard as JSON."""
        return self.keyboard.to_json()

    @property
    def source(self) -> Json:
        """The description of the source, and the hash of its rolls."""
        return {"description": self._music.describe(), "sha256": self._content}

    def part(self, name: str) -> MusicPart | None:
        pieces = self.parts[name]
        return MusicPart(pieces, self.keyboard.size, self.config) if pieces else None


def read(
    config: MusicConfig, music: Music, keyboard: Keyboard | None, whole: bool, on_progress: OnProgress | None
) -> MusicData:
    """Reads pieces; see `ostinato.tasks.base.Task.read`.

    Args:
        config, whole, on_progress: as there.
        music: the source.
        keyboard: that of earlier data; None takes that of the pieces.

    Raises:
        SourceError: when nothing can be read, or training or validation would have no piece.
        ConfigError: when pieces have keys that the given keyboard lacks.
    """
    grid = keyboard.grid if keyboard is not None else config.grid or usual_grid(music)
    found, notes = read_pieces(music, grid, on_progress)
    parts = _divided(config, found, whole, music.name)
    rolls = [roll for name in PARTS for roll in parts[name]]
    keyboard = keyboard or Keyboard.of(rolls, grid, _tells_onsets(config, music))
    chords = {name: tuple(keyboard.chords(roll) for roll in pieces) for name, pieces in parts.items()}
    sizes = (f"{len(pieces):,} for {name}" for name, pieces in chords.items() if pieces)
    notes.append(f"pieces: {', '.join(sizes)}; {sum(map(len, rolls)):,} steps, {grid} to a quarter note")
    return MusicData(config, keyboard, chords, music, content_hash(rolls), tuple(notes))


def _tells_onsets(config: MusicConfig, music: Music) -> bool:
    """Whether chords say which keys are struck again. Raises ConfigError where the source does not."""
    if config.onsets and music.kind == "rolls":
        raise ConfigError(
            f"--onsets needs MIDI or ABC; the piano rolls of {music.name} do not say what is struck again"
        )
    return music.kind != "rolls" if config.onsets is None else config.onsets


def _divided(config: MusicConfig, found: Parts, whole: bool, name: str) -> Parts:
    """The parts of the source itself or, where it has one alone, drawn at random."""
    rolls = [roll for part in PARTS for roll in found[part]]
    if whole and rolls:
        return {"train": rolls, "validation": [], "test": []}
    if any(found[part] for part in PARTS[1:]):
        if not found["train"]:
            raise SourceError(f"{name} must have a training part with notes, got only others")
        return found
    if len(rolls) < 2:
        raise SourceError(
            f"{name} must have at least two pieces with notes, one to train on and one for validation, got "
            f"{len(rolls)}"
        )
    drawn = random_parts(
        np.zeros(len(rolls), np.int64), config.validation_fraction, config.test_fraction, config.seed
    )
    parts = {part: [rolls[number] for number in numbers.tolist()] for part, numbers in drawn.items()}
    for other in ("validation", "test"):  # one piece at least to train on, and one for validation
        if parts[other] and not parts["train"]:
            parts["train"].append(parts[other].pop())
    if config.validation_fraction and not parts["validation"]:
        parts["validation"].append(parts["test" if len(parts["train"]) < 2 else "train"].pop())
    return parts

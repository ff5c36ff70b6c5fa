"""Tunes in ABC notation: a file of them cut apart, and rolls written as one.

Reading their notes and bars is the work of `ostinato.data.events.scores`.

Source: the ABC music standard 2.1 (abcnotation.com).
"""

from __future__ import annotations

import itertools
import re

import numpy as np

from ostinato.data.events.midi import notes
from ostinato.errors import ConfigError

FINEST = 64
"""The finest grid that is written: steps of a quarter note."""
_BEGINS = re.compile(r"^X:", re.MULTILINE)
_LETTERS = ("C", "^C", "D", "^D", "E", "F", "^F", "G", "^G", "A", "^A", "B")
_BAR = 4  # quarter notes
_A_LINE = 4  # bars


def tunes(text: str) -> list[str]:
    """The tunes of a file, each from its `X:` to the next. What stands before the first is left out."""
    begins = [found.start() for found in _BEGINS.finditer(text)]
    return [text[begin:end] for begin, end in itertools.pairwise([*begins, len(text)])]


def check_grid(grid: int) -> None:
    """Refuses a grid whose steps have no note value. Raises ConfigError."""
    if grid & (grid - 1) or grid > FINEST:
        raise ConfigError(
            f"for ABC a quarter note must have 1, 2, 4, … or {FINEST} steps, got a grid of {grid}; write a "
            ".mid file"
        )


def to_abc(roll: np.ndarray, grid: int, tempo: float, title: str) -> str:
    """A roll as one tune in bars of 4/4, with as many voices as sound together.

    Args:
        roll: see `ostinato.data.events.midi.write`.
        grid: steps of a quarter note: 1, 2, 4, … 64.
        tempo: quarter notes of a minute.
        title: the name of the tune.

    Raises:
        ConfigError: the grid has other steps.
    """
    check_grid(grid)
    head = ["X:1", f"T:{title}", "M:4/4", f"L:1/{4 * grid}", f"Q:1/4={max(1, round(tempo))}", "K:C"]
    lines = []
    for number, voice in enumerate(_voices(notes(roll)), 1):
        lines += [f"V:{number}", *_lines(voice, len(roll), _BAR * grid)]
    return "\n".join([*head, *lines]) + "\n"


_Note = tuple[int, int, int]  # first step, step after the last, key


def _voices(found: list[_Note]) -> list[list[_Note]]:
    """Notes in voices, in each of which no two overlap: a note goes where the last key was nearest."""
    voices: list[list[_Note]] = [[]]
    for note in sorted(found, key=lambda note: (note[0], -note[2])):
        free = [voice for voice in voices if not voice or voice[-1][1] <= note[0]]
        if not free:
            voices.append(free_one := [])
            free = [free_one]
        min(free, key=lambda voice: abs(voice[-1][2] - note[2]) if voice else 0).append(note)
    return voices


def _lines(voice: list[_Note], steps: int, bar: int) -> list[str]:
    """A voice in lines of some bars; notes across a bar line are tied."""
    bars: list[list[str]] = [[] for _ in range(max(1, -(-steps // bar)))]
    altered: list[set[str]] = [set() for _ in bars]  # letters that have had an accidental in the bar
    now = 0
    for first, last, key in [*voice, (steps, steps, -1)]:
        for part, begin, end in _parts(now, first, bar):
            bars[part].append(f"z{_length(end - begin)}")
        for part, begin, end in _parts(first, last, bar):
            tie = "-" if end < last else ""
            bars[part].append(f"{_pitch(key, altered[part])}{_length(end - begin)}{tie}")
        now = last
    texts = [" ".join(each) for each in bars]
    return [f"{' | '.join(texts[first : first + _A_LINE])} |" for first in range(0, len(texts), _A_LINE)]


def _parts(first: int, last: int, bar: int) -> list[tuple[int, int, int]]:
    """(bar, first step, step after the last) of a stretch, cut at bar lines."""
    cuts = [first, *range((first // bar + 1) * bar, last, bar), last]
    return [(begin // bar, begin, end) for begin, end in itertools.pairwise(cuts) if begin < end]


def _length(steps: int) -> str:
    return "" if steps == 1 else str(steps)


def _pitch(key: int, altered: set[str]) -> str:
    """A key as ABC writes it in C major, for a bar in which some letters are already altered."""
    sign, letter = _LETTERS[key % 12][:-1], _LETTERS[key % 12][-1]
    sign = sign or ("=" if letter in altered else "")
    if sign == "^":
        altered.add(letter)
    octave = key // 12 - 5  # C is middle C
    return (
        f"{sign}{letter.lower()}{chr(39) * (octave - 1)}" if octave > 0 else f"{sign}{letter}{',' * -octave}"
    )

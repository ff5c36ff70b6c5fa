"""MIDI files as piano rolls, and back.

A roll says what every key does at every step: an array of uint8, shape (steps, 128), of `SILENT`, `HELD` and
`STRUCK`. A step is the `grid`-th part of a quarter note, and keys have MIDI's numbers: 60 is middle C.

Source: Standard MIDI Files 1.0 (MIDI Manufacturers Association, RP-001).
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ostinato.errors import SourceError
from ostinato.files.atomic import replace
from ostinato.files.plain import read_plain

if TYPE_CHECKING:
    import mido

KEYS = 128
SILENT, HELD, STRUCK = 0, 1, 2
"""A key does not sound; it sounds on from the step before; it is struck at this step."""
LARGEST = 1 << 21
"""Bytes of a file: several times those of a symphony."""
MOST_STEPS = 1 << 18
"""Steps of a piece: an hour and more on a fine grid."""
LOWEST_TEMPO, HIGHEST_TEMPO = 4, 1000
"""Quarter notes of a minute."""
_LAST_TICK = 1 << 40  # beyond it no sum of ticks is exact
_ENDLESS = re.compile(rb"[\x80-\xff]{4096}")  # a number of so many bytes, which would take mido hours to read
_DRUMS = 9  # the channel of percussion in General MIDI, counted from 0
_LENGTH = "ostinato: {steps} steps, {grid} to a quarter"  # a file's silent last steps are in no note of it
_LENGTH_READ = re.compile(r"ostinato: (\d{1,7}) steps, (\d{1,3}) to a quarter")


@dataclass(frozen=True, eq=False)
class Notes:
    """The notes of a file, on its own scale of time.

    Attributes:
        path: the file.
        begin, end: of each note, in ticks, int64.
        key: of each note, from 0 to 127, int64.
        quarter: ticks of a quarter note.
        length: ticks from the beginning to the end of the piece.
    """

    path: str
    begin: np.ndarray
    end: np.ndarray
    key: np.ndarray
    quarter: int
    length: int

    def moved(self, grid: int) -> tuple[int, float]:
        """What rounding to a grid does: how many notes begin elsewhere, and by what part of a step at most.

        A difference of a fiftieth of a step counts as none.
        """
        if not len(self.begin):
            return 0, 0.0
        at = self.begin * grid / self.quarter
        far = np.abs(at - np.round(at))
        return int((far > 0.02).sum()), float(far.max())

    def roll(self, grid: int = 4) -> np.ndarray:
        """The notes on a grid: uint8, shape (steps, 128). Each sounds for at least a step.

        Raises:
            SourceError: the piece has more than `MOST_STEPS` steps.
        """
        first = _rounded(self.begin * grid, self.quarter)
        last = np.maximum(_rounded(self.end * grid, self.quarter), first + 1)
        steps = max(int(last.max(initial=0)), int(_rounded(np.array(self.length * grid), self.quarter)))
        if steps > MOST_STEPS:
            raise SourceError(f"{self.path}: a piece must have at most {MOST_STEPS:,} steps, got {steps:,}")
        roll = np.zeros((steps, KEYS), np.uint8)
        for key in np.unique(self.key).tolist():
            of_key, sounding = self.key == key, np.zeros(steps + 1, np.int64)
            np.add.at(sounding, first[of_key], 1)
            np.add.at(sounding, last[of_key], -1)
            roll[:, key] = np.where(np.cumsum(sounding)[:-1] > 0, HELD, SILENT)
        roll[first, self.key] = STRUCK
        return roll


def read(path: str | os.PathLike[str], grid: int = 4, *, drums: bool = False) -> np.ndarray:
    """The roll of a file.

    Args:
        path: a MIDI file of format 0, 1 or 2.
        grid: steps of a quarter note.
        drums: whether channel 10, percussion in General MIDI, counts as notes.

    Returns:
        uint8, shape (steps, 128), see the module.

    Raises:
        SourceError: it is not a MIDI file, is damaged, counts time in SMPTE frames, or is too long.
    """
    return read_notes(path, drums=drums).roll(grid)


def read_notes(path: str | os.PathLike[str], *, drums: bool = False) -> Notes:
    """The notes of a file; arguments and errors are those of `read`."""
    name = os.fspath(path)
    try:
        raw = read_plain(path, LARGEST)
    except OSError as error:
        raise SourceError(f"{name}: {error.strerror or error}") from error
    at = raw.find(b"MThd", 0, 64) if raw[:4] == b"RIFF" else 0  # Microsoft's RMID has a MIDI file inside
    if raw[max(at, 0) :][:4] != b"MThd":
        raise SourceError(f"{name}: it is not a MIDI file: it does not begin with MThd")
    if _ENDLESS.search(raw):
        raise SourceError(f"{name}: the MIDI file is damaged: it has a number without end")
    try:
        file = _mido().MidiFile(file=io.BytesIO(raw[at:]), clip=True)
    except SourceError:
        raise
    except Exception as error:  # damaged bytes reach every line of the parser
        reason = str(error) or "it ends too early"
        raise SourceError(f"{name}: the MIDI file is damaged: {reason}") from error
    if file.ticks_per_beat == 0:
        raise SourceError(f"{name}: the MIDI file is damaged: a quarter note has no ticks")
    if file.ticks_per_beat < 0:
        raise SourceError(
            f"{name}: it counts time in SMPTE frames, which do not say how long a quarter note is; "
            "export it with ticks for each quarter note"
        )
    return _notes_of(file, name, drums)


def _notes_of(file: mido.MidiFile, name: str, drums: bool) -> Notes:
    """All notes of all tracks, which of format 2 follow each other."""
    found: list[tuple[int, int, int]] = []
    offset = length = 0
    for track in file.tracks:
        end_of_track, marked = 0, 0
        for message in track:
            end_of_track += message.time
            if message.type == "text" and (match := _LENGTH_READ.fullmatch(message.text)):
                steps, grid = int(match[1]), max(1, int(match[2]))
                marked = steps * file.ticks_per_beat // grid
        if offset + end_of_track > _LAST_TICK:
            raise SourceError(
                f"{name}: a piece must have at most {MOST_STEPS:,} steps, and this one has billions"
            )
        for begin, end, key in _notes_of_track(track, drums):
            found.append((offset + begin, offset + end, key))
        length = max(length, offset + marked)
        if file.type == 2:
            offset += end_of_track
    begin, end, key = np.array(sorted(found), np.int64).reshape(-1, 3).T
    return Notes(name, begin, end, key, file.ticks_per_beat, max(length, int(end.max(initial=0))))


def _notes_of_track(track: mido.MidiTrack, drums: bool) -> Iterator[tuple[int, int, int]]:
    """(begin, end, key) of each note, in ticks of the track.

    A key that is struck again while it sounds ends there; one that is never let go ends with the track.
    """
    now, sounding = 0, dict[tuple[int, int], int]()
    for message in track:
        now += message.time
        if message.type not in ("note_on", "note_off") or (message.channel == _DRUMS and not drums):
            continue
        place = message.channel, message.note
        begin = sounding.pop(place, None)
        if begin is not None:
            yield begin, now, message.note
        if message.type == "note_on" and message.velocity > 0:
            sounding[place] = now
    for (_, key), begin in sounding.items():
        yield begin, now, key


def _rounded(numerator: np.ndarray, denominator: int) -> np.ndarray:
    """The nearest integers, halves up: NumPy's halves go to even numbers, which would bend a rhythm."""
    return (2 * numerator + denominator) // (2 * denominator)


def write(path: str | os.PathLike[str], roll: np.ndarray, grid: int = 4, tempo: float = 100) -> None:
    """Writes a roll as a MIDI file of format 1, a piano. `read` with the same grid gives the roll again.

    Args:
        path: the file.
        roll: as `read` gives it; or of bool, shape (steps, 128), whether each key sounds: it is then struck
            where it did not sound before.
        grid: steps of a quarter note, 1 to 480.
        tempo: quarter notes of a minute.

    Raises:
        ValueError: the roll has another shape, or a number is out of range.
        RunError: the file cannot be written.
    """
    mido, roll = _mido(), as_roll(roll)
    if not 1 <= grid <= 480:
        raise ValueError(f"grid must be 1 to 480, got {grid}")
    if not LOWEST_TEMPO <= tempo <= HIGHEST_TEMPO:
        raise ValueError(
            f"tempo must be {LOWEST_TEMPO} to {HIGHEST_TEMPO} quarter notes a minute, got {tempo:g}"
        )
    ticks = max(1, 480 // grid)
    conductor = mido.MidiTrack()
    conductor.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo)))
    conductor.append(mido.MetaMessage("text", text=_LENGTH.format(steps=len(roll), grid=grid)))
    conductor.append(mido.MetaMessage("end_of_track", time=len(roll) * ticks))
    piano, before = mido.MidiTrack(), 0
    strokes = [
        stroke for first, last, key in notes(roll) for stroke in ((first, True, key), (last, False, key))
    ]
    for step, on, key in sorted(strokes):
        piano.append(
            mido.Message(
                "note_on" if on else "note_off",
                note=key,
                velocity=80 if on else 64,
                time=(step - before) * ticks,
            )
        )
        before = step
    piano.append(mido.MetaMessage("end_of_track", time=(len(roll) - before) * ticks))
    file = mido.MidiFile(type=1, ticks_per_beat=ticks * grid)
    file.tracks += [conductor, piano]
    raw = io.BytesIO()
    file.save(file=raw)
    replace(Path(path), raw.getvalue())


def check_installed() -> None:
    """Refuses if the package that knows the format is missing. Raises SourceError."""
    _mido()


def _mido() -> Any:
    try:
        import mido
    except ImportError as error:
        raise SourceError(
            f"MIDI files need mido ({error}); `pip install 'ostinato[music]'` installs it"
        ) from error
    return mido


def as_roll(roll: np.ndarray) -> np.ndarray:
    """A roll of uint8, from one or from keys of bool, see `write`."""
    if roll.ndim != 2 or roll.shape[1] != KEYS:
        raise ValueError(f"a roll must have the shape (steps, {KEYS}), got {roll.shape}")
    if roll.dtype != bool:
        return roll.astype(np.uint8)
    before = np.zeros_like(roll)
    before[1:] = roll[:-1]
    return np.where(roll, np.where(before, HELD, STRUCK), SILENT).astype(np.uint8)


def notes(roll: np.ndarray) -> list[tuple[int, int, int]]:
    """(first step, step after the last, key) of every note of a roll, as `write` takes it."""
    padded = np.zeros((len(roll) + 2, KEYS), np.uint8)
    padded[1:-1] = as_roll(roll)
    now, before = padded[1:], padded[:-1]
    begins = (now == STRUCK) | ((now == HELD) & (before == SILENT))
    ends = (before != SILENT) & ((now == SILENT) | begins)
    # By keys: the notes of one end in the order in which they begin.
    (keys, firsts), (_, lasts) = np.nonzero(begins.T), np.nonzero(ends.T)
    return list(zip(firsts.tolist(), lasts.tolist(), keys.tolist(), strict=True))

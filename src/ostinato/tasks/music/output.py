"""What `ostinato generate` asks of a music model, and the files that it writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from ostinato.data.events import abc, midi, sound
from ostinato.data.events.soundfont import check as check_font
from ostinato.data.events.soundfont import play
from ostinato.errors import ConfigError, RunError
from ostinato.files import atomic
from ostinato.tasks.base import RunFacts
from ostinato.tasks.config import Flag
from ostinato.tasks.music.drawing import Drawing
from ostinato.tasks.music.keyboard import Keyboard

if TYPE_CHECKING:
    from ostinato.tasks.music.answers import Answers, Piece
    from ostinato.tasks.music.copied import Run
    from ostinato.tasks.music.evaluation import Evaluation

_ENDINGS = (".mid", ".wav", ".png", ".abc")
_MUSIC, _DRAWING = Flag("Music"), Flag("Sampling")
_Out = Annotated[
    tuple[str, ...] | None,
    _MUSIC,
    "The file to write, whose ending decides: .mid (by default tune.mid), .wav, .png or .abc; may be given "
    "often.",
]
_Temperature = Annotated[float | None, _DRAWING, "Sampling temperature: higher values vary more."]
_TopP = Annotated[float | None, _DRAWING, "An answer of at least this probability is taken, not drawn."]
_Seed = Annotated[int | None, _DRAWING, "The random seed: the same seed draws the same piece."]
_LONGEST = 1800  # seconds of sound


def generate(
    facts: RunFacts,
    *,
    primer: Annotated[Path | None, _MUSIC, "A MIDI file that the piece begins with."] = None,
    harmonize: Annotated[
        Path | None,
        _MUSIC,
        "A MIDI file whose highest voice is that of the piece; the voices below are drawn.",
    ] = None,
    steps: Annotated[int | None, _MUSIC, "How many steps to draw, by default 128."] = None,
    max_notes: Annotated[int | None, _MUSIC, "The most keys that sound at a step."] = None,
    tempo: Annotated[float, _MUSIC, "Quarter notes of a minute."] = 100.0,
    soundfont: Annotated[
        Path | None, _MUSIC, "A SoundFont with whose instruments fluidsynth plays .wav files."
    ] = None,
    out: _Out = None,
    temperature: _Temperature = None,
    top_p: _TopP = None,
    seed: _Seed = None,
    as_json: bool = False,
) -> Callable[[Answers], None]:
    """Checks the options of drawing a piece.

    Returns:
        A function that draws a piece and writes it.

    Raises:
        ConfigError: when a value is out of range, or the primer has keys that the model lacks.
        SourceError: when the primer cannot be read.
        RunError: when a SoundFont cannot be played.
    """
    temperature = 1.0 if temperature is None else temperature
    top_p = 1.0 if top_p is None else top_p
    if harmonize is not None and steps is not None:
        raise ConfigError("--harmonize has as many steps as its melody; leave out --steps")
    steps = 128 if steps is None else steps
    how = Drawing(steps=steps, temperature=temperature, top_p=top_p, max_notes=max_notes, seed=seed)
    if not midi.LOWEST_TEMPO <= tempo <= midi.HIGHEST_TEMPO:
        raise ConfigError(
            f"tempo must be {midi.LOWEST_TEMPO} to {midi.HIGHEST_TEMPO} quarter notes a minute, got {tempo:g}"
        )
    keyboard = Keyboard.from_json(facts.vocabulary)
    paths, endings = _checked(out, keyboard.grid, soundfont)
    begun, melody = _read(keyboard, "--primer", primer), _read(keyboard, "--harmonize", harmonize)
    given = 0 if begun is None else len(begun)
    seconds = (given + (steps if melody is None else len(melody))) * 60 / (tempo * keyboard.grid)
    if seconds > _LONGEST and ".wav" in endings:
        raise ConfigError(f"sound must last at most {_LONGEST} seconds, got {seconds:,.0f}")

    def write(answers: Answers) -> None:
        piece = answers.generate(
            primer=begun,
            harmonize=melody,
            steps=how.steps,
            temperature=temperature,
            top_p=top_p,
            max_notes=max_notes,
            seed=seed,
        )
        for path in paths:
            _save(piece, path, tempo, given, soundfont)
        _tell(answers, piece, [*map(str, paths)], tempo, given, facts.path if as_json else None)

    return write


def evaluate(facts: RunFacts) -> tuple[dict[str, object], Callable[[Evaluation], None]]:
    """No options; the figures and the rules beside them are all that is printed."""
    return {}, lambda evaluation: None


def _checked(out: Sequence[str] | None, grid: int, soundfont: Path | None) -> tuple[list[Path], set[str]]:
    """The files to write, and their endings.

    Raises:
        ConfigError: for another ending, where no file can be written, or ABC lacks the grid.
        RunError: when the SoundFont cannot be played.
    """
    paths = [Path(each) for each in out or ("tune.mid",)]
    for path in paths:
        if path.suffix.lower() not in _ENDINGS:
            raise ConfigError(f"--out must end in {', '.join(_ENDINGS[:-1])} or {_ENDINGS[-1]}, got {path}")
        atomic.check_place("--out", path)
    endings = {path.suffix.lower() for path in paths}
    if ".mid" in endings:
        midi.check_installed()
    if ".abc" in endings:
        abc.check_grid(grid)
    if soundfont is not None:
        if ".wav" not in endings:
            raise ConfigError("--soundfont plays .wav files; add --out with a name that ends in .wav")
        check_font(soundfont)
    return paths, endings


def _save(piece: Piece, path: Path, tempo: float, given: int, font: Path | None) -> None:
    """Writes a piece as its path says."""
    if path.suffix.lower() == ".mid":
        midi.write(path, piece.roll, piece.grid, tempo)
    else:
        atomic.replace(path, _content(piece, path, tempo, given, font))


def _tell(
    answers: Answers, piece: Piece, names: list[str], tempo: float, given: int, run: Path | None
) -> None:
    """Prints what was written, and whether it is copied; with a run, as JSON."""
    shared, unknown = _copied(answers, piece, given)
    if run is not None:
        copied = None if shared is None else shared.steps
        found = {"run": str(run), "out": names, "longest_copied_run": copied}
        print(json.dumps(found | _as_json(piece, given, tempo)))
        return
    seconds = len(piece.roll) * 60 / (tempo * piece.grid)
    print(
        f"wrote {', '.join(names)}: {len(piece.roll):,} steps, {seconds:.0f} s at tempo {tempo:g}, "
        f"seed {piece.seed}; {piece.nats.mean():.3f} nats per step"
    )
    print(unknown if shared is None else _said(shared, given))


def _read(keyboard: Keyboard, flag: str, path: Path | None) -> np.ndarray | None:
    """The roll of a file, checked; None without one."""
    if path is None:
        return None
    roll = midi.read(path, keyboard.grid)
    if not len(roll):
        raise ConfigError(f"{flag} {path}: it must have a note, got none")
    try:
        keyboard.chords(roll)
    except ConfigError as error:
        raise ConfigError(f"{flag} {path}: {error}") from None
    return roll


def _copied(answers: Answers, piece: Piece, given: int) -> tuple[Run | None, str]:
    """The longest run of steps from the training part; or None, and why nobody knows."""
    try:
        return answers.copied(piece, given), ""
    except RunError as error:
        return None, f"is it copied? {error}"


def _said(shared: Run, given: int) -> str:
    """A sentence about a run that is shared, after a primer of so many steps."""
    if not shared.steps:
        return "none of its chords occurs in the training part"
    moved = f", {abs(shared.semitones)} semitones {'higher' if shared.semitones > 0 else 'lower'}"
    return (
        f"its longest run of steps that occurs in the training part has {shared.steps}: from step "
        f"{given + shared.begin + 1} on, as in its piece {shared.piece + 1} from step {shared.there + 1} on"
        f"{moved if shared.semitones else ''}"
    )


def _content(piece: Piece, path: Path, tempo: float, given: int, font: Path | None) -> bytes:
    ending = path.suffix.lower()
    if ending == ".wav" and font is not None:
        return play(piece.roll, piece.grid, tempo, font)
    if ending == ".wav":
        return sound.to_wav(sound.synthesize(piece.roll, piece.grid, tempo))
    if ending == ".abc":
        return abc.to_abc(piece.roll, piece.grid, tempo, path.stem).encode()
    from ostinato.tasks.music.pictures import draw_roll

    return draw_roll(piece.roll, piece.grid, given)


def _as_json(piece: Piece, given: int, tempo: float) -> dict[str, object]:
    keys, struck = (
        [np.flatnonzero(step).tolist() for step in each] for each in (piece.roll, piece.roll == midi.STRUCK)
    )
    return {
        "seed": piece.seed,
        "grid": piece.grid,
        "tempo": tempo,
        "primer_steps": given,
        "keys": keys,
        "struck": struck,
        "nats": [round(float(nats), 6) for nats in piece.nats],
    }

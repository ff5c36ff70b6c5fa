"""The pieces of a source as rolls."""

from __future__ import annotations

from collections.abc import Iterator

from ostinato.data.events import midi, scores
from ostinato.data.events.rolls import Parts, known_grid, read_mat, read_npz
from ostinato.errors import SourceError
from ostinato.tasks.base import OnProgress
from ostinato.tasks.music.source import Music
from ostinato.wording import quoted

_FOR_NOTES, _FOR_ROLLS = 4, 1  # steps of a quarter note


def usual_grid(music: Music) -> int:
    """Steps of a quarter note where nobody says any. Raises SourceError if a file cannot be read."""
    if music.kind == "rolls":
        return known_grid(music.files[0]) or _FOR_ROLLS
    return _FOR_NOTES


def read_pieces(music: Music, grid: int, on_progress: OnProgress | None) -> tuple[Parts, list[str]]:
    """The rolls of all pieces with a note, and sentences about them.

    They are in the parts of the source or, where it has none, all for training.

    Args:
        music: the source.
        grid: steps of a quarter note; rolls have steps already.
        on_progress: called with (pieces read, pieces in all).

    Raises:
        SourceError: a file cannot be read.
    """
    if music.kind == "rolls":
        (file,) = music.files
        found, said = (read_npz if file.suffix.lower() == ".npz" else read_mat)(file), []
    else:
        found, said = _on_grid(music, grid, on_progress)
    kept = {name: [roll for roll in rolls if roll.any()] for name, rolls in found.items()}
    empty = sum(map(len, found.values())) - sum(map(len, kept.values()))
    if empty:
        said.append(f"left out {empty:,} piece{'s' if empty > 1 else ''} without a note")
    return kept, said


def _on_grid(music: Music, grid: int, on_progress: OnProgress | None) -> tuple[Parts, list[str]]:
    """The rolls of notes, and what moving them to the grid does."""
    rolls, said, bad, moved, count, farthest = [], [], [], 0, 0, 0.0
    for each in _notes(music, on_progress):
        try:
            if isinstance(each, SourceError):
                raise each
            rolls.append(each.roll(grid))
        except SourceError as error:
            if not music.skip_bad:
                raise SourceError(f"{error}; --skip-bad leaves out such pieces") from error
            bad.append(str(error).partition(": ")[0].rpartition("/")[2])
            continue
        far, most = each.moved(grid)
        moved, count, farthest = moved + far, count + len(each.begin), max(farthest, most)
    if bad:
        named = ", ".join(map(quoted, bad[:5]))
        said.append(
            f"left out {len(bad):,} piece{'s' if len(bad) > 1 else ''} that cannot be read: "
            f"{named}{', …' if len(bad) > 5 else ''}"
        )
    if moved:
        said.append(
            f"{moved:,} of {count:,} notes do not begin on a step; they were moved by up to {farthest:.2f} "
            f"of a step (grid {grid}: {grid} steps of a quarter note)"
        )
    return {"train": rolls, "validation": [], "test": []}, said


def _notes(music: Music, on_progress: OnProgress | None) -> Iterator[midi.Notes | SourceError]:
    """The notes of each piece, or why it cannot be read."""
    if music.kind == "chorales":
        yield from scores.chorales(on_progress)
        return
    for number, file in enumerate(music.files):
        try:
            if music.kind == "midi":
                yield midi.read_notes(file, drums=music.drums)
            else:
                alone = on_progress if len(music.files) == 1 else None
                yield from scores.read_abc(file, str(file), alone)
        except SourceError as error:
            yield error
        if on_progress is not None:
            on_progress(number + 1, len(music.files))

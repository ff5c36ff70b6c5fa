"""Whether a piece is copied: the longest run of its steps that others have, in any transposition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Run(NamedTuple):
    """A run of steps that two pieces share.

    Attributes:
        steps: its length; 0 if no step is shared.
        begin: its first step in the new piece.
        piece: the number of the other piece.
        there: its first step in the other piece.
        semitones: how much higher the new piece is.
    """

    steps: int
    begin: int = 0
    piece: int = 0
    there: int = 0
    semitones: int = 0


def longest_shared_run(chords: np.ndarray, others: Sequence[np.ndarray]) -> Run:
    """The longest run of steps of a piece that occurs in other pieces, moved by any number of keys.

    Args:
        chords: bool (steps, keys), the highest key first.
        others: such pieces.
    """
    names: dict[bytes, int] = {}
    known = np.concatenate([_named(piece, names, grow=True) for piece in others] or [np.zeros(0, np.int64)])
    owner = np.repeat(np.arange(len(others)), [len(piece) for piece in others])
    place = np.concatenate([np.arange(len(piece)) for piece in others] or [np.zeros(0, np.int64)])
    order = np.argsort(known, kind="stable")
    where = np.split(order, np.cumsum(np.bincount(known, minlength=len(names)))[:-1])  # of each chord
    keys, best = chords.shape[1], Run(0)
    for shift in sorted(range(1 - keys, keys), key=abs):
        steps = _named(_moved(chords, shift), names, grow=False)
        steps[(chords.sum(axis=1) != _moved(chords, shift).sum(axis=1))] = -1  # a key has left the keyboard
        if np.count_nonzero(steps >= 0) <= best.steps:
            continue
        length = np.zeros(len(known) + 1, np.int64)  # of the run that ends before each place of the others
        ended = np.zeros(0, np.int64)
        for step, name in enumerate(steps.tolist()):
            here = where[name] if name >= 0 else ended[:0]
            longer = np.where(place[here] > 0, length[here], 0) + 1
            length[ended + 1] = 0
            length[here + 1], ended = longer, here
            if len(here) and longer.max() > best.steps:
                at = int(longer.argmax())
                found, end = int(longer[at]), int(here[at])
                best = Run(found, step - found + 1, int(owner[end]), int(place[end]) - found + 1, shift)
    return best


def _moved(chords: np.ndarray, shift: int) -> np.ndarray:
    """The chords, `shift` keys lower; keys beyond the keyboard are left out."""
    moved = np.zeros_like(chords)
    if shift >= 0:
        moved[:, shift:] = chords[:, : chords.shape[1] - shift]
    else:
        moved[:, :shift] = chords[:, -shift:]
    return moved


def _named(piece: np.ndarray, names: dict[bytes, int], *, grow: bool) -> np.ndarray:
    """A number for each step, the same for the same chord; −1 for a chord without one, unless `grow`."""
    packed = np.packbits(piece, axis=1)
    return np.array(
        [
            names.setdefault(row.tobytes(), len(names)) if grow else names.get(row.tobytes(), -1)
            for row in packed
        ],
        np.int64,
    )

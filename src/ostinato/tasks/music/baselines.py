"""What simple rules that were counted in the training part reach, beside which a network is judged.

frequency  every key sounds as often as in training, whatever came before
markov     every key goes on, begins and ends as often as in training
repeat     the last chord again; each key differs as often as in training

Where chords say which keys are struck again, a key that goes on is so as often as in training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Chords = Sequence[np.ndarray]
"""Pieces, each bool (steps, width); see `ostinato.tasks.music.keyboard.Keyboard.chords`."""


def baselines(train: Chords, pieces: Chords, keys: int) -> dict[str, float]:
    """Nats per step of some pieces, over all steps, by the name of the rule.

    Counts begin at one, so that nothing is impossible.

    Args:
        train, pieces: the pieces to count in, and those to score.
        keys: the number of keys.
    """
    goes_on, again = _strokes(train, keys)
    struck = (again.sum() + 1) / (goes_on.sum() + 2)
    goes_on, again = _strokes(pieces, keys)
    of_strokes = _nats(again[goes_on], np.broadcast_to(struck, int(goes_on.sum())))
    train, pieces = ([piece[:, :keys] for piece in each] for each in (train, pieces))
    before = np.concatenate([_before(piece) for piece in train])
    now = np.concatenate([*train])
    steps = len(now)
    frequency = (now.sum(axis=0) + 1) / (steps + 2)
    markov = np.stack(
        [((now & state).sum(axis=0) + 1) / (state.sum(axis=0) + 2) for state in (~before, before)]
    )
    differs = ((now != before).sum() + 1) / (now.size + 2)
    totals = dict.fromkeys(("frequency", "markov", "repeat"), of_strokes)
    for piece in pieces:
        previous = _before(piece)
        totals["frequency"] += _nats(piece, np.broadcast_to(frequency, piece.shape))
        totals["markov"] += _nats(piece, np.where(previous, markov[1], markov[0]))
        totals["repeat"] += _nats(piece, np.where(previous, 1 - differs, differs))
    count = sum(map(len, pieces))
    return {name: float(total / count) for name, total in totals.items()}


def _before(piece: np.ndarray) -> np.ndarray:
    """The chord before each step; a silent one before the first."""
    return np.concatenate([np.zeros((1, piece.shape[1]), bool), piece[:-1]])


def _strokes(pieces: Chords, keys: int) -> tuple[np.ndarray, np.ndarray]:
    """Which keys sounded before and still do, and which of them are struck again; empty without onsets."""
    nothing, told = np.zeros((0, keys), bool), [piece for piece in pieces if piece.shape[1] > keys]
    goes_on = (piece[:, :keys] & _before(piece[:, :keys]) for piece in told)
    again = (piece[:, keys:] for piece in told)
    return np.concatenate([nothing, *goes_on]), np.concatenate([nothing, *again])


def _nats(piece: np.ndarray, chance: np.ndarray) -> float:
    return float(-np.log(np.where(piece, chance, 1 - chance)).sum())

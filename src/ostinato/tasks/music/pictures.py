"""Pictures of music: piano rolls."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from ostinato.data.events.midi import KEYS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_WIDE = 30.0  # inches


def draw_roll(roll: np.ndarray, grid: int, primer: int = 0) -> bytes:
    """A PNG of a roll: time to the right in quarter notes, keys upwards.

    Args:
        roll: uint8, shape (steps, 128), see `ostinato.data.events.midi`; a key is darker where it is struck.
        grid: steps of a quarter note.
        primer: how many steps at the beginning were given; they are paler.
    """
    return _rolls([("", roll)], grid, primer)


def draw_continuation(original: np.ndarray, drawn: np.ndarray, given: int, grid: int) -> bytes:
    """A PNG of a piece and, below, of what a network drew from its first `given` steps on."""
    return _rolls([("the piece", original), ("drawn from its beginning", drawn)], grid, given)


def draw_keys(of_data: np.ndarray, drawn: np.ndarray) -> bytes:
    """A PNG of the share of steps at which each key sounds, in the data and in what was drawn.

    Args:
        of_data, drawn: the shares, shape (128,).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 3.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    lowest, highest = _range(of_data + drawn)
    axes.bar(np.arange(len(of_data)), of_data, width=1.0, color="#c6dbef", label="data")
    axes.step(np.arange(len(drawn)), drawn, where="mid", color="#08306b", label="drawn")
    axes.set_xlim(lowest - 1.5, highest + 1.5)
    octaves = _octaves(lowest, highest)
    axes.set_xticks(octaves, [f"C{key // 12 - 1}" for key in octaves])
    axes.set_ylabel("share of steps")
    axes.legend()
    return _png(figure)


def _rolls(rolls: list[tuple[str, np.ndarray]], grid: int, primer: int) -> bytes:
    from matplotlib.figure import Figure

    steps = max(len(roll) for _, roll in rolls)
    lowest, highest = _range(np.any([roll.any(axis=0) for _, roll in rolls], axis=0))
    size = (min(_MOST_WIDE, max(6.0, steps / 16)), 3.0 * len(rolls) + 0.6)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    for axes, (title, roll) in zip(
        np.atleast_1d(figure.subplots(len(rolls), sharex=True)), rolls, strict=True
    ):
        shades = np.array([0.0, 0.8, 1.1])[roll].T
        shades[:, :primer] *= 0.5
        axes.imshow(
            shades, origin="lower", aspect="auto", cmap="Blues", vmin=0.0, vmax=1.2, interpolation="nearest",
            extent=(0.0, len(roll) / grid, -0.5, len(shades) - 0.5),
        )  # fmt: skip
        axes.set_ylim(lowest - 2.5, highest + 2.5)
        octaves = _octaves(lowest, highest)
        axes.set_yticks(octaves, [f"C{key // 12 - 1}" for key in octaves])
        axes.set_title(title, loc="left", fontsize=10)
        axes.grid(alpha=0.3)
    figure.supxlabel("quarter notes", fontsize=10)
    return _png(figure)


def _range(counts: np.ndarray) -> tuple[int, int]:
    """The lowest and the highest key that sounds."""
    used = np.flatnonzero(counts)
    return (int(used[0]), int(used[-1])) if len(used) else (48, 72)


def _octaves(lowest: int, highest: int) -> list[int]:
    return [key for key in range(0, KEYS, 12) if lowest - 2 <= key <= highest + 2]


def _png(figure: Figure) -> bytes:
    raw = io.BytesIO()
    figure.savefig(raw, format="png")
    return raw.getvalue()

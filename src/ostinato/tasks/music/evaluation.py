"""The evaluation of a music model: its figures beside those of simple rules, and what it draws."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ostinato.cells.base import State, initial_state
from ostinato.layers.tracing import traced
from ostinato.tasks.base import Loss, OnBatch, as_figures
from ostinato.tasks.music.baselines import baselines
from ostinato.tasks.music.data import MusicData, MusicPart
from ostinato.tasks.music.loss import loss, metrics
from ostinato.tasks.music.network import RecurrentMusicModel

_RULES = {
    "frequency": "note frequencies",
    "markov": "a Markov chain for each key",
    "repeat": "the last chord again",
}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation finds.

    Attributes:
        part: the part.
        figures: those of the network, the number of steps, and `frequency`, `markov` and `repeat`, the nats
            per step of the rules in `ostinato.tasks.music.baselines`, over all steps.
        notes: sentences for the user.
        data: what was evaluated.
    """

    part: str
    figures: dict[str, float]
    notes: tuple[str, ...]
    data: MusicData


class Reader:
    """Reads parts with a network, in one graph.

    Args:
        model: the network.
    """

    def __init__(self, model: RecurrentMusicModel):
        self._model = model
        self._loss = traced(self._sums, reduce_retracing=True)

    def evaluate(self, data: MusicData, name: str, on_batch: OnBatch | None = None) -> Evaluation:
        """The evaluation of a part that the data has."""
        part = data.part(name)
        assert part is not None
        sums = self._read(part, on_batch)
        figures = {**as_figures(metrics(sums)), "steps": int(sums.weight)}
        if name == "train":  # the rules are counted in it, or another source is evaluated as a whole
            return Evaluation(name, figures, (), data)
        rules = baselines(data.parts["train"], part.pieces, part.keys)
        said = ", ".join(f"{words} {rules[rule]:.3f}" for rule, words in _RULES.items())
        return Evaluation(name, figures | rules, (f"simple rules, nats per step: {said}",), data)

    def _read(self, part: MusicPart, on_batch: OnBatch | None) -> Loss:
        state = initial_state(self._model.stack.states, part.rows)
        total, weight, sums = 0.0, 0.0, dict[str, float]()
        for number, batch in enumerate(part.batches()):
            tensors = {key: tf.constant(value) for key, value in batch.items() if key != "first_row"}
            found_total, found_weight, found, state = self._loss(tensors, state)
            total, weight = total + float(found_total), weight + float(found_weight)
            sums = {key: sums.get(key, 0.0) + float(value) for key, value in found.items()}
            if on_batch is not None:
                on_batch(number + 1, part.steps)
        return Loss(total, weight, sums)

    def _sums(self, batch: dict[str, tf.Tensor], state: State) -> tuple[object, ...]:
        found = loss(self._model, batch, state, None)
        return found.total, found.weight, found.sums, found.state


class Continuation(NamedTuple):
    """A piece, and how a network goes on from its beginning.

    Attributes:
        original, drawn: rolls, uint8 (steps, 128), see `ostinato.data.events.midi`.
        given: the steps that both have in common.
        grid: steps of a quarter note.
    """

    original: np.ndarray
    drawn: np.ndarray
    given: int
    grid: int


def draw(evaluation: Evaluation, continuation: Continuation, folder: Path) -> list[Path]:
    """Draws a continuation beside its original, and how often each key sounds in both; returns the paths."""
    from ostinato.tasks.music.pictures import draw_continuation, draw_keys

    paths = [folder / f"continuation-{evaluation.part}.png", folder / f"keys-{evaluation.part}.png"]
    paths[0].write_bytes(draw_continuation(*continuation))
    keyboard = evaluation.data.keyboard
    pieces = evaluation.data.parts[evaluation.part]
    of_data = keyboard.roll(np.concatenate([*pieces])) > 0
    drawn = continuation.drawn[continuation.given :] > 0
    paths[1].write_bytes(draw_keys(of_data.mean(axis=0), drawn.mean(axis=0)))
    return paths

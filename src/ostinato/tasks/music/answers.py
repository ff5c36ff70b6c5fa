"""Using a music model: pieces that it draws, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import tensorflow as tf

from ostinato.cells.base import State
from ostinato.data.events import midi
from ostinato.errors import ConfigError, OstinatoError, RunError
from ostinato.layers.tracing import traced
from ostinato.tasks.base import Json, OnBatch
from ostinato.tasks.music import data as music_data
from ostinato.tasks.music.copied import Run, longest_shared_run
from ostinato.tasks.music.drawing import Drawing
from ostinato.tasks.music.evaluation import Continuation, Evaluation, Reader, draw
from ostinato.tasks.music.keyboard import Keyboard
from ostinato.tasks.music.network import RecurrentMusicModel
from ostinato.tasks.music.source import open_source


class Piece(NamedTuple):
    """A piece that a model drew.

    Attributes:
        roll: what each key does at each step, uint8 (steps, 128), see `ostinato.data.events.midi`, the
            primer's steps first.
        nats: −log of the probability of each step that was drawn, under the model itself, float64.
        seed: the seed with which it is drawn again.
        grid: steps of a quarter note.
    """

    roll: np.ndarray
    nats: np.ndarray
    seed: int
    grid: int


_SHOWN = 200  # steps of a picture


class Answers:
    """The pieces that a trained music model draws.

    Args:
        model: the network.
        keyboard: its keys.
    """

    def __init__(self, model: RecurrentMusicModel, keyboard: Keyboard):
        self._model, self.keyboard = model, keyboard
        chords = tf.TensorSpec((1, None, keyboard.width), tf.float32)
        state = tuple(tf.TensorSpec(each.shape, each.dtype) for each in model.stack.initial_state(1))
        signature = (chords, tf.TensorSpec((1,), tf.float32), state)
        self._read = traced(self._last, input_signature=signature)
        self._reader = Reader(model)
        self._source: Json | None = None

    def reading(self, source: Json) -> Self:
        """Remembers the source of the run; see `ostinato.tasks.abilities.ReadsItsSource`."""
        self._source = source
        return self

    def evaluate(self, data: music_data.MusicData, part: str, on_batch: OnBatch | None = None) -> Evaluation:
        """The figures over a part, beside simple rules; see `ostinato.tasks.base.Evaluates`."""
        return self._reader.evaluate(data, part, on_batch)

    evaluate_quickly = evaluate

    def draw(self, evaluation: Evaluation, folder: Path) -> list[Path]:
        """Draws a continuation of the longest of the first pieces beside it, and the keys of both."""
        pieces = evaluation.data.parts[evaluation.part]
        original = self.keyboard.roll(max(pieces[:10], key=len)[:_SHOWN])
        given = max(1, len(original) // 4)
        steps = max(1, len(original) - given)
        drawn = self.generate(primer=original[:given], steps=steps, seed=0)
        return draw(evaluation, Continuation(original, drawn.roll, given, self.keyboard.grid), folder)

    def copied(self, piece: Piece, given: int = 0) -> Run:
        """The longest run of steps that a piece shares with one it was trained on, in any transposition.

        Args:
            piece: from `generate`.
            given: the first steps, of the primer, which do not count.

        Raises:
            RunError: the run's source can no longer be read, or has changed.
        """
        try:
            if self._source is None:
                raise RunError("the model does not belong to a run")
            music = open_source(self._source["description"])
            found = music_data.read(self._model.config, music, self.keyboard, False, None)
        except OstinatoError as error:
            raise RunError(f"what it was trained on cannot be read: {error}") from None
        if found.source["sha256"] != self._source.get("sha256"):
            raise RunError("what it was trained on has changed since")
        keys = slice(self.keyboard.size)
        others = [chords[:, keys] for chords in found.parts["train"]]
        return longest_shared_run(self.keyboard.chords(piece.roll)[given:, keys], others)

    def generate(
        self,
        *,
        primer: np.ndarray | None = None,
        harmonize: np.ndarray | None = None,
        steps: int = 128,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_notes: int | None = None,
        seed: int | None = None,
    ) -> Piece:
        """Draws a piece.

        Args:
            primer: the roll that the piece begins with, shape (steps, 128); None begins with nothing.
            harmonize: a roll whose highest keys are the highest of the piece; the keys below are drawn, as
                many steps as it has. Where it is silent, all keys are drawn.
            steps: how many steps to draw, without `harmonize`.
            temperature, top_p: see `ostinato.heads.chord.ChordDrawer.draw`.
            max_notes: the most keys that sound at a step; None allows all.
            seed: the same seed draws the same piece; None draws a seed.

        Raises:
            ConfigError: a value is out of range, or the primer has keys that the model lacks.
        """
        melody = None if harmonize is None else self._melody(harmonize)
        steps = steps if melody is None else len(melody)
        how = Drawing(steps=steps, temperature=temperature, top_p=top_p, max_notes=max_notes, seed=seed)
        begun = self._primer(primer)
        seed = int(np.random.default_rng().integers(2**31)) if seed is None else seed
        drawn = [*self.stream(begun, how, seed, melody)]
        chords = np.concatenate([begun, *(chord[np.newaxis] for chord, _ in drawn)])
        nats = np.array([nats for _, nats in drawn])
        return Piece(self.keyboard.roll(chords), nats, seed, self.keyboard.grid)

    def stream(
        self, begun: np.ndarray, how: Drawing, seed: int, fixed: np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, float]]:
        """The chords of a piece as they are drawn, bool (width,), each with −log of its probability.

        Args:
            begun: the chords before, bool (steps, width), perhaps none; see `Keyboard.chords`.
            how: how to draw; its seed is not used.
            seed: decides the piece.
            fixed: the values of chords that are given, int8 (steps, width): 0 or 1, and −1 for the others.
        """
        random, drawer = np.random.default_rng(seed), self._model.chord.drawer()
        given = np.concatenate([np.zeros((1, self.keyboard.width), bool), begun])
        begins, state = tf.ones((1,)), self._model.stack.initial_state(1)
        for step in range(how.steps):
            seen, state = self._read(tf.constant(given[np.newaxis], tf.float32), begins, state)
            chord, nats = drawer.draw(
                seen.numpy(),
                random,
                temperature=how.temperature,
                top_p=how.top_p,
                most=how.max_notes,
                fixed=None if fixed is None else fixed[step : step + 1],
                before=given[-1:, : self.keyboard.size],
            )
            yield chord[0], float(nats[0])
            given, begins = chord, tf.zeros((1,))

    def _melody(self, roll: np.ndarray) -> np.ndarray:
        """What is given of each step: nothing above the highest key, that key, and −1 below."""
        chords = self.keyboard.chords(roll)
        fixed, size = np.full(chords.shape, -1, np.int8), self.keyboard.size
        for step in np.flatnonzero(chords.any(axis=1)).tolist():
            top = int(chords[step].argmax())
            fixed[step, :top], fixed[step, top] = 0, 1
            if self.keyboard.onsets:  # struck anew even where a lower voice has come to hold the key
                fixed[step, size + top] = roll[step, self.keyboard.lowest + size - 1 - top] == midi.STRUCK
        return fixed

    def _primer(self, primer: np.ndarray | None) -> np.ndarray:
        if primer is None:
            return np.zeros((0, self.keyboard.width), bool)
        try:
            return self.keyboard.chords(primer)
        except ConfigError as error:
            raise ConfigError(f"the primer does not fit: {error}") from None

    def _last(self, chords: tf.Tensor, begins: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """What the output reads after the last of some chords, (1, units), and the state."""
        y, state = self._model(chords, begins, state)
        return y[:, -1], state

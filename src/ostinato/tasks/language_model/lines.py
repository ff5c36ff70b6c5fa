"""A list whose lines are texts of their own: parts drawn at random, and batches of whole lines.

A line y_1 … y_n is read as start, y_1, … y_n and predicted as y_1, … y_n, end. Its loss is the sum over these
n + 1 targets; padding has weight 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ostinato.data.batches.buckets import batch_numbers
from ostinato.data.encoders.registry import Encoder
from ostinato.data.examples.splits import random_parts
from ostinato.data.store.lines import LINE_ENDS, Lines, prepare_lines
from ostinato.tasks.base import PARTS, Batch, Json, OnProgress
from ostinato.tasks.examples import IndependentExamples
from ostinato.tasks.language_model.config import LanguageModelConfig
from ostinato.tasks.language_model.data import fit_options, unknown_notes
from ostinato.tasks.language_model.source import Texts, joint_hash
from ostinato.tasks.language_model.vocabulary import LanguageVocabulary

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The lines of a part.

    Attributes:
        lines: the list that they are in.
        numbers: which of them, int64, rising.
    """

    lines: Lines
    numbers: np.ndarray


@dataclass(frozen=True, eq=False)
class LinesData:
    """A list of lines as ids; see `ostinato.tasks.base.Data`.

    Attributes:
        config: the settings of the task.
        words: the vocabulary.
        lines: the list.
        notes: sentences for the user.
    """

    config: LanguageModelConfig
    words: LanguageVocabulary
    lines: Lines = field(repr=False)
    _texts: Texts
    _content: str
    _parts: dict[str, _Chosen] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def encoder(self) -> Encoder:
        """The encoder that made the ids."""
        return self.words.encoder

    @property
    def vocabulary(self) -> Json:
        """The encoder as JSON, and that every line is a text."""
        return self.words.to_json()

    @property
    def source(self) -> Json:
        """The description of the source, and the hash of the text."""
        return {"description": self._texts.describe(), "sha256": self._content}

    def part(self, name: str) -> IndependentExamples | None:
        """A part as training reads it; of validation at most about `validation_tokens`."""
        chosen = self._parts[name]
        if name == "validation":
            chosen = _first_drawn(chosen, self.config)
        return self._examples(chosen)

    def in_order(self, name: str) -> IndependentExamples | None:
        """The whole part, for an exact evaluation."""
        return self._examples(self._parts[name])

    def texts(self, name: str) -> list[str]:
        """The lines of a part, by their places in `IndependentExamples.numbers`."""
        chosen = self._parts[name]
        return [self.words.text(chosen.lines.line(number)) for number in chosen.numbers.tolist()]

    def _examples(self, chosen: _Chosen) -> IndependentExamples | None:
        """Lines sorted by length: in an epoch within each hundred batches, after shuffling."""
        if not len(chosen.numbers):
            return None
        config, lengths = self.config, chosen.lines.lengths[chosen.numbers]

        def numbers(epoch: int | None) -> Iterator[np.ndarray]:
            seed = None if epoch is None else (config.seed, epoch)
            return batch_numbers(chosen.numbers, (lengths,), batch=config.batch, seed=seed)

        return IndependentExamples(
            chosen.numbers,
            config.batch,
            _signature(),
            numbers,
            lambda numbers, first, stop, training: self._batch(chosen.lines, numbers, first, stop),
        )

    def _batch(self, lines: Lines, numbers: np.ndarray, first: int, stop: int) -> Batch:
        """{"tokens", "targets", "weights", "characters"}, each (rows, time), and "first_row" of some lines.

        Time is one more than the tokens of the longest line of the global batch.

        Args:
            lines: the list.
            numbers: of the lines in the global batch.
            first, stop: which of them.
        """
        words, mine = self.words, numbers[first:stop].tolist()
        shape = len(mine), 1 + int((lines.starts[numbers + 1] - lines.starts[numbers]).max())
        tokens = np.zeros(shape, np.int32)
        targets, weights = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
        tokens[:, 0] = words.start
        for row, number in enumerate(mine):
            ids = lines.line(number)
            tokens[row, 1 : len(ids) + 1] = targets[row, : len(ids)] = ids
            targets[row, len(ids)] = words.size - 1  # the end symbol
            weights[row, : len(ids) + 1] = 1.0
        return {
            "tokens": tokens,
            "targets": targets,
            "weights": weights,
            "characters": words.characters[targets],
            "first_row": first,
        }


def read(
    config: LanguageModelConfig,
    source: Texts,
    encoder: Encoder | None,
    whole: bool,
    on_progress: OnProgress | None,
) -> LinesData:
    """Reads a list of lines; arguments and errors are those of `ostinato.tasks.language_model.data.read`."""
    if encoder is None:
        lines = prepare_lines(source.text, on_progress=on_progress, **fit_options(config))
    else:
        lines = prepare_lines(source.text, encoder=encoder.leniently(source.unknown), on_progress=on_progress)
    known = lines.encoder.leniently(source.unknown)
    other = None
    if source.validation is not None and not whole:
        other = prepare_lines(source.validation, encoder=known, on_progress=on_progress)
    drawn = random_parts(
        np.zeros(len(lines), np.int64),
        0.0 if whole or other is not None else config.validation_fraction,
        0.0 if whole else config.test_fraction,
        config.seed,
    )
    parts = {name: _Chosen(lines, drawn[name]) for name in PARTS}
    if other is not None:
        parts["validation"] = _Chosen(other, np.arange(len(other)))
    notes = [] if whole else [_sizes(parts)]
    for each in (lines, other):
        if each is not None and each.blank:
            notes.append(f"left out {each.blank:,} blank line{'s' if each.blank > 1 else ''}")
    content = joint_hash(lines.content, None if other is None else other.content)
    words = LanguageVocabulary(lines.encoder.leniently("error"), lines=True)
    notes += unknown_notes(source, _with_line_ends(known))
    return LinesData(config, words, lines, source, content, parts, tuple(notes))


def _first_drawn(chosen: _Chosen, config: LanguageModelConfig) -> _Chosen:
    """Lines of at most `validation_tokens` tokens in all, at least one, drawn from a part."""
    numbers, lengths = chosen.numbers, chosen.lines.lengths[chosen.numbers] + 1
    if lengths.sum() <= config.validation_tokens:
        return chosen
    order = np.random.default_rng([config.seed, 1]).permutation(len(numbers))
    count = int(np.searchsorted(np.cumsum(lengths[order]), config.validation_tokens, "right"))
    return _Chosen(chosen.lines, np.sort(numbers[order[: max(1, count)]]))


def _sizes(parts: dict[str, _Chosen]) -> str:
    sizes = [f"{len(part.numbers):,} for {name}" for name, part in parts.items() if len(part.numbers)]
    return f"every line is a text of its own; lines: {', '.join(sizes)}"


def _with_line_ends(encoder: Encoder) -> Encoder:
    """The encoder with line ends among its characters, so that none of a text counts as unknown."""
    for end in LINE_ENDS:
        encoder = encoder.with_symbol(end)
    return encoder


def _signature() -> dict[str, tf.TensorSpec]:
    import tensorflow as tf

    row = (None, None)
    return {
        "tokens": tf.TensorSpec(row, tf.int32),
        "targets": tf.TensorSpec(row, tf.int32),
        "weights": tf.TensorSpec(row, tf.float32),
        "characters": tf.TensorSpec(row, tf.float32),
        "first_row": tf.TensorSpec((), tf.int32),
    }

"""The text of a language model: ids in windows, in parallel rows or in order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from ostinato.data.batches import windows
from ostinato.data.batches.shards import rows_of
from ostinato.data.encoders.registry import Encoder, encoder_from_json
from ostinato.data.sources.corpora import Corpus, open_corpus, reopen
from ostinato.data.store.tokens import Tokens, prepare_tokens
from ostinato.tasks.base import Batch, Json, OnProgress
from ostinato.tasks.config import COMMON_DATA, ENCODING_HELP
from ostinato.tasks.language_model.config import LanguageModelConfig

_EVALUATION_WINDOW = 1024


def open_source(
    source: Annotated[
        str | os.PathLike[str] | Iterable[str] | Corpus | Json | None,
        "A text file, a .gz, a folder, a 'glob*' of files, - for standard input, or the name of a corpus: "
        "pydoc (the default, Python's own language reference), timemachine or tinyshakespeare.",
    ] = None,
    *,
    encoding: Annotated[str | None, COMMON_DATA, ENCODING_HELP] = None,
) -> Corpus:
    """Opens a text without reading it.

    Args:
        source: see above; in Python also an iterable of texts, a `Corpus`, or the description of one.
        encoding: of the files; None recognises it.

    Raises:
        SourceError: if the source does not exist.
    """
    if isinstance(source, dict):
        return reopen(source)
    return source if isinstance(source, Corpus) else open_corpus(source, encoding=encoding)


@dataclass(frozen=True, eq=False)
class LanguagePart:
    """A `Part` of a text: rows of windows.

    Attributes:
        ids: the ids of the part, shape (ids,).
        characters: the number of characters of each token, float32, shape (vocabulary,).
        config: the settings of the task.
        rows, seq_len: the shape of a batch.
        steps: the number of batches in an epoch, or in reading the part once.
        signature: None, because all batches have the same shape.
    """

    ids: np.ndarray = field(repr=False)
    characters: np.ndarray = field(repr=False)
    config: LanguageModelConfig
    rows: int
    seq_len: int
    steps: int
    signature: None = None

    @property
    def carries_state(self) -> bool:
        """Whether each row continues that of the previous batch."""
        return self.config.sampling == "sequential"

    def batches(
        self, *, epoch: int | None = None, start: int = 0, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """Batches of {"tokens", "targets", "weights", "characters"}, each of shape (rows, seq_len), and
        "first_row".

        Without an epoch, every token except the first is a target exactly once.
        """
        config, first = self.config, rows_of(shard, self.rows).start
        if epoch is None:
            pieces = windows.evaluation_batches(self.ids, rows=self.rows, seq_len=self.seq_len, shard=shard)
            for number, (tokens, targets, weights) in enumerate(pieces):
                if number >= start:
                    yield self._batch(tokens, targets, weights, first)
            return
        for tokens, targets in windows.train_batches(
            self.ids,
            batch=config.batch,
            seq_len=config.seq_len,
            sampling=config.sampling,
            seed=config.seed,
            epoch=epoch,
            start=start,
            shard=shard,
        ):
            yield self._batch(tokens, targets, np.ones(targets.shape, np.float32), first)

    def _batch(self, tokens: np.ndarray, targets: np.ndarray, weights: np.ndarray, first_row: int) -> Batch:
        return {
            "tokens": tokens,
            "targets": targets,
            "weights": weights,
            "characters": self.characters[targets],
            "first_row": first_row,
        }


@dataclass(frozen=True, eq=False)
class LanguageData:
    """A text as ids; see `ostinato.tasks.base.Data`.

    Attributes:
        config: the settings of the task.
        encoder: the encoder that made the ids.
    """

    config: LanguageModelConfig
    encoder: Encoder
    _corpus: Corpus
    _content: str
    _ids: dict[str, np.ndarray] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def vocabulary(self) -> Json:
        """The encoder as JSON."""
        return self.encoder.to_json()

    @property
    def source(self) -> Json:
        """The description of the source, and the hash of the text."""
        return {"description": self._corpus.describe(), "sha256": self._content}

    def part(self, name: str) -> LanguagePart | None:
        """A part as training reads it; only the first `validation_tokens` of validation."""
        ids, config = self._ids[name], self.config
        if name != "train":
            ids = ids[: config.validation_tokens] if name == "validation" else ids
            return self._in_order(ids, config.batch, config.seq_len)
        shape = _plan(ids, config, name)
        return LanguagePart(
            ids, self.encoder.characters, config, shape.rows, config.seq_len, shape.steps_per_epoch
        )

    def in_order(self, name: str) -> LanguagePart | None:
        """The whole part as one row: every token has everything before it as context."""
        return self._in_order(self._ids[name], 1, _EVALUATION_WINDOW)

    def _in_order(self, ids: np.ndarray, batch: int, seq_len: int) -> LanguagePart | None:
        """Ids that are read once, with at most `batch` rows and windows of at most `seq_len` tokens."""
        if len(ids) < 2:
            return None
        seq_len = min(seq_len, len(ids) - 1)
        rows = max(1, min(batch, (len(ids) - 1) // seq_len))
        steps = windows.evaluation_steps(len(ids), rows=rows, seq_len=seq_len)
        return LanguagePart(ids, self.encoder.characters, self.config, rows, seq_len, steps)


def read(
    config: LanguageModelConfig,
    source: Corpus,
    vocabulary: Json | None,
    whole: bool,
    on_progress: OnProgress | None,
) -> LanguageData:
    """Reads a text; see `ostinato.tasks.base.Task.read`.

    Raises:
        SourceError: if the text cannot be read, or a part is shorter than one window.
        EncodingError: if it has symbols that the given vocabulary lacks.
    """
    tokens = _tokens(config, source, vocabulary, on_progress)
    if whole:
        parts = windows.split(len(tokens.ids), validation_fraction=0.0, test_fraction=0.0)
        ids = tokens.ids
    else:
        ids = tokens.ids[: config.max_tokens]
        parts = windows.split(
            len(ids), validation_fraction=config.validation_fraction, test_fraction=config.test_fraction
        )
    cut = {name: ids[start:stop] for name, (start, stop) in parts._asdict().items()}
    if not whole:
        for name, part in cut.items():
            part = part[: config.validation_tokens] if name == "validation" else part
            if len(part) or name == "train":
                _plan(part, config, name)
    return LanguageData(config, tokens.encoder, source, tokens.content, cut, source.encoding_notes())


def _tokens(
    config: LanguageModelConfig, source: Corpus, vocabulary: Json | None, on_progress: OnProgress | None
) -> Tokens:
    if vocabulary is not None:
        return prepare_tokens(source, encoder=encoder_from_json(vocabulary), on_progress=on_progress)
    return prepare_tokens(
        source,
        on_progress=on_progress,
        name=config.encoder,
        normalize=config.normalize,
        min_count=config.min_count,
        vocabulary_size=config.vocabulary_size,
    )


def _plan(ids: np.ndarray, config: LanguageModelConfig, part: str) -> windows.Windows:
    """The shape of an epoch. Raises SourceError if the part is shorter than one window."""
    return windows.plan(
        len(ids),
        batch=config.batch,
        seq_len=config.seq_len,
        sampling=config.sampling,
        part="training part" if part == "train" else f"{part} part",
    )

"""The text of a language model: ids in windows, in parallel rows or in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from ostinato.data.batches import windows
from ostinato.data.batches.shards import rows_of
from ostinato.data.encoders.normalize import normalize_text
from ostinato.data.encoders.registry import Encoder
from ostinato.data.sources.corpora import Corpus
from ostinato.data.store.tokens import FitOptions, prepare_tokens
from ostinato.errors import SourceError
from ostinato.tasks.base import Batch, Json, OnProgress
from ostinato.tasks.language_model.config import LanguageModelConfig
from ostinato.tasks.language_model.source import Texts, joint_hash
from ostinato.tasks.language_model.tunes import are_tunes, begin_of_tune
from ostinato.tasks.language_model.vocabulary import LanguageVocabulary
from ostinato.wording import option

_EVALUATION_WINDOW = 1024


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
    _texts: Texts
    _content: str
    _ids: dict[str, np.ndarray] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def vocabulary(self) -> Json:
        """The encoder as JSON."""
        return LanguageVocabulary(self.encoder).to_json()

    @property
    def source(self) -> Json:
        """The description of the source, and the hash of the text."""
        return {"description": self._texts.describe(), "sha256": self._content}

    @property
    def tokens(self) -> int:
        """The number of tokens of the training part."""
        return len(self._ids["train"])

    def with_config(self, config: LanguageModelConfig) -> LanguageData:
        """See `ostinato.tasks.fitting.TakesConfig`."""
        return replace(self, config=config)

    def part(self, name: str) -> LanguagePart | None:
        """A part as training reads it; only the first `validation_tokens` of validation."""
        ids, config = self._ids[name], self.config
        if name != "train":
            ids = ids[: config.validation_tokens] if name == "validation" else ids
            return self._in_order(ids, config.batch, config.seq_len)
        shape = _plan(ids, config)
        return LanguagePart(
            ids, self.encoder.characters, config, shape.rows, config.seq_len, shape.steps_per_epoch
        )

    def in_order(self, name: str, window: int = _EVALUATION_WINDOW) -> LanguagePart | None:
        """The whole part as one row: every token has everything before it as context."""
        return self._in_order(self._ids[name], 1, window)

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
    source: Texts,
    encoder: Encoder | None,
    whole: bool,
    on_progress: OnProgress | None,
) -> LanguageData:
    """Reads a text; see `ostinato.tasks.base.Task.read`.

    Args:
        config, source, whole, on_progress: as there.
        encoder: that of earlier data; None fits one to the text.

    Raises:
        SourceError: if the text cannot be read, or a part is shorter than one window.
        EncodingError: if it has symbols that the given encoder lacks.
    """
    if encoder is None:
        tokens = prepare_tokens(source.text, on_progress=on_progress, **fit_options(config))
    else:
        encoder = encoder.leniently(source.unknown)
        tokens = prepare_tokens(source.text, encoder=encoder, on_progress=on_progress)
    known = tokens.encoder.leniently(source.unknown)
    other = None
    if source.validation is not None and not whole:
        other = prepare_tokens(source.validation, encoder=known, on_progress=on_progress)
    ids = tokens.ids if whole else tokens.ids[: config.max_tokens]
    parts = windows.split(
        len(ids),
        validation_fraction=0.0 if whole or other is not None else config.validation_fraction,
        test_fraction=0.0 if whole else config.test_fraction,
    )
    notes = [*source.encoding_notes()]
    places = parts._asdict()
    if are_tunes(source.text) and not whole:
        places = _between_tunes(ids, places, tokens.encoder)
        notes.append("the parts are cut where a tune begins")
    cut = {name: ids[start:stop] for name, (start, stop) in places.items()}
    if other is not None:
        cut["validation"] = other.ids
    if not whole:
        for name, part in cut.items():
            if name == "train":
                _plan(part, config)
            elif len(part) == 1:  # a longer one is read in a window as long as it is
                raise SourceError(
                    f"the {name} part has 1 token, and nothing to predict; give more text, or other "
                    f"{option('validation_fraction')} and {option('test_fraction')}"
                )
    content = joint_hash(tokens.content, None if other is None else other.content)
    notes += unknown_notes(source, known)
    return LanguageData(config, tokens.encoder, source, content, cut, tuple(notes))


def _between_tunes(
    ids: np.ndarray, places: dict[str, tuple[int, int]], encoder: Encoder
) -> dict[str, tuple[int, int]]:
    """The (first, last) ids of each part, with every cut moved on to the next tune."""
    cuts = {
        at: begin_of_tune(ids, at, encoder) if 0 < at < len(ids) else at for at in sum(places.values(), ())
    }
    return {name: (cuts[first], cuts[last]) for name, (first, last) in places.items()}


def fit_options(config: LanguageModelConfig) -> FitOptions:
    """The options of `fit_encoder`."""
    return {
        "name": config.encoder,
        "normalize": config.normalize,
        "min_count": config.min_count,
        "vocabulary_size": config.vocabulary_size,
    }


def unknown_notes(source: Texts, encoder: Encoder) -> tuple[str, ...]:
    """Sentences about the characters that were dropped or replaced because the model lacks them."""
    if source.unknown == "error":
        return ()
    notes, done = [], "dropped" if source.unknown == "drop" else "replaced"
    for corpus in (source.text, source.validation):
        counts = Counter() if corpus is None else _unknown_characters(corpus, encoder)
        if corpus is not None and counts:
            named = ", ".join(repr(symbol) for symbol, _ in counts.most_common(5))
            more = ", …" if len(counts) > 5 else ""
            notes.append(
                f"{corpus.name}: {done} {counts.total():,} characters that the model lacks ({named}{more})"
            )
    return tuple(notes)


def _unknown_characters(corpus: Corpus, encoder: Encoder) -> Counter[str]:
    """How often each character without an id occurs; nothing of a text that is not kept."""
    counts = Counter[str]()
    try:
        for text in corpus.chunks():
            text = normalize_text(text, encoder.normalize)
            missing = encoder.missing(text)
            counts.update({symbol: text.count(symbol) for symbol in missing})
    except SourceError:
        return Counter()
    return counts


def _plan(ids: np.ndarray, config: LanguageModelConfig) -> windows.Windows:
    """The shape of an epoch of training. Raises SourceError if the part is shorter than one window."""
    return windows.plan(
        len(ids),
        batch=config.batch,
        seq_len=config.seq_len,
        sampling=config.sampling,
    )

"""Using a translator: translations of sentences, and where the decoder looked while it wrote them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from ostinato.data.examples.sentences import BOS, EOS, PAD, UNK, Sentences, marked, padded
from ostinato.decoding.beam import Beam, search
from ostinato.errors import ConfigError
from ostinato.tasks.translator.config import TranslatorConfig
from ostinato.tasks.translator.network import RecurrentTranslator

FREE_TOKENS = 10
"""So many more tokens than its length accounts for may any translation have."""
_BATCH = 64


@dataclass(frozen=True)
class Candidate:
    """One of the best translations of a sentence; `score` is its log-probability, penalties applied."""

    text: str
    score: float


@dataclass(frozen=True)
class Translation:
    """What a translator makes of a sentence.

    Attributes:
        text: the best translation.
        score: its log-probability, penalties applied; nan where there is none.
        candidates: the n best, the best first.
        tokens: how long the source is.
        cut: whether it is longer than what the model saw, so that only its beginning was translated.
        empty: whether there is nothing in it; the translation is then empty.
        unknown: whether no token of it is known; it is then repeated as it is.
    """

    text: str
    score: float
    candidates: tuple[Candidate, ...]
    tokens: int
    cut: bool = False
    empty: bool = False
    unknown: bool = False


@dataclass(frozen=True)
class Alignment:
    """Where the decoder looked while it wrote a translation.

    Attributes:
        source: the source's tokens.
        target: the translation's tokens, its end included.
        weights: shape (target, source); each row sums to one.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: np.ndarray


class Interpreter:
    """Translates with one model; the functions it runs are traced once for each beam.

    Args:
        model: a trained model.
        config: its settings.
        source: what turns sentences into ids.
        target: what turns ids into translations.
        growth: how many target tokens there are for a source token, at most, but for `FREE_TOKENS` of them.
    """

    def __init__(
        self,
        model: RecurrentTranslator,
        config: TranslatorConfig,
        source: Sentences,
        target: Sentences,
        growth: float,
    ):
        self.model = model
        self._config, self._source, self._target, self._growth = config, source, target, growth
        self._searches: dict[Beam, Callable[..., Any]] = {}

    def translate(self, texts: list[str], beam: Beam) -> list[Translation]:
        """A translation of each text, in their order.

        Raises:
            ConfigError: something in `texts` is no string; a setting of the beam is out of range.
        """
        if strange := [text for text in texts if not isinstance(text, str)]:
            raise ConfigError(f"one of the texts is a {type(strange[0]).__name__}, not a string")
        rows = [self._source.encode(text) for text in texts]
        known = np.array([bool((ids != UNK).any()) for ids in rows])
        sizes = np.array([len(ids) for ids in rows])
        found: dict[int, Translation] = {}
        for number, (text, ids) in enumerate(zip(texts, rows, strict=True)):
            if not known[number]:
                empty = not len(ids)
                found[number] = Translation(
                    "" if empty else text, math.nan, (), len(ids), False, empty, not empty
                )
        order = np.flatnonzero(known)
        order = order[np.argsort(sizes[order], kind="stable")]
        translate = self._search(beam.checked(self._target.size))
        for at in range(0, len(order), _BATCH):
            mine = order[at : at + _BATCH]
            ids, lengths = padded([rows[n][: self._config.max_tokens] for n in mine])
            best = [part.numpy() for part in translate(ids, lengths, self._limits(lengths))]
            for number, tokens, counts, scores in zip(mine.tolist(), *best, strict=True):
                candidates = tuple(
                    Candidate(self._target.decode(row[: count - 1]), float(score))
                    for row, count, score in zip(tokens, counts, scores, strict=True)
                    if np.isfinite(score)
                )
                first, size = candidates[0], int(sizes[number])
                cut = size > self._config.max_tokens
                found[number] = Translation(first.text, first.score, candidates, size, cut)
        return [found[number] for number in range(len(texts))]

    def _limits(self, lengths: np.ndarray) -> np.ndarray:
        """The most tokens of a translation, its end included: as many as any in training, for its source."""
        return np.ceil(lengths * self._growth).astype(np.int32) + FREE_TOKENS + 1

    def _search(self, beam: Beam) -> Callable[..., Any]:
        """The search as one function of (source, lengths, limits)."""
        if beam in self._searches:
            return self._searches[beam]
        model = self.model
        allowed = tf.constant(np.isin(np.arange(self._target.size), (PAD, BOS, UNK), invert=True))

        @tf.function(
            input_signature=[tf.TensorSpec((None, None), tf.int32), *[tf.TensorSpec((None,), tf.int32)] * 2]
        )
        def translate(source, lengths, limits):
            memory, state = model.read(source, lengths)

            def step(last, state):
                features, state, weights = model.decoder(last[:, tf.newaxis], memory, state)
                return model.decoder.scores(features[:, 0]), state, weights[:, 0]

            start = tf.fill(tf.shape(lengths), BOS)
            found = search(
                step, start, state, beam, limits=limits, end=EOS, allowed=allowed, sources=memory.mask
            )
            return found.tokens, found.lengths, found.scores

        self._searches[beam] = translate
        return translate

    def align(self, source: str, target: str) -> Alignment:
        """Where the decoder looks while it reads a translation.

        Args:
            source: a sentence.
            target: its translation, the model's own or another.

        Raises:
            ConfigError: the model has no attention, or the source has nothing in it.
        """
        if self._config.attention == "none":
            raise ConfigError("this translator has no attention, so there is nothing to draw")
        read = self._source.encode(source)[: self._config.max_tokens]
        written = marked(self._target.encode(target))
        if not len(read):
            raise ConfigError("the sentence is empty, so there is nothing to look at")
        ids, lengths = padded([read])
        _, weights = self.model(tf.constant(ids), tf.constant(lengths), tf.constant(written[np.newaxis, :-1]))
        pieces = tuple(self._source.pieces(read)), (*self._target.pieces(written[1:-1]), "<eos>")
        return Alignment(*pieces, weights.numpy()[0])

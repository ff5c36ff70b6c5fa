"""Using a translator: translations of sentences, evaluations, and alignments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from ostinato.data.examples.sentences import BOS, EOS, PAD, UNK, marked, padded
from ostinato.decoding.beam import Beam, search
from ostinato.errors import ConfigError
from ostinato.layers.tracing import traced
from ostinato.tasks.abilities import Quality
from ostinato.tasks.base import Json, Loss, OnBatch, as_figures
from ostinato.tasks.exported import Exported
from ostinato.tasks.translator.data import FREE_TOKENS, TranslatorData, TranslatorVocabulary, signature
from ostinato.tasks.translator.evaluation import Evaluation, bleu_of, compared, exact_match
from ostinato.tasks.translator.exported import exported
from ostinato.tasks.translator.network import RecurrentTranslator
from ostinato.tasks.translator.translations import Alignment, Candidate, Translation

if TYPE_CHECKING:
    from ostinato.tasks.translator.task import Translator

_TRANSLATED_TOGETHER = 2048
_BATCH = 64
_CHOSEN_ON = 1000
"""So many pairs, spread over a part, decide on a checkpoint and on the penalties of a beam search."""
_LENGTHS, _COVERAGES = (0.6, 1.0, 1.4, 1.8, 2.4, 3.0), (0.0, 0.1, 0.3)


class Answers:
    """The answers of a trained translator; its functions are traced once for each beam.

    Args:
        model: the network.
        task: the task of the network.
        words: the vocabulary of both sides.
    """

    def __init__(self, model: RecurrentTranslator, task: Translator, words: TranslatorVocabulary):
        self._model, self._task, self._config, self._words = model, task, task.config, words
        self._searches: dict[Beam, Callable[..., tuple[tf.Tensor, ...]]] = {}
        self._usual = (
            Beam()
            if words.penalties is None
            else Beam()._replace(length_penalty=words.penalties[0], coverage_penalty=words.penalties[1])
        )

    def predictions(self, texts: Iterable[str], *, beam: Beam | None = None) -> Iterator[Translation]:
        """A translation of each text, in their order, some thousand at a time.

        Args:
            texts: sentences; a single string is an error.
            beam: the options of the search; None is `Beam()` with the penalties that were chosen on the
                validation part.

        Raises:
            ConfigError: when `texts` is a string, or something in it is not; a setting of the beam is out of
                range.
        """
        if isinstance(texts, str):
            raise ConfigError("texts must be a list of texts, got a string; give [text] for one")
        texts = iter(texts)
        while some := list(islice(texts, _TRANSLATED_TOGETHER)):
            yield from self._translate(some, beam or self._usual)

    def evaluate(
        self, data: TranslatorData, part: str, on_batch: OnBatch | None = None, *, beam: Beam | None = None
    ) -> Evaluation:
        """Translates every source of a part, and compares the translations with the targets.

        Args:
            data: the pairs.
            part: `train`, `validation` or `test`; the data must have it.
            on_batch: called with (batches done, total batches).
            beam: the options of the search; None as for `predictions`.
        """
        chosen, examples, model, task = data.part(part), data.examples, self._model, self._task
        if chosen is None:
            raise ValueError(f"the data has no {part} part")
        order = np.concatenate(list(chosen.batch_numbers(None)))
        found: dict[int, Translation] = {}
        nats, tokens = 0.0, 0.0
        measure = traced(lambda batch: task.loss(model, batch, ()), input_signature=[signature()])
        for number, batch in enumerate(chosen.batches()):
            _, weight, sums, *_ = measure({name: tf.constant(value) for name, value in batch.items()})
            nats, tokens = nats + float(sums["nats"]), tokens + float(weight)
            mine = order[number * chosen.batch : (number + 1) * chosen.batch]
            texts = [examples.texts(int(n))[0] for n in mine]
            found |= zip(mine.tolist(), self.predictions(texts, beam=beam), strict=True)
            if on_batch is not None:
                on_batch(number + 1, chosen.steps)
        pairs = [(*examples.texts(n), found[n].text) for n in chosen.numbers.tolist()]
        figures = as_figures(task.metrics(Loss(nats, tokens, {"nats": nats})))
        return compared(part, pairs, figures, self._words.target)

    def with_choices(self, data: TranslatorData, part: str) -> Json | None:
        """The vocabulary with the penalties of a beam search that are best on a part, by `quality`.

        See `ostinato.tasks.abilities.Chooses`.
        """

        def quality(length: float, coverage: float) -> float:
            return self._quality(data, part, Beam(length_penalty=length, coverage_penalty=coverage)).value

        length = max(_LENGTHS, key=lambda length: (quality(length, 0.0), -abs(length - 1.0)))
        coverages = _COVERAGES if self._config.attention != "none" else (0.0,)
        coverage = max(coverages, key=lambda coverage: (quality(length, coverage), -coverage))
        return replace(self._words, penalties=(length, coverage)).to_json()

    def quality(self, data: TranslatorData, part: str) -> Quality:
        """BLEU or, where both sides are single words, the share of exact matches, on up to 1,000 pairs.

        See `ostinato.tasks.abilities.RanksCheckpoints`. Where the loss rises again, because the network knows
        its pairs too well, its likeliest tokens are right more and more often.
        """
        return self._quality(data, part, Beam())

    def _quality(self, data: TranslatorData, part: str, beam: Beam) -> Quality:
        numbers = data.examples.part(part)
        places = np.unique(np.linspace(0, len(numbers) - 1, _CHOSEN_ON).astype(int))
        pairs = [data.examples.texts(int(numbers[place])) for place in places]
        written = [found.text for found in self.predictions([pair[0] for pair in pairs], beam=beam)]
        wanted = [pair[1] for pair in pairs]
        if data.examples.single_words:
            return Quality("share of exact matches", exact_match(wanted, written, self._words.target))
        return Quality("BLEU", bleu_of(wanted, written))

    def evaluate_quickly(
        self, data: TranslatorData, part: str, on_batch: OnBatch | None = None
    ) -> Evaluation:
        """`evaluate` with greedy search, for the end of every training; it is a few times faster."""
        return self.evaluate(data, part, on_batch, beam=Beam(size=1))

    def draw(self, evaluation: Evaluation, folder: Path) -> list[Path]:
        """Draws an evaluation into PNG files in a folder; returns their paths."""
        from ostinato.tasks.translator import pictures

        return pictures.draw(evaluation, folder)

    def exported(self) -> tuple[Exported, ...]:
        """The network for other programs; see `ostinato.tasks.exported.Exports`."""
        return exported(self._model, self._words, self._config.max_tokens)

    def _translate(self, texts: list[str], beam: Beam) -> list[Translation]:
        """A translation of each text, in their order.

        Raises:
            ConfigError: something in `texts` is no string; a setting of the beam is out of range.
        """
        if strange := [text for text in texts if not isinstance(text, str)]:
            raise ConfigError(f"one of the texts is a {type(strange[0]).__name__}, not a string")
        rows = [self._words.source.encode(text) for text in texts]
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
        translate = self._search(beam.checked(self._words.target.size))
        for at in range(0, len(order), _BATCH):
            mine = order[at : at + _BATCH]
            ids, lengths = padded([rows[n][: self._config.max_tokens] for n in mine])
            best = [part.numpy() for part in translate(ids, lengths, self._limits(lengths))]
            for number, tokens, counts, scores in zip(mine.tolist(), *best, strict=True):
                candidates = tuple(
                    Candidate(self._words.target.decode(row[: count - 1]), float(score))
                    for row, count, score in zip(tokens, counts, scores, strict=True)
                    if np.isfinite(score)
                )
                first, size = candidates[0], int(sizes[number])
                cut = size > self._config.max_tokens
                found[number] = Translation(first.text, first.score, candidates, size, cut)
        return [found[number] for number in range(len(texts))]

    def _limits(self, lengths: np.ndarray) -> np.ndarray:
        """The most tokens of a translation, its end included: as many as any in training, for its source."""
        return np.ceil(lengths * self._words.growth).astype(np.int32) + FREE_TOKENS + 1

    def _search(self, beam: Beam) -> Callable[..., tuple[tf.Tensor, ...]]:
        """The search as one function of (source, lengths, limits)."""
        if beam in self._searches:
            return self._searches[beam]
        model = self._model
        allowed = tf.constant(np.isin(np.arange(self._words.target.size), (PAD, BOS, UNK), invert=True))

        def translate(source, lengths, limits):
            memory, state = model.read(source, lengths)

            def step(last, state):
                features, state, weights = model.write(last[:, tf.newaxis], memory, state)
                return model.scores(features[:, 0]), state, weights[:, 0]

            start = tf.fill(tf.shape(lengths), BOS)
            found = search(
                step, start, state, beam, limits=limits, end=EOS, allowed=allowed, sources=memory.mask
            )
            return found.tokens, found.lengths, found.scores

        ids, lengths = (tf.TensorSpec((None,) * rank, tf.int32) for rank in (2, 1))
        self._searches[beam] = traced(translate, input_signature=[ids, lengths, lengths])
        return self._searches[beam]

    def align(self, source: str, target: str) -> Alignment:
        """The attention of the decoder over a sentence and its translation.

        Args:
            source: a sentence.
            target: its translation, the model's own or another.

        Raises:
            ConfigError: the model has no attention, or the source has nothing in it.
        """
        if self._config.attention == "none":
            raise ConfigError("this translator has no attention, so there is nothing to draw")
        read = self._words.source.encode(source)[: self._config.max_tokens]
        written = marked(self._words.target.encode(target))
        if not len(read):
            raise ConfigError("the sentence is empty, so there is nothing to look at")
        ids, lengths = padded([read])
        _, weights = self._model(
            tf.constant(ids), tf.constant(lengths), tf.constant(written[np.newaxis, :-1])
        )
        pieces = tuple(self._words.source.pieces(read)), (*self._words.target.pieces(written[1:-1]), "<eos>")
        return Alignment(*pieces, weights.numpy()[0])

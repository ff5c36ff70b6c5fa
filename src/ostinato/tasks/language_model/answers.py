"""Using a language model: writing texts, and the loss of every line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
import tensorflow as tf

from ostinato.cells.base import State, initial_state
from ostinato.decoding.beam import Searcher
from ostinato.decoding.choices import Beam, Sampling
from ostinato.decoding.sampling import Writer
from ostinato.errors import ConfigError, OstinatoError, RunError, RunWarning, warn
from ostinato.heads import categorical
from ostinato.layers.tracing import traced
from ostinato.tasks.base import Json, OnBatch, as_figures
from ostinato.tasks.exported import Exported, ExportedInput
from ostinato.tasks.language_model import lines
from ostinato.tasks.language_model.data import LanguageData, read
from ostinato.tasks.language_model.dynamic import WINDOW, Adaptation, dynamic_metrics
from ostinato.tasks.language_model.endings import Endings
from ostinato.tasks.language_model.network import RecurrentLanguageModel
from ostinato.tasks.language_model.source import lenient, open_source
from ostinato.tasks.language_model.vocabulary import LanguageVocabulary
from ostinato.tasks.language_model.writing import check_together, how_to_write

_PIECE, _PIECE_OF_LINE = 64, 16
"""Tokens written before the texts are looked at."""
_ROUNDS, _LEAST = 100, 1_000
"""At most so many times the unique lines that are asked for are drawn, or so many in all."""
_FEWEST, _MOST = 64, 10_000
"""How many lines are drawn at once when they must be unique."""


class LineLoss(NamedTuple):
    """The loss of a line.

    Attributes:
        line: the line.
        loss: in nats, the end symbol included.
        tokens: the number of tokens, the end symbol included.
    """

    line: str
    loss: float
    tokens: int

    @property
    def per_token(self) -> float:
        """The loss in nats per token."""
        return self.loss / self.tokens


class Answers:
    """The texts that a trained language model writes.

    Args:
        model: the network.
        words: what its tokens stand for.
    """

    def __init__(self, model: RecurrentLanguageModel, words: LanguageVocabulary):
        self._model, self._words = model, words
        self._source: Json | None = None
        self._writers: dict[tuple[Sampling, bool], Writer] = {}
        self._searchers: dict[Beam, Searcher] = {}
        ids, weights = tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, None), tf.float32)
        self._nats = traced(self._line_nats, input_signature=(ids, ids, weights))

    def reading(self, source: Json) -> Self:
        """Remembers the source of the run; see `ostinato.tasks.abilities.ReadsItsSource`."""
        self._source = source
        return self

    def exported(self) -> tuple[Exported, ...]:
        """The network for other programs; see `ostinato.tasks.exported.Exports`."""

        def run(
            given: Sequence[tf.Tensor], state: Sequence[tf.Tensor]
        ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
            logits, after = self._model(given[0], tuple(state))
            return [logits], list(after)

        tokens = ExportedInput("tokens", (None, None), "int32", (0, self._words.size))
        words = {**self._words.to_json(), "start": self._words.start, "end": self._words.end}
        metadata = {"vocabulary": json.dumps(words, ensure_ascii=False)}
        states = tuple(replace(spec, name=spec.name.replace("/", "_")) for spec in self._model.stack.states)
        return (Exported("", (tokens,), states, ("logits",), run, metadata),)

    def generate(
        self,
        *,
        prompt: str = "",
        prompts: Sequence[str] | None = None,
        length: int = 400,
        count: int = 1,
        stop: str | None = None,
        unique: bool = False,
        unknown: str = "error",
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float | None = None,
        seed: int | None = None,
        beam: int | None = None,
        no_repeat: int = 0,
        on_text: Callable[[str], None] | None = None,
    ) -> list[str]:
        """Writes text: samples token after token or, with a beam, searches for the most likely continuation.

        A model of lines writes a line: up to its end symbol, or `length` tokens.

        Args:
            prompt: what the text begins with; without one it begins as after a line break.
            prompts: several prompts instead; `count` texts are written for each, in this order.
            length: how many tokens to write at most.
            count: how many texts to write at once; with a beam, the most likely ones, the best first.
            stop: a text ends before this text, if it occurs after the prompt.
            unique: of a model of lines, no line of the run's source, and no line twice.
            unknown: what becomes of symbols of a prompt that the model lacks: an `error` names them, `drop`
                leaves them out, `replace` puts another symbol in their place.
            temperature, top_k, top_p, repetition_penalty: see `ostinato.decoding.sampling.Sampling`, whose
                defaults None takes.
            seed: the same seed writes the same texts; None draws a seed.
            beam: the beam size of a search; None samples instead.
            no_repeat: with a beam, no sequence of so many tokens occurs twice; 0 allows repeats.
            on_text: called with each new piece of the first text; with a beam, and with `unique`, once.

        Returns:
            `count` texts for each prompt, each with the prompt at its beginning; with a beam and `no_repeat`,
            and with `unique`, fewer where no more were found.

        Raises:
            EncodingError: when a prompt has symbols the model never saw.
            ConfigError: for a value out of range, options that exclude each other, or when a beam finds no
                text without repeats.
            SourceError, RunError: with `unique`, when the run's source can no longer be read, or has changed.
        """
        words = self._words
        how = how_to_write(
            words.size,
            length=length,
            count=count,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            repetition_penalty=repetition_penalty,
            seed=seed,
            beam=beam,
            no_repeat=no_repeat,
        )
        check_together(words.lines, prompt=prompt, prompts=prompts, stop=stop, unique=unique, beam=beam)
        asked = [prompt] if prompts is None else prompts
        given = [words.prompt(each, lenient(unknown)) for each in asked]
        if seed is None:
            seed = int(np.random.default_rng().integers(2**31))
        known = self._source_lines() if unique else set()
        texts: list[str] = []
        for number, ids in enumerate(given):
            endings, tell = Endings(words, ids, stop), on_text if not texts else None
            if isinstance(how, Beam):
                found = [endings.text(row)[0] for row in self._likeliest(ids, length, how)]
            elif unique:
                found = self._unique(ids, how, endings, length, count, seed + number, known)
            else:
                found = self._sampled(ids, how, endings, length, count, seed + number, tell)
            if tell is not None and found and (unique or isinstance(how, Beam)):
                tell(found[0])
            texts += found
        return texts

    def _sampled(
        self,
        given: np.ndarray,
        how: Sampling,
        endings: Endings,
        length: int,
        count: int,
        seed: int,
        on_text: Callable[[str], None] | None = None,
    ) -> list[str]:
        """Texts drawn token after token; the arguments are those of `generate`, and `given` the prompt."""
        rows, told = np.zeros((count, 0), np.int32), ""
        pieces = self._writer(how, begun=len(given) > 0).write(
            np.repeat(self._begun(given), count, axis=0),
            self._model.stack.initial_state(count),
            length=length,
            seed=seed,
            piece=_PIECE_OF_LINE if self._words.lines else _PIECE,
        )
        for piece in pieces:
            rows = np.concatenate([rows, piece], axis=1)
            if on_text is not None:
                text = endings.sure(*endings.text(rows[0]))
                on_text(text[len(told) :])
                told = text
            if endings.all_ended(rows):
                break
        texts = [endings.text(row)[0] for row in rows]
        if on_text is not None:
            on_text(texts[0][len(told) :])
        return texts

    def _unique(
        self,
        given: np.ndarray,
        how: Sampling,
        endings: Endings,
        length: int,
        count: int,
        seed: int,
        known: set[str],
    ) -> list[str]:
        """Sampled lines that are not `known`, which they are then. A warning says if there are too few."""
        found: list[str] = []
        attempts, limit, number = 0, max(_LEAST, _ROUNDS * count), 0
        some = min(max(2 * count, _FEWEST), _MOST)
        while len(found) < count and attempts < limit:
            # A draw depends on the seed alone, so every round has its own.
            for text in self._sampled(given, how, endings, length, some, _seed_of_round(seed, number)):
                if text not in known and len(found) < count:
                    known.add(text)
                    found.append(text)
            attempts, number = attempts + some, number + 1
        if len(found) < count:
            warn(
                f"found only {len(found):,} of {count:,} new lines among {attempts:,} samples; a higher "
                "temperature varies more",
                RunWarning,
            )
        return found

    def _source_lines(self) -> set[str]:
        """All lines of the run's source, as the model reads them."""
        try:
            if self._source is None:
                raise RunError("the model does not belong to a run")
            config = self._model.config
            texts = open_source(self._source.get("description"))
            data = lines.read(config, texts, self._words.encoder, True, None)
        except OstinatoError as error:
            raise RunError(f"unique needs the lines that the run was trained on: {error}") from None
        if data.lines.content != self._source.get("sha256") and texts.validation is None:
            raise RunError(
                "unique needs the lines that the run was trained on, and its source has changed since"
            )
        return set(data.texts("train"))

    def line_losses(
        self, data: lines.LinesData, name: str, on_batch: OnBatch | None = None
    ) -> Iterator[LineLoss]:
        """The loss of every line of a part, in the order of the list.

        Args:
            data: the lines.
            name: `train`, `validation` or `test`.
            on_batch: called with (batches done, total batches).

        Raises:
            ConfigError: when the model is not one of lines.
        """
        if not isinstance(data, lines.LinesData):
            raise ConfigError(
                "the loss of every line needs a model of lines (ostinato train lm --lines); this one reads "
                "one long text"
            )
        part = data.in_order(name)
        if part is None:
            return
        order = np.concatenate(list(part.batch_numbers(None)))
        found: list[tuple[float, int]] = []
        for number, batch in enumerate(part.batches()):
            nats, tokens = self._nats(batch["tokens"], batch["targets"], batch["weights"])
            found += zip(nats.numpy().tolist(), tokens.numpy().astype(int).tolist(), strict=True)
            if on_batch is not None:
                on_batch(number + 1, part.steps)
        for text, place in zip(data.texts(name), np.argsort(order, kind="stable").tolist(), strict=True):
            yield LineLoss(text, *found[place])

    def dynamic(
        self,
        data: LanguageData | lines.LinesData,
        name: str,
        on_batch: OnBatch | None = None,
        *,
        rate: float | None = None,
        decay: float | None = None,
    ) -> dict[str, float]:
        """The figures of a part under dynamic evaluation, each called `dynamic_` and its name.

        Args:
            data: the text.
            name: the part.
            on_batch: called with (windows done, total windows).
            rate, decay: see `ostinato.tasks.language_model.dynamic.Adaptation`, whose defaults None takes.

        Raises:
            ConfigError: when the model is one of lines, or a value is out of range.
            RunError: when the run's source, whose gradients the weights are measured by, has changed.
        """
        from ostinato.tasks.language_model.task import LanguageModel

        if isinstance(data, lines.LinesData):
            raise ConfigError(
                "dynamic evaluation reads one long text; this model reads lines, each of which begins from "
                "nothing"
            )
        usual = Adaptation()
        how = Adaptation(usual.rate if rate is None else rate, usual.decay if decay is None else decay)
        task = LanguageModel(self._model.config)
        part, train = data.in_order(name, WINDOW), self._trained_on(data).in_order("train", WINDOW)
        found = dynamic_metrics(task, self._model, part, train, how, on_batch)
        return {f"dynamic_{name}": value for name, value in as_figures(found).items()}

    def _trained_on(self, data: LanguageData) -> LanguageData:
        """The data that the run was trained on, if these are others. Raises RunError."""
        if self._source is None or data.source["sha256"] == self._source.get("sha256"):
            return data
        try:
            texts = open_source(self._source.get("description"))
            own = read(self._model.config, texts, self._words.encoder, False, None)
        except OstinatoError as error:
            raise RunError(f"dynamic evaluation needs the text of the run's training: {error}") from None
        if own.source["sha256"] != self._source.get("sha256"):
            raise RunError("dynamic evaluation needs the text of the run's training, which has changed since")
        return own

    def _line_nats(self, tokens: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> Any:
        """The loss in nats and the number of tokens of every row, each (rows,)."""
        state = initial_state(self._model.stack.states, tf.shape(tokens)[0])
        logits, _ = self._model(tokens, state)
        nats = categorical.loss(targets, logits)
        return tf.reduce_sum(weights * nats, axis=1), tf.reduce_sum(weights, axis=1)

    def _begun(self, given: np.ndarray) -> np.ndarray:
        """What the network reads before it writes, int32 (1, time), time ≥ 1."""
        words = self._words
        before = [words.start] if words.lines or not len(given) else []
        return np.concatenate([np.array(before, np.int32), given])[np.newaxis]

    def _likeliest(self, given: np.ndarray, length: int, beam: Beam) -> list[np.ndarray]:
        """The most likely continuations of a prompt, at most n_best, each (ids,), the best first."""
        # One graph serves every count.
        searcher = self._searcher(beam._replace(n_best=beam.size))
        found = searcher.find(self._begun(given), self._model.stack.initial_state(1), length=length)
        finite = np.isfinite(found.scores[0])
        tokens, lengths = found.tokens.numpy()[0, finite], found.lengths.numpy()[0, finite]
        if not len(tokens):
            raise ConfigError(
                f"found no text of {length} tokens with no_repeat = {beam.no_repeat}; set a shorter length, "
                "or a larger no_repeat"
            )
        return [row[:size] for row, size in zip(tokens, lengths, strict=True)][: beam.n_best]

    def _writer(self, how: Sampling, *, begun: bool) -> Writer:
        """The sampler with these options, traced once. A line that has not begun does not end at once."""
        key, end = (how, begun or self._words.end is None), self._words.end
        if key not in self._writers:
            not_first = () if begun or end is None else (end,)
            self._writers[key] = Writer(self._step, self._words.size, how, self._words.banned, not_first)
        return self._writers[key]

    def _searcher(self, how: Beam) -> Searcher:
        """The beam search with these options, traced once."""
        if how not in self._searchers:
            words = self._words
            self._searchers[how] = Searcher(self._step, words.size, how, words.banned, words.end)
        return self._searchers[how]

    def _step(self, tokens: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        return self._model(tokens, state)


def _seed_of_round(seed: int, number: int) -> int:
    """A seed of each round of draws; that of the first is the seed itself."""
    if not number:
        return seed
    return int(np.random.default_rng([seed, number]).integers(2**31))

"""Using a language model: writing texts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from ostinato.cells.base import State
from ostinato.data.encoders.registry import Encoder
from ostinato.decoding.beam import Searcher
from ostinato.decoding.choices import Beam, Sampling
from ostinato.decoding.sampling import Writer
from ostinato.errors import ConfigError
from ostinato.tasks.language_model.network import RecurrentLanguageModel
from ostinato.tasks.language_model.writing import how_to_write


class Answers:
    """The texts that a trained language model writes.

    Args:
        model: the network.
        encoder: what its tokens stand for.
    """

    def __init__(self, model: RecurrentLanguageModel, encoder: Encoder):
        self._model, self._encoder = model, encoder
        self._writers: dict[Sampling, Writer] = {}
        self._searchers: dict[Beam, Searcher] = {}

    def generate(
        self,
        *,
        prompt: str = "",
        length: int = 400,
        count: int = 1,
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

        Args:
            prompt: what the text begins with; without one it begins as after a line break.
            length: how many tokens to write.
            count: how many texts to write at once; with a beam, the most likely ones, the best first.
            temperature, top_k, top_p, repetition_penalty: see `ostinato.decoding.sampling.Sampling`, whose
                defaults None takes.
            seed: the same seed writes the same texts; None draws a seed.
            beam: the beam size of a search; None samples instead.
            no_repeat: with a beam, no sequence of so many tokens occurs twice; 0 allows repeats.
            on_text: called with each new piece of the first text; with a beam, once.

        Returns:
            `count` texts, each with the prompt at its beginning; with a beam and `no_repeat`, fewer where no
            more were found.

        Raises:
            EncodingError: when the prompt has symbols the model never saw.
            ConfigError: for a value out of range, options that exclude each other, or when a beam finds no
                text without repeats.
        """
        model, encoder = self._model, self._encoder
        how = how_to_write(
            encoder.size,
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
        given = encoder.encode(prompt, strict=True).astype(np.int32)
        start = given if len(given) else np.array([encoder.start], np.int32)
        if isinstance(how, Beam):
            rows = self._likeliest(start, length, how)
            texts = [encoder.decode(np.concatenate([given, row])) for row in rows]
            if on_text is not None:
                on_text(texts[0])
            return texts
        if seed is None:
            seed = int(np.random.default_rng().integers(2**31))
        writer = self._writer(how)
        ids = np.repeat(given[np.newaxis], count, axis=0)
        told = ""
        pieces = writer.write(
            np.repeat(start[np.newaxis], count, axis=0),
            model.stack.initial_state(count),
            length=length,
            seed=seed,
        )
        for piece in pieces:
            ids = np.concatenate([ids, piece], axis=1)
            if on_text is not None:
                # A character of several bytes may still be incomplete at the end of a piece.
                text = encoder.decode(ids[0]).rstrip("\ufffd")
                on_text(text[len(told) :])
                told = text
        texts = [encoder.decode(row) for row in ids]
        if on_text is not None:
            on_text(texts[0][len(told) :])
        return texts

    def _likeliest(self, start: np.ndarray, length: int, beam: Beam) -> np.ndarray:
        """The most likely continuations of `start`, ids of shape (at most n_best, length), the best first."""
        # One graph serves every count.
        searcher = self._searcher(beam._replace(n_best=beam.size))
        found = searcher.find(start[np.newaxis], self._model.stack.initial_state(1), length=length)
        tokens = found.tokens.numpy()[0, np.isfinite(found.scores[0])]
        if not len(tokens):
            raise ConfigError(
                f"found no text of {length} tokens with no_repeat = {beam.no_repeat}; set a shorter length, "
                "or a larger no_repeat"
            )
        return tokens[: beam.n_best]

    def _writer(self, how: Sampling) -> Writer:
        """The sampler with these options, traced once."""
        if how not in self._writers:
            self._writers[how] = Writer(self._step, self._encoder.size, how, self._banned)
        return self._writers[how]

    def _searcher(self, how: Beam) -> Searcher:
        """The beam search with these options, traced once."""
        if how not in self._searchers:
            self._searchers[how] = Searcher(self._step, self._encoder.size, how, self._banned)
        return self._searchers[how]

    def _step(self, tokens: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        return self._model(tokens, state)

    @property
    def _banned(self) -> tuple[int, ...]:
        """Tokens that are never written: the unknown token."""
        return () if self._encoder.unknown is None else (self._encoder.unknown,)

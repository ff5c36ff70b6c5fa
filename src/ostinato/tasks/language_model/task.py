"""The language model's data, loss, metrics and use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

import keras
import numpy as np
import tensorflow as tf

from ostinato.cells.base import State, StateSpec
from ostinato.data.batches import windows
from ostinato.data.batches.shards import rows_of
from ostinato.data.encoders.registry import Encoder, encoder_from_json
from ostinato.data.sources.corpora import Corpus, open_corpus, reopen
from ostinato.data.store.tokens import Tokens, prepare_tokens
from ostinato.decoding.beam import Searcher
from ostinato.decoding.choices import Beam, Sampling
from ostinato.decoding.sampling import Writer
from ostinato.errors import ConfigError
from ostinato.layers.dropout import DropoutKey
from ostinato.tasks.base import Batch, Loss, Metric, Metrics, OnProgress
from ostinato.tasks.language_model.config import LanguageModelConfig
from ostinato.tasks.language_model.network import RecurrentLanguageModel
from ostinato.tasks.language_model.writing import how_to_write

_EVALUATION_WINDOW = 1024

_Use = TypeVar("_Use")


class LanguageModel:
    """The task: see `ostinato.tasks.base.Task` for what each method promises."""

    name: ClassVar[str] = "language_model"
    prefix: ClassVar[str] = "lm"
    unit: ClassVar[str] = "tokens"
    judged_first: ClassVar[tuple[str, ...]] = ("validation",)
    notes: tuple[str, ...] = ()

    def __init__(self, config: LanguageModelConfig):
        self.config = config
        self.encoder: Encoder | None = None
        self._corpus: Corpus | None = None
        self._tokens: Tokens | None = None
        self._parts: dict[str, np.ndarray] = {}
        self._needs_whole_windows = True
        self._uses: dict[Any, tuple[keras.Model, Any]] = {}

    def for_evaluation(self, *, whole: bool) -> LanguageModel:
        """The same task reading one row from beginning to end: every token has all that came before it.

        Args:
            whole: take the source as one part, `train`, instead of splitting it as in training.
        """
        changes: dict[str, Any] = {"batch": 1, "seq_len": _EVALUATION_WINDOW}
        if whole:
            changes |= {"validation_fraction": 0.0, "test_fraction": 0.0, "max_tokens": None}
        task = LanguageModel(self.config.model_copy(update=changes))
        task.encoder, task._needs_whole_windows = self.encoder, False
        return task

    # Data.

    def prepare(self, source: Any, on_progress: OnProgress | None = None) -> None:
        """Reads a text.

        Args:
            source: a corpus from `ostinato.data.sources.corpora`, or what its `open_corpus` takes.
            on_progress: called with (bytes read, bytes in all or None).

        Raises:
            SourceError: when it cannot be read, or a part of it is shorter than one window.
            EncodingError: when it has symbols that the restored vocabulary lacks.
        """
        config = self.config
        self._corpus = source if isinstance(source, Corpus) else open_corpus(source)
        if self.encoder is not None:
            self._tokens = prepare_tokens(self._corpus, encoder=self.encoder, on_progress=on_progress)
        else:
            self._tokens = prepare_tokens(
                self._corpus,
                on_progress=on_progress,
                name=config.encoder,
                normalize=config.normalize,
                min_count=config.min_count,
                vocabulary_size=config.vocabulary_size,
            )
        self.encoder = self._tokens.encoder
        ids = self._tokens.ids[: config.max_tokens]
        parts = windows.split(
            len(ids), validation_fraction=config.validation_fraction, test_fraction=config.test_fraction
        )
        self._parts = {name: ids[start:stop] for name, (start, stop) in parts._asdict().items()}
        if self._needs_whole_windows:
            self._parts["validation"] = self._parts["validation"][: config.validation_tokens]
        for name, part in self._parts.items():
            if self._needs_whole_windows and (len(part) or name == "train"):
                self._plan(part, "training part" if name == "train" else f"{name} part")

    def _plan(self, part: np.ndarray, name: str) -> Any:
        config = self.config
        return windows.plan(
            len(part), batch=config.batch, seq_len=config.seq_len, sampling=config.sampling, part=name
        )

    @property
    def source(self) -> dict[str, Any]:
        assert self._corpus is not None
        assert self._tokens is not None
        return {"description": self._corpus.describe(), "sha256": self._tokens.content}

    def reopen(self, description: dict[str, Any]) -> tuple[Corpus, str]:
        corpus = reopen(description)
        return corpus, corpus.name

    def vocabulary(self) -> dict[str, Any]:
        assert self.encoder is not None
        return self.encoder.to_json()

    def restore(self, vocabulary: dict[str, Any]) -> None:
        self.encoder = encoder_from_json(vocabulary)

    def has(self, split: str) -> bool:
        """Whether any of the text is in this part."""
        return len(self._parts.get(split, ())) > 1

    def rows(self, split: str, *, evaluate: bool = False) -> int:
        part = self._parts[split]
        if evaluate or split != "train":
            return self._evaluation_shape(part)[0]
        return self._plan(part, split).rows

    def steps(self, split: str, *, evaluate: bool = False) -> int:
        part = self._parts[split]
        if evaluate or split != "train":
            rows, seq_len = self._evaluation_shape(part)
            return windows.evaluation_steps(len(part), rows=rows, seq_len=seq_len)
        return self._plan(part, split).steps_per_epoch

    def signature(self) -> None:
        return None

    @property
    def carries_state(self) -> bool:
        return self.config.sampling == "sequential"

    def batches(
        self, split: str, *, epoch: int | None = None, start: int = 0, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """Batches of {"tokens", "targets", "weights"} of shape (rows, seq_len), and "first_row".

        Args:
            split: `train`, `validation` or `test`.
            epoch: which shuffling of the part; None reads all of it once, in order, each token but the first
                a target exactly once.
            start: the number of the first batch.
            shard: (index, count) of the rows.
        """
        part, config = self._parts[split], self.config
        if epoch is None:
            rows, seq_len = self._evaluation_shape(part)
            pieces = windows.evaluation_batches(part, rows=rows, seq_len=seq_len, shard=shard)
            for number, (tokens, targets, weights) in enumerate(pieces):
                if number >= start:
                    yield self._batch(tokens, targets, weights, rows_of(shard, rows).start)
            return
        rows = self.rows(split)
        pieces = windows.train_batches(
            part,
            batch=config.batch,
            seq_len=config.seq_len,
            sampling=config.sampling,
            seed=config.seed,
            epoch=epoch,
            start=start,
            shard=shard,
        )
        for tokens, targets in pieces:
            weights = np.ones(targets.shape, np.float32)
            yield self._batch(tokens, targets, weights, rows_of(shard, rows).start)

    @staticmethod
    def _batch(tokens: np.ndarray, targets: np.ndarray, weights: np.ndarray, first_row: int) -> Batch:
        return {"tokens": tokens, "targets": targets, "weights": weights, "first_row": first_row}

    def _evaluation_shape(self, part: np.ndarray) -> tuple[int, int]:
        """Rows and window length: as in training, but never more than the part holds."""
        seq_len = min(self.config.seq_len, len(part) - 1)
        return max(1, min(self.config.batch, (len(part) - 1) // seq_len)), seq_len

    # Network and loss.

    def build(self) -> RecurrentLanguageModel:
        assert self.encoder is not None
        model = RecurrentLanguageModel(self.config, self.encoder.size)
        model.make_weights()
        if self.config.init_stddev is not None:
            self._draw_normal(model, self.config.init_stddev)
        return model

    def _draw_normal(self, model: keras.Model, stddev: float) -> None:
        for number, weight in enumerate(model.trainable_variables):
            if "bias" in weight.name:
                weight.assign(tf.zeros(weight.shape))
            else:
                seed = (self.config.seed, number)
                weight.assign(tf.random.stateless_normal(weight.shape, seed, stddev=stddev))

    def states(self, model: RecurrentLanguageModel) -> tuple[StateSpec, ...]:
        return model.stack.states

    def loss(
        self, model: RecurrentLanguageModel, batch: Batch, state: State, *, step: tf.Tensor | None = None
    ) -> Loss:
        assert self.encoder is not None
        key = None
        if step is not None:
            key = DropoutKey(tf.constant(self.config.seed), step, batch["first_row"])
        logits, state = model(batch["tokens"], state, key)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["targets"], logits)
        characters = tf.gather(tf.constant(self.encoder.characters), batch["targets"])
        weights = batch["weights"]
        sums = {"characters": tf.reduce_sum(weights * characters)}
        return Loss(tf.reduce_sum(weights * nats), tf.reduce_sum(weights), sums, state)

    def metrics(self, sums: Loss) -> Metrics:
        """Mean loss in nats per token, perplexity, and bits per character."""
        mean, characters = sums.total / sums.weight, sums.sums["characters"]
        bits = sums.total / math.log(2) / characters if characters else math.nan
        return (
            Metric("loss", mean, "nats per token"),
            Metric("perplexity", math.exp(min(mean, 700.0))),
            Metric("bits_per_character", bits, "bits"),
        )

    # Use.

    def generate(
        self,
        model: RecurrentLanguageModel,
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
        """Writes text: draws token after token, or with a beam searches the likeliest continuation.

        Args:
            model: a trained model.
            prompt: what the text begins with; without one it begins as after a line break.
            length: how many tokens to write.
            count: how many texts to write at once; with a beam, so many of the likeliest, the best first.
            temperature, top_k, top_p, repetition_penalty: see `ostinato.decoding.sampling.Sampling`, whose
                defaults None takes.
            seed: the same seed writes the same texts; None draws one.
            beam: continuations that a search keeps side by side; None draws instead.
            no_repeat: with a beam, no sequence of so many tokens is written twice; 0 allows all.
            on_text: called with each further piece of the first text while it is written; with a beam, once.

        Returns:
            `count` texts, each with the prompt at its beginning; with a beam and `no_repeat`, fewer where no
            more were found.

        Raises:
            EncodingError: when the prompt has symbols the model never saw.
            ConfigError: for a value out of range, options that exclude each other, or when a beam finds no
                text without repeats.
        """
        encoder = self.encoder
        assert encoder is not None
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
            rows = self._likeliest(model, start, length, how)
            texts = [encoder.decode(np.concatenate([given, row])) for row in rows]
            if on_text is not None:
                on_text(texts[0])
            return texts
        if seed is None:
            seed = int(np.random.default_rng().integers(2**31))
        writer = self._kept(Writer, model, how)
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

    def _likeliest(
        self, model: RecurrentLanguageModel, start: np.ndarray, length: int, beam: Beam
    ) -> np.ndarray:
        """The likeliest continuations of `start`, ids of shape (at most n_best, length), the best first."""
        # One graph serves any count.
        searcher = self._kept(Searcher, model, beam._replace(n_best=beam.size))
        found = searcher.find(start[np.newaxis], model.stack.initial_state(1), length=length)
        tokens = found.tokens.numpy()[0, np.isfinite(found.scores[0])]
        if not len(tokens):
            raise ConfigError(
                f"no_repeat = {beam.no_repeat}: no text of {length} tokens without repeats was found; "
                "ask for fewer tokens, or allow more repeats"
            )
        return tokens[: beam.n_best]

    def _kept(self, kind: Callable[..., _Use], model: RecurrentLanguageModel, how: Sampling | Beam) -> _Use:
        """What writes in this way, kept: it is traced once, however many texts it writes."""
        assert self.encoder is not None
        for_model, use = self._uses.get((kind, how), (None, None))
        if use is None or for_model is not model:
            unknown = self.encoder.unknown
            banned = () if unknown is None else (unknown,)
            use = kind(lambda tokens, state: model(tokens, state), self.encoder.size, how, banned)
            self._uses[kind, how] = (model, use)
        return use

"""The translator's data, loss, metrics and use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from ostinato.data.batches.buckets import batch_numbers
from ostinato.data.encoders.base import damaged
from ostinato.data.examples.pairs import PairExamples, prepare_pairs
from ostinato.data.examples.sentences import Sentences, marked, padded, sentences_from_json
from ostinato.data.sources.pairs import Pairs, open_pairs
from ostinato.decoding.beam import Beam
from ostinato.errors import ConfigError
from ostinato.layers.dropout import DropoutKey, uniform
from ostinato.tasks.base import Batch, Loss, Metric, Metrics, OnProgress, State, as_figures
from ostinato.tasks.standalone import StandaloneExamples
from ostinato.tasks.translator.config import TranslatorConfig
from ostinato.tasks.translator.judgement import Judgement, judged
from ostinato.tasks.translator.network import RecurrentTranslator
from ostinato.tasks.translator.translations import FREE_TOKENS, Alignment, Interpreter, Translation

_TRANSLATED_TOGETHER = 2048
_MOST_GROWTH = 100_000  # a word whose translation is as long as any that training takes
_SAMPLING_SITE = 1030


class Translator(StandaloneExamples):
    """The task: see `ostinato.tasks.base.Task` for what each method promises."""

    name: ClassVar[str] = "translator"
    prefix: ClassVar[str] = "translate"
    unit: ClassVar[str] = "tokens"
    judged_first: ClassVar[tuple[str, ...]] = ("test", "validation")

    def __init__(self, config: TranslatorConfig):
        self.config = config
        self.source_sentences: Sentences | None = None
        self.target_sentences: Sentences | None = None
        self.growth = 1.0
        self.notes: tuple[str, ...] = ()
        self._pairs: Pairs | None = None
        self._examples: PairExamples | None = None
        self._splits = True
        self._interpreter: Interpreter | None = None

    def for_evaluation(self, *, whole: bool) -> Translator:
        """The same task for judging.

        Args:
            whole: take the source as one part, `train`, instead of splitting it as in training.
        """
        task = Translator(self.config)
        task.source_sentences, task.target_sentences = self.source_sentences, self.target_sentences
        task.growth, task._splits = self.growth, not whole
        return task

    # Data.

    def prepare(self, source: Any, on_progress: OnProgress | None = None) -> None:
        """Reads sentence pairs.

        Args:
            source: pairs from `ostinato.data.sources.pairs`, or what its `open_pairs` takes.
            on_progress: called with (bytes read, bytes in all or None).

        Raises:
            SourceError: when they cannot be read, or none is left to train on.
        """
        config = self.config
        self._pairs = source if isinstance(source, Pairs) else open_pairs(source)
        known = None
        if self.source_sentences is not None and self.target_sentences is not None:
            known = (self.source_sentences, self.target_sentences)
        self._examples = examples = prepare_pairs(
            self._pairs,
            sentences=known,
            source_encoder=config.source_encoder,
            target_encoder=config.target_encoder,
            source_vocabulary=config.source_vocabulary,
            target_vocabulary=config.target_vocabulary,
            joint_vocabulary=config.joint_vocabulary,
            min_count=config.min_count,
            unicode=config.unicode,
            lowercase=config.lowercase,
            max_tokens=config.max_tokens if self._splits else None,
            validation_fraction=config.validation_fraction if self._splits else 0.0,
            test_fraction=config.test_fraction if self._splits else 0.0,
            on_progress=on_progress,
        )
        if known is None:
            self.source_sentences, self.target_sentences = (
                examples.source_sentences,
                examples.target_sentences,
            )
        if self._splits:
            # Of a run that training starts from, the growth is kept where it is the larger one.
            sources, targets = examples.lengths[examples.part("train")].T
            grown = float(((targets - FREE_TOKENS) / np.maximum(sources, 1)).max())
            self.growth = max(self.growth, grown)
            self.notes = self._notes()

    def _notes(self) -> tuple[str, ...]:
        """What whoever trains should know: the sides, the parts, what is left out."""
        examples, source, target = self._examples, self.source_sentences, self.target_sentences
        assert examples is not None
        assert source is not None
        assert target is not None
        sizes = [
            f"{len(examples.part(part)):,} for {part}"
            for part in ("train", "validation", "test")
            if self.has(part)
        ]
        return (
            f"source: {source.encoder.name}, {source.size:,} tokens; "
            f"target: {target.encoder.name}, {target.size:,} tokens; pairs: {', '.join(sizes)}",
            *examples.notes,
        )

    @property
    def source(self) -> dict[str, Any]:
        assert self._pairs is not None
        assert self._examples is not None
        return {"description": self._pairs.description, "sha256": self._examples.hash}

    def reopen(self, description: dict[str, Any]) -> tuple[Pairs, str]:
        """The pairs that `source` described, and their name.

        Raises:
            SourceError: when they are not there any more.
            TypeError: when it is no description.
        """
        if not isinstance(description, dict):
            raise TypeError("it is no description of pairs")
        pairs = open_pairs(description)
        return pairs, pairs.name

    def vocabulary(self) -> dict[str, Any]:
        """All that translating needs to know of the training pairs, JSON-able."""
        assert self.source_sentences is not None
        assert self.target_sentences is not None
        return {
            "source": self.source_sentences.to_json(),
            "target": self.target_sentences.to_json(),
            "growth": self.growth,
        }

    def restore(self, vocabulary: dict[str, Any]) -> None:
        try:
            source, target, growth = (vocabulary[key] for key in ("source", "target", "growth"))
        except (KeyError, TypeError) as error:
            raise damaged(f"it has no {error}") from None
        if type(growth) not in (int, float) or not 1 <= growth <= _MOST_GROWTH:
            raise damaged(f"its 'growth' is no number from 1 to {_MOST_GROWTH:,}")
        self.source_sentences, self.target_sentences = (
            sentences_from_json(source),
            sentences_from_json(target),
        )
        self.growth = float(growth)

    def signature(self) -> dict[str, tf.TensorSpec]:
        return {
            "source": tf.TensorSpec((None, None), tf.int32),
            "source_lengths": tf.TensorSpec((None,), tf.int32),
            "target": tf.TensorSpec((None, None), tf.int32),
            "target_lengths": tf.TensorSpec((None,), tf.int32),
            "first_row": tf.TensorSpec((), tf.int32),
        }

    def _batch_numbers(self, split: str, epoch: int | None) -> Iterator[np.ndarray]:
        """The numbers of the pairs in each batch: of about equal target, then of equal source length."""
        assert self._examples is not None
        order = self._examples.part(split)
        sources, targets = self._examples.lengths[order].T
        seed = None if epoch is None else (self.config.seed, epoch)
        return batch_numbers(order, (targets, sources), batch=self.config.batch, seed=seed)

    def _batch(self, numbers: np.ndarray, first: int, stop: int, *, training: bool) -> Batch:
        """{"source", "source_lengths", "target", "target_lengths", "first_row"} of these pairs.

        Ids are (rows, time), time being that of the longest sentence in the global batch; targets begin with
        BOS and end with EOS, and their lengths count both.
        """
        examples = self._examples
        assert examples is not None
        sources, targets = examples.lengths[numbers].max(axis=0)
        mine, cut = [int(number) for number in numbers[first:stop]], self.config.max_tokens
        source, source_lengths = padded([examples.source(n)[:cut] for n in mine], min(int(sources), cut))
        target, target_lengths = padded([marked(examples.target(n)) for n in mine], int(targets) + 2)
        return {
            "source": source,
            "source_lengths": source_lengths,
            "target": target,
            "target_lengths": target_lengths,
            "first_row": first,
        }

    # Network and loss.

    def build(self) -> RecurrentTranslator:
        assert self.source_sentences is not None
        assert self.target_sentences is not None
        model = RecurrentTranslator(self.config, self.source_sentences.size, self.target_sentences.size)
        model.make_weights()
        return model

    def loss(
        self, model: RecurrentTranslator, batch: Batch, state: State, *, step: tf.Tensor | None = None
    ) -> Loss:
        """Cross-entropy of every target token, its end included, given those before it.

        In training the label smoothing is in the loss, but not in the metrics.
        """
        key, smoothing = None, 0.0
        if step is not None:
            key = DropoutKey(tf.constant(self.config.seed), step, batch["first_row"])
            smoothing = self.config.label_smoothing
        given, nexts = batch["target"][:, :-1], batch["target"][:, 1:]
        if key is not None and self.config.scheduled_sampling:
            given = self._sampled(model, batch, given, key)
        features, _ = model(batch["source"], batch["source_lengths"], given, key)
        # Padding is left out before the largest product of all, that with the vocabulary.
        there = tf.where(tf.sequence_mask(batch["target_lengths"] - 1, tf.shape(nexts)[1]))
        scores = model.decoder.scores(tf.gather_nd(features, there))
        wanted = tf.gather_nd(nexts, there)
        if smoothing:
            loss, nats = _smoothed(wanted, scores, smoothing)
        else:
            loss = nats = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, scores))
        return Loss(loss, tf.cast(tf.shape(wanted)[0], tf.float32), {"nats": nats}, state)

    def _sampled(
        self, model: RecurrentTranslator, batch: Batch, given: tf.Tensor, key: DropoutKey
    ) -> tf.Tensor:
        """Target tokens, (rows, time), some of them replaced by what the network would have written there."""
        config = self.config
        features, _ = model(batch["source"], batch["source_lengths"], given, None)
        scores = model.decoder.scores(features[:, :-1])
        own = tf.argmax(scores, axis=-1, output_type=tf.int32)
        grown = tf.minimum(tf.cast(key.step, tf.float32) / config.scheduled_sampling_steps, 1.0)
        draws = uniform(tf.shape(own), key, site=_SAMPLING_SITE)
        mixed = tf.where(draws < config.scheduled_sampling * grown, own, given[:, 1:])
        return tf.stop_gradient(tf.concat([given[:, :1], mixed], axis=1))

    def metrics(self, sums: Loss) -> Metrics:
        """Mean cross-entropy in nats per target token, without smoothing, and perplexity."""
        mean = sums.sums["nats"] / sums.weight
        return (
            Metric("loss", mean, "nats per token"),
            Metric("perplexity", math.exp(min(mean, 700.0))),
        )

    # Use.

    def judge(
        self,
        model: RecurrentTranslator,
        split: str,
        on_batch: Callable[[int, int], None] | None = None,
        *,
        beam: Beam | None = None,
    ) -> Judgement:
        """Translates every source of a part, and compares the translations with the targets.

        Args:
            model: a trained model.
            split: `train`, `validation` or `test`, one that `has` pairs.
            on_batch: called with (batches done, batches in all).
            beam: how translations are searched; None takes the usual beam.
        """
        examples = self._examples
        assert examples is not None
        order = np.concatenate(list(self._batch_numbers(split, None)))
        found: dict[int, Translation] = {}
        nats, tokens, steps = 0.0, 0.0, self.steps(split)
        measure = tf.function(lambda batch: self.loss(model, batch, ()), input_signature=[self.signature()])
        for number, batch in enumerate(self.batches(split)):
            _, weight, sums, _ = measure({name: tf.constant(value) for name, value in batch.items()})
            nats, tokens = nats + float(sums["nats"]), tokens + float(weight)
            mine = order[number * self.config.batch : (number + 1) * self.config.batch]
            texts = [examples.texts(int(n))[0] for n in mine]
            found |= zip(mine.tolist(), self.predictions(model, texts, beam=beam), strict=True)
            if on_batch is not None:
                on_batch(number + 1, steps)
        pairs = [(*examples.texts(n), found[n].text) for n in examples.part(split).tolist()]
        figures = as_figures(self.metrics(Loss(nats, tokens, {"nats": nats})))
        return judged(split, pairs, figures)

    def judge_quickly(
        self,
        model: RecurrentTranslator,
        split: str,
        on_batch: Callable[[int, int], None] | None = None,
    ) -> Judgement:
        """`judge` as it is done at the end of every training: greedily, which is a few times faster."""
        return self.judge(model, split, on_batch, beam=Beam(size=1))

    def draw(self, judgement: Judgement, folder: Path) -> list[Path]:
        """Draws a judgement into a PNG file of a folder, and says which."""
        from ostinato.tasks.translator import pictures

        return pictures.draw(judgement, folder)

    def predict(
        self, model: RecurrentTranslator, texts: Iterable[str], *, beam: Beam | None = None
    ) -> list[Translation]:
        """A translation of each text; see `predictions`."""
        return list(self.predictions(model, texts, beam=beam))

    def predictions(
        self, model: RecurrentTranslator, texts: Iterable[str], *, beam: Beam | None = None
    ) -> Iterator[Translation]:
        """A translation of each text, in their order, some thousand at a time.

        Args:
            model: a trained model.
            texts: sentences; a single string is a mistake.
            beam: how translations are searched; None takes the usual beam, `Beam()`.

        Raises:
            ConfigError: when `texts` is a string, or something in it is none; a setting of the beam is out of
                range.
        """
        if isinstance(texts, str):
            raise ConfigError("texts is a string; give a list of texts, [text] for one")
        texts, interpreter = iter(texts), self._interpreting(model)
        while some := list(islice(texts, _TRANSLATED_TOGETHER)):
            yield from interpreter.translate(some, beam or Beam())

    def align(self, model: RecurrentTranslator, source: str, target: str) -> Alignment:
        """Where the decoder looks while it reads a translation; see `Interpreter.align`."""
        return self._interpreting(model).align(source, target)

    def _interpreting(self, model: RecurrentTranslator) -> Interpreter:
        """The interpreter of this model, kept."""
        if self._interpreter is None or self._interpreter.model is not model:
            source, target = self.source_sentences, self.target_sentences
            assert source is not None
            assert target is not None
            self._interpreter = Interpreter(model, self.config, source, target, self.growth)
        return self._interpreter


def _smoothed(wanted: tf.Tensor, scores: tf.Tensor, smoothing: float) -> tuple[tf.Tensor, tf.Tensor]:
    """The summed cross-entropy with labels smoothed, and without.

    Args:
        wanted: token ids, shape (tokens,).
        scores: before the softmax, shape (tokens, vocabulary).
        smoothing: the probability that is spread over all tokens.
    """
    size: Any = scores.shape[-1]
    spread = smoothing / size
    labels = tf.one_hot(wanted, size, on_value=1.0 - smoothing + spread, off_value=spread)
    loss = tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(labels, scores))
    # The second without another softmax: the two differ by how far the wanted score is above the mean.
    ahead = tf.gather(scores, wanted, batch_dims=1) - tf.reduce_mean(scores, axis=-1)
    return loss, loss - smoothing * tf.reduce_sum(tf.stop_gradient(ahead))

"""The contribution of each word to a prediction: integrated gradients.

    contribution of token i = e_i · ∫₀¹ ∂F(α e) / ∂e_i dα

e are the embedded tokens, and F is the score of the prediction. The contributions of all tokens add up to
F(e) − F(0): the score of the text minus that of a baseline, in which every embedding is zero. Of a network
with n-grams, whose weights are added up, each n-gram's share goes to the words in which it occurs.

Source: Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks", arXiv:1703.01365. Attention
weights and the plain gradient times the input are different quantities: they do not add up to the score.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import tensorflow as tf

from ostinato.data.encoders.ngrams import NGrams, spans
from ostinato.data.encoders.normalize import normalize_text
from ostinato.data.encoders.registry import Encoder
from ostinato.data.store.encoded_texts import encode_text, read_text
from ostinato.layers.tracing import traced
from ostinato.tasks.classifier.config import ClassifierConfig
from ostinato.tasks.classifier.network import RecurrentClassifier
from ostinato.tasks.classifier.padding import PADDING, padded_texts
from ostinato.tasks.classifier.predictions import Prediction
from ostinato.tasks.classifier.vocabulary import ClassifierVocabulary

STEPS = 64
"""The number of intervals of the path from the baseline to the text, before some are halved."""
_GROWTH = 16
"""The largest factor by which halving may increase the number of intervals."""
_TOLERANCE = 1.5e-4
"""The largest error of an interval, as a fraction of the change of the score on the whole path."""
_FLAT, _NARROWEST = 1e-3, 2.0**-22
"""Smaller changes of the score, and narrower intervals, are lost in the rounding of float32."""
_TOKENS_TOGETHER = 1 << 15

_BEFORE_A_WORD = re.compile(r"(?<=\S)(?=[ \t\n\r]+\S)")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Attribution:
    """The contribution of each word of a text to its prediction.

    The score is the logit of the predicted label. Two labels share one logit, which changes its sign for the
    first label. If several labels were predicted, the score is the sum of their logits; if none was, it is
    the logit of the most likely label.

    Attributes:
        prediction: the prediction.
        towards: the label, or joined labels, that positive contributions support: the predicted ones or, if
            no label was predicted, the most likely one.
        contributions: the words that were read, in order, each with its share of `score - baseline`. A word
            is the text between white space, normalized and without characters that the encoder does not know.
            Text that was cut off is not included, unless the network also reads n-grams. Empty for an empty
            text.
        baseline: the score without n-grams when the embedding of every token is zero, except that of padding
            that is read, which therefore contributes nothing. Zero for an empty text.
        score: the score of the text; zero for an empty text, whose prediction does not use the network.
        whole: whether words that were cut off are included, since the network has n-grams of the whole text.
    """

    prediction: Prediction
    towards: str
    contributions: tuple[tuple[str, float], ...]
    baseline: float
    score: float
    whole: bool = False

    @property
    def gap(self) -> float:
        """`score - baseline` minus the sum of the contributions.

        It is small unless the score jumps on the path from the baseline to the text, as it may in a long
        recurrence. Float32 gradients do not show which words cause the jump, so it is assigned to no word.
        """
        total = sum(contribution for _, contribution in self.contributions)
        return abs(total - (self.score - self.baseline))

    @property
    def adds_up(self) -> bool:
        """Whether the gap is small: at most a twentieth of the absolute contributions."""
        moved = sum(abs(contribution) for _, contribution in self.contributions)
        return self.gap <= max(moved, abs(self.score - self.baseline)) / 20

    @property
    def strengths(self) -> list[float]:
        """The contributions divided by the greatest magnitude among them: from -1 to 1."""
        values = [contribution for _, contribution in self.contributions]
        greatest = max(map(abs, values), default=0.0) or 1.0
        return [value / greatest for value in values]


class Attributor:
    """Attributes the predictions of a classifier to the words of a text.

    Args:
        model: a trained network.
        config: the settings of the network.
        words: the vocabulary of the network.
    """

    def __init__(self, model: RecurrentClassifier, config: ClassifierConfig, words: ClassifierVocabulary):
        self._model, self._config, self._words = model, config, words

    def attribution(self, text: str, prediction: Prediction, steps: int = STEPS) -> Attribution:
        """The contribution of each word of a text to its prediction.

        Args:
            text: any text.
            prediction: the prediction for the text.
            steps: the number of intervals of the path from the baseline to the text; more intervals make the
                gap smaller.
        """
        encoder, labels, max_tokens = self._words.encoder, self._words.labels, self._words.max_tokens
        probabilities = np.array(list(prediction.probabilities.values()))
        chosen = labels.chosen(probabilities[np.newaxis])[0]
        if not chosen.any():
            chosen = np.arange(len(chosen)) == probabilities.argmax()
        towards = labels.joined(chosen)
        if prediction.empty:
            return Attribution(prediction, towards, (), 0.0, 0.0)
        ids = encode_text(encoder, text)
        tokens = padded_texts(self._config, max_tokens, [ids], min(len(ids), max_tokens))[0][0]
        direction = chosen.astype(np.float32)
        if self._model.outputs < len(chosen):
            direction = np.array([1.0 if chosen[1] else -1.0], np.float32)
        each, baseline, score = integrated_gradients(self._model, tokens, direction, steps)
        words, word_of = words_of(encoder, text, len(ids))
        read = slice(-max_tokens, None) if self._config.truncation == "pre" else slice(max_tokens)
        sums = np.bincount(word_of[read], weights=each[tokens != PADDING], minlength=len(words))
        first, last = word_of[read][0], word_of[read][-1]
        if self._words.ngrams is not None:
            read, added = self._words.shares
            of_ngrams = added * self._of_ngrams(self._words.ngrams, text, direction, len(words))
            bias = added * float(self._model.of_ngrams.bias.numpy() @ direction)
            sums, baseline = read * sums + of_ngrams, read * baseline + bias
            score = read * score + float(of_ngrams.sum()) + bias
            first, last = 0, len(words) - 1
        contributions = tuple(zip(words[first : last + 1], sums[first : last + 1].tolist(), strict=True))
        return Attribution(
            prediction, towards, contributions, baseline, score, self._words.ngrams is not None
        )

    def _of_ngrams(self, ngrams: NGrams, text: str, direction: np.ndarray, words: int) -> np.ndarray:
        """What n-grams add to the score, by word: float64, shape (words,).

        Each n-gram is divided among its occurrences, and each of these between its first and its last word.
        """
        text, word_of = characters_of_words(self._words.encoder, text)
        found = spans(text, spaced=ngrams.spaced)
        ids = ngrams.ids_of(found.hashes)
        known = ids > 0
        ids, starts, stops = ids[known], found.starts[known], found.stops[known]
        if not len(ids):
            return np.zeros(words)
        different, place, counts = np.unique(ids, return_inverse=True, return_counts=True)
        of_each = self._model.of_ngrams.each(tf.constant(different[np.newaxis])).numpy()[0] @ direction
        shares = (of_each.astype(np.float64) / counts)[place] / 2
        # Most n-grams of characters end with the space after a word, which belongs to the next one.
        ends = stops - 1
        ends -= np.array(
            [text[end].isspace() and end > start for start, end in zip(starts, ends, strict=True)]
        )
        ends = np.clip(ends, 0, len(word_of) - 1)
        return np.bincount(word_of[starts.clip(0, len(word_of) - 1)], shares, words) + np.bincount(
            word_of[ends], shares, words
        )


# Numbers.


def integrated_gradients(
    model: RecurrentClassifier, tokens: np.ndarray, direction: np.ndarray, steps: int = STEPS
) -> tuple[np.ndarray, float, float]:
    """The contribution of each token to a score.

    The scores at both ends of an interval give the contribution of all tokens together in it. If the
    trapezoidal rule over the gradients is far from that, as where a recurrence switches from one answer to
    another, the interval is halved.

    Args:
        model: a trained model.
        tokens: a text, shape (time,), int32; 0 is padding that is read. Padding that is skipped is left out.
        direction: float32, shape (outputs,); the score is its dot product with the logits.
        steps: the number of intervals at first. Inexact ones are halved until there are sixteen times as
            many.

    Returns:
        The contributions, float64, shape (time,), zero for padding; the score of the baseline; and the score
        of the text.
    """
    points = np.linspace(0, 1, steps + 1)
    scores, products = _along(model, tokens, direction, points)
    while True:
        widths, changes = np.diff(points), np.diff(scores)
        each = widths[:, np.newaxis] * (products[1:] + products[:-1]) / 2
        sums = each.sum(axis=1)
        errors = np.abs(changes - sums)
        rough = errors > _TOLERANCE * max(np.ptp(scores), _FLAT)
        halved = np.flatnonzero(rough & (widths > _NARROWEST))
        if not halved.size or len(points) > _GROWTH * steps:
            break
        halved = np.sort(halved[np.argsort(-errors[halved], kind="stable")][:steps])
        between = points[halved] + widths[halved] / 2
        more, their_products = _along(model, tokens, direction, between)
        points = np.insert(points, halved + 1, between)
        scores = np.insert(scores, halved + 1, more)
        products = np.insert(products, halved + 1, their_products, axis=0)
    # In a jump narrower than float32 can resolve, the gradients at both ends are meaningless.
    each[rough & (widths <= _NARROWEST)] = 0.0
    return each.sum(axis=0), float(scores[0]), float(scores[-1])


def _along(
    model: RecurrentClassifier, tokens: np.ndarray, direction: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The scores at points of the path, (points,), and gradients times embeddings, (points, time)."""
    together = max(1, _TOKENS_TOGETHER // len(tokens))
    pieces = [
        _path(model)(
            tf.constant(tokens),
            tf.constant(direction),
            tf.constant(points[at : at + together], tf.float32),
        )
        for at in range(0, len(points), together)
    ]
    scores, products = zip(*pieces, strict=True)
    return np.concatenate(scores).astype(np.float64), np.concatenate(products).astype(np.float64)


@lru_cache(maxsize=1)
def _path(model: RecurrentClassifier) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """The function of points on the path to a text, traced once for texts of every length.

    It returns the score at every point, shape (points,), and the gradients of the tokens at that point times
    their embeddings, shape (points, time).
    """

    def path(tokens, direction, points):
        embedded = model.embed(tokens)
        moving = tf.where(tokens[:, tf.newaxis] == PADDING, 0.0, embedded)
        x = embedded - moving + points[:, tf.newaxis, tf.newaxis] * moving
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            scores = tf.linalg.matvec(model.decide(x), direction)
        return scores, tf.reduce_sum(tape.gradient(scores, x) * moving, axis=2)

    vectors = [tf.TensorSpec((None,), kind) for kind in (tf.int32, tf.float32, tf.float32)]
    return traced(path, input_signature=vectors)


# Words.


def words_of(encoder: Encoder, text: str, tokens: int) -> tuple[list[str], np.ndarray]:
    """The words of a text as an encoder reads it, and the word that each token belongs to.

    White space belongs to the word after it or, at the end of the text, to the word before it.

    Args:
        encoder: the encoder.
        text: a text with at least one token.
        tokens: the number of tokens that `encode_text` makes of it.

    Returns:
        The words, and the index of the word of each token, shape (tokens,).
    """
    if encoder.fixed_alphabet:
        text = encoder.decode(encode_text(encoder, text))  # without unknown characters
    # No encoder joins characters across these places, so encoding the pieces equals encoding the whole.
    pieces = _BEFORE_A_WORD.split(normalize_text(text, encoder.normalize))
    sizes = [len(encode_text(encoder, pieces[0])), *(len(encoder.encode(piece)) for piece in pieces[1:])]
    word_of = np.searchsorted(np.cumsum(sizes), np.arange(tokens), side="right")
    words = [_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", piece.strip() or piece) for piece in pieces]
    return words, np.minimum(word_of, len(words) - 1)


def characters_of_words(encoder: Encoder, text: str) -> tuple[str, np.ndarray]:
    """A text as n-grams see it, and the word of `words_of` that each of its characters belongs to.

    Returns:
        The text, and the index of a word for each character, int64, shape (characters,).
    """
    text = read_text(encoder, text)
    missing = encoder.missing(text) if encoder.fixed_alphabet else set()
    kept = np.fromiter((symbol not in missing for symbol in text), bool, len(text))
    pieces = _BEFORE_A_WORD.split("".join(symbol for symbol in text if symbol not in missing))
    ends = np.cumsum([len(piece) for piece in pieces])
    places = np.maximum(np.cumsum(kept) - 1, 0)
    return text, np.minimum(np.searchsorted(ends, places, side="right"), len(pieces) - 1)

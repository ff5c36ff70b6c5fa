"""From scores to tokens: greedy, temperature, top-k, nucleus and repetition penalty.

The loop over the steps runs inside one `tf.function`: a token costs the network and a few small ops, without
Python. A draw depends on the seed and the position only, so the same seed writes the same text, in pieces of
any length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from ostinato.decoding.choices import Sampling
from ostinato.layers.tracing import traced

State = tuple[tf.Tensor, ...]
Step = Callable[[tf.Tensor, State], tuple[tf.Tensor, State]]


def keep_top_k(logits: tf.Tensor, k: int) -> tf.Tensor:
    """Sets scores below the k-th to −∞; logits of shape (rows, tokens)."""
    k = min(k, int(logits.shape[-1] or k))
    threshold = tf.math.top_k(logits, k).values[:, -1:]
    return tf.where(logits < threshold, -np.inf, logits)


def keep_top_p(logits: tf.Tensor, p: float) -> tf.Tensor:
    """Sets scores outside the smallest set of probability p or more to −∞; logits of shape (rows, tokens).

    The likeliest token is always kept.
    """
    sorted_logits = tf.sort(logits, direction="DESCENDING")
    before = tf.cumsum(tf.nn.softmax(sorted_logits), axis=-1, exclusive=True)
    threshold = tf.reduce_min(tf.where(before < p, sorted_logits, np.inf), axis=-1, keepdims=True)
    return tf.where(logits < threshold, -np.inf, logits)


def penalise_repetition(logits: tf.Tensor, written: tf.Tensor, penalty: float) -> tf.Tensor:
    """Lowers the scores of tokens already written; logits and written (bool) of shape (rows, tokens)."""
    lowered = tf.where(logits > 0, logits / penalty, logits * penalty)
    return tf.where(written, lowered, logits)


def draw(logits: tf.Tensor, sampling: Sampling, seed: tf.Tensor) -> tf.Tensor:
    """Draws one token for each row.

    Args:
        logits: scores, shape (rows, tokens).
        sampling: how to choose; the repetition penalty is not applied here.
        seed: two int32.

    Returns:
        Token ids, shape (rows,), int32.
    """
    if sampling.temperature == 0.0:
        return tf.argmax(logits, axis=-1, output_type=tf.int32)
    logits = logits / sampling.temperature
    if sampling.top_k is not None:
        logits = keep_top_k(logits, sampling.top_k)
    if sampling.top_p is not None and sampling.top_p < 1.0:
        logits = keep_top_p(logits, sampling.top_p)
    return tf.random.stateless_categorical(logits, 1, seed, dtype=tf.int32)[:, 0]


class Writer:
    """Writes tokens with a network, piece by piece.

    Args:
        step: (tokens of shape (rows, time), state) -> (logits of shape (rows, time, size), state).
        size: the size of the vocabulary.
        sampling: how each token is chosen.
        banned: ids that are never written, for example that of the unknown word.
        not_first: further ids that are not written as the first one.
    """

    def __init__(
        self,
        step: Step,
        size: int,
        sampling: Sampling,
        banned: tuple[int, ...] = (),
        not_first: tuple[int, ...] = (),
    ):
        self._step, self._size, self._sampling = step, size, sampling.checked()
        self._penalises = sampling.repetition_penalty != 1.0
        self._allowed = np.zeros((1, size), np.float32)
        self._allowed[:, list(banned)] = -np.inf
        self._first = self._allowed.copy() if not_first else None
        if self._first is not None:
            self._first[:, list(not_first)] = -np.inf
        self._loop = traced(self._write, autograph=True)
        self._read = traced(lambda tokens, state: step(tokens, state)[1], reduce_retracing=True)

    def write(
        self, prompt: np.ndarray, state: State, *, length: int, seed: int, piece: int = 64
    ) -> Iterator[np.ndarray]:
        """Continues a prompt.

        Args:
            prompt: token ids, shape (rows, time), time ≥ 1.
            state: the state before the prompt, tensors of shape (rows, units).
            length: the number of tokens to write.
            seed: the same seed writes the same tokens.
            piece: the number of tokens in each array but the last; does not change what is written.

        Yields:
            Token ids, shape (rows, at most `piece`).
        """
        prompt = np.asarray(prompt, np.int32)
        if prompt.shape[1] > 1:
            state = self._read(tf.constant(prompt[:, :-1]), state)
        token = tf.constant(prompt[:, -1])
        written = np.zeros((len(prompt), self._size), bool)
        np.put_along_axis(written, prompt, True, axis=1)
        written = tf.constant(written)
        seed_low = tf.constant(seed & 0x7FFFFFFF, tf.int32)
        for start in range(0, length, piece):
            count = min(piece, length - start)
            tokens, token, state, written = self._loop(
                token, state, written, seed_low, tf.constant(start), tf.constant(count)
            )
            yield tokens.numpy()

    def _write(self, token, state, written, seed, start, count):
        tokens = tf.TensorArray(tf.int32, count)
        for position in tf.range(start, start + count):
            logits, state = self._step(token[:, tf.newaxis], state)
            allowed = self._allowed
            if self._first is not None:
                allowed = tf.where(position == 0, self._first, self._allowed)
            logits = logits[:, 0] + allowed
            if self._penalises:
                logits = penalise_repetition(logits, written, self._sampling.repetition_penalty)
            token = draw(logits, self._sampling, tf.stack([seed, position]))
            if self._penalises:
                written |= tf.one_hot(token, self._size, on_value=True, off_value=False, dtype=tf.bool)
            tokens = tokens.write(position - start, token)
        return tf.transpose(tokens.stack()), token, state, written

"""Beam search: keeps the likeliest sequences while they grow.

The search is made of TensorFlow operations and is called inside a `tf.function`. A step costs the network and
a few small ops. Finished hypotheses stay in the beam and compete with the others by score. A beam of one is
greedy search; a beam as large as the number of sequences finds the best of all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ostinato.decoding.choices import Beam
from ostinato.layers.tracing import traced

State = tuple[tf.Tensor, ...]
Step = Callable[[tf.Tensor, State], tuple[tf.Tensor, State, tf.Tensor | None]]

_LEAST_COVERAGE = 1e-9
"""Lower bound of attention before its logarithm is taken."""


class Found(NamedTuple):
    """The best sequences of every row, the best first.

    Attributes:
        tokens: int32, shape (rows, n_best, steps); tokens after the end of a sequence have no meaning.
        lengths: the number of tokens, the end included, int32, shape (rows, n_best).
        scores: log-probabilities with penalties, shape (rows, n_best); -inf where a row has fewer sequences.
        log_probabilities: log-probabilities without penalties, shape (rows, n_best).
    """

    tokens: tf.Tensor
    lengths: tf.Tensor
    scores: tf.Tensor
    log_probabilities: tf.Tensor


class _Hypotheses(NamedTuple):
    """The hypotheses of the beam, row by row: tensors of shape (rows · beam, …)."""

    tokens: tf.Tensor  # (…, steps)
    logs: tf.Tensor
    lengths: tf.Tensor
    ended: tf.Tensor
    coverage: tf.Tensor  # (…, source); (…, 0) when there is no coverage penalty


def search(
    step: Step,
    start: tf.Tensor,
    state: State,
    beam: Beam,
    *,
    limits: tf.Tensor,
    end: int | None,
    allowed: tf.Tensor,
    sources: tf.Tensor | None = None,
) -> Found:
    """Searches for the best sequences of several rows at once.

    Args:
        step: (last tokens of shape (rows · beam,), state) → (logits of all next tokens, shape
            (rows · beam, vocabulary), state, attention over the source of shape (rows · beam, source) or
            None). The hypotheses of a row are adjacent.
        start: the token before each sequence, int32, shape (rows,).
        state: the state before the first step, tensors of shape (rows, …).
        beam: how to search.
        limits: the most tokens of each row, the end included, int32, shape (rows,).
        end: the token that ends a sequence, and the only one allowed at a row's limit; None when all
            sequences of a row grow to its limit.
        allowed: the tokens that may be taken, bool, shape (vocabulary,).
        sources: the source tokens that are not padding, bool, shape (rows, source); for the coverage penalty.
    """
    size, rows, longest = beam.size, tf.shape(start)[0], tf.reduce_max(limits)
    limits = tf.repeat(limits, size)
    covers = beam.coverage_penalty > 0.0 and sources is not None
    sources = tf.repeat(sources, size, axis=0) if covers else tf.zeros((rows * size, 0), tf.bool)

    def goes_on(at: tf.Tensor, last: tf.Tensor, held: _Hypotheses, state: State) -> tf.Tensor:
        return (at < longest) & ~tf.reduce_all(_decided(held, sources, limits, beam))

    def grow(at: tf.Tensor, last: tf.Tensor, held: _Hypotheses, state: State) -> tuple:
        scores, state, attention = step(last, state)
        nexts = tf.where(allowed, tf.nn.log_softmax(scores), -np.inf)
        if beam.no_repeat:
            nexts = _without_repeats(nexts, held.tokens, at, beam.no_repeat, end)
        full = at + 1 >= limits
        nexts = _with_ends(nexts, held.ended, full, end)
        if covers:
            assert attention is not None
            more = tf.where(held.ended[:, tf.newaxis], 0.0, attention)
            held = held._replace(coverage=held.coverage + more)
        held = held._replace(lengths=held.lengths + tf.cast(tf.logical_not(held.ended), tf.int32))
        parents, taken, logs = _best(nexts, held, sources, beam)
        held = _Hypotheses(*(tf.gather(part, parents) for part in held))
        new = tf.where(held.ended, held.tokens[:, at], taken)
        held = held._replace(
            tokens=tf.where(tf.range(longest) == at, new[:, tf.newaxis], held.tokens),
            logs=logs,
            ended=held.ended | (full if end is None else taken == end),
        )
        return at + 1, taken, held, tuple(tf.gather(part, parents) for part in state)

    held = _first_hypotheses(rows, size, longest, sources)
    states = tuple(tf.repeat(part, size, axis=0) for part in state)
    loop = (tf.constant(0), tf.repeat(start, size), held, states)
    shapes = tf.nest.map_structure(
        lambda x: tf.TensorShape([None] * min(1, x.shape.rank) + x.shape[1:]), loop
    )
    shapes = (shapes[0], shapes[1], shapes[2]._replace(tokens=tf.TensorShape([None, None])), shapes[3])
    _, _, held, _ = tf.while_loop(goes_on, grow, loop, shape_invariants=shapes)
    return _chosen(held, sources, rows, longest, beam)


def _first_hypotheses(rows: tf.Tensor, size: int, longest: tf.Tensor, sources: tf.Tensor) -> _Hypotheses:
    return _Hypotheses(
        tokens=tf.zeros((rows * size, longest), tf.int32),
        # All are equal at first, so only one in a row counts.
        logs=tf.tile(tf.where(tf.range(size) == 0, 0.0, -np.inf), tf.stack([rows])),
        lengths=tf.zeros(rows * size, tf.int32),
        ended=tf.zeros(rows * size, tf.bool),
        coverage=tf.zeros(tf.shape(sources)),
    )


def _with_ends(nexts: tf.Tensor, ended: tf.Tensor, full: tf.Tensor, end: int | None) -> tf.Tensor:
    """Log-probabilities, shape (hypotheses, vocabulary), that allow only the end at a limit and after an end.

    Args:
        nexts: the log-probabilities, shape (hypotheses, vocabulary).
        ended: whether a hypothesis has ended; it continues as itself, as one candidate of log-probability 0.
        full: whether it reaches its limit.
        end: the token that ends a sequence.
    """
    is_end = tf.range(tf.shape(nexts)[1]) == (end or 0)
    if end is not None:
        nexts = tf.where(full[:, tf.newaxis] & ~is_end, -np.inf, nexts)
    return tf.where(ended[:, tf.newaxis], tf.where(is_end, 0.0, -np.inf), nexts)


def _chosen(held: _Hypotheses, sources: tf.Tensor, rows: tf.Tensor, longest: tf.Tensor, beam: Beam) -> Found:
    """The `n_best` hypotheses of each row."""
    size = beam.size
    scores = tf.reshape(_scores(held.logs[:, tf.newaxis], held, sources, beam), [rows, size])
    scores, places = tf.math.top_k(scores, beam.n_best)

    def chosen(part: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.reshape(part, [rows, size, *part.shape[1:]]), places, batch_dims=1)

    tokens = tf.gather(tf.reshape(held.tokens, [rows, size, longest]), places, batch_dims=1)
    return Found(tokens, chosen(held.lengths), scores, chosen(held.logs))


class Searcher:
    """Finds the likeliest continuations with a network.

    Args:
        step: (tokens of shape (rows, time), state) -> (logits of shape (rows, time, size), state).
        size: the size of the vocabulary.
        beam: how to search.
        banned: ids that are never written, for example that of the unknown word.
        end: the id that ends a sequence; None when all sequences have the same length.

    Raises:
        ConfigError: a setting of the beam is out of range.
    """

    def __init__(
        self,
        step: Callable[[tf.Tensor, State], tuple[tf.Tensor, State]],
        size: int,
        beam: Beam,
        banned: tuple[int, ...] = (),
        end: int | None = None,
    ):
        self._step, self._beam, self._end = step, beam.checked(size), end
        self._allowed = np.isin(np.arange(size), banned, invert=True)
        self._loop = traced(self._search)
        self._read = traced(lambda tokens, state: step(tokens, state)[1], reduce_retracing=True)

    def find(self, prompt: np.ndarray, state: State, *, length: int) -> Found:
        """Continues prompts.

        Args:
            prompt: token ids, shape (rows, time), time ≥ 1; `no_repeat` ignores them.
            state: the state before the prompt, tensors of shape (rows, …).
            length: the number of tokens to write.
        """
        prompt = np.asarray(prompt, np.int32)
        if prompt.shape[1] > 1:
            state = self._read(tf.constant(prompt[:, :-1]), state)
        return self._loop(tf.constant(prompt[:, -1]), state, tf.fill([len(prompt)], length))

    def _search(self, start: tf.Tensor, state: State, limits: tf.Tensor) -> Found:
        def step(last: tf.Tensor, state: State) -> tuple[tf.Tensor, State, None]:
            logits, state = self._step(last[:, tf.newaxis], state)
            return logits[:, 0], state, None

        return search(
            step,
            start,
            state,
            self._beam,
            limits=limits,
            end=self._end,
            allowed=tf.constant(self._allowed),
        )


def _scores(totals: tf.Tensor, held: _Hypotheses, sources: tf.Tensor, beam: Beam) -> tf.Tensor:
    """Log-probabilities with penalties, in the shape of `totals`, (rows · beam, any)."""
    scores = totals / _length_divisor(held.lengths, beam)[:, tf.newaxis]
    if not beam.coverage_penalty:
        return scores
    covered = tf.math.log(tf.clip_by_value(held.coverage, _LEAST_COVERAGE, 1.0))
    missed = tf.reduce_sum(tf.where(sources, covered, 0.0), axis=1, keepdims=True)
    return scores + beam.coverage_penalty * missed


def _length_divisor(lengths: tf.Tensor, beam: Beam) -> tf.Tensor:
    return ((5.0 + tf.cast(lengths, tf.float32)) / 6.0) ** beam.length_penalty


def _best(
    nexts: tf.Tensor, held: _Hypotheses, sources: tf.Tensor, beam: Beam
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The best candidates of each row.

    The best of each hypothesis are found first, then the best of these, so only log-probabilities of next
    tokens, (rows · beam, vocabulary), are compared over the whole vocabulary.

    Returns:
        The hypothesis that each continues, its next token, and its log-probability, all (rows · beam,).
    """
    each, choices = tf.math.top_k(nexts, min(beam.size, int(nexts.shape[1] or beam.size)))
    count = each.shape[1]
    totals = held.logs[:, tf.newaxis] + each
    scores = tf.reshape(_scores(totals, held, sources, beam), [-1, beam.size * count])
    places = tf.math.top_k(scores, beam.size).indices
    # From places in a row to places in all rows.
    places = tf.reshape(places + tf.range(tf.shape(places)[0])[:, tf.newaxis] * (beam.size * count), [-1])
    taken, logs = (tf.gather(tf.reshape(part, [-1]), places) for part in (choices, totals))
    return places // count, taken, logs


def _decided(held: _Hypotheses, sources: tf.Tensor, limits: tf.Tensor, beam: Beam) -> tf.Tensor:
    """Whether the best sequences of a row are final, bool, shape (rows,).

    The log-probability of a growing sequence only falls, and its divisor is largest at the limit; the
    coverage penalty is never positive.
    """
    scores = _scores(held.logs[:, tf.newaxis], held, sources, beam)[:, 0]
    ended = tf.reshape(tf.where(held.ended, scores, -np.inf), [-1, beam.size])
    hopes = tf.where(held.ended, -np.inf, held.logs / _length_divisor(limits, beam))
    least = tf.math.top_k(ended, beam.n_best).values[:, -1]
    return least >= tf.reduce_max(tf.reshape(hopes, [-1, beam.size]), axis=1)


def _without_repeats(
    nexts: tf.Tensor, tokens: tf.Tensor, at: tf.Tensor, n: int, end: int | None
) -> tf.Tensor:
    """Forbids tokens that would repeat an n-gram of a hypothesis.

    Args:
        nexts: log-probabilities, shape (hypotheses, vocabulary).
        tokens: shape (hypotheses, steps); the first `at` steps are written.
        at: the step.
        n: the length of the n-grams.
        end: a token that is never forbidden.
    """
    starts = tf.maximum(tf.shape(tokens)[1] - n + 1, 0)
    repeats = tf.range(starts) <= at - n
    for place in range(n - 1):
        before = tokens[:, tf.maximum(at - (n - 1) + place, 0)]
        repeats &= tokens[:, place : place + starts] == before[:, tf.newaxis]
    repeats = tf.broadcast_to(repeats, [tf.shape(tokens)[0], starts])
    where = tf.where(repeats)
    banned = tf.gather_nd(tokens, where + tf.constant([0, n - 1], tf.int64))
    if end is not None:
        where, banned = tf.boolean_mask(where, banned != end), tf.boolean_mask(banned, banned != end)
    places = tf.stack([tf.cast(where[:, 0], tf.int32), banned], axis=1)
    return tf.tensor_scatter_nd_update(nexts, places, tf.fill([tf.shape(places)[0]], -np.inf))

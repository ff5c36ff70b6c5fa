"""The likeliest sequences: a wide beam finds what trying all of them finds, a narrow one adds up right."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.decoding.beam import Beam, Found, search
from ostinato.errors import ConfigError

from ..variants import examples

SIZE, LONGEST, SOURCE = 5, 4, 3
PAD, START, END = 0, 1, 2
WIDE = 200
"""Wider than there are sequences of `LONGEST` of the tokens that are allowed."""
ENDS = st.sampled_from([END, None])
BEAMS = st.builds(
    Beam,
    size=st.just(WIDE),
    length_penalty=st.sampled_from([0.0, 0.6, 1.0, 2.5]),
    coverage_penalty=st.sampled_from([0.0, 0.3]),
    no_repeat=st.integers(0, 3),
    n_best=st.integers(1, 4),
)
LIMITS = st.lists(st.integers(1, LONGEST), min_size=1, max_size=3)


class Network(NamedTuple):
    """Scores of the next token by row, step and last token, and where each row looks at each step."""

    scores: np.ndarray  # (rows, steps, last, next)
    attention: np.ndarray  # (rows, steps, last, source)
    sources: np.ndarray  # (rows, source), bool

    def search(
        self, beam: Beam, limits, end: int | None = END, *, rows=None, steps: list | None = None
    ) -> Found:
        """Calls `search`; notes each step in `steps`."""
        rows = list(range(len(limits))) if rows is None else rows

        def step(last, state):
            row, at = state
            if steps is not None:
                steps.append(at)
            where = tf.stack([row, at, last], axis=1)
            found = (tf.gather_nd(tf.constant(table), where) for table in (self.scores, self.attention))
            scores, attention = found
            return scores, (row, at + 1), attention

        return search(
            step,
            tf.fill([len(rows)], START),
            (tf.constant(rows), tf.zeros(len(rows), tf.int32)),
            beam,
            limits=tf.constant(limits),
            end=end,
            allowed=tf.range(SIZE) != PAD,
            sources=tf.constant(self.sources[rows]),
        )

    def score(self, row: int, tokens, beam: Beam) -> tuple[float, float]:
        """The score of a sequence, and its log-probability, added up token by token."""
        log, last, coverage = 0.0, START, np.zeros(SOURCE)
        for at, token in enumerate(tokens):
            scores = self.scores[row, at, last].astype(np.float64)
            log += scores[token] - np.log(np.exp(scores).sum())
            coverage += self.attention[row, at, last]
            last = token
        score = log / ((5 + len(tokens)) / 6) ** beam.length_penalty
        missed = np.log(np.clip(coverage, 1e-9, 1.0))[self.sources[row]].sum()
        return score + beam.coverage_penalty * missed, log


def network(seed: int, *, rows: int = 3, steps: int = LONGEST) -> Network:
    generator = np.random.default_rng(seed)
    scores = 2.0 * generator.normal(size=(rows, steps, SIZE, SIZE))
    attention = generator.dirichlet([0.5] * SOURCE, size=(rows, steps, SIZE))
    sources = np.arange(SOURCE) < generator.integers(1, SOURCE + 1, size=(rows, 1))
    return Network(scores.astype(np.float32), attention.astype(np.float32), sources)


def repeats(tokens, n: int) -> bool:
    """Whether any n-gram is in it twice."""
    grams = [tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1)]
    return n > 0 and len(set(grams)) < len(grams)


def sequences(limit: int, end: int | None) -> list[tuple[int, ...]]:
    """All there are: of up to `limit` tokens with an end, or of as many without one."""
    others = [token for token in range(SIZE) if token not in (PAD, end)]
    if end is None:
        return list(itertools.product(others, repeat=limit))
    before = (itertools.product(others, repeat=count) for count in range(limit))
    return [(*tokens, end) for tokens in itertools.chain(*before)]


def written(found: Found, row: int) -> list[tuple[int, ...]]:
    """The sequences found in a row, without those that stand for there being no more."""
    parts = (found.tokens[row].numpy(), found.lengths[row].numpy(), found.scores[row].numpy())
    return [
        tuple(tokens[:length]) for tokens, length, score in zip(*parts, strict=True) if np.isfinite(score)
    ]


# A wide beam.


@given(seed=st.integers(0, 10_000), beam=BEAMS, limits=LIMITS, end=ENDS)
@settings(max_examples=examples(25, thorough=40))
def test_a_wide_beam_finds_what_trying_all_sequences_finds(seed, beam, limits, end):
    toy = network(seed)
    found = toy.search(beam, limits, end)
    for row, limit in enumerate(limits):
        allowed = [tokens for tokens in sequences(limit, end) if not repeats(tokens, beam.no_repeat)]
        scored = sorted(((*toy.score(row, tokens, beam), tokens) for tokens in allowed), reverse=True)
        best = scored[: beam.n_best]
        assert written(found, row) == [tokens for _, _, tokens in best]
        missing = [-np.inf] * (beam.n_best - len(best))
        np.testing.assert_allclose(found.scores[row], [score for score, _, _ in best] + missing, atol=1e-4)
        np.testing.assert_allclose(
            found.log_probabilities[row], [log for _, log, _ in best] + missing, atol=1e-4
        )


def test_where_there_are_fewer_sequences_than_asked_for_the_rest_has_no_probability():
    found = network(0).search(Beam(size=4, n_best=3), [1, LONGEST])
    assert np.isfinite(found.scores.numpy()).tolist() == [[True, False, False], [True] * 3]
    assert written(found, 0) == [(END,)]


# Any beam.


def greedy(toy: Network, row: int, limit: int, end: int | None, no_repeat: int) -> tuple[int, ...]:
    tokens = []
    for at in range(limit):
        scores = toy.scores[row, at, tokens[-1] if tokens else START].copy()
        scores[PAD] = -np.inf
        for token in range(SIZE):
            if token != end and repeats([*tokens, token], no_repeat):
                scores[token] = -np.inf
        if end is not None and at == limit - 1:
            scores[np.arange(SIZE) != end] = -np.inf
        if not np.isfinite(scores.max()):
            return ()  # nothing may follow
        tokens.append(int(scores.argmax()))
        if tokens[-1] == end:
            break
    return tuple(tokens)


@given(
    seed=st.integers(0, 10_000),
    limits=st.lists(st.integers(1, 8), min_size=1, max_size=3),
    end=ENDS,
    no_repeat=st.integers(0, 3),
)
@settings(max_examples=examples(15, thorough=25))
def test_a_beam_of_one_is_greedy_search(seed, limits, end, no_repeat):
    toy = network(seed, steps=8)
    found = toy.search(Beam(size=1, no_repeat=no_repeat), limits, end)
    for row, limit in enumerate(limits):
        expected = greedy(toy, row, limit, end, no_repeat)
        assert written(found, row) == ([expected] if expected else [])


@given(seed=st.integers(0, 10_000), size=st.integers(1, 6), beam=BEAMS, limits=LIMITS, end=ENDS)
@settings(max_examples=examples(15, thorough=25))
def test_whatever_a_narrow_beam_finds_has_the_score_of_its_tokens(seed, size, beam, limits, end):
    toy, beam = network(seed), beam._replace(size=size, n_best=min(size, beam.n_best))
    found = toy.search(beam, limits, end)
    for row, limit in enumerate(limits):
        texts = written(found, row)
        assert len(set(texts)) == len(texts)
        for place, tokens in enumerate(texts):
            assert tokens in sequences(limit, end)  # also: nothing that is not allowed
            assert not repeats(tokens, beam.no_repeat)
            expected = toy.score(row, tokens, beam)
            actual = found.scores[row, place], found.log_probabilities[row, place]
            np.testing.assert_allclose(actual, expected, atol=1e-4)
        assert np.all(np.diff(found.scores[row][np.isfinite(found.scores[row])]) <= 0)


@given(seed=st.integers(0, 10_000), size=st.integers(1, 5), beam=BEAMS, end=ENDS)
@settings(max_examples=examples(6, thorough=10))
def test_a_row_is_searched_as_if_it_were_alone(seed, size, beam, end):
    toy, limits = network(seed, steps=6), [2, 6, 4]
    beam = beam._replace(size=size, n_best=min(size, beam.n_best))
    together = toy.search(beam, limits, end)
    for row, limit in enumerate(limits):
        alone = toy.search(beam, [limit], end, rows=[row])
        assert written(alone, 0) == written(together, row)
        for part in ("lengths", "scores", "log_probabilities"):
            one, same = getattr(alone, part)[0], getattr(together, part)[row]
            finite = np.isfinite(alone.scores[0])
            np.testing.assert_allclose(one[finite], same[finite], atol=1e-4)


def test_hypotheses_that_have_ended_keep_their_place_while_others_grow():
    toy = network(3, rows=1, steps=8)
    toy.scores[:] = 0.0
    toy.scores[:, 0, :, END] = 1.0
    toy.scores[:, 1:, :, END] = -9.0  # only late, or at once
    found = toy.search(Beam(size=3, length_penalty=0.0, n_best=1), [8])
    assert written(found, 0) == [(END,)]
    longer = toy.search(Beam(size=3, length_penalty=10.0, n_best=1), [8])
    assert longer.lengths.numpy().tolist() == [[8]]


# Stopping early.


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("n_best", [1, 2])
def test_it_stops_when_nothing_better_can_come_and_this_changes_nothing(length_penalty, n_best):
    toy, limit = network(1, rows=2, steps=30), 30
    toy.scores[0, :, :, END] += 6.0
    toy.scores[1, :-1, :, END] = -99.0  # the other row cannot end, and keeps the search going
    beam, alone, together = Beam(3, length_penalty, n_best=n_best), [], []
    early = toy.search(beam, [limit], rows=[0], steps=alone)
    late = toy.search(beam, [limit, limit], steps=together)
    assert len(alone) < limit == len(together)
    assert written(early, 0) == written(late, 0)
    np.testing.assert_allclose(early.scores[0], late.scores[0], atol=1e-4)


def test_without_a_length_penalty_a_limit_that_is_far_away_costs_nothing():
    toy = network(5, rows=1, steps=40)
    toy.scores[..., END] += 4.0
    found = {}
    for limit in (10, 40):
        steps = []
        result = toy.search(Beam(3, length_penalty=0.0, n_best=2), [limit], steps=steps)
        found[limit] = (len(steps), written(result, 0), result.scores.numpy().tolist())
    assert found[10] == found[40]
    assert found[10][0] < 10


# Tokens.


def test_banned_tokens_never_appear_however_likely():
    toy = network(2, steps=20)
    toy.scores[..., PAD] += 50.0
    found = toy.search(Beam(size=4, n_best=4), [20, 15, 10], None)
    assert found.lengths.numpy().tolist() == [[20] * 4, [15] * 4, [10] * 4]
    assert all(PAD not in tokens for row in range(3) for tokens in written(found, row))


def test_the_penalties_are_those_of_the_paper():
    toy = Network(
        np.zeros((1, 2, SIZE, SIZE), np.float32),
        np.zeros((1, 2, SIZE, SOURCE), np.float32),
        np.ones((1, 3), bool),
    )
    toy.attention[:] = [0.9, 0.1, 0.0]
    found = toy.search(Beam(1, 0.5, 0.2), [2], None)
    length = (7 / 6) ** 0.5
    coverage = np.log(1.0) + np.log(0.2) + np.log(1e-9)  # of two steps; no more than one
    expected = 2 * np.log(1 / SIZE) / length + 0.2 * coverage
    np.testing.assert_allclose(found.scores, [[expected]], rtol=1e-5)


def test_one_graph_searches_any_number_of_rows_to_any_limits():
    toy, beam, traces = network(7, steps=9), Beam(3, 0.6, n_best=2, no_repeat=2), []

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32)] * 2)
    def graph(rows, limits):
        traces.append(rows)

        def step(last, state):
            row, at = state
            scores = tf.gather_nd(tf.constant(toy.scores), tf.stack([row, at, last], axis=1))
            return scores, (row, at + 1), None

        start, allowed = tf.fill(tf.shape(rows), START), tf.range(SIZE) != PAD
        return search(step, start, (rows, tf.zeros_like(rows)), beam, limits=limits, end=END, allowed=allowed)

    for rows, limits in (([0, 1, 2], [4, 9, 5]), ([1], [7])):
        found, eager = graph(tf.constant(rows), tf.constant(limits)), toy.search(beam, limits, rows=rows)
        for row in range(len(rows)):
            assert written(found, row) == written(eager, row)
        np.testing.assert_allclose(found.scores, eager.scores, atol=1e-5)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 0}, "beam must be 1 to 1,000, the vocabulary size, got 0"),
        ({"size": 1001}, "beam must be 1 to 1,000, the vocabulary size, got 1001"),
        ({"n_best": 0}, "n_best must be 1 to 5, the beam size, got 0"),
        ({"n_best": 6}, "n_best must be 1 to 5, the beam size, got 6"),
        ({"length_penalty": -0.1}, "length_penalty must be 0 to 10, got -0.1"),
        ({"length_penalty": float("nan")}, "length_penalty must be 0 to 10, got nan"),
        ({"coverage_penalty": 10.5}, "coverage_penalty must be 0 to 10, got 10.5"),
        ({"coverage_penalty": float("inf")}, "coverage_penalty must be 0 to 10, got inf"),
        ({"no_repeat": -1}, r"no_repeat must be 0 \(repeats allowed\) to 100, got -1"),
        ({"no_repeat": 101}, r"no_repeat must be 0 \(repeats allowed\) to 100, got 101"),
    ],
)
def test_values_out_of_range_are_refused_by_name(values, message):
    with pytest.raises(ConfigError, match=message):
        Beam(**values).checked(1000)


def test_values_in_range_are_taken():
    for beam in (Beam(), Beam(1000, 0.0, 10.0, 100, 1000), Beam(1, 10.0, 0.0, 0, 1)):
        assert beam.checked(1000) == beam

"""The tasks of benchmarks/abilities.py are what they say, and a short form of what they show."""

import sys

import numpy as np
import pytest

from ..docs.pages import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "benchmarks"))
import abilities


def test_parity_is_whether_the_ones_so_far_are_odd():
    x, answers = next(abilities.bits(abilities.PARITY, (3, 24), seed=0))
    assert 3 <= x.shape[1] <= 24
    np.testing.assert_array_equal(answers[..., 0], x[..., 1].cumsum(1) % 2)


def test_the_answer_of_adding_is_the_sum_of_two_marked_numbers():
    x, answers = next(abilities.pairs(abilities.ADDING, seed=0))
    assert (x[..., 1].sum(1) == 2).all()
    np.testing.assert_allclose(answers[:, 0], (x[..., 0] * x[..., 1]).sum(1), rtol=1e-5)


def test_the_answer_of_recall_is_the_value_that_came_with_the_key():
    x, answers = next(abilities.keys_and_values(abilities.RECALL, seed=0))
    keys, values = x[..., : abilities.KEYS].argmax(-1), x[..., abilities.KEYS :].argmax(-1)
    assert (x[:, -1, abilities.KEYS :] == 0).all()
    for row in range(len(x)):
        (place,) = np.flatnonzero(keys[row, :-1] == keys[row, -1])
        assert values[row, place] == answers[row, 0]


@pytest.mark.parametrize(("cell", "able"), [("rnn", True), ("mingru", False)])
def test_a_gate_that_reads_the_state_finds_the_rule_and_a_linear_recurrence_does_not(cell, able):
    short = abilities.Settings(units=24, steps=1500, batch=32, learning_rate=1e-2)
    right = abilities.parity(cell, short)
    assert right >= 0.99 if able else right <= 0.65

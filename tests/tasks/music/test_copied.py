"""The longest run that a piece shares with others, and the simple rules beside a network."""

import itertools

import numpy as np
import pytest

from ostinato.tasks.music.baselines import baselines
from ostinato.tasks.music.copied import Run, longest_shared_run


def piece(steps, seed, keys=30):
    return np.random.default_rng(seed).random((steps, keys)) < 0.15


def by_hand(chords, others):
    """The length of the longest shared run, by comparing everything with everything."""
    keys, best = chords.shape[1], 0
    new, known = as_sets(chords), [as_sets(other) for other in others]
    for shift in range(1 - keys, keys):
        moved = [{key + shift for key in step} for step in new]
        for other in known:
            for begin, there in itertools.product(range(len(moved)), range(len(other))):
                steps = 0
                while begin + steps < len(moved) and there + steps < len(other):
                    if moved[begin + steps] != other[there + steps]:
                        break
                    steps += 1
                best = max(best, steps)
    return best


def as_sets(chords):
    return [set(np.flatnonzero(step).tolist()) for step in chords]


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_longest_of_all(seed):
    random = np.random.default_rng(seed)
    others = [random.random((random.integers(1, 12), 5)) < 0.3 for _ in range(4)]
    chords = random.random((9, 5)) < 0.3
    chords[0, 2] = True
    assert longest_shared_run(chords, others).steps == by_hand(chords, others)


def test_a_transposed_passage_is_found_where_it_is():
    others, new = [piece(40, 1), piece(50, 2)], piece(30, 3)
    passage = others[1][20:29].copy()
    passage[:, :4] = passage[:, -4:] = False
    others[1][20:29] = passage
    new[5:14] = np.roll(passage, 3, axis=1)
    new[:, :4] = new[:, -1:] = False
    assert longest_shared_run(new, others) == Run(9, 5, 1, 20, -3)


def test_a_run_does_not_reach_from_one_piece_into_the_next():
    whole = piece(20, 4)
    assert longest_shared_run(whole, [whole[:12], whole[12:]]).steps == 12
    assert longest_shared_run(whole, []).steps == 0
    silent = np.zeros((3, 30), bool)
    assert longest_shared_run(silent, [whole[whole.any(axis=1)]]).steps == 0


def test_a_piece_that_fills_the_keyboard_shares_a_transposed_passage():
    other, new = piece(30, 5), piece(30, 6)
    other[:, :3], new[0, [0, -1]] = False, True
    new[10:18] = np.roll(other[4:12], -3, axis=1)
    assert longest_shared_run(new, [other]) == Run(8, 10, 0, 4, 3)


def test_the_rules_are_what_they_say():
    train = [np.array([[1, 0], [1, 0], [0, 1], [0, 1]], bool)]
    found = baselines(train, [np.array([[1, 0], [1, 1]], bool)], 2)
    begins, goes_on = np.array([2 / 4, 2 / 5]), np.array([2 / 4, 2 / 3])
    assert found["frequency"] == pytest.approx(-np.log([0.5] * 4).sum() / 2)
    by_markov = [begins[0], 1 - begins[1], goes_on[0], begins[1]]
    assert found["markov"] == pytest.approx(-np.log(by_markov).sum() / 2)
    differs = 4 / 10
    assert found["repeat"] == pytest.approx(-np.log([differs, 1 - differs, 1 - differs, differs]).sum() / 2)


def test_the_rules_count_what_is_struck_again():
    keys, again = np.array([[1, 0], [1, 0], [1, 0]], bool), np.array([[0, 0], [1, 0], [0, 0]], bool)
    train = [np.concatenate([keys, again], axis=1)]
    with_onsets, without = (baselines(train, train, 2), baselines([keys], [keys], 2))
    for rule, nats in without.items():  # of two keys that go on one is struck again
        assert with_onsets[rule] == pytest.approx(nats - 2 * np.log(0.5) / 3)

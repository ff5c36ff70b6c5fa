"""The threshold of each of several labels, on examples worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.tasks.classifier.metrics import of_labels
from ostinato.tasks.classifier.thresholds import best_thresholds


def column(*values):
    return np.array(values)[:, np.newaxis]


def test_the_threshold_with_the_best_f1_is_chosen():
    has = column(*[True] * 4, *[False] * 16)
    probabilities = column(0.4, 0.35, 0.3, 0.25, *np.linspace(0.15, 0.01, 16))
    assert best_thresholds(has, probabilities) == (pytest.approx(0.2),)


def test_one_half_stays_where_it_does_as_well():
    has = column(*[True] * 4, *[False] * 16)
    assert best_thresholds(has, column(*[0.9] * 4, *[0.1] * 16)) == (0.5,)


def test_a_label_that_nothing_is_known_of_has_one_half():
    rng = np.random.default_rng(0)
    never, by_chance = np.zeros(60, bool), np.arange(60) % 7 == 0
    found = best_thresholds(np.stack([never, by_chance], axis=1), rng.random((60, 2)) / 5)
    assert found == (0.5, 0.5)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=40, max_size=80))
def test_f1_is_never_below_that_of_one_half(drawn):
    has, probabilities = (column(*each) for each in zip(*drawn, strict=True))
    probabilities = probabilities / 20
    (threshold,) = best_thresholds(has, probabilities)
    chosen, usual = (of_labels(has, probabilities >= each)[2][0] for each in (threshold, 0.5))
    assert not has.any() or chosen >= usual
    assert 0 <= threshold <= 1

"""Figures of decisions."""

import math

import numpy as np
import pytest

from ostinato.tasks.classifier import metrics


def test_the_figures_of_a_small_example_are_those_by_hand():
    truth = np.array([0, 0, 1, 1, 2])
    chosen = np.array([0, 1, 1, 1, 0])
    one_hot = np.eye(3, dtype=bool)
    assert metrics.confusion_matrix(truth, chosen, 3).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    # F1 of the three classes: 1/2, 4/5, 0.
    assert metrics.macro_f1(one_hot[truth], one_hot[chosen]) == pytest.approx((0.5 + 0.8 + 0) / 3)
    has, scores = np.array([False, True, False, True]), np.array([0.1, 0.4, 0.4, 0.8])
    # Of four pairs three are in order, and one is a tie.
    assert metrics.roc_auc(has, scores) == pytest.approx(3.5 / 4)
    assert math.isnan(metrics.roc_auc(np.array([True, True]), scores[:2]))
    # Two decisions in one bin, sure to 0.91 and half of them right; one in another, sure to 0.5 and right.
    sure = np.array([0.905, 0.915, 0.5])
    error = metrics.calibration_error(np.array([True, False, True]), sure)
    assert error == pytest.approx((2 * 0.41 + 1 * 0.5) / 3)


def test_the_area_under_the_curve_is_the_one_by_ranks():
    random = np.random.default_rng(0)
    has = random.random(200) < 0.3
    scores = np.round(random.random(200) + 0.4 * has, 1)
    false, true = metrics.roc_curve(has, scores)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true, false) == pytest.approx(metrics.roc_auc(has, scores))

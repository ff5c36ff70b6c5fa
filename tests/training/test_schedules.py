"""The learning rate over the budget: where it begins and ends, and that it never jumps back."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.training.config import TrainingConfig
from ostinato.training.schedules import learning_rate

FRACTIONS = st.lists(st.floats(0, 1), min_size=2, max_size=20).map(sorted)
RATES = st.floats(1e-6, 100)
WARMUPS = st.floats(0.01, 0.9)


@given(rate=RATES, fraction=st.floats(0, 1))
def test_constant_is_constant(rate, fraction):
    assert learning_rate(TrainingConfig(learning_rate=rate), fraction) == rate


@given(rate=RATES, factor=st.floats(0.01, 1))
def test_step_multiplies_at_each_of_its_fractions(rate, factor):
    config = TrainingConfig(
        learning_rate=rate, schedule="step", step_at=(0.25, 0.5, 0.75), step_factor=factor
    )
    at = [learning_rate(config, fraction) for fraction in (0, 0.2499, 0.25, 0.5, 0.75, 1)]
    expected = [rate, rate, rate * factor, rate * factor**2, rate * factor**3, rate * factor**3]
    assert at == pytest.approx(expected)


@given(rate=RATES, final=st.floats(0, 1), warmup=st.just(0.0) | WARMUPS)
def test_cosine_falls_from_the_highest_rate_to_its_share(rate, final, warmup):
    config = TrainingConfig(learning_rate=rate, schedule="cosine", final_factor=final, warmup=warmup)
    assert learning_rate(config, warmup) == pytest.approx(rate)
    assert learning_rate(config, 1.0) == pytest.approx(rate * final, abs=1e-9 * rate)
    half = warmup + (1 - warmup) / 2
    assert learning_rate(config, half) == pytest.approx(rate * (1 + final) / 2)


@given(
    schedule=st.sampled_from(["constant", "step", "cosine"]),
    final=st.floats(0, 1),
    warmup=st.just(0.0) | WARMUPS,
    fractions=FRACTIONS,
)
def test_after_the_warm_up_no_schedule_ever_rises(schedule, final, warmup, fractions):
    config = TrainingConfig(schedule=schedule, final_factor=final, warmup=warmup)
    rates = [learning_rate(config, fraction) for fraction in fractions if fraction >= warmup]
    assert all(earlier >= later * (1 - 1e-9) for earlier, later in pairwise(rates))
    assert all(0 <= rate <= config.learning_rate * (1 + 1e-9) for rate in rates)


@given(schedule=st.sampled_from(["constant", "step", "cosine"]), warmup=WARMUPS, fractions=FRACTIONS)
def test_the_warm_up_rises_from_almost_nothing_to_the_highest_rate(schedule, warmup, fractions):
    config = TrainingConfig(schedule=schedule, warmup=warmup, step_at=())
    assert 0 < learning_rate(config, 0.0) <= 0.01 * config.learning_rate
    assert learning_rate(config, warmup / 2) == pytest.approx(config.learning_rate / 2)
    assert learning_rate(config, warmup) == pytest.approx(config.learning_rate)
    rates = [learning_rate(config, fraction) for fraction in fractions if fraction <= warmup]
    assert all(earlier <= later * (1 + 1e-9) for earlier, later in pairwise(rates))

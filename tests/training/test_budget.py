"""How much of a training is done."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.errors import RunError
from ostinato.training.budget import Budget, Position
from ostinato.training.config import TrainingConfig

COUNTS, TIMES = st.integers(0, 10**12), st.floats(0, 1e12)
STEPS = st.integers(0, 2**31 - 1)
POSITIONS = st.builds(
    Position,
    step=STEPS,
    epoch=COUNTS,
    batch=COUNTS,
    seconds=TIMES,
    evaluations=COUNTS,
    evaluation_seconds=TIMES,
    all_evaluations_seconds=TIMES,
    best_loss=st.none() | TIMES,
    best_step=st.none() | STEPS,
    evaluations_since_best=COUNTS,
    sums=st.dictionaries(st.sampled_from(["loss", "weight", "characters"]), TIMES),
    step_seconds=TIMES,
    metrics_bytes=COUNTS,
    learning_rate=TIMES,
    ended=st.none() | st.sampled_from(["finished", "stopped early"]),
)


@given(steps_per_epoch=st.integers(1, 1000), epochs=st.integers(1, 1000))
def test_epochs_are_so_many_steps(steps_per_epoch, epochs):
    budget = Budget.of(TrainingConfig(epochs=epochs), steps_per_epoch)
    steps = steps_per_epoch * epochs
    assert budget.fraction(Position()) == 0.0
    assert not budget.used_up(Position(step=steps - 1))
    assert budget.fraction(Position(step=steps)) == 1.0
    assert budget.used_up(Position(step=steps))
    assert budget.fraction(Position(step=steps + 1)) == 1.0


@given(steps=st.integers(1, 10**9), share=st.floats(0, 1))
def test_the_fraction_of_steps_is_their_share(steps, share):
    step = int(share * steps)
    assert Budget.of(TrainingConfig(steps=steps), 7).fraction(Position(step=step)) == step / steps


@given(minutes=st.floats(0.01, 1e5), share=st.floats(0, 0.99))
def test_minutes_are_on_the_clock_and_leave_time_for_the_last_evaluation(minutes, share):
    budget = Budget.of(TrainingConfig(minutes=minutes), 7)
    position = Position(step=10**9, seconds=60 * minutes * share)
    assert budget.fraction(position) == pytest.approx(share)
    assert not budget.used_up(position)
    reserve = 60 * minutes - position.seconds
    assert not budget.used_up(position, 0.9 * reserve)
    assert budget.used_up(position, 1.1 * reserve)


def test_without_a_budget_it_is_one_epoch():
    budget = Budget.of(TrainingConfig(), 12)
    assert str(budget) == "1 epoch"
    assert budget.used_up(Position(step=12))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 1}, "1 step"),
        ({"steps": 12_000}, "12,000 steps"),
        ({"epochs": 3}, "3 epochs"),
        ({"minutes": 2.0}, "2 minutes"),
        ({"minutes": 1.0}, "1 minute"),
        ({"minutes": 0.5}, "0.5 minutes"),
    ],
)
def test_a_budget_is_said_in_words(settings, words):
    assert str(Budget.of(TrainingConfig(**settings), 7)) == words


@given(POSITIONS)
def test_a_position_comes_back_from_json_exactly(position):
    assert Position.from_json(json.loads(json.dumps(position.to_json()))) == position


@pytest.mark.parametrize(
    "damage",
    [
        {"step": "5"},
        {"step": -1},
        {"step": True},
        {"step": 1.0},
        {"step": 2**31},
        {"epoch": 10**30},
        {"seconds": math.inf},
        {"learning_rate": "1"},
        {"ended": 1},
        {"seconds": None},
        {"seconds": math.nan},
        {"metrics_bytes": []},
        {"best_step": "5"},
        {"best_loss": math.nan},
        {"sums": 5},
        {"sums": {"loss": None}},
        {"colour": 1},
    ],
    ids=str,
)
def test_a_damaged_position_is_refused(damage):
    with pytest.raises(RunError, match="the checkpoint's position is damaged"):
        Position.from_json(Position().to_json() | damage)


@given(
    minutes=st.floats(0.1, 1e4),
    share=st.floats(1e-4, 0.5),
    planned=st.integers(1, 50),
    steps=st.integers(1, 200),
)
def test_evaluations_together_take_a_tenth_of_the_minutes_at_most(minutes, share, planned, steps):
    """A training on a clock of its own: steps, evaluations where due and affordable, and the last."""
    budget, each = Budget.of(TrainingConfig(minutes=minutes), 7), 60 * minutes * share
    position, done = Position(), 0
    while not budget.used_up(position, each):
        position.seconds += 60 * minutes / steps
        due = int(budget.fraction(position) * planned) > position.evaluations
        if due and budget.affords_evaluation(position, each):
            position.seconds += each
            position.all_evaluations_seconds += each
            position.evaluations = int(budget.fraction(position) * planned)
            done += 1
    assert position.all_evaluations_seconds + each <= max(6 * minutes * (1 + 1e-9), each)


def test_evaluations_that_take_no_time_all_happen():
    budget = Budget.of(TrainingConfig(minutes=1), 7)
    assert all(budget.affords_evaluation(Position(seconds=60 * part / 10), 0.01) for part in range(1, 10))
    assert Budget.of(TrainingConfig(epochs=1), 7).affords_evaluation(Position(), 1e9)


def test_before_an_evaluation_was_measured_a_tenth_is_left_for_it_at_most():
    budget = Budget.of(TrainingConfig(minutes=1), 7)
    assert budget.reserve(1000.0, measured=False) == pytest.approx(6.0)
    assert budget.reserve(1000.0, measured=True) == 1000.0


def test_a_position_of_before_has_no_times_of_evaluations():
    older = Position(step=3).to_json()
    del older["evaluation_seconds"], older["all_evaluations_seconds"]
    assert Position.from_json(older) == Position(step=3)


def test_a_small_part_has_more_epochs_and_a_limit_of_time_ends_them():
    small = Budget.of(TrainingConfig(epochs=4, min_steps=100), 7)
    assert str(small) == "15 epochs"  # the fewest with 100 steps
    assert str(Budget.of(TrainingConfig(epochs=4, min_steps=100), 50)) == "4 epochs"
    limited = Budget.of(TrainingConfig(epochs=10, max_minutes=2), 10)
    assert str(limited) == "10 epochs, or 2 minutes"
    assert limited.fraction(Position(step=20, seconds=12)) == 0.2
    assert limited.fraction(Position(step=20, seconds=60)) == 0.5  # the schedule ends with the time
    assert not limited.used_up(Position(step=99, seconds=119))
    assert limited.used_up(Position(step=100, seconds=1))
    assert limited.used_up(Position(step=3, seconds=115), reserve=5)

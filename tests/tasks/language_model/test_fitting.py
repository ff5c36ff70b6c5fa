"""The rule for the default settings of a language model, at its edges and in between."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from ostinato.tasks.fitting import Facts, Fitted, between, time_of
from ostinato.tasks.language_model.config import LanguageModelConfig
from ostinato.tasks.language_model.fitting import WEIGHTS_A_TOKEN, WIDEST, fit
from ostinato.training.config import TrainingConfig

FREE = {*LanguageModelConfig.model_fields, *TrainingConfig.model_fields}
SPEED = 60_000.0  # time steps a second at 256 units, as two cores of a server learn them
TINY, USUAL, HUGE = 450, 1_000_000, 5_000_000_000


def fitted(tokens=USUAL, symbols=65, *, config=None, free=FREE, **budget) -> Fitted:
    budget = budget or {"seconds": 120.0}
    if "seconds" in budget:
        budget = {"speed": SPEED} | budget
    part = SimpleNamespace(steps=1)
    data = SimpleNamespace(tokens=tokens, encoder=SimpleNamespace(size=symbols), part=lambda name: part)
    return fit(config or LanguageModelConfig(), data, Facts(frozenset(free), **budget))  # pyright: ignore[reportArgumentType]


def settings(found: Fitted) -> dict:
    """All that was chosen; both configs take it."""
    LanguageModelConfig(**found.task)
    TrainingConfig(**found.training)
    return found.task | found.training


@pytest.mark.parametrize("tokens", [TINY, 5_000, 200_000, USUAL, HUGE])
@pytest.mark.parametrize("seconds", [10.0, 138.0, 600.0, 36_000.0])
def test_every_text_and_budget_has_settings_that_work(tokens, seconds):
    found = settings(fitted(tokens, seconds=seconds))
    (units,) = found["units"]
    assert 64 <= units <= WIDEST
    assert 0.1 <= found["output_dropout"] <= 0.6
    assert 1e-3 <= found["learning_rate"] <= 8e-3
    assert units == 64 or 4 * units**2 <= WEIGHTS_A_TOKEN * tokens


def test_more_time_never_gives_a_narrower_network_or_less_dropout():
    found = [settings(fitted(seconds=60.0 * minutes)) for minutes in (0.2, 1, 2, 2.3, 5, 10, 30, 120, 600)]
    for one, other in pairwise(found):
        assert one["units"] <= other["units"]
        assert one["output_dropout"] <= other["output_dropout"] + 0.01
        assert one["learning_rate"] >= other["learning_rate"]


def test_five_hundred_characters_get_the_smallest_network_much_dropout_decay_and_patience():
    found = settings(fitted(TINY, seconds=120.0))
    assert found["units"] == (64,)
    assert found["output_dropout"] == 0.6
    assert (found["optimizer"], found["weight_decay"]) == ("adamw", 0.1)
    assert found["patience"] >= 1


def test_five_gigabytes_in_ten_hours_get_a_wide_network_that_drops_little():
    found = settings(fitted(HUGE, seconds=36_000.0))
    assert found["units"] >= (1024,)
    assert found["output_dropout"] == 0.1
    assert not found.keys() & {"patience", "weight_decay"}


def test_ten_seconds_get_a_network_that_reads_something_in_them():
    found = settings(fitted(HUGE, seconds=10.0))
    assert found["units"] <= (256,)


def test_a_faster_machine_gets_a_wider_network():
    slow, fast = (settings(fitted(seconds=120.0, speed=speed)) for speed in (5_000.0, 500_000.0))
    assert slow["units"] < fast["units"]


def test_a_budget_in_epochs_needs_no_speed():
    found = fitted(epochs=5.0)
    assert settings(found)["output_dropout"] == pytest.approx(between({4.0: 0.3, 6.0: 0.5}, 5.0), abs=0.01)
    assert "5.0 times" in found.because
    assert "second" not in found.because


def test_what_the_user_gave_stays_and_the_rest_goes_with_it():
    given = LanguageModelConfig(units=1024)
    found = fitted(config=given, free=FREE - {"units"}, seconds=120.0)
    assert "units" not in found.task
    assert found.training["learning_rate"] == 4e-3
    assert fitted(free=FREE - {"learning_rate"}).training.keys() >= {"averaging"}
    assert "learning_rate" not in fitted(free=FREE - {"learning_rate"}).training
    assert fitted(free=()).note == ""


def test_words_have_an_embedding_that_the_output_layer_shares():
    found = settings(fitted(USUAL, 10_000))
    assert found["tied"]
    assert (found["embedding"],) == found["units"]
    assert "embedding" not in settings(fitted(USUAL, 65))
    assert "tied" not in fitted(USUAL, 10_000, free=FREE - {"embedding"}).task


def test_several_layers_share_the_time():
    one = fitted(seconds=600.0).task["units"]
    three = fitted(config=LanguageModelConfig(units=(8, 8, 8)), seconds=600.0).task["units"]
    assert len(three) == 3
    assert three[0] < one[0]


def test_the_sentence_says_what_was_chosen_and_why():
    note = fitted(seconds=120.0).note
    assert note.startswith("chosen for 1,000,000 tokens that are read about ")
    assert "units 5" in note or "units 4" in note
    assert "(this machine learns 60,000 time steps a second at 256 units)" in note


def test_points_are_read_off_by_their_logarithms():
    points = {1.0: 0.0, 4.0: 2.0}
    assert [between(points, x) for x in (0.1, 1.0, 2.0, 4.0, 100.0)] == pytest.approx([0, 0, 1, 2, 2])
    assert (time_of(256), time_of(512)) == pytest.approx((1.0, 3.25), rel=0.01)

"""The contracts: which figure is better, and what a task's source is given."""

import math

import pytest

from ostinato.errors import SourceError
from ostinato.tasks import registry
from ostinato.tasks.base import Given, Metric, Opened, TaskSpec, as_figures
from ostinato.tasks.config import TaskConfig


@pytest.mark.parametrize(
    ("better", "value", "before", "beats"),
    [
        ("lower", 1.0, None, True),
        ("lower", 1.0, 2.0, True),
        ("lower", 2.0, 1.0, False),
        ("lower", 1.0, 1.0, False),
        ("higher", 0.1, None, True),
        ("higher", 0.2, 0.1, True),
        ("higher", 0.1, 0.2, False),
        ("higher", 0.1, 0.1, False),
        ("lower", math.nan, 1.0, False),
        ("higher", math.nan, 1.0, False),
    ],
)
def test_a_metric_beats_what_is_worse_and_nothing_equal(better, value, before, beats):
    assert Metric("score", value, better=better).beats(before) is beats


def test_figures_are_the_values_by_name_in_their_order():
    metrics = (Metric("loss", 2.0, "nats"), Metric("accuracy", 0.5, better="higher"))
    assert [*as_figures(metrics).items()] == [("loss", 2.0), ("accuracy", 0.5)]


def spec_of(source) -> TaskSpec:
    return TaskSpec("paint", TaskConfig, "painters:Painter", source)


def test_a_source_is_opened_with_all_that_was_given():
    spec = spec_of(lambda *arguments, **options: (arguments, options))
    assert spec.open("a") == (("a",), {})
    assert spec.open(None) == ((None,), {})
    assert spec.open(Given(("a", "b"), {"text": "c"})) == (("a", "b"), {"text": "c"})
    assert spec.open(Given(())) == ((), {})


def test_a_source_that_is_opened_already_stays_as_it_is():
    source = object()
    assert spec_of(pytest.fail).open(Opened(source)) is source


def test_the_vocabulary_of_a_run_is_handed_to_a_source_that_asks_for_it():
    asks = spec_of(lambda source, *, vocabulary=None: (source, vocabulary))
    assert asks.open("a", {"words": 3}) == ("a", {"words": 3})
    assert asks.open("a") == ("a", None)
    assert spec_of(lambda source: source).open("a", {"words": 3}) == "a"


@pytest.mark.parametrize("name", ["language_model", "classifier", "translator"])
def test_a_source_of_a_task_is_opened_once_and_one_that_is_not_there_is_refused(name, tmp_path):
    file = tmp_path / "source.tsv"
    file.write_text("text\tlabel\na\tb\nc\td\n")
    spec = registry.spec(name)
    opened = spec.open(str(file))
    assert spec.open(opened) is opened
    with pytest.raises(SourceError, match="gone"):
        spec.open(str(tmp_path / "gone.tsv"))

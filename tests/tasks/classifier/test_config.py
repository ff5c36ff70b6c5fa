"""The settings of a classifier: what they mean together, and which are refused."""

import pytest

import ostinato
from ostinato.tasks.classifier import ClassifierConfig


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"max_tokens": 0}, "max_tokens must be 1 to 1,000,000 or 'auto'"),
        ({"max_tokens": "long"}, "max_tokens must be 1 to 1,000,000 or 'auto'"),
        ({"max_tokens": True}, "max_tokens must be 1 to 1,000,000 or 'auto'"),
        ({"units": [8, 0]}, "units must be 1 to 64 layers"),
        ({"units": [8, 4], "layers": 3}, "layers = 3 contradicts"),
        ({"pooling": "sum"}, "pooling must be 'last', 'mean', 'max', 'max_mean' or 'attention', got 'sum'"),
        ({"cell": "grue"}, "cell must be one of .*, got 'grue'"),
        ({"engine": "scratch"}, "cannot skip padding"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "leave nothing to train on"),
        ({"class_weights": "balanced", "label_separator": "|"}, "one label for each text"),
    ],
)
def test_settings_that_do_not_work_are_refused(changes, says):
    with pytest.raises(ostinato.OstinatoError, match=says):
        ClassifierConfig(**changes)


def test_a_number_of_tokens_may_come_as_text_and_one_unit_count_serves_all_layers():
    assert ClassifierConfig(max_tokens="80").max_tokens == 80
    assert ClassifierConfig(units=8, layers=3).units == (8, 8, 8)

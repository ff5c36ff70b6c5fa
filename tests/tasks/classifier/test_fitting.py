"""The rule for the default settings of a classifier."""

from types import SimpleNamespace

import numpy as np
import pytest

from ostinato.tasks.classifier.config import ClassifierConfig
from ostinato.tasks.classifier.fitting import fit
from ostinato.tasks.fitting import Facts, Fitted
from ostinato.training.config import TrainingConfig

FREE = {*ClassifierConfig.model_fields, *TrainingConfig.model_fields}


def fitted(texts, *, config=None, free=FREE, seconds=None) -> Fitted:
    examples = SimpleNamespace(part=lambda name: np.arange(texts))
    budget = {"epochs": 6.0} if seconds is None else {"seconds": seconds, "speed": 60_000.0}
    facts = Facts(frozenset(free), **budget)  # pyright: ignore[reportArgumentType]
    return fit(config or ClassifierConfig(), SimpleNamespace(examples=examples), facts)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("texts", [10, 300, 18_000])
@pytest.mark.parametrize("seconds", [None, 10.0, 120.0])
def test_tables_of_usual_sizes_keep_the_recipe(texts, seconds):
    assert fitted(texts, seconds=seconds).note == ""


def test_ten_rows_with_ten_hours_get_several_networks():
    found = fitted(10, seconds=36_000.0)
    assert (found.task["seeds"], found.training["averaging"]) == (3, 0.1)
    ClassifierConfig(**found.task)


def test_a_million_rows_get_wide_layers_and_large_batches():
    found = fitted(1_000_000, seconds=600.0)
    assert (found.task["units"], found.task["batch"]) == ((128,), 128)
    assert "seeds" not in found.task  # there is no time for several
    assert found.note == "chosen for 1,000,000 texts: batch 128, units 128"
    between = fitted(200_000).task
    assert between["batch"] == 64
    assert 64 < between["units"][0] < 128


def test_what_was_given_stays():
    assert fitted(1_000_000, free=FREE - {"units"}).task == {"batch": 128}
    assert fitted(20_000, free=FREE - {"seeds"}, seconds=600.0).task == {"pooling": "max_mean"}


def test_the_embedding_is_as_large_as_the_vectors(tmp_path):
    (tmp_path / "vectors.txt").write_text("cat 1 2 3\ndog 4 5 6\n")
    config = ClassifierConfig(vectors=str(tmp_path / "vectors.txt"))
    assert fitted(100, config=config).task == {"embedding": 3}

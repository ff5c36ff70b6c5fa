"""The rule for the default settings of a translator."""

from types import SimpleNamespace

import numpy as np
import pytest

from ostinato.tasks.fitting import Facts, Fitted
from ostinato.tasks.translator.config import TranslatorConfig
from ostinato.tasks.translator.fitting import fit
from ostinato.training.config import TrainingConfig

FREE = {*TranslatorConfig.model_fields, *TrainingConfig.model_fields}


def fitted(pairs, *, single_words=False, config=None, free=FREE, seconds=None) -> Fitted:
    examples = SimpleNamespace(part=lambda name: np.arange(pairs), single_words=single_words)
    facts = Facts(frozenset(free), seconds=seconds, epochs=30.0 if seconds is None else None)
    found = fit(config or TranslatorConfig(), SimpleNamespace(examples=examples), facts)  # pyright: ignore[reportArgumentType]
    TranslatorConfig(**found.task)
    TrainingConfig(**found.training)
    return found


@pytest.mark.parametrize("pairs", [10, 300, 20_000])
def test_few_pairs_get_much_dropout(pairs):
    found = fitted(pairs).task
    assert (found["units"], found["decoder_units"], found["dropout"]) == ((128,), (256,), 0.5)
    assert found["bidirectional"]


def test_many_pairs_get_width():
    found = fitted(5_000_000).task
    assert (found["decoder_units"], found["dropout"], found["word_dropout"]) == ((512,), 0.1, 0.0)


def test_single_words_get_the_network_of_the_recipe_for_strings():
    found = fitted(10_000, single_words=True)
    assert found.task["bidirectional"]
    assert found.task["units"] == (192,)
    assert "10,000 pairs of single words" in found.note


@pytest.mark.parametrize(
    ("pairs", "seconds", "seeds"),
    [
        (20_000, 799, None),
        (20_000, 800, 2),
        (10, 10, 2),
        (18_103, 36_000, 2),
        (50_001, 36_000, None),
        (20_000, None, None),
    ],
)
def test_two_networks_share_a_long_budget_and_need_less_word_dropout(pairs, seconds, seeds):
    found = fitted(pairs, seconds=seconds).task
    assert found.get("seeds") == seeds
    if pairs <= 50_000:
        assert found["word_dropout"] == (0.05 if seeds else 0.1)


@pytest.mark.parametrize(
    ("seconds", "dropout", "seeds"),
    [(10, 0.05, 1), (190, 0.21, 1), (200, 0.05, 2), (300, 0.11, 2), (600, 0.3, 2), (36_000, 0.3, 2)],
)
def test_single_words_get_dropout_and_two_networks_by_how_often_they_are_read(seconds, dropout, seeds):
    found = fitted(115_475, single_words=True, seconds=seconds).task
    assert (found["dropout"], found["seeds"]) == (dropout, seeds)


def test_single_words_in_epochs_get_one_network():
    found = fitted(115_475, single_words=True).task
    assert (found["dropout"], found["seeds"]) == (0.3, 1)


@pytest.mark.parametrize(
    ("pairs", "longest", "rows", "dropout"),
    [
        (10, 3, 8_191, 0.6),
        (5_000, 3, 8_191, 0.6),
        (20_000, 4, 34_721, 0.41),
        (115_475, 5, 65_521, 0.3),
        (10**7, 5, 65_521, 0.3),
    ],
)
def test_single_words_get_ngrams_and_a_table_by_their_number(pairs, longest, rows, dropout):
    found = fitted(pairs, single_words=True).task
    assert (found["source_ngrams"], found["ngram_rows"], found["ngram_dropout"]) == (longest, rows, dropout)
    assert "source_ngrams" not in fitted(pairs).task


@pytest.mark.parametrize(("pairs", "batch"), [(10, 128), (50_000, 128), (115_475, 256)])
def test_many_single_words_get_a_larger_batch(pairs, batch):
    assert fitted(pairs, single_words=True).task["batch"] == batch


def test_a_lexical_layer_is_for_few_pairs_and_needs_an_attention():
    assert fitted(20_000).task["lexical"]
    assert fitted(200_000, single_words=True).task["lexical"]
    assert "lexical" not in fitted(200_001).task
    assert "lexical" not in fitted(20_000, config=TranslatorConfig(attention="none")).task


def test_what_was_given_stays():
    found = fitted(20_000, free=FREE - {"units", "averaging"})
    assert not found.task.keys() & {"units", "decoder_units", "bidirectional"}
    assert found.training == {}
    two = TranslatorConfig(units=(8, 8))
    assert fitted(20_000, config=two).task["units"] == (128, 128)
    one_way = fitted(20_000, config=two, free=FREE - {"bidirectional"}).task
    assert one_way["units"] == (256, 256)
    assert "decoder_units" not in one_way

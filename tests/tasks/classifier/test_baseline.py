"""The linear model beside the figures of a classifier."""

import numpy as np
import pytest

from ostinato.tasks.classifier import ClassifierConfig, baseline

from ...ready import Ready

pytest.importorskip("sklearn")
WORDS = {0: ("goal", "match"), 1: ("vote", "law"), 2: ("rain", "wind")}


def rows(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    chance = np.random.default_rng(seed)
    targets = chance.integers(0, 3, count)
    texts = [
        f"the {chance.choice(WORDS[target])} of the {chance.choice(['day', 'week'])}" for target in targets
    ]
    return texts, targets


def test_it_learns_words_and_counts_what_is_right():
    other = rows(30, 2)
    found = baseline.figures(rows(60, 0), rows(20, 1), other, 3)
    assert found == {"tfidf_accuracy": 1.0, "tfidf_macro_f1": 1.0}
    wrong = other[1].copy()
    wrong[:3] = -1  # labels that training did not have
    assert baseline.figures(rows(60, 0), None, (other[0], wrong), 3)["tfidf_accuracy"] == 0.9


def test_where_spaces_do_not_separate_words_it_reads_characters():
    texts, targets = rows(60, 0)
    joined = [text.replace(" ", "").translate({ord(c): 0x4E00 + ord(c) for c in set(text)}) for text in texts]
    chosen = baseline.predictions((joined, targets), None, joined)
    assert (chosen == targets).all()


def test_an_evaluation_has_its_figures_when_asked():
    texts, targets = rows(60, 0)
    ready = Ready(
        ClassifierConfig(units=4, embedding=3, validation_fraction=0.2),
        [(text, str(target)) for text, target in zip(texts, targets, strict=True)],
    )
    use = ready.use(ready.build())
    assert use.evaluate(ready.data, "validation", baseline=True).figures["tfidf_accuracy"] == 1.0
    assert "tfidf_accuracy" not in use.evaluate(ready.data, "validation").figures
    assert "tfidf_accuracy" not in use.evaluate(ready.data, "train", baseline=True).figures

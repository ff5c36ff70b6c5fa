"""What an evaluation finds, and its pictures."""

import numpy as np
import pytest

from ostinato.tasks.classifier.data import open_source
from ostinato.tasks.classifier.evaluation import Decisions, Evaluation, figures_of

from .reviews import SETS, prepared


@pytest.mark.parametrize("kind", SETS)
def test_an_evaluation_names_the_surest_mistakes_and_is_drawn(kind, tmp_path):
    source, changes = SETS[kind]
    ready = prepared(source, **changes)
    use = ready.use(ready.drawn(1.0))
    evaluation = use.evaluate(ready.data, "train")
    of_several = ["exact_match", "micro_f1"] if kind == "tags" else []
    assert list(evaluation.figures) == [
        "loss",
        "accuracy",
        *of_several,
        "macro_f1",
        "roc_auc",
        "calibration_error",
        "examples",
    ]
    assert all(0 <= evaluation.figures[name] <= 1 for name in list(evaluation.figures)[1:-1])
    sure = [mistake.probability for mistake in evaluation.mistakes]
    assert sure == sorted(sure, reverse=True)
    truth = dict(source)
    for mistake in evaluation.mistakes:
        assert mistake.label == truth[mistake.text] != mistake.chosen
        assert mistake.place.startswith("<pairs>, row ")
    assert list(evaluation.details["labels"]) == list(evaluation.labels)
    if evaluation.confusion is not None:
        assert evaluation.confusion.sum() == evaluation.figures["examples"]
        right = np.trace(evaluation.confusion) / evaluation.confusion.sum()
        assert right == pytest.approx(evaluation.figures["accuracy"])
    drawn_files = use.draw(evaluation, tmp_path)
    assert len(drawn_files) == (2 if kind == "tags" else 3)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn_files)


def table(*labels):
    return [(f"text number {n}", label) for n, label in enumerate(labels)]


def read_for(ready, source):
    """Another source, as `ostinato.evaluate` reads it for a run."""
    opened = open_source(source, vocabulary=ready.data.vocabulary)
    return ready.task.read(opened, vocabulary=ready.data.vocabulary, whole=True)


@pytest.mark.parametrize("kind", SETS)
def test_labels_that_training_did_not_have_are_wrong_and_named(kind):
    source, changes = SETS[kind]
    ready = prepared(source, **changes)
    use = ready.use(ready.drawn())
    known = source[:4]
    data = read_for(ready, [*known, ("great", "odd"), ("dull", "odd"), ("fun", "strange")])
    evaluation, before = use.evaluate(data, "train"), use.evaluate(read_for(ready, known), "train")
    assert evaluation.notes == (
        "<pairs>: 3 rows with labels that training did not have ('odd', 'strange') count as wrong",
    )
    assert before.notes == ()
    assert evaluation.figures["accuracy"] == pytest.approx(before.figures["accuracy"] * 4 / 7)
    assert {mistake.label for mistake in evaluation.mistakes} >= {"odd", "strange"}
    assert list(evaluation.details["labels"]) == list(ready.data.words.labels.names)
    if kind != "tags":
        assert evaluation.figures["loss"] == pytest.approx(before.figures["loss"])
        assert evaluation.confusion.sum() == 4


def test_a_source_without_any_known_label_has_no_loss():
    ready = prepared()
    evaluation = ready.use(ready.drawn()).evaluate(read_for(ready, [("great", "odd")]), "train")
    assert np.isnan(evaluation.figures["loss"])
    assert evaluation.figures["accuracy"] == 0.0


def test_figures_of_several_labels_are_those_worked_out_by_hand():
    truth = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], bool)
    chosen = np.array([[1, 0], [0, 1], [0, 0], [1, 0]], bool)
    decisions = Decisions(np.arange(4), truth, chosen, chosen * 0.8 + 0.1, np.zeros(4, bool))
    figures = figures_of(decisions, several=True)
    assert (figures["accuracy"], figures["exact_match"]) == (0.5, 0.5)  # the first and the third
    assert figures["micro_f1"] == pytest.approx(2 * 2 / (4 + 3))
    assert figures["macro_f1"] == pytest.approx((2 * 1 / (2 + 2) + 2 * 1 / (2 + 1)) / 2)
    found = Evaluation("test", figures, ("a", "b"), decisions, None, [], (), (0.3, 0.5)).details["labels"]
    assert found["a"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2, "threshold": 0.3}
    assert found["b"] == {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2, "threshold": 0.5}

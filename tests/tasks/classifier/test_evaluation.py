"""What an evaluation finds, and its pictures."""

import numpy as np
import pytest

from .reviews import SETS, prepared


@pytest.mark.parametrize("kind", SETS)
def test_an_evaluation_names_the_surest_mistakes_and_is_drawn(kind, tmp_path):
    source, changes = SETS[kind]
    ready = prepared(source, **changes)
    use = ready.use(ready.drawn(1.0))
    evaluation = use.evaluate(ready.data, "train")
    assert list(evaluation.figures) == [
        "loss",
        "accuracy",
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
    if evaluation.confusion is not None:
        assert evaluation.confusion.sum() == evaluation.figures["examples"]
        right = np.trace(evaluation.confusion) / evaluation.confusion.sum()
        assert right == pytest.approx(evaluation.figures["accuracy"])
    drawn_files = use.draw(evaluation, tmp_path)
    assert len(drawn_files) == (2 if kind == "tags" else 3)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn_files)

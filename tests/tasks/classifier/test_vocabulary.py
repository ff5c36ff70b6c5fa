"""What a classifier keeps of its training texts, which anyone may have written."""

import numpy as np
import pytest

from ostinato.errors import RunError
from ostinato.tasks.classifier.vocabulary import ClassifierVocabulary

from .reviews import SETS, prepared


@pytest.mark.parametrize(
    "damage",
    [
        {"labels": ["a"]},
        {"labels": ["a", "a"]},
        {"labels": "ab"},
        {"labels": ["a", ""]},
        {"labels": ["a", "\ud800"]},
        {"max_tokens": 0},
        {"max_tokens": 2**31},
        {"max_tokens": "auto"},
        {"prior": [0.5]},
        {"prior": [True, False]},
        {"prior": None},
        {"columns": ["text"]},
        {"encoder": {}},
        {"several": 1},
        {"unlabelled": "no"},
        {"thresholds": [0.5]},
        {"thresholds": [0.5, 2]},
    ],
    ids=str,
)
def test_a_damaged_vocabulary_is_refused(damage):
    ready = prepared()
    with pytest.raises(RunError, match="the vocabulary is damaged"):
        ready.task.build(ready.data.vocabulary | damage)
    with pytest.raises(RunError, match="the vocabulary is damaged"):
        ready.task.build({})


def test_runs_of_older_versions_say_neither_several_nor_thresholds():
    ready = prepared(*SETS["tags"][:1], **SETS["tags"][1])
    kept = ready.data.vocabulary
    older = {name: kept[name] for name in kept.keys() - {"several", "unlabelled", "thresholds"}}
    words = ClassifierVocabulary.from_json(ready.config, older)
    assert words.labels == ready.data.words.labels
    assert (words.labels.several, words.labels.thresholds, words.unlabelled) == (True, (), False)
    assert words.labels.chosen(np.array([[0.49, 0.5, 0.51]])).tolist() == [[False, True, True]]


def test_thresholds_are_kept_and_decide():
    ready = prepared(*SETS["tags"][:1], **SETS["tags"][1])
    chosen = ready.data.vocabulary | {"thresholds": [0.0, 0.25, 1.0]}
    words = ClassifierVocabulary.from_json(ready.config, chosen)
    assert words.to_json() == chosen
    assert words.labels.chosen(np.array([[0.1, 0.2, 0.9]])).tolist() == [[True, False, False]]
    use = ready.task.use(ready.drawn(), chosen)
    for prediction in use.predictions(["dull", "a waste"]):
        pairs = zip(prediction.probabilities.items(), (0.0, 0.25, 1.0), strict=True)
        assert prediction.labels == tuple(name for (name, p), threshold in pairs if p >= threshold)

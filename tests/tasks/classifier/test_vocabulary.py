"""What a classifier keeps of its training texts, which anyone may have written."""

import pytest

from ostinato.errors import RunError

from .reviews import prepared


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
    ],
    ids=str,
)
def test_a_damaged_vocabulary_is_refused(damage):
    ready = prepared()
    with pytest.raises(RunError, match="the vocabulary is damaged"):
        ready.task.build(ready.data.vocabulary | damage)
    with pytest.raises(RunError, match="the vocabulary is damaged"):
        ready.task.build({})

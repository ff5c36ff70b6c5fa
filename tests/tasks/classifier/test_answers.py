"""What a classifier says about texts, alone and among others."""

import json

import numpy as np
import pytest

from ostinato.data.store.encoded_texts import encode_text
from ostinato.errors import ConfigError
from ostinato.tasks.classifier import Classifier
from ostinato.tasks.classifier.decision import decision_for
from ostinato.tasks.classifier.padding import padded_texts
from ostinato.tasks.classifier.vocabulary import ClassifierVocabulary

from ...ready import stirred
from .reviews import PAIRS, QUEUES, SETS, prepared


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("masked", [True, False])
def test_predictions_are_in_order_and_do_not_depend_on_their_company(kind, masked):
    source, changes = SETS[kind]
    ready = prepared(source, masked=masked, **changes)
    use = ready.use(ready.drawn())
    texts = [text for text, _ in source[:9]]
    together = list(use.predictions(texts))
    for text, prediction in zip(texts, together, strict=True):
        (alone,) = use.predictions([text])
        assert alone.label == prediction.label
        assert alone.probability == pytest.approx(prediction.probability, abs=1e-5)
    if kind == "tags":
        for prediction in together:
            likely = [name for name, p in prediction.probabilities.items() if p >= 0.5]
            assert prediction.label == "|".join(likely)
    else:
        for prediction in together:
            assert sum(prediction.probabilities.values()) == pytest.approx(1.0)
            assert prediction.probability == max(prediction.probabilities.values())
            assert prediction.probabilities[prediction.label] == prediction.probability


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_padding_that_all_texts_begin_with_is_read_once_and_predicts_the_same(cell):
    ready = prepared(masked=False, max_tokens=40, cell=cell, units=[5, 4])
    model = ready.drawn()
    texts = [text for text, _ in PAIRS]
    rows = [encode_text(ready.data.words.encoder, text) for text in texts]
    tokens, _ = padded_texts(ready.config, 40, rows, 40)
    whole = decision_for(ready.data.words.labels).probabilities(model(tokens).numpy().astype(np.float64))
    use = ready.use(model)
    shared = [list(each.probabilities.values()) for each in use.predictions(texts)]
    assert use._shares_padding
    np.testing.assert_allclose(shared, whole, atol=1e-6)
    assert np.ptp(whole[:, 0]) > 0.001  # the texts differ, so that equal ones would be seen


def test_an_empty_text_gets_the_shares_of_training_and_is_flagged():
    ready = prepared(PAIRS[:5] * 6 + PAIRS[5:10] * 2, validation_fraction=0.0)
    nothing, something = ready.use(ready.drawn()).predictions(["  \n", "great"])
    assert nothing.empty
    assert nothing.probabilities == {"+": 0.75, "-": 0.25}
    assert (nothing.label, nothing.probability, nothing.tokens) == ("+", 0.75, 0)
    assert not something.empty


def test_a_huge_text_is_cut_and_flagged():
    ready = prepared(max_tokens=4)
    long, end = ready.use(ready.drawn()).predictions(
        ["dull " * 10_000 + "a great warm film", "a great warm film"]
    )
    assert (long.cut, end.cut, long.tokens) == (True, False, 10_004)
    assert long.probability == pytest.approx(end.probability)


def test_what_is_no_list_of_texts_is_refused():
    ready = prepared()
    use = ready.use(ready.build())
    with pytest.raises(
        ConfigError, match=r"texts must be a list of texts, got a string; give \[text\] for one"
    ):
        list(use.predictions("great"))
    with pytest.raises(ConfigError, match="one of the texts is a int, not a string"):
        list(use.predictions(["great", 3]))


def test_a_vocabulary_that_was_kept_predicts_the_same_without_data():
    ready = prepared(QUEUES)
    kept = json.loads(json.dumps(ready.data.vocabulary))
    task = Classifier(ready.config)
    same = task.use(stirred(task.build(kept)), kept)
    use = ready.use(ready.drawn())
    assert list(same.predictions(["great", ""])) == list(use.predictions(["great", ""]))
    assert ClassifierVocabulary.from_json(ready.config, kept).to_json() == ready.data.vocabulary

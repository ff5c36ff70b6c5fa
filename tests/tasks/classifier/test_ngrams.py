"""The n-grams of a classifier: what they add to the scores, in which share, and to which words."""

import numpy as np
import pytest
import tensorflow as tf

from ostinato.data.store.encoded_texts import read_text
from ostinato.errors import RunError
from ostinato.tasks.classifier import ClassifierConfig
from ostinato.tasks.classifier.answers import Answers
from ostinato.tasks.classifier.padding import padded_grams
from ostinato.tasks.classifier.shares import EVEN, PAIRS, best_shares
from ostinato.tasks.classifier.vocabulary import ClassifierVocabulary

from ...ready import Ready

ROWS = [
    (f"{text} {word}", label)
    for _ in range(6)
    for text in ("the film was seen today", "a story of two towns", "it runs for an hour")
    for word, label in (("great", "good"), ("awful", "bad"), ("strange", "other"))
]
SETTINGS = {"units": 5, "embedding": 4, "ngrams": 300, "encoder": "word", "pooling": "max"}


@pytest.fixture(scope="module")
def ready() -> Ready:
    return Ready(ClassifierConfig(**SETTINGS), ROWS)


def words_of(ready, **changes) -> ClassifierVocabulary:
    vocabulary = ready.data.vocabulary | changes
    return ClassifierVocabulary.from_json(ready.config, vocabulary)


def test_the_scores_are_the_sum_over_the_root_of_the_number(ready):
    model = ready.drawn()
    words = words_of(ready)
    ids = words.ngrams.encode(read_text(words.encoder, ROWS[0][0]))
    weights = model.ngram_weights.get_weights()[0]
    expected = 3.0 * weights[ids].sum(axis=0) / np.sqrt(len(ids))
    padded = tf.constant(padded_grams([ids, ids[:0]], len(ids) + 3))
    np.testing.assert_allclose(model.add_up(padded), [expected, np.zeros(3)], atol=1e-5)


def test_both_parts_are_added(ready):
    model, batch = ready.drawn(), ready.tensors()
    both = model(batch["tokens"], batch["lengths"], grams=batch["grams"])
    apart = model.read(batch["tokens"], batch["lengths"]) + model.add_up(batch["grams"])
    np.testing.assert_allclose(both, apart, atol=1e-6)


def test_each_part_learns_to_be_right_alone_and_the_loss_is_that_of_both(ready):
    model, batch = ready.drawn(), ready.tensors()
    with tf.GradientTape() as tape:
        trained = ready.task.loss(model, batch, (), step=tf.constant(0)).total
    weights = model.ngram_weights.trainable_variables[0]
    gradient = tf.convert_to_tensor(tape.gradient(trained, weights))
    measured = ready.task.loss(model, batch, ())
    np.testing.assert_allclose(trained, measured.total, rtol=1e-5)
    with tf.GradientTape() as tape:
        total = tf.constant(0.0)
        added, read = model.add_up(batch["grams"]), model.read(batch["tokens"], batch["lengths"])
        for logits in (added, added + read):
            nats = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["targets"], logits)
            total += tf.reduce_sum(nats)
    np.testing.assert_allclose(gradient, tf.convert_to_tensor(tape.gradient(total, weights)), atol=1e-5)


def test_a_sharded_batch_is_as_wide_as_the_whole(ready):
    whole = ready.tensors()["grams"]
    parts = [ready.tensors(shard=(place, 2))["grams"] for place in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_evaluation_measures_the_best_shares(ready):
    model = ready.drawn()
    (batch,) = list(ready.batches("validation"))
    sums = ready.task.loss(model, {name: tf.constant(value) for name, value in batch.items()}, ())
    loss, accuracy = ready.task.metrics(sums)
    read, added = (
        np.array(each, np.float64)
        for each in (model.read(batch["tokens"], batch["lengths"]), model.add_up(batch["grams"]))
    )
    targets = batch["targets"]

    def nats(a, b):
        logits = a * read + b * added
        shifted = logits - logits.max(axis=1, keepdims=True)
        return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(targets)), targets]).mean())

    best = min(PAIRS, key=lambda pair: nats(*pair))
    np.testing.assert_allclose(loss.value, nats(*best), rtol=1e-5)
    logits = best[0] * read + best[1] * added
    assert accuracy.value == (logits.argmax(axis=1) == targets).mean()
    chosen = ready.use(model).with_choices(ready.data, "validation")
    assert tuple(chosen["shares"]) == best
    with_them = Answers(model, ready.config, words_of(ready, shares=list(best)))
    np.testing.assert_allclose(
        with_them.evaluate(ready.data, "validation").figures["loss"], nats(*best), rtol=1e-5
    )


def test_shares_without_a_better_pair_stay_even():
    assert best_shares(lambda read, added: 1.0) == EVEN


def test_predictions_are_those_of_the_evaluation(ready):
    model = ready.drawn()
    answers = Answers(model, ready.config, words_of(ready, shares=[0.5, 2.0]))
    decisions = answers.evaluate(ready.data, "train").decisions
    texts = [ready.data.examples.text(int(number)) for number in decisions.examples]
    found = [list(each.probabilities.values()) for each in answers.predictions(texts)]
    np.testing.assert_allclose(found, decisions.probabilities, atol=1e-5)


def test_contributions_of_words_add_up_to_the_score(ready):
    answers = Answers(ready.drawn(), ready.config, words_of(ready, shares=[0.5, 2.0]))
    (found,) = answers.attributions(["a film of two towns  great"])
    total = sum(value for _, value in found.contributions)
    np.testing.assert_allclose(total, found.score - found.baseline, rtol=1e-2, atol=1e-3)
    assert [word for word, _ in found.contributions] == ["a", "film", "of", "two", "towns", "great"]
    probabilities = np.array(list(found.prediction.probabilities.values()))
    others = np.log(probabilities) - np.log(probabilities.max())
    assert found.towards == list(found.prediction.probabilities)[int(others.argmax())]


def test_an_n_gram_is_divided_among_its_words(ready):
    model = ready.drawn(0.0)
    words = words_of(ready)
    answers = Answers(model, ready.config, words)
    id_ = words.ngrams.encode(" great")[0]
    weights = np.zeros_like(model.ngram_weights.get_weights()[0])
    weights[id_, 1] = 1.0
    model.ngram_weights.set_weights([weights])
    (found,) = answers.attributions(["story great story"])
    by_word = [abs(value) for _, value in found.contributions]
    assert by_word[1] > 0.01
    assert max(by_word[0], by_word[2]) < 1e-6


@pytest.mark.parametrize("shares", [[1.0], [0.0, 0.0], ["1", 1], 3, [1.0, 1e9]])
def test_damaged_shares_are_said(ready, shares):
    with pytest.raises(RunError, match="shares"):
        words_of(ready, shares=shares)


def test_a_run_without_its_n_grams_is_damaged(ready):
    vocabulary = {name: value for name, value in ready.data.vocabulary.items() if name != "ngrams"}
    with pytest.raises(RunError, match="ngrams"):
        ClassifierVocabulary.from_json(ready.config, vocabulary)

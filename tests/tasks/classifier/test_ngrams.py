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


def drawn(ready):
    """A network with drawn weights, those of its n-grams, too, and their rarities."""
    model = ready.drawn()
    for seed, weight in enumerate((model.of_ngrams.kernel, model.of_ngrams.bias)):
        weight.assign(tf.random.stateless_normal(weight.shape, seed=(2, seed)))
    model.of_ngrams.set_rarity(words_of(ready).ngrams.rarity)
    return model


def test_the_scores_are_weights_times_rarities_over_the_norm_of_their_kind(ready):
    model, known = drawn(ready), words_of(ready).ngrams
    ids = known.encode(read_text(words_of(ready).encoder, ROWS[0][0]))
    of_words = ids[ids <= known.of_words]
    of_characters = ids[ids > known.of_words]
    assert len(of_words) > 3
    assert len(of_characters) > 3
    kernel, bias = model.of_ngrams.kernel.numpy(), model.of_ngrams.bias.numpy()
    expected = bias.copy()
    for some, length in ((of_words, 1.0), (of_characters, 0.7)):
        values = known.rarity[some - 1]
        expected += length * (values / np.linalg.norm(values)) @ kernel[some]
    padded = tf.constant(padded_grams([ids, ids[:0]], len(ids) + 3))
    np.testing.assert_allclose(model.of_ngrams(padded), [expected, bias], atol=1e-5)


def test_both_parts_are_added(ready):
    model, batch = drawn(ready), ready.tensors()
    both = model(batch["tokens"], batch["lengths"], grams=batch["grams"])
    apart = model.read(batch["tokens"], batch["lengths"]) + model.of_ngrams(batch["grams"])
    np.testing.assert_allclose(both, apart, atol=1e-6)


def test_training_changes_the_recurrent_layers_alone(ready):
    model, batch = drawn(ready), ready.tensors()
    assert not any("ngrams" in weight.path for weight in model.trainable_variables)
    trained = ready.task.loss(model, batch, (), step=tf.constant(0)).total
    nats = tf.nn.sparse_softmax_cross_entropy_with_logits(
        batch["targets"], model.read(batch["tokens"], batch["lengths"])
    )
    np.testing.assert_allclose(trained, tf.reduce_sum(nats), rtol=1e-5)


def test_a_sharded_batch_is_as_wide_as_the_whole(ready):
    whole = ready.tensors()["grams"]
    parts = [ready.tensors(shard=(place, 2))["grams"] for place in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_evaluation_measures_the_best_shares(ready):
    model = drawn(ready)
    (batch,) = list(ready.batches("validation"))
    sums = ready.task.loss(model, {name: tf.constant(value) for name, value in batch.items()}, ())
    loss, accuracy = ready.task.metrics(sums)
    read, added = (
        np.array(each, np.float64)
        for each in (model.read(batch["tokens"], batch["lengths"]), model.of_ngrams(batch["grams"]))
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
    model = drawn(ready)
    answers = Answers(model, ready.config, words_of(ready, shares=[0.5, 2.0]))
    decisions = answers.evaluate(ready.data, "train").decisions
    texts = [ready.data.examples.text(int(number)) for number in decisions.examples]
    found = [list(each.probabilities.values()) for each in answers.predictions(texts)]
    np.testing.assert_allclose(found, decisions.probabilities, atol=1e-5)


def test_contributions_of_words_add_up_to_the_score(ready):
    answers = Answers(drawn(ready), ready.config, words_of(ready, shares=[0.5, 2.0]))
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
    weights = np.zeros_like(model.of_ngrams.kernel.numpy())
    weights[id_, 1] = 1.0
    model.of_ngrams.kernel.assign(weights)
    model.of_ngrams.set_rarity(words.ngrams.rarity)
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

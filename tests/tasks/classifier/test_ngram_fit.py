"""The weights of n-grams are those of logistic regression."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from ostinato.heads.categorical import probabilities
from ostinato.tasks.classifier import ClassifierConfig, ngram_fit
from ostinato.tasks.classifier.ngram_fit import UNCHOSEN, Texts, fit, gathered, log_count_ratios
from ostinato.tasks.classifier.ngram_layer import NGramLayer

from ...ready import Ready

N_GRAMS, TEXTS = 12, 60


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    monkeypatch.setattr(ngram_fit, "_TOLERANCE", 1e-12)
    monkeypatch.setattr(ngram_fit, "LEAST_GAIN", 0.0)


def layer_of(outputs: int) -> NGramLayer:
    layer = NGramLayer(outputs, N_GRAMS, 5)
    layer.build()
    return layer


def texts(targets: np.ndarray, weights: np.ndarray | None = None, seed: int = 0) -> Texts:
    """Texts with n-grams that tell something of the targets."""
    draw = np.random.default_rng(seed)
    values = draw.random((len(targets), 1 + N_GRAMS)) * (draw.random((len(targets), 1 + N_GRAMS)) < 0.4)
    values[:, 0] = 0
    told = targets if targets.ndim == 2 else np.eye(4)[targets]
    values[:, 1 : 1 + told.shape[1]] += told * draw.random(told.shape)
    rows = sparse.csr_array(values.astype(np.float32))
    return Texts(rows, targets, np.ones(len(targets), np.float32) if weights is None else weights)


def of_classes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, count, TEXTS).astype(np.int32)


def test_a_ratio_is_the_logarithm_of_the_ratio_of_frequencies():
    there = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    some = Texts(sparse.csr_array(0.3 * there.astype(np.float32)), np.array([1, 1, 0, 0, 0]), np.ones(5))
    expected = np.abs(np.log([[4 / 3], [(3 / 3) / (1 / 4)], [(2 / 3) / (3 / 4)], [4 / 3]]))
    np.testing.assert_allclose(log_count_ratios(some, 1), expected, rtol=1e-6)
    both = log_count_ratios(some, 2)
    np.testing.assert_allclose(both, np.hstack([expected, expected]), rtol=1e-6)
    apart = log_count_ratios(some._replace(targets=np.array([[0, 1], [0, 1], [1, 0], [1, 0], [1, 0]])), 2)
    np.testing.assert_allclose(apart, both)


def test_they_are_those_of_scikit_learn():
    weights = np.random.default_rng(1).uniform(0.5, 2, TEXTS).astype(np.float32)
    train, layer = texts(of_classes(2), weights), layer_of(1)
    assert fit(layer, train, None) == UNCHOSEN
    told = log_count_ratios(train, 1)
    assert told.max() > 2 * told[1:].min()
    model = LogisticRegression(C=UNCHOSEN, tol=1e-8, max_iter=10_000)
    model.fit(train.values.toarray() * told[:, 0], train.targets, sample_weight=weights)
    np.testing.assert_allclose(layer.kernel.numpy(), told * model.coef_.T, atol=4e-3)
    np.testing.assert_allclose(layer.bias.numpy(), model.intercept_, atol=5e-3)


def test_of_several_classes_nothing_is_left_to_gain():
    """The gradient of the loss and that of the penalty cancel."""
    weights = np.random.default_rng(1).uniform(0.5, 2, TEXTS).astype(np.float32)
    train, layer = texts(of_classes(4), weights), layer_of(4)
    fit(layer, train, None)
    told, kernel = log_count_ratios(train, 4), layer.kernel.numpy()
    values = train.values.toarray()
    apart = probabilities(values @ kernel + layer.bias.numpy()) - np.eye(4)[train.targets]
    of_loss = UNCHOSEN * values.T @ (weights[:, None] * apart)
    np.testing.assert_allclose(told**2 * of_loss, -kernel, atol=0.02 * np.abs(kernel).max())
    assert np.abs((weights[:, None] * apart).sum(axis=0)).max() < 1e-2


def test_of_several_labels_each_is_learned_by_itself():
    targets = (np.random.default_rng(2).random((TEXTS, 3)) < 0.4).astype(np.float32)
    train, layer = texts(targets), layer_of(3)
    fit(layer, train, None)
    for label in range(3):
        alone = layer_of(1)
        fit(alone, Texts(train.values, targets[:, label].astype(np.int32), train.weights), None)
        np.testing.assert_allclose(layer.kernel.numpy()[:, label], alone.kernel.numpy()[:, 0], atol=2e-3)


def test_c_is_the_one_with_the_least_loss_on_the_validation_part():
    train, validation = texts(of_classes(2)), texts(of_classes(2, seed=5), seed=6)
    layer, told = layer_of(1), log_count_ratios(train, 1)
    chosen = fit(layer, train, validation)
    losses = {}
    for strength in ngram_fit.STRENGTHS:
        model = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000)
        model.fit(train.values.toarray() * told[:, 0], train.targets)
        scores = model.decision_function(validation.values.toarray() * told[:, 0])[:, None]
        losses[strength] = min(ngram_fit._nats(validation, scale * scores) for scale in (0.5, 1, 2))
        if strength == chosen:
            np.testing.assert_allclose(layer.kernel.numpy(), told * model.coef_.T, atol=4e-3)
    assert chosen == min(losses, key=losses.get)


def test_where_no_more_is_to_be_gained_the_weights_stay_small(monkeypatch):
    train, validation = texts(of_classes(2)), texts(of_classes(2, seed=5), seed=6)
    for some in (train, validation):
        some.values[:, [1]] = some.targets[:, None].astype(np.float32)  # one n-gram tells the label
    largest = fit(layer_of(1), train, validation)
    monkeypatch.setattr(ngram_fit, "LEAST_GAIN", 0.01)
    layer = layer_of(1)
    assert fit(layer, train, validation) < largest
    scores = validation.values @ layer.kernel.numpy() + layer.bias.numpy()
    assert ((scores[:, 0] > 0) == validation.targets).all()


def test_the_weights_of_another_run_are_changed_no_more_than_needed():
    train, layer = texts(of_classes(4)), layer_of(4)
    fit(layer, train, None)
    kernel = layer.kernel.numpy()
    few = Texts(train.values[:1], train.targets[:1], train.weights[:1])
    fit(layer, few, None)
    assert np.abs(layer.kernel.numpy() - kernel).max() < 0.5 * np.abs(kernel).max()
    unseen = np.setdiff1d(np.arange(1 + N_GRAMS), few.values.indices)
    np.testing.assert_array_equal(layer.kernel.numpy()[unseen], kernel[unseen])


ROWS = [
    (f"{text} {word}", label)
    for _ in range(6)
    for text in ("the film was seen today", "a story of two towns", "it runs for an hour")
    for word, label in (("great", "good"), ("awful", "bad"), ("strange", "other"))
]


@pytest.fixture(scope="module")
def ready() -> Ready:
    return Ready(ClassifierConfig(units=4, embedding=4, ngrams=300, encoder="word", batch=7), ROWS)


def test_a_task_finds_them_before_the_first_step(ready):
    model = ready.build()
    (note,) = ready.task.prepare(model, ready.data)
    assert "n-grams are those of a linear model, C = " in note
    (batch,) = ready.batches("validation")
    right = model.of_ngrams(batch["grams"]).numpy().argmax(axis=1) == batch["targets"]
    assert right.all()


def test_of_very_many_texts_the_first_are_read(ready, monkeypatch):
    model = ready.build()
    whole = gathered(model.of_ngrams, ready.data.part("train").batches(epoch=0))
    assert whole.values.shape == (len(ready.data.examples.part("train")), 1 + model.of_ngrams.ngrams)
    values = model.of_ngrams.values(next(ready.data.part("train").batches(epoch=0))["grams"]).numpy()
    np.testing.assert_allclose(whole.values[:7].sum(axis=1), values.sum(axis=1), rtol=1e-5)
    monkeypatch.setattr(ngram_fit, "MOST_VALUES", whole.values.nnz // 2)
    (note,) = ready.task.prepare(model, ready.data)
    assert f"of the first 21 of {len(whole.targets)} training texts" in note

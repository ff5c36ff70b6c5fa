"""What a linear model makes of the same texts: TF-IDF and logistic regression, by scikit-learn.

It is quick and hard to beat on small tables, so it stands beside the figures of a network, on the same
parts. Words and pairs of words are its features; characters, up to four, where spaces do not separate words
and where texts are single words. The strength of its regularisation is chosen on the validation part.

Source: Wang & Manning 2012, "Baselines and bigrams", ACL; `TfidfVectorizer` and `LogisticRegression` of
scikit-learn.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from typing import Any

import numpy as np

from ostinato.data.examples.sentences import SAMPLE, lacks_spaces, single_words
from ostinato.tasks.classifier import metrics

STRENGTHS = (1.0, 10.0, 100.0)
"""The values of C that are tried."""


def available() -> bool:
    """Whether scikit-learn is installed."""
    return importlib.util.find_spec("sklearn") is not None


def predictions(
    train: tuple[list[str], np.ndarray], validation: tuple[list[str], np.ndarray] | None, texts: list[str]
) -> np.ndarray:
    """The classes of some texts, int, shape (texts,).

    Args:
        train: texts, and the class of each, int, shape (texts,).
        validation: others, to choose C by; None takes the middle one. The model then learns from both.
        texts: any texts.
    """
    found = _fit(*train, _chosen(*train, validation))
    if validation is not None:
        found = _fit([*train[0], *validation[0]], np.concatenate([train[1], validation[1]]), found.C)
    return np.asarray(found.predict(found.features.transform(texts)))


def figures(
    train: tuple[list[str], np.ndarray],
    validation: tuple[list[str], np.ndarray] | None,
    other: tuple[list[str], np.ndarray],
    classes: int,
) -> dict[str, float]:
    """`tfidf_accuracy` and `tfidf_macro_f1` of a linear model.

    Args:
        train, validation: see `predictions`.
        other: what it is measured on; a class of -1 is always wrong.
        classes: the number of classes.
    """
    chosen, names = predictions(train, validation, other[0]), np.arange(classes)
    truth, guessed = other[1][:, np.newaxis] == names, chosen[:, np.newaxis] == names
    return {
        "tfidf_accuracy": float((chosen == other[1]).mean()),
        "tfidf_macro_f1": metrics.macro_f1(truth, guessed),
    }


def _chosen(texts: list[str], targets: np.ndarray, validation: tuple[list[str], np.ndarray] | None) -> float:
    """The C that is right most often on the validation part; of equal ones the smallest."""
    if validation is None or not validation[0]:
        return STRENGTHS[1]
    right = []
    for strength in STRENGTHS:
        model = _fit(texts, targets, strength)
        right.append(float((model.predict(model.features.transform(validation[0])) == validation[1]).mean()))
    return STRENGTHS[int(np.argmax(right))]


def _fit(texts: list[str], targets: np.ndarray, strength: float) -> Any:
    vectorizer = importlib.import_module("sklearn.feature_extraction.text").TfidfVectorizer
    regression = importlib.import_module("sklearn.linear_model").LogisticRegression
    some = texts[:SAMPLE]
    characters = lacks_spaces(some) or single_words(some)
    features: Any = vectorizer(
        analyzer="char" if characters else "word",
        ngram_range=(1, 4) if characters else (1, 2),
        sublinear_tf=True,
        token_pattern=r"\w+|[^\w\s]",
    )
    model: Any = regression(C=strength, max_iter=2000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not quite converged
        model.fit(features.fit_transform(texts), targets)
    model.features = features
    return model

"""The metrics of a classifier.

They are written in NumPy: scikit-learn and SciPy would be large dependencies for four formulas.
"""

from __future__ import annotations

import numpy as np

BINS = 15
"""The number of confidence bins of the calibration error (Guo et al. 2017)."""


def confusion_matrix(truth: np.ndarray, chosen: np.ndarray, classes: int) -> np.ndarray:
    """Counts of true and predicted classes.

    Args:
        truth: class numbers, shape (n,).
        chosen: class numbers, shape (n,).
        classes: the number of classes.

    Returns:
        int64, shape (classes, classes): a row is a true class, a column a predicted class.
    """
    pairs = truth.astype(np.int64) * classes + chosen
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def of_labels(truth: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of each class, each of shape (classes,).

    Precision is nan for a class that is never predicted, recall for one that no example has, and F1 for one
    that is neither.

    Args:
        truth: bool, shape (n, classes): the classes of each example.
        chosen: bool, shape (n, classes).
    """
    hits, true, predicted = (each.sum(axis=0) for each in (truth & chosen, truth, chosen))
    with np.errstate(invalid="ignore"):
        return hits / predicted, hits / true, 2 * hits / (true + predicted)


def micro_f1(truth: np.ndarray, chosen: np.ndarray, further: int = 0) -> float:
    """F1 over all decisions together: 2 · hits / (true + predicted); nan without any.

    Args:
        truth, chosen: as for `macro_f1`.
        further: true labels that are none of the classes, so that none of them is predicted.
    """
    both = int(truth.sum()) + int(chosen.sum()) + further
    return 2 * int((truth & chosen).sum()) / both if both else float("nan")


def macro_f1(truth: np.ndarray, chosen: np.ndarray) -> float:
    """The mean over classes of F1 = 2 · precision · recall / (precision + recall).

    Classes that are neither true nor predicted anywhere are left out.

    Args:
        truth: bool, shape (n, classes): the classes of each example.
        chosen: bool, shape (n, classes).
    """
    f1 = of_labels(truth, chosen)[2]
    return float(np.nanmean(f1)) if not np.isnan(f1).all() else float("nan")


def roc_auc(truth: np.ndarray, scores: np.ndarray) -> float:
    """The area under the ROC curve, from ranks (Mann & Whitney 1947).

    It is the fraction of (positive, negative) pairs of examples in which the positive one has the higher
    score; ties count half. With several classes it is the mean over the classes that have positive and
    negative examples, or nan if there are none.

    Args:
        truth: bool, shape (n, classes) or (n,).
        scores: the same shape; only their order matters.
    """
    truth, scores = truth.reshape(len(truth), -1), scores.reshape(len(scores), -1)
    areas = []
    for has, score in zip(truth.T, scores.T, strict=True):
        positive = int(has.sum())
        negative = len(has) - positive
        if positive and negative:
            _, place, count = np.unique(score, return_inverse=True, return_counts=True)
            ranks = (np.cumsum(count) - (count - 1) / 2)[place]
            above = ranks[has].sum() - positive * (positive + 1) / 2
            areas.append(above / positive / negative)
    return float(np.mean(areas)) if areas else float("nan")


def roc_curve(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates over all thresholds, from (0, 0) to (1, 1).

    Args:
        truth: bool, shape (n,), with at least one True and one False.
        scores: shape (n,).
    """
    order = np.argsort(-scores, kind="stable")
    has, last_of_tie = truth[order], np.append(np.diff(scores[order]) != 0, True)
    true = np.cumsum(has)[last_of_tie] / has.sum()
    false = np.cumsum(~has)[last_of_tie] / (~has).sum()
    return np.append(0.0, false), np.append(0.0, true)


def reliability(right: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The accuracy of predictions by their confidence.

    Args:
        right: whether each prediction is right, bool, shape (n,).
        confidence: the probability of each prediction, shape (n,).

    Returns:
        For each of `BINS` equal bins of confidence: the number of predictions, their mean confidence, and
        their accuracy. The last two are zero for an empty bin.
    """
    places = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(places, minlength=BINS)
    safe = np.maximum(count, 1)
    mean_confidence = np.bincount(places, weights=confidence, minlength=BINS) / safe
    return count, mean_confidence, np.bincount(places, weights=right, minlength=BINS) / safe


def calibration_error(right: np.ndarray, confidence: np.ndarray) -> float:
    """The expected calibration error: the mean distance between confidence and accuracy over bins.

    Source: Guo et al. 2017, "On calibration of modern neural networks", arXiv:1706.04599.

    Args:
        right: whether each prediction is right, bool, shape (n,).
        confidence: the probability of each prediction, shape (n,).
    """
    count, mean_confidence, accuracy = reliability(right, confidence)
    return float((count * np.abs(mean_confidence - accuracy)).sum() / count.sum())

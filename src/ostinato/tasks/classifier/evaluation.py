"""The evaluation of a classifier: figures, confusion matrix, and the most confident mistakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ostinato.tasks.classifier import metrics

MISTAKES = 10


@dataclass(frozen=True)
class Mistake:
    """A text with a wrong prediction.

    Attributes:
        place: its place in the source: "reviews.csv, line 7".
        text: the text.
        label: the true label.
        chosen: the predicted label.
        probability: the probability of the predicted label.
    """

    place: str
    text: str
    label: str
    chosen: str
    probability: float


@dataclass(frozen=True)
class Decisions:
    """The predictions of a classifier for n texts.

    Attributes:
        examples: the indices of the texts, shape (n,).
        truth: bool, shape (n, labels).
        chosen: bool, shape (n, labels).
        probabilities: float64, shape (n, labels).
    """

    examples: np.ndarray
    truth: np.ndarray
    chosen: np.ndarray
    probabilities: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Whether all labels of a text are right, bool, shape (n,)."""
        return (self.truth == self.chosen).all(axis=1)


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        part: what was evaluated: `train`, `validation`, `test`, or the name of another source.
        figures: `loss` in nats, `accuracy` (all labels of a text right), `macro_f1`, `roc_auc`,
            `calibration_error`, and `examples`, the number of texts.
        labels: the labels, in the order of the columns below.
        decisions: every prediction.
        confusion: counts of true label (row) and predicted label (column); None if a text may have several.
        mistakes: the most confident wrong predictions.
        notes: notes on the table, such as how many rows were left out.
    """

    part: str
    figures: dict[str, float]
    labels: tuple[str, ...]
    decisions: Decisions
    confusion: np.ndarray | None
    mistakes: list[Mistake]
    notes: tuple[str, ...] = ()


def sureness(decisions: Decisions, *, several: bool) -> np.ndarray:
    """The probability of each whole prediction, shape (n,).

    Args:
        decisions: the predictions of n texts.
        several: whether a text may have several labels, which are then taken as independent.
    """
    if several:
        return np.where(decisions.chosen, decisions.probabilities, 1 - decisions.probabilities).prod(axis=1)
    return np.where(decisions.chosen, decisions.probabilities, 0.0).sum(axis=1)


def figures_of(decisions: Decisions, *, several: bool) -> dict[str, float]:
    """All figures except the loss.

    If a text may have several labels, every label counts as one yes-or-no decision in the calibration error.
    ROC-AUC is nan if every text has the same label.
    """
    if several:
        sure = np.maximum(decisions.probabilities, 1 - decisions.probabilities).ravel()
        right = (decisions.truth == decisions.chosen).ravel()
    else:
        sure, right = sureness(decisions, several=False), decisions.right
    return {
        "accuracy": float(decisions.right.mean()),
        "macro_f1": metrics.macro_f1(decisions.truth, decisions.chosen),
        "roc_auc": metrics.roc_auc(decisions.truth, decisions.probabilities),
        "calibration_error": metrics.calibration_error(right, sure),
    }

"""The evaluation of a classifier: figures, confusion matrix, and the most confident mistakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ostinato.tasks.base import Json
from ostinato.tasks.classifier import metrics
from ostinato.tasks.classifier.thresholds import USUAL

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
        strange: whether a text has a label that is none of these, bool, shape (n,); it is wrong then.
    """

    examples: np.ndarray
    truth: np.ndarray
    chosen: np.ndarray
    probabilities: np.ndarray
    strange: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Whether all labels of a text are right, bool, shape (n,)."""
        return (self.truth == self.chosen).all(axis=1) & ~self.strange


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        part: what was evaluated: `train`, `validation`, `test`, or the name of another source.
        figures: `loss` in nats, `accuracy` (all labels of a text right), `macro_f1`, `roc_auc`,
            `calibration_error`, and `examples`, the number of texts. If a text may have several labels, also
            `exact_match` (the same as `accuracy`) and `micro_f1`.
        labels: the labels, in the order of the columns below.
        decisions: every prediction.
        confusion: counts of true label (row) and predicted label (column); None if a text may have several.
        mistakes: the most confident wrong predictions.
        notes: notes on the table, such as how many rows were left out.
        thresholds: if a text may have several labels, the probability from which on each is predicted.
    """

    part: str
    figures: dict[str, float]
    labels: tuple[str, ...]
    decisions: Decisions
    confusion: np.ndarray | None
    mistakes: list[Mistake]
    notes: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()

    @property
    def details(self) -> Json:
        """{"labels": by label its precision, recall, F1 and support (texts that have it)}."""
        decisions, found = self.decisions, {}
        figures = metrics.of_labels(decisions.truth, decisions.chosen)
        for place, label in enumerate(self.labels):
            precision, recall, f1 = (
                None if np.isnan(each[place]) else float(each[place]) for each in figures
            )
            support = int(decisions.truth[:, place].sum())
            found[label] = {"precision": precision, "recall": recall, "f1": f1, "support": support}
            if self.thresholds:
                found[label]["threshold"] = self.thresholds[place]
        return {"labels": found}


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

    If a text may have several labels, every label counts as one yes-or-no decision in the calibration error,
    at one half whatever its threshold.
    ROC-AUC is nan if every text has the same label.
    """
    if several:
        sure = np.maximum(decisions.probabilities, 1 - decisions.probabilities).ravel()
        right = (decisions.truth == (decisions.probabilities >= USUAL)).ravel()
    else:
        sure, right = sureness(decisions, several=False), decisions.right
    accuracy = float(decisions.right.mean())
    of_several = {}
    if several:
        further = int(decisions.strange.sum())
        micro_f1 = metrics.micro_f1(decisions.truth, decisions.chosen, further)
        of_several = {"exact_match": accuracy, "micro_f1": micro_f1}
    return {
        "accuracy": accuracy,
        **of_several,
        "macro_f1": metrics.macro_f1(decisions.truth, decisions.chosen),
        "roc_auc": metrics.roc_auc(decisions.truth, decisions.probabilities),
        "calibration_error": metrics.calibration_error(right, sure),
    }

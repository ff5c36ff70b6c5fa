"""What an evaluation of a classifier found: the figures, who was taken for whom, and the worst mistakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ostinato.tasks.classifier import metrics

MISTAKES = 10


@dataclass(frozen=True)
class Mistake:
    """A text with a wrong decision.

    Attributes:
        place: where it stands: "reviews.csv, line 7".
        text: the text.
        label: what it is.
        chosen: what it was taken for.
        probability: how sure the classifier was of that.
    """

    place: str
    text: str
    label: str
    chosen: str
    probability: float


@dataclass(frozen=True)
class Decisions:
    """What a classifier decided over n texts.

    Attributes:
        examples: the texts' numbers, shape (n,).
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
    """What an evaluation found.

    Attributes:
        part: what was evaluated: `train`, `validation`, `test`, or another source's name.
        figures: `loss` in nats, `accuracy` (all labels of a text right), `macro_f1`, `roc_auc`,
            `calibration_error`, and `examples`, the number of texts.
        labels: the labels, in the order of the columns below.
        decisions: every decision.
        confusion: how often each label (row) was taken for each (column); None where a text may have several.
        mistakes: the wrong decisions the classifier was most sure of.
        notes: what should be known of the table, such as how many rows were left out.
    """

    part: str
    figures: dict[str, float]
    labels: tuple[str, ...]
    decisions: Decisions
    confusion: np.ndarray | None
    mistakes: list[Mistake]
    notes: tuple[str, ...] = ()


def sureness(decisions: Decisions, *, several: bool) -> np.ndarray:
    """The probability of each decision as a whole, shape (n,).

    Args:
        decisions: n of them.
        several: whether a text may have several labels; these are then taken as independent.
    """
    if several:
        return np.where(decisions.chosen, decisions.probabilities, 1 - decisions.probabilities).prod(axis=1)
    return np.where(decisions.chosen, decisions.probabilities, 0.0).sum(axis=1)


def figures_of(decisions: Decisions, *, several: bool) -> dict[str, float]:
    """All figures but the loss.

    With several labels a text, the calibration error is over every label's yes or no. A ROC-AUC that does not
    exist, since every text has the same label, is nan.
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

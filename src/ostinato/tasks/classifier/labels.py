"""The labels of a classifier, and how they follow from the network's scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ostinato.tasks.classifier.thresholds import USUAL


@dataclass(frozen=True)
class Labels:
    """The labels, and how they follow from scores.

    Attributes:
        names: the names of the labels, in the order of the scores.
        separator: the text between several labels of one text; None if each text has one label.
        thresholds: of several labels, the probability from which on each is predicted; empty if none were
            chosen, and all are one half.
    """

    names: tuple[str, ...]
    separator: str | None = None
    thresholds: tuple[float, ...] = ()

    @property
    def several(self) -> bool:
        """Whether a text may have several labels."""
        return self.separator is not None

    @property
    def scores(self) -> int:
        """The number of scores: one for two labels, otherwise one for each label."""
        return len(self.names) if self.several or len(self.names) > 2 else 1

    def chosen(self, probabilities: np.ndarray) -> np.ndarray:
        """Which labels are predicted, bool, shape (rows, labels)."""
        if self.several:
            return probabilities >= np.array(self.thresholds or USUAL)
        return np.eye(len(self.names), dtype=bool)[probabilities.argmax(axis=1)]

    def joined(self, chosen: np.ndarray) -> str:
        """The names of those chosen, bool (labels,), with the separator between; empty for none."""
        return (self.separator or "").join(self.named(chosen))

    def named(self, chosen: np.ndarray) -> tuple[str, ...]:
        """The names of those chosen, bool (labels,)."""
        return tuple(label for label, one in zip(self.names, chosen, strict=True) if one)

"""The labels of a classifier, and how they follow from the network's scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Labels:
    """The labels, and how they follow from scores.

    Attributes:
        names: the names of the labels, in the order of the scores.
        separator: the text between several labels of one text; None if each text has one label.
    """

    names: tuple[str, ...]
    separator: str | None = None

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
            return probabilities >= 0.5
        return np.eye(len(self.names), dtype=bool)[probabilities.argmax(axis=1)]

    def joined(self, chosen: np.ndarray) -> str:
        """The names of those chosen, bool (labels,), with the separator between."""
        names = [label for label, one in zip(self.names, chosen, strict=True) if one]
        return (self.separator or "").join(names)

"""The vocabulary of a classifier: the encoder, the labels and the length of texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ostinato.data.encoders.base import damaged
from ostinato.data.encoders.ngrams import NGrams
from ostinato.data.encoders.registry import Encoder, encoder_from_json
from ostinato.files.lines import SURROGATE
from ostinato.tasks.base import Json
from ostinato.tasks.classifier.config import ClassifierConfig
from ostinato.tasks.classifier.labels import Labels
from ostinato.tasks.classifier.shares import EVEN, PAIRS

SEPARATOR = ", "
"""Between the names of several labels, where the table has them apart."""
_MOST_TOKENS, _MOST_PADDED = 2**31 - 1, 1_000_000  # of a text; padded texts have all of them in memory


@dataclass(frozen=True, eq=False)
class ClassifierVocabulary:
    """What a classifier keeps of its training texts.

    Attributes:
        encoder: turns a text into ids.
        labels: the labels, and how they are chosen from scores.
        max_tokens: the most tokens of a text that are read.
        prior: the share of each label in the training texts, float64, shape (labels,).
        columns: the text column and the label column of the training table; None if it has no columns.
        skip_bad_rows: whether rows without a text or a label were left out.
        unlabelled: whether a row without a label was a text with none of several labels.
        ngrams: the n-grams whose weights are added to the scores; None without.
        shares: how much the recurrent layers and the n-grams count, see `shares`.
    """

    encoder: Encoder
    labels: Labels
    max_tokens: int
    prior: np.ndarray
    columns: tuple[str, str] | None
    skip_bad_rows: bool
    unlabelled: bool = False
    ngrams: NGrams | None = None
    shares: tuple[float, float] = EVEN

    def to_json(self) -> Json:
        """The vocabulary as JSON, for `from_json`."""
        ngrams = {}
        if self.ngrams is not None:
            ngrams = {"ngrams": self.ngrams.to_json(), "shares": list(self.shares)}
        return ngrams | {
            "encoder": self.encoder.to_json(),
            "labels": list(self.labels.names),
            "max_tokens": self.max_tokens,
            "prior": self.prior.tolist(),
            "columns": None if self.columns is None else list(self.columns),
            "skip_bad_rows": self.skip_bad_rows,
            "several": self.labels.several,
            "unlabelled": self.unlabelled,
            "thresholds": list(self.labels.thresholds),
        }

    @classmethod
    def from_json(cls, config: ClassifierConfig, vocabulary: Json) -> ClassifierVocabulary:
        """The vocabulary of a run, read from a file that is not trusted.

        Raises:
            RunError: if it is damaged.
        """
        try:
            encoder, labels = vocabulary["encoder"], vocabulary["labels"]
            max_tokens, prior = vocabulary["max_tokens"], vocabulary["prior"]
        except (KeyError, TypeError) as error:
            raise damaged(f"it has no {error}") from None
        named = isinstance(labels, list) and all(
            isinstance(label, str) and label and not SURROGATE.search(label) for label in labels
        )
        several, unlabelled = (_yes_or_no(vocabulary, name) for name in ("several", "unlabelled"))
        separator = config.label_separator or (SEPARATOR if several else None)
        if not named or len(set(labels)) != len(labels) or len(labels) < 1 + (separator is None):
            raise damaged("its labels must be a list of different strings")
        if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
            raise damaged("its 'max_tokens' must be a positive number")
        if max_tokens > (_MOST_TOKENS if config.masked else _MOST_PADDED):
            raise damaged(f"its 'max_tokens' is {max_tokens:,}, more than any text has")
        if not _probabilities(prior, len(labels)):
            raise damaged("its 'prior' must be a list of one probability a label")
        thresholds = vocabulary.get("thresholds", [])
        if thresholds != [] and not _probabilities(thresholds, len(labels)):
            raise damaged("its 'thresholds' must be a list of one probability a label")
        return cls(
            encoder_from_json(encoder),
            Labels(tuple(labels), separator, tuple(map(float, thresholds))),
            max_tokens,
            np.array(prior, np.float64),
            columns_of(vocabulary),
            _yes_or_no(vocabulary, "skip_bad_rows"),
            unlabelled,
            _ngrams_of(config, vocabulary),
            _shares_of(vocabulary),
        )


def _ngrams_of(config: ClassifierConfig, vocabulary: Json) -> NGrams | None:
    """The n-grams of a run. Raises RunError if they are missing or damaged."""
    if not config.ngrams:
        return None
    if "ngrams" not in vocabulary:
        raise damaged("it has no 'ngrams'")
    return NGrams.from_json(vocabulary["ngrams"])


def _shares_of(vocabulary: Json) -> tuple[float, float]:
    """The shares of a run. Raises RunError if they are damaged."""
    shares = vocabulary.get("shares", EVEN)
    if not isinstance(shares, list | tuple) or tuple(shares) not in PAIRS:
        raise damaged("its 'shares' must be two numbers that training chooses from")
    return float(shares[0]), float(shares[1])


def _yes_or_no(vocabulary: Json, name: str) -> bool:
    """A value that runs of older versions lack, where it is false. Raises RunError if it is damaged."""
    value = vocabulary.get(name, False)
    if not isinstance(value, bool):
        raise damaged(f"its {name!r} must be true or false")
    return value


def _probabilities(values: object, labels: int) -> bool:
    """Whether this is a list of one probability a label."""
    if not isinstance(values, list) or len(values) != labels:
        return False
    return all(type(p) in (int, float) and 0 <= p <= 1 for p in values)


def columns_of(vocabulary: Json) -> tuple[str, str] | None:
    """The columns of the training table of a run. Raises RunError if they are damaged."""
    if "columns" not in vocabulary:
        raise damaged("it has no 'columns'")
    columns = vocabulary["columns"]
    if columns is None:
        return None
    if not isinstance(columns, list) or [type(name) for name in columns] != [str, str]:
        raise damaged("its 'columns' must be two names")
    return columns[0], columns[1]

"""What the values of a column look like: texts, labels, numbers, names of rows; and whether a first row is
a header."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from ostinato.data.sources.rows import is_missing, several_of

LONGEST_LABEL = 60
"""Characters; a column with longer values is never guessed to be the labels."""
MOST_NUMBERS = 20
"""Different numbers in a column; a column with more has scores or counts, not labels."""
_MOSTLY = 0.95
_NUMBER = re.compile(r"[+-]?(\d+(\.\d+)?|\d{1,3}(,\d{3})+(\.\d+)?|\.\d+)(e[+-]?\d+)?%?", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
_URL = re.compile(r"(https?://|www\.)\S+")
_DATE = re.compile(
    r"(\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}:\d{2}(:\d{2})?)([ T]\d{1,2}:\d{2}\S*)?( ?[AP]M)?( [-+]\d{4})?"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} \d{2} [\d:]{8} .*\d{4}"
)
_ATTRIBUTION = re.compile(r"(CC[- ]BY|CC0|Attribution:|Public domain)", re.IGNORECASE)


@dataclass(frozen=True)
class Content:
    """What some values of a column look like.

    Attributes:
        filled: the number of values that are there and not blank.
        different: the number of different ones.
        length, longest: the mean and the largest number of characters.
        numbers, whole: whether nearly all are numbers, and whole numbers.
        rows: whether the values are about rows: numbers, dates, addresses, identifiers, attributions.
        lists: whether there are lists of labels among them.
        flags: whether all are 0 or 1.
    """

    filled: int
    different: int
    length: float
    longest: int
    numbers: bool
    whole: bool
    rows: bool
    lists: bool
    flags: bool

    @property
    def like_labels(self) -> bool:
        """Short values that repeat."""
        if self.lists:
            return True
        few = self.different <= max(2, self.filled // 2) and self.longest <= LONGEST_LABEL
        if self.numbers:
            return few and self.whole and self.different <= MOST_NUMBERS
        return few and self.filled > 0 and not self.rows

    @property
    def like_texts(self) -> bool:
        """Values that are neither about rows nor mostly the same."""
        return self.filled > 0 and not self.rows and not self.lists and not self.numbers


def content_of(values: Sequence[object]) -> Content:
    """What the values of a column look like; those that are missing or blank do not count."""
    present = [value for value in values if not is_missing(value)]
    lists = any(several_of(value) is not None for value in present)
    seen = [text for value in present if (text := str(value).strip())]

    def mostly(pattern: re.Pattern[str]) -> bool:
        return bool(seen) and sum(bool(pattern.fullmatch(text)) for text in seen) >= _MOSTLY * len(seen)

    numbers = mostly(_NUMBER)
    attributed = bool(seen) and sum(bool(_ATTRIBUTION.search(text)) for text in seen) >= _MOSTLY * len(seen)
    return Content(
        len(seen),
        len(set(seen)),
        fmean(map(len, seen)) if seen else 0.0,
        max(map(len, seen), default=0),
        numbers,
        mostly(_WHOLE),
        numbers or mostly(_URL) or mostly(_DATE) or attributed or _identifiers(seen),
        lists,
        bool(seen) and {text.lower() for text in seen} <= {"0", "1", "0.0", "1.0", "true", "false"},
    )


def _identifiers(seen: list[str]) -> bool:
    """Whether values are identifiers: all different, of one length, without a space and with digits."""
    if len(seen) < 5 or len(set(map(len, seen))) != 1 or len(seen[0]) < 5 or len(set(seen)) < len(seen):
        return False
    return all(text.isascii() and text.isalnum() for text in seen) and any(map(_has_digit, seen))


def _has_digit(text: str) -> bool:
    return any(map(str.isdigit, text))


def is_header(first: Sequence[str], rows: Sequence[Sequence[str]], usual: frozenset[str]) -> bool:
    """Whether the first row of a table has the names of its columns, and is not like the others.

    Args:
        first: the first row.
        rows: some of those below, of the same width.
        usual: names that columns often have, in lower case.
    """
    names = [name.strip() for name in first]
    if any(name.lower() in usual for name in names):
        return True
    for at, name in enumerate(names):
        column = content_of([row[at] for row in rows])
        below = [row[at].strip() for row in rows]
        repeats = column.filled and column.different <= max(2, column.filled // 2)
        if name and repeats and name in below:
            return False
        if _NUMBER.fullmatch(name) and column.numbers:
            return False
        if len(name) > LONGEST_LABEL and column.length > LONGEST_LABEL / 2:
            return False
        if name and _ATTRIBUTION.search(name) and column.rows:
            return False
    if len(set(filter(None, names))) < sum(map(bool, names)):
        return False
    marked = [re.search(r"[.!?。！？]$", name) and " " in name for name in names]
    return not any(marked)

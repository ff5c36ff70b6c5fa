"""A row of a table: a text and its label, and the checks of values of any type."""

from collections.abc import Callable
from typing import NamedTuple

from ostinato.data.sources.faults import Fault
from ostinato.errors import SourceError
from ostinato.files.lines import check_text
from ostinato.wording import shown

NO_TEXT, NO_LABEL, SEVERAL_LABELS = (
    "without a text",
    "without a label",
    "with several labels, where the first rows have one",
)
BETWEEN = "\x1f"
"""Unit separator: stands between several labels of a row, and between the names of several label columns."""
_YES = frozenset(("1", "1.0", "true", "yes"))
_NO = frozenset(("0", "0.0", "false", "no", ""))


class Row(NamedTuple):
    """A text and its label.

    Attributes:
        text: as the table has it; it may be empty.
        label: the class, or several classes with a separator between, which is `BETWEEN` in a table of
            several labels; empty for none.
        number: the first line of the row, or the place of the row or file among the others; from 1 on.
    """

    text: str
    label: str
    number: int


def row_of_values(
    text: object, label: object, number: int, at: Callable[[int], str], *, several: bool = False
) -> Row | Fault:
    """The row of a text and a label from JSON or Python.

    Args:
        text, label: values of any type; None, NaN and what pandas writes for a missing value are missing.
        number: of the row.
        at: the place of the row with this number, for messages.
        several: whether a row may have any number of labels, also none.

    Raises:
        SourceError: the text or the label is of another type.
    """
    if is_missing(text):
        return Fault(NO_TEXT, number)
    labels = several_of(label)
    if labels is None:
        named = "" if is_missing(label) else _label(label, number, at)
    elif several:
        named = BETWEEN.join(
            dict.fromkeys(_label(each, number, at) for each in labels if not is_missing(each))
        )
    else:
        return Fault(SEVERAL_LABELS, number)
    if not isinstance(text, str):
        raise SourceError(f"{at(number)}: expected a text, got {type(text).__name__} {shown(repr(text))}")
    for value in (text, named):
        check_text(value, at(number))
    return Row(str(text), named, number)


def several_of(label: object) -> list[object] | None:
    """The labels in a list, a tuple, a set or an array; None for one label."""
    if isinstance(label, list | tuple | set | frozenset):
        return sorted(label, key=str) if isinstance(label, set | frozenset) else list(label)
    as_list = getattr(label, "tolist", None)
    listed = as_list() if as_list is not None and getattr(label, "ndim", 0) else None
    return listed if isinstance(listed, list) else None


def switched_on(name: str, value: object, at: str) -> bool:
    """Whether a row has the label of a column of 0 and 1; a missing value is 0.

    Args:
        name: of the column.
        value: 0, 1, or a word for them.
        at: the place of the row, for messages.

    Raises:
        SourceError: it is something else.
    """
    word = "" if is_missing(value) else str(value).strip().lower()
    if word not in _YES and word not in _NO:
        raise SourceError(
            f"{at}: the column {name!r} of several label columns must be 0 or 1 (or true, false, yes, no), "
            f"got {shown(repr(value))}"
        )
    return word in _YES


def is_missing(value: object) -> bool:
    """Whether a value is None, NaN or a missing value of pandas, which need not be installed."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def _label(value: object, number: int, at: Callable[[int], str]) -> str:
    """A label as text, with whole numbers without a point, so that 1 and 1.0 are the same label."""
    if isinstance(value, str):
        return str(value).strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | dict | tuple | set | bytes):
        raise SourceError(
            f"{at(number)}: expected a text or a number as the label, got {type(value).__name__} "
            f"{shown(repr(value))}"
        )
    return str(value).strip()

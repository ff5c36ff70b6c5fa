"""A row of a table: a text and its label, and the checks of values of any type."""

from collections.abc import Callable
from typing import NamedTuple

from ostinato.data.sources.faults import Fault
from ostinato.errors import SourceError
from ostinato.files.lines import check_text
from ostinato.wording import shown

NO_TEXT, NO_LABEL = "without a text", "without a label"
JOINED = "\x1f"
"""Between several labels of a row, where the table has them apart: the unit separator, which no label has."""


class Row(NamedTuple):
    """A text and its label.

    Attributes:
        text: as the table has it; it may be empty.
        label: the class, or several classes with a separator between; empty for none.
        number: the first line of the row, or the place of the row or file among the others; from 1 on.
    """

    text: str
    label: str
    number: int


def row_of_values(text: object, label: object, number: int, at: Callable[[int], str]) -> Row | Fault:
    """The row of a text and a label from JSON or Python.

    Args:
        text, label: values of any type; None, NaN and what pandas writes for a missing value are missing.
        number: of the row.
        at: the place of the row with this number, for messages.

    Raises:
        SourceError: the text or the label is of another type.
    """
    if is_missing(text):
        return Fault(NO_TEXT, number)
    named = "" if is_missing(label) else _label(label, number, at)
    if not isinstance(text, str):
        raise SourceError(f"{at(number)}: expected a text, got {type(text).__name__} {shown(repr(text))}")
    for value in (text, named):
        check_text(value, at(number))
    return Row(str(text), named, number)


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
            f"{shown(repr(value))}; write several labels as one text with a separator between them"
        )
    return str(value).strip()

"""The labels of a table as classes: their names, their order, and those of each text."""

import re
from itertools import chain

import numpy as np

from ostinato.data.sources.tables import Table
from ostinato.data.store.rows import StoredRows
from ostinato.errors import SourceError
from ostinato.wording import option

MOST_NUMBERS = 20
"""Labels up to which numbers are taken for classes, such as ratings."""
UNSEEN = -1
"""The class of a row whose label is none of the classes."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def split_labels(raw: str, separator: str | None) -> tuple[str, ...]:
    """The labels of one field, each once."""
    if separator is None:
        return (raw,)
    return tuple(dict.fromkeys(label for piece in raw.split(separator) if (label := piece.strip())))


def classes_of(
    table: Table, stored: StoredRows, sets: list[tuple[str, ...]], train: np.ndarray, *, several: bool
) -> tuple[str, ...]:
    """The labels of the training part: in alphabetical or, if all are numbers, numerical order.

    Args:
        table: the table, for messages.
        stored: its rows.
        sets: for each of `stored.labels` its labels, from `split_labels`.
        train: the numbers of the training rows.
        several: whether a text may have several labels, or none; a single label is then a yes or no.

    Raises:
        SourceError: there is only one, and every text has it.
    """
    used = [sets[place] for place in np.unique(stored.places[train])]
    found = set(chain.from_iterable(used))
    if len(found) < 2 and not (several and found and () in used):
        which = f"only one label, {min(found)!r}" if found else "no labels"
        raise SourceError(f"{table.name} must have two labels or more, got {which}")
    if all(map(_NUMBER.fullmatch, found)):
        return tuple(sorted(found, key=lambda label: (float(label), label)))
    return tuple(sorted(found))


def question_numbers(table: Table, classes: tuple[str, ...]) -> None:
    """Raises SourceError for labels that look like quantities: many numbers, not 0, 1, 2 … or 1, 2, 3 …"""
    numbers = [float(label) for label in classes if _NUMBER.fullmatch(label)]
    if len(classes) <= MOST_NUMBERS or 2 * len(numbers) <= len(classes):
        return
    if len(numbers) == len(classes) and sorted(numbers) in [
        [*map(float, range(first, first + len(numbers)))] for first in (0, 1)
    ]:
        return
    if table.columns is None:
        what, anyway = f"the labels of {table.name} are", "give a DataFrame and name the column of the labels"
    else:
        what = f"column {table.columns[1]!r} of {table.name}, taken as the labels, has"
        anyway = f"name the column with {option('label', table.columns[1])}"
    raise SourceError(
        f"{what} {len(numbers):,} different numbers, like a quantity, which a classifier does not predict "
        f"(regression): choose another column, write ranges, or {anyway} to make each number a class"
    )


def refuse_unseen(
    table: Table, stored: StoredRows, sets: list[tuple[str, ...]], classes: tuple[str, ...]
) -> None:
    """Raises SourceError for the first row with a label that is not one of the classes."""
    strange = [place for place, own in enumerate(sets) if not set(own) <= set(classes)]
    if not strange:
        return
    at = int(np.argmax(np.isin(stored.places, strange)))
    unseen = next(label for label in sets[stored.places[at]] if label not in classes)
    known = ", ".join(map(repr, classes[:20])) + (", …" if len(classes) > 20 else "")
    raise SourceError(
        f"{table.at(int(stored.numbers[at]))} has the label {unseen!r}, which is not in training; the "
        f"labels in training are {known}; correct it, or train with it"
    )


def unseen_labels(sets: list[tuple[str, ...]], classes: tuple[str, ...]) -> tuple[str, ...]:
    """The labels that are none of the classes, in the order of their first occurrence."""
    return tuple(dict.fromkeys(label for label in chain.from_iterable(sets) if label not in classes))


def targets_of(
    stored: StoredRows, sets: list[tuple[str, ...]], classes: tuple[str, ...], *, several: bool
) -> np.ndarray:
    """The class of each row, int32 (rows,), −1 for a label that is none of the classes.

    If a text may have several labels: 0 or 1 for each class, uint8 (rows, classes).
    """
    place = {label: at for at, label in enumerate(classes)}
    if not several:
        return np.array([place.get(own[0], UNSEEN) for own in sets], np.int32)[stored.places]
    hot = np.zeros((len(sets), len(classes)), np.uint8)
    for row, own in enumerate(sets):
        hot[row, [place[label] for label in own if label in place]] = 1
    return hot[stored.places]

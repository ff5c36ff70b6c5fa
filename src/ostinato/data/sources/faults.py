"""Rows that cannot be used: all are counted, the first are listed, and they are left out only when asked."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from ostinato.errors import SourceError
from ostinato.wording import option

LISTED = 10
"""The number of rows that a message lists for each problem."""
_Row = TypeVar("_Row")


class Fault(NamedTuple):
    """A row that cannot be used.

    Attributes:
        problem: what is wrong, as it follows "3 rows": "without a label".
        number: its line, or its place among the rows; from 1 on.
    """

    problem: str
    number: int


def without_faults(
    items: Iterable[_Row | Fault], skipped: dict[str, int], *, name: str, place: str, skip: bool
) -> Iterator[_Row]:
    """The rows among rows and faults.

    Args:
        items: rows and faults in the order of the source.
        skipped: emptied, then filled with the number of faults by problem.
        name: what messages call the source.
        place: what the number of a row counts: "line", "row" or "file".
        skip: leave the faulty rows out.

    Raises:
        SourceError: at the end, when there are faults and `skip` is false.
    """
    skipped.clear()
    listed: dict[str, list[int]] = {}
    for item in items:
        if not isinstance(item, Fault):
            yield item
            continue
        skipped[item.problem] = skipped.get(item.problem, 0) + 1
        numbers = listed.setdefault(item.problem, [])
        if len(numbers) < LISTED:
            numbers.append(item.number)
    if skipped and not skip:
        raise SourceError(
            f"{name} has {_summary(skipped, listed, place)}; correct them, or leave them out with "
            f"{option('skip_bad_rows', True)}"
        )


def _summary(counts: dict[str, int], listed: dict[str, list[int]], place: str) -> str:
    said = []
    for problem, numbers in listed.items():
        count = counts[problem]
        more = "" if count <= len(numbers) else f" and {count - len(numbers):,} more"
        plural = "s" if count > 1 else ""
        which = ", ".join(map(str, numbers))
        said.append(f"{count:,} row{plural} {problem} ({place}{plural} {which}{more})")
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)

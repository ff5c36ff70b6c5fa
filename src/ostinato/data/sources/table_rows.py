"""The rows of a table in a file, from the chosen columns of its grid."""

from collections.abc import Iterator, Sequence

from ostinato.data.sources.base import Read
from ostinato.data.sources.columns import Chosen
from ostinato.data.sources.delimited import RAGGED
from ostinato.data.sources.faults import Fault
from ostinato.data.sources.grids import Grid
from ostinato.data.sources.rows import (
    NO_TEXT,
    Row,
    is_missing,
    row_of_values,
    switched_on,
)
from ostinato.files.lines import OnRead


def rows_of_grid(grid: Grid, chosen: Chosen, several: bool) -> Read[Row]:
    """Reads the rows of a grid.

    Args:
        grid: the file.
        chosen: its text column and its label columns; several of these have 0 or 1.
        several: whether a row may have any number of labels, also none.
    """
    text_at, *label_at = chosen.places

    def of_fields(on_read: OnRead | None) -> Iterator[Row | Fault]:
        (at,) = label_at
        for number, fields in grid.records(on_read):
            if fields is None:
                yield Fault(RAGGED, number)
            elif not (text := fields[text_at]):
                yield Fault(NO_TEXT, number)
            else:
                yield Row(str(text), str(fields[at]).strip(), number)

    def of_values(on_read: OnRead | None) -> Iterator[Row | Fault]:
        def at(number: int) -> str:
            return f"{grid.name}, {grid.place} {number}"

        for number, values in grid.records(on_read):
            if values is None:
                yield Fault(RAGGED, number)
                continue
            text = values[text_at]
            if grid.texts and text == "":
                text = None
            label = values[label_at[0]]
            if len(label_at) > 1 and not is_missing(text):
                label = labels_switched_on(chosen.labels, [values[place] for place in label_at], at(number))
            yield row_of_values(text, label, number, at, several=several)

    return of_fields if grid.texts and len(label_at) == 1 else of_values


def labels_switched_on(labels: Sequence[str], flags: Sequence[object], at: str) -> list[str]:
    """The names of the label columns that are 1 in a row. Raises SourceError when one is neither 0 nor 1."""
    return [label for label, flag in zip(labels, flags, strict=True) if switched_on(label, flag, at)]

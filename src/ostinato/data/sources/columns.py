"""Which column of a table is the text and which the label: named, or guessed with a note."""

from collections.abc import Sequence

from ostinato.errors import SourceError
from ostinato.wording import hint_after, option

TEXT_NAMES = ("text", "review", "sentence", "comment", "content", "body")
LABEL_NAMES = ("label", "sentiment", "category", "class", "target", "y")
LONGEST_LABEL = 60
"""Characters; a column with longer values is never guessed to be the labels."""


def choose_columns(
    name: str,
    names: list[str],
    values: Sequence[Sequence[object]],
    text: str | None,
    label: str | None,
    *,
    header: bool,
) -> tuple[tuple[str, str], tuple[str, ...]]:
    """The text and the label column, and a note about those that were guessed.

    Args:
        name: what messages call the table.
        names: the names of all columns.
        values: some rows, each with a value for every column; None where it is missing.
        text, label: the columns that the user named; None to guess.
        header: whether the names come from the first row of a file, which may have no row of names.

    Raises:
        SourceError: there are no such columns, or there is more than one guess.
    """
    columns = ", ".join(repr(column) for column in names[:30]) + (", …" if len(names) > 30 else "")
    for given, role in ((text, "text"), (label, "label")):
        if given is not None and given not in names:
            hint = hint_after(given, names)
            raise SourceError(f"{name} has no {role} column {given!r}; its columns are {columns}{hint}")
    found = {
        "text": text or _only(names, TEXT_NAMES, label),
        "label": label or _only(names, LABEL_NAMES, text),
    }
    if len(names) == 2 and None in found.values():
        if found["text"] is None and found["label"] is None:
            found["label"] = _column_like_labels(names, values)
        for one, other in (("text", "label"), ("label", "text")):
            known = found[other]
            if found[one] is None and known is not None:
                found[one] = names[1 - names.index(known)]
    if not found["text"] or not found["label"]:
        missing = " and the ".join(role for role, column in found.items() if not column)
        raise SourceError(
            f"cannot tell which column of {name} is the {missing}; name both with {option('text')} and "
            f"{option('label')}; its columns are {columns}"
        )
    chosen = found["text"], found["label"]
    if repeated := [column for column in chosen if names.count(column) > 1]:
        raise SourceError(f"{name} has more than one column {repeated[0]!r}; give each a name of its own")
    at = names.index(chosen[1])
    if header and names[at] in {str(row[at]).strip() for row in values}:
        raise SourceError(
            f"the first row of {name} must name the columns, but {names[at]!r} in it is also a label of the "
            "rows below; put a row such as text,label before it"
        )
    guessed = [
        f"{column!r} as the {role}"
        for column, role, given in zip(chosen, ("text", "label"), (text, label), strict=True)
        if given is None
    ]
    return chosen, (f"{name}: took column {' and '.join(guessed)}",) if guessed else ()


def _only(names: list[str], wanted: tuple[str, ...], taken: str | None) -> str | None:
    """The only column with a usual name; None when there is none, or more than one."""
    found = [column for column in names if column.lower() in wanted and column != taken]
    return found[0] if len(found) == 1 else None


def _column_like_labels(names: list[str], values: Sequence[Sequence[object]]) -> str | None:
    """The only one of two columns with short values that repeat; None when both or neither have them."""
    fitting = []
    for at, column in enumerate(names):
        seen = [str(row[at]) for row in values if row[at] is not None]
        if seen and len(set(seen)) <= max(2, len(seen) // 2) and max(map(len, seen)) <= LONGEST_LABEL:
            fitting.append(column)
    return fitting[0] if len(fitting) == 1 else None

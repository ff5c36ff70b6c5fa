"""Which column of a table is the text and which the labels: named, or guessed from names and content with a
note."""

import csv
from collections.abc import Sequence
from typing import NamedTuple

from ostinato.data.sources.content import LONGEST_LABEL, Content, content_of
from ostinato.data.sources.rows import BETWEEN
from ostinato.errors import ConfigError, SourceError
from ostinato.wording import hint_after

TEXT_NAMES = (
    *("text", "review", "sentence", "comment", "content", "body", "tweet", "headline", "message", "question"),
    *("document", "utterance", "description", "title", "comments", "comment_text", "review_text", "sms"),
)
LABEL_NAMES = (
    *(
        "label",
        "sentiment",
        "category",
        "class",
        "target",
        "y",
        "labels",
        "intent",
        "emotion",
        "tag",
        "topic",
    ),
)
USUAL_NAMES = frozenset((*TEXT_NAMES, *LABEL_NAMES, "id", "source", "date", "name", "index"))
_SHOWN = 30


class Chosen(NamedTuple):
    """The columns of a table.

    Attributes:
        text: the name of the text column.
        labels: the names of the label columns; several have 0 or 1 in each row.
        places: the places of the text and of each label column, from 0 on.
        notes: sentences about what was guessed.
    """

    text: str
    labels: tuple[str, ...]
    places: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, str]:
        """The text column, and the label columns with `rows.BETWEEN` between."""
        return self.text, BETWEEN.join(self.labels)


def two_columns(
    columns: object, first: object, second: object, names: tuple[str, str]
) -> tuple[object, object]:
    """The two columns that are named together, as in "v2,v1", or alone.

    Args:
        columns: two names with a comma between, or a tuple of them; None when they are named alone.
        first, second: the columns named alone; None where they are not.
        names: what messages call the two: "text" and "label".

    Raises:
        ConfigError: they are not two, or named in both ways.
    """
    if columns is None:
        return first, second
    if first is not None or second is not None:
        raise ConfigError(
            f"--columns names the {names[0]} and the {names[1]}; leave out --{names[0]} and --{names[1]}"
        )
    parts = next(csv.reader([columns]), []) if isinstance(columns, str) else columns
    if not isinstance(parts, list | tuple) or len(parts) != 2 or not all(str(part).strip() for part in parts):
        raise ConfigError(
            f"--columns must be two names or numbers of columns, {names[0].upper()},{names[1].upper()}, got "
            f"{columns}"
        )
    return str(parts[0]).strip(), str(parts[1]).strip()


def labels_of(label: object) -> tuple[str, ...] | None:
    """The label columns that are named: one, a list of them, or one text with `rows.BETWEEN` between; None
    for none."""
    if label is None:
        return None
    if isinstance(label, str):
        return tuple(label.split(BETWEEN))
    named = tuple(map(str, label)) if isinstance(label, list | tuple) else (str(label),)
    return named or None


def choose_columns(
    name: str,
    names: Sequence[str],
    values: Sequence[Sequence[object]],
    text: str | None,
    label: str | Sequence[str] | None,
) -> Chosen:
    """The text column and the label columns, and a note about those that were guessed.

    A column without a name, or without a value, is never guessed.

    Args:
        name: what messages call the table.
        names: the names of all columns.
        values: some rows, each with a value for every column; None where it is missing.
        text, label: the columns that the user named, by name or by number from 1 on; None to guess.

    Raises:
        SourceError: there are no such columns, or there is more than one guess.
    """
    labels = labels_of(label)
    text_at = None if text is None else named_column(name, names, text, "text")
    label_at = None if labels is None else tuple(named_column(name, names, each, "label") for each in labels)
    guess = _Guess(
        name, names, [content_of(column) for column in zip(*values, strict=True)] if values else []
    )
    if text_at is None and label_at is None and guess.two:
        text_at = guess.text_of_two()
    if text_at is None:
        text_at = guess.text(label_at or ())
    if label_at is None:
        label_at = (guess.label(text_at),)
    places = (text_at, *label_at)
    chosen = [names[at] for at in places]
    if repeated := [column for column in chosen if list(names).count(column) > 1]:
        raise SourceError(
            f"{name} has more than one column {_short(repeated[0])!r}; give each a name of its own"
        )
    if len(set(places)) < len(places):
        raise ConfigError(f"text and label must be different columns, got {_short(chosen[-1])!r} twice")
    guessed = [f"{_short(chosen[0])!r} as the text"] if text is None else []
    guessed += [f"{_short(chosen[1])!r} as the label"] if labels is None else []
    notes = (f"{name}: took column {' and '.join(guessed)}{guess.others(places)}",) if guessed else ()
    return Chosen(chosen[0], tuple(chosen[1:]), places, notes)


def listed(names: Sequence[str]) -> str:
    """The names of columns for a message, without the end of long ones and of many."""
    return ", ".join(repr(_short(name)) for name in names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_LABEL else f"{name[:LONGEST_LABEL]}…"


def named_column(name: str, names: Sequence[str], given: str, option: str = "") -> int:
    """The place of a column that the user named, by name or by number from 1 on.

    Args:
        name: what messages call the table.
        names: of all columns.
        given: what the user gave.
        option: "text", "label", or nothing, for messages.

    Raises:
        SourceError: there is no such column.
    """
    if given in names:
        return list(names).index(given)
    if given.isdecimal() and 1 <= int(given) <= len(names):
        return int(given) - 1
    what = f"{option} column" if option else "column"
    raise SourceError(
        f"{name} has no {what} {_short(given)!r}; its columns are {listed(names)}{hint_after(given, names)}"
    )


class _Guess:
    """The columns of a table, to guess from.

    Args:
        name: what messages call the table.
        names: of its columns.
        contents: what each looks like; empty when there are no rows.
    """

    def __init__(self, name: str, names: Sequence[str], contents: list[Content]):
        self._name, self._names = name, names
        self._contents = contents or [content_of(())] * len(names)
        empty = not any(content.filled for content in contents)
        self._usable = [
            at
            for at, column in enumerate(names)
            if column and not column.startswith("Unnamed: ") and (empty or contents[at].filled)
        ]

    @property
    def two(self) -> bool:
        """Whether there are two columns to choose from."""
        return len(self._usable) == 2

    def text_of_two(self) -> int | None:
        """Of two columns without usual names the one that is not like labels; None where that does not
        decide."""
        if self._usual(TEXT_NAMES, self._usable) or self._usual(LABEL_NAMES, self._usable):
            return None
        like = [at for at in self._usable if self._contents[at].like_labels]
        if len(like) != 1:
            raise self._unclear("text and the label", self._usable)
        return self._usable[1 - self._usable.index(like[0])]

    def text(self, labels: Sequence[int]) -> int:
        """The text column: of those with usual names, else of all, the one with the longest texts."""
        free = [at for at in self._usable if at not in labels]
        usual = self._usual(TEXT_NAMES, free)
        texts = [at for at in free if self._contents[at].like_texts]
        if chosen := [at for at in usual if at in texts] or (usual if len(usual) == 1 else []):
            return max(chosen, key=lambda at: self._contents[at].length)
        known = self._usual(LABEL_NAMES, free) if self.two and len(free) == 2 else []
        left = [at for at in free if at not in known]
        if len(left) == 1:
            return left[0]
        texts = [at for at in texts if not self._contents[at].like_labels] or texts
        enough = [at for at in texts if self._contents[at].filled > 1]
        if not enough:
            raise self._unclear("text and the label" if not labels else "text", free)
        return max(enough, key=lambda at: self._contents[at].length)

    def label(self, text: int) -> int:
        """The label column: with a usual name, else with short values that repeat."""
        free = [at for at in self._usable if at != text]
        if len(free) == 1:
            return free[0]
        usual = self._usual(LABEL_NAMES, free)
        if len(usual) == 1:
            return usual[0]
        like = [at for at in usual or free if self._contents[at].like_labels]
        like = self._without_copies([at for at in like if self._contents[at].different > 1] or like)
        if len(like) > 1 and (partly := self._partly_usual(like)):
            like = partly
        if len(like) == 1:
            return like[0]
        raise self._unclear("label", like or free)

    def others(self, taken: Sequence[int]) -> str:
        """How many columns were left out, for the end of a note."""
        left = [self._names[at] for at in self._usable if at not in taken]
        return f"; left out {listed(left)}" if left else ""

    def _usual(self, wanted: tuple[str, ...], among: Sequence[int]) -> list[int]:
        """The columns with usual names; the first five of each kind go before the others."""
        found = [at for at in among if self._names[at].lower() in wanted]
        first = [at for at in found if self._names[at].lower() in wanted[:6]]
        return first or found

    def _partly_usual(self, among: Sequence[int]) -> list[int]:
        """The only column whose name has a usual one in it: airline_sentiment."""
        found = [
            at for at in among if set(self._names[at].lower().replace(" ", "_").split("_")) & {*LABEL_NAMES}
        ]
        return found if len(found) == 1 else []

    def _without_copies(self, like: list[int]) -> list[int]:
        """Of two columns that say the same, as label and label_name do, the one in words."""
        names = {self._names[at].lower(): at for at in like}
        for ending in ("_name", "_text", "_num", "_id"):
            for name, at in list(names.items()):
                base = names.get(name.removesuffix(ending))
                if base is None or base == at or at not in like or base not in like:
                    continue
                if self._contents[at].different == self._contents[base].different:
                    like.remove(at if self._contents[at].numbers else base)
        return like

    def _unclear(self, what: str, columns: Sequence[int]) -> SourceError:
        named = [self._names[at] for at in columns]
        says = ""
        if what == "label" and len(named) > 1:
            says = f": {_short(named[0])!r} and {_short(named[1])!r} both may be" if len(named) == 2 else ""
            says = says or f": {listed(named[:5])}{', …' if len(named) > 5 else ''} may be"
        way = "name both with --text and --label, or with --columns TEXT,LABEL"
        if what == "label":
            way = f"name it with --label {_quoted(named[0])}" if named else "name it with --label"
            if len(named) > 1 and all(self._contents[at].flags for at in columns):
                way += ", or several of 0 and 1 with --label for each"
        return SourceError(
            f"cannot tell which column of {self._name} is the {what}{says}; {way}; its columns are "
            f"{listed(self._names)}"
        )


def _quoted(name: str) -> str:
    return name if name.replace("_", "").isalnum() and len(name) <= LONGEST_LABEL else repr(_short(name))


def choose_text(
    name: str, names: Sequence[str], values: Sequence[Sequence[object]], text: str | None, known: str | None
) -> tuple[int, tuple[str, ...]]:
    """The place of the column of texts in a table that need not have labels, and a note where it was not
    named.

    Args:
        name, names, values, text: see `choose_columns`.
        known: the name that the column probably has.

    Raises:
        SourceError: there is no such column, or none can be guessed.
    """
    if text is not None:
        return named_column(name, names, text, "text"), ()
    if known is not None and known in names:
        at = list(names).index(known)
    else:
        contents = [content_of(column) for column in zip(*values, strict=True)]
        at = _Guess(name, names, contents).text(())
    return at, (f"{name}: took column {_short(names[at])!r} as the text",)

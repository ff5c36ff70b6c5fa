"""Which two columns of a table are the source and the target of a pair: named, or guessed with a note."""

from collections.abc import Sequence
from typing import NamedTuple

from ostinato.data.sources.columns import listed, named_column
from ostinato.data.sources.content import content_of
from ostinato.errors import ConfigError, SourceError
from ostinato.wording import option

SOURCE_NAMES = ("source", "src", "input", "question", "en", "eng", "english", "q")
TARGET_NAMES = ("target", "tgt", "output", "answer", "translation", "a")
USUAL_PAIR_NAMES = frozenset((*SOURCE_NAMES, *TARGET_NAMES))


class PairColumns(NamedTuple):
    """The columns of pairs: their names, their places from 0 on, and sentences about what was guessed."""

    names: tuple[str, str]
    places: tuple[int, int]
    notes: tuple[str, ...]


def choose_pair_columns(
    name: str, names: Sequence[str], values: Sequence[Sequence[object]], columns: tuple[str, str] | None
) -> PairColumns:
    """The source column and the target column of a table.

    Columns of numbers, dates, addresses, identifiers and attributions are no sentences, nor are those
    without names.

    Args:
        name: what messages call the table.
        names: of all columns.
        values: some rows, each with a value for every column; None where it is missing.
        columns: those that the user named, by name or by number from 1 on; None to guess.

    Raises:
        SourceError: there are no such columns, or not two that can be guessed.
        ConfigError: both are the same column.
    """
    if columns is not None:
        source, target = (named_column(name, names, given) for given in columns)
        if source == target:
            raise ConfigError(
                f"source and target must be different columns, got {listed([names[source]])} twice"
            )
        return PairColumns((names[source], names[target]), (source, target), ())
    contents = [content_of(column) for column in zip(*values, strict=True)]
    filled = [at for at, content in enumerate(contents) if content.filled and names[at]]
    texts = [at for at in filled if contents[at].like_texts]
    if len(texts) < 2 and len(filled) == 2:
        texts = filled
    usual = [_usual(names, filled, wanted) for wanted in (SOURCE_NAMES, TARGET_NAMES)]
    if None not in usual:
        texts = [at for at in usual if at is not None]
    if len(texts) != 2:
        raise SourceError(
            f"cannot tell which columns of {name} are the source and the target; name them with "
            f"{option('columns', 'SOURCE,TARGET')}; its columns are {listed(names)}"
        )
    source, target = texts
    left = [names[at] for at in filled if at not in texts]
    out = f"; left out {listed(left)}" if left else ""
    first, second = listed([names[source]]), listed([names[target]])
    note = f"{name}: took column {first} as the source and {second} as the target{out}"
    return PairColumns((names[source], names[target]), (source, target), (note,))


def _usual(names: Sequence[str], among: Sequence[int], wanted: Sequence[str]) -> int | None:
    """The only column with a usual name."""
    found = [at for at in among if names[at].lower() in wanted]
    return found[0] if len(found) == 1 else None

"""What sources of rows share: tables of labelled texts and sentence pairs are read in the same way."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, Protocol, Self, TypeGuard, TypeVar, runtime_checkable

from ostinato.data.sources.faults import Fault, without_faults
from ostinato.errors import SourceError
from ostinato.files.atomic import JsonObject
from ostinato.files.lines import OnRead, files_identity

_Row = TypeVar("_Row")
Read = Callable[[OnRead | None], Iterator[_Row | Fault]]


@runtime_checkable
class Frame(Protocol):
    """A DataFrame of pandas or another library."""

    @property
    def columns(self) -> Iterable[object]: ...
    def __getitem__(self, column: object, /) -> Iterable[object]: ...


@dataclass(frozen=True)
class RowSource(Generic[_Row]):
    """Rows somewhere, not read yet. They are read one at a time, as often as asked.

    Attributes:
        name: what the user gave, for messages.
        description: JSON-able; another process opens the same rows with it.
        size: bytes of its files; None for Python data.
        notes: sentences about what was guessed.
        files: the files it reads.
        content: SHA-256 (hex) of its rows, where that is known without reading.
        place: what the number of a row counts: "line", "row", "file" or "pair".
        skipped: after a pass over the rows, the number of rows left out, by reason.
    """

    contents: ClassVar[str]
    """What it must contain, for messages: "rows with a text and a label"."""

    name: str
    description: JsonObject
    size: int | None = None
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = field(default=(), repr=False)
    content: str | None = None
    place: str = "line"
    skipped: dict[str, int] = field(default_factory=dict, compare=False)
    _read: Read[_Row] | None = field(default=None, repr=False, compare=False)

    @property
    def skips_bad_rows(self) -> bool:
        """Whether rows that cannot be used are left out; else they are an error."""
        return bool(self.description.get("skip_bad_rows"))

    def rows(self, on_read: OnRead | None = None) -> Iterator[_Row]:
        """The rows in order, one at a time.

        Args:
            on_read: called with the bytes read so far, now and then.

        Raises:
            SourceError: the source cannot be read, is not UTF-8, contains NUL bytes or broken rows, or has no
                rows. Faulty rows are counted to the end and reported then, unless they are to be skipped.
        """
        if self._read is None:
            raise SourceError(
                "the source was pairs given in Python, which are not kept; give them again, or give a file"
            )
        empty = True
        for row in without_faults(
            self._checked(self._read(on_read)),
            self.skipped,
            name=self.name,
            place=self.place,
            skip=self.skips_bad_rows,
        ):
            empty = False
            yield row
        if empty:
            raise SourceError(f"{self.name} contains no {self.contents}")

    def _checked(self, items: Iterator[_Row | Fault]) -> Iterator[_Row | Fault]:
        """The rows and faults that were read, with rows that this source does not take as faults."""
        return items

    def identity(self) -> str:
        """A hash of all that the rows depend on; see `files_identity`."""
        return files_identity(self.description, self.files, self.name, self.content)

    def refuse_change(self, identity: str) -> Self:
        """Itself. Raises SourceError when its identity is another one now."""
        if self.identity() != identity:
            raise SourceError(f"{self.name} changed while it was read; try again when nothing writes to it")
        return self

    def at(self, number: int) -> str:
        """The place of a row, for messages: "reviews.csv, line 7"."""
        return f"{self.name}, {self.place} {number}"


def is_description(source: object) -> TypeGuard[JsonObject]:
    """Whether a source is a `RowSource.description`, and not a path or Python data."""
    return isinstance(source, dict)

"""The rows of a table in the cache, so that a table is read once and may be larger than memory.

The folder `tables` holds the texts (.texts); the end, number and label of each (.rows); and the names of the
labels (.json).
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ostinato.data.sources.tables import Row, Table
from ostinato.data.store.texts import StoredTexts
from ostinato.errors import SourceError
from ostinato.files import cache
from ostinato.files.cache import Progress
from ostinato.wording import option

FORMAT = 1
"""Increased when equal rows give other files than before, so that old files are not used."""
LARGEST_LABEL_COUNT = 100_000
"""Different labels in a column; a column with more is taken for the wrong one."""
_ROW = np.dtype([("end", "<i8"), ("number", "<i8"), ("label", "<i4")])
_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class StoredRows:
    """The rows of a table, memory-mapped.

    Attributes:
        texts: the texts of all rows.
        numbers: the line, row or file of each row, int64 (rows,).
        places: the place in `labels` of the label of each row, int32 (rows,).
        labels: the different labels as the table has them, in the order of their first occurrence.
        content: SHA-256 (hex) of all texts and labels.
    """

    texts: StoredTexts
    numbers: np.ndarray = field(repr=False)
    places: np.ndarray = field(repr=False)
    labels: tuple[str, ...]
    content: str

    def __len__(self) -> int:
        return len(self.texts)


def stored_rows(table: Table, on_progress: Progress | None = None) -> StoredRows:
    """The rows of a table, from the cache where it has them.

    Raises:
        SourceError: as `Table.rows` does; there are far too many labels; the table changes meanwhile; the
            cache cannot be written.
    """
    identity = table.identity()
    base = cache.folder() / "tables" / f"{identity}-{FORMAT}"
    return cache.found_or_made(
        base, lambda: _find(base, table), lambda: _write(base, table, identity, on_progress)
    )


def _find(base: Path, table: Table) -> StoredRows | None:
    """The rows in files of the cache; None when there are none or they are damaged."""
    known = cache.read_json(cache.with_ending(base, "json"))
    if known is None:
        return None
    try:
        rows = cache.map_array(cache.with_ending(base, "rows"), _ROW, known["rows"])
        data = cache.map_array(cache.with_ending(base, "texts"), np.dtype(np.uint8), known["bytes"])
        labels, content = tuple(map(str, known["labels"])), str(known["content"])
        skipped = {str(reason): int(count) for reason, count in known["skipped"].items()}
    except (KeyError, TypeError, ValueError, OSError, AttributeError):
        return None
    table.skipped.clear()
    table.skipped.update(skipped)
    return StoredRows(StoredTexts(data, rows["end"]), rows["number"], rows["label"], labels, content)


def _write(base: Path, table: Table, identity: str, on_progress: Progress | None) -> None:
    labels: dict[str, int] = {}
    digest = hashlib.sha256()
    end = count = 0
    with (
        cache.writing(cache.with_ending(base, "texts")) as texts,
        cache.writing(cache.with_ending(base, "rows")) as rows,
    ):
        waiting: list[tuple[int, int, int]] = []
        for row in table.rows(None if on_progress is None else lambda at: on_progress(at, table.size)):
            text, label = row.text.encode(), labels.setdefault(row.label, len(labels))
            digest.update(b"%d %d %b" % (len(row.label), len(text), row.label.encode()))
            digest.update(text)
            texts.write(text)
            end += len(text)
            waiting.append((end, row.number, label))
            if len(waiting) == _BLOCK:
                _refuse_too_many(table, labels, row)
                rows.write(np.array(waiting, _ROW).tobytes())
                count += len(waiting)
                waiting.clear()
        rows.write(np.array(waiting, _ROW).tobytes())
        count += len(waiting)
    table.refuse_change(identity)
    known = {"rows": count, "bytes": end, "labels": list(labels), "content": digest.hexdigest()}
    cache.write_json(cache.with_ending(base, "json"), known | {"skipped": table.skipped})


def _refuse_too_many(table: Table, labels: dict[str, int], row: Row) -> None:
    if len(labels) > LARGEST_LABEL_COUNT:
        column = f" in column {table.columns[1]!r}" if table.columns else ""
        raise SourceError(
            f"{table.at(row.number)}: more than {LARGEST_LABEL_COUNT:,} different labels{column}; "
            f"choose the column of the labels with {option('label')}"
        )

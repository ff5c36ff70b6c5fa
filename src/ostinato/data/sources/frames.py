"""Spreadsheets and columnar files, which pandas reads where it is installed."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ostinato.data.sources.rows import is_missing
from ostinato.errors import SourceError
from ostinato.files.lines import OnRead, reading
from ostinato.files.plain import open_plain, unpacked

_READERS = {
    ".xlsx": ("read_excel", "an Excel file", "openpyxl"),
    ".xls": ("read_excel", "an older Excel file", "xlrd"),
    ".ods": ("read_excel", "an OpenDocument file", "odfpy"),
    ".parquet": ("read_parquet", "a Parquet file", "pyarrow"),
    ".feather": ("read_feather", "a Feather file", "pyarrow"),
    ".arrow": ("read_feather", "an Arrow file", "pyarrow"),
}
ENDINGS = tuple(_READERS)
SHEETS = (".xlsx", ".xls", ".ods")
"""Spreadsheets, which take a text such as 2020 for a number."""
_BEGINNINGS = ((b"PAR1", ".parquet"), (b"ARROW1", ".feather"), (b"\xd0\xcf\x11\xe0", ".xls"))
"""The first bytes of some of these files, whatever their names end in."""


def ending_of(name: str, start: bytes) -> str | None:
    """The ending of a kind of file that pandas reads, from a file's name and first bytes; None for other
    files."""
    for beginning, ending in _BEGINNINGS:
        if start.startswith(beginning):
            return ending
    found = Path(name).suffix
    return found if found in _READERS else None


def read_frame(path: Path, name: str, ending: str) -> Any:
    """The DataFrame of a file, or of its first sheet.

    Args:
        path: the file, perhaps in a .gz or .zip.
        name: what messages call it.
        ending: from `ending_of`.

    Raises:
        SourceError: it cannot be read, or pandas or what it needs for the file is not installed.
    """
    reader, what, needed = _READERS[ending]
    try:
        import pandas  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise _not_installed(name, what, needed, ending) from None
    with reading(name), open_plain(path) as raw:
        data = io.BytesIO(unpacked(raw, path).read())
        try:
            return getattr(pandas, reader)(data)
        except ImportError:
            raise _not_installed(name, what, needed, ending) from None
        except MemoryError:
            raise
        except Exception as error:
            # pandas and its readers raise errors of many libraries for a damaged file.
            reason = " ".join(str(error).split())[:200]
            raise SourceError(f"{name} is {what} that cannot be read ({reason})") from None


def frame_records(
    frame: Any, size: int, *, as_text: bool
) -> Callable[[OnRead | None], Iterator[tuple[int, list[object]]]]:
    """Reads (row from 1 on, values) of a DataFrame.

    Args:
        frame: the DataFrame.
        size: the bytes of its file, told at the end.
        as_text: whether numbers become texts, whole ones without a point.
    """
    columns = [frame.iloc[:, at].tolist() for at in range(len(frame.columns))]
    if as_text:
        columns = [list(map(_text, column)) for column in columns]

    def records(on_read: OnRead | None) -> Iterator[tuple[int, list[object]]]:
        for number, values in enumerate(zip(*columns, strict=True), 1):
            yield number, list(values)
        if on_read is not None:
            on_read(size)

    return records


def _text(value: object) -> object:
    if is_missing(value) or isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _not_installed(name: str, what: str, needed: str, ending: str) -> SourceError:
    read = _READERS[ending][0]
    return SourceError(
        f"{name} is {what}, which needs pandas and {needed}: pip install pandas {needed}; or save it as CSV "
        f"where they are: pandas.{read}('{Path(name).name}').to_csv('table.csv', index=False)"
    )

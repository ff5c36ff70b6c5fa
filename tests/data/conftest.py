"""Tables written for a test, read, and refused."""

import gzip
from collections import UserDict

import pytest

from ostinato.data.sources.tables import Row, open_table
from ostinato.errors import OstinatoError, SourceError


@pytest.fixture
def write(tmp_path):
    """write("a.csv.gz", "text,label…") -> its path."""

    def write(name: str, data: str | bytes):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = data.encode() if isinstance(data, str) else data
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


@pytest.fixture(scope="session")
def rows():
    """rows(source, **options) -> all rows of the table."""

    def rows(source, **options) -> list[Row]:
        return list(open_table(source, **options).rows())

    return rows


@pytest.fixture(scope="session")
def message(rows):
    """message(source, …) -> the one line that says why the source is no table."""

    def message(source, error: type[OstinatoError] = SourceError, **options) -> str:
        with pytest.raises(error) as caught:
            rows(source, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return message


class Frame(UserDict):
    """As much of a pandas DataFrame as is used: `columns`, and iterables by their name."""

    columns = property(UserDict.keys)


@pytest.fixture(scope="session")
def frame():
    """frame(text=[…], label=[…]) -> a stand-in for a DataFrame."""
    return Frame

"""Files that may come from anyone are read only where they are plain files, and only up to a size."""

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.files import plain as plain_files
from ostinato.files.plain import open_plain, read_plain, unpacked


@given(st.binary(max_size=1000), st.booleans())
def test_a_plain_file_is_read_as_it_is(tmp_path_factory, data, packed):
    path = tmp_path_factory.mktemp("files") / ("a.GZ" if packed else "a")
    path.write_bytes(gzip.compress(data) if packed else data)
    with open_plain(path) as file:
        assert unpacked(file, path).read() == data
    size = path.stat().st_size
    assert read_plain(path, size) == path.read_bytes()
    if size:
        with pytest.raises(OSError, match=f"it must have at most {size - 1} bytes, got {size}"):
            read_plain(path, size - 1)


def test_what_is_no_plain_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/zero")):
        with pytest.raises(OSError, match="it is not a regular file"):
            open_plain(path)
    with pytest.raises(IsADirectoryError):
        open_plain(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_plain(tmp_path / "gone")


def test_what_grows_beyond_any_text_when_unpacked_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(1 << 22)))
    with open_plain(path) as file:
        assert len(unpacked(file, path).read()) == 1 << 22  # so little is harmless
    monkeypatch.setattr(plain_files, "_HARMLESS", 1 << 20)
    with open_plain(path) as file, pytest.raises(OSError, match="unpacks to more than 200 times its size"):
        unpacked(file, path).read()

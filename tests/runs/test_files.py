"""Files are written aside, flushed and renamed; what the system refuses is said in one sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.errors import RunError
from ostinato.runs import files

TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_json_comes_back_as_it_was(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "value.json"
    files.write_synced(path, files.to_json(value))
    assert files.read_json(path) == value


def test_a_refusal_to_write_names_the_path_and_the_reason(tmp_path):
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "below"
    message = r"could not write .*below: Not a directory; what was saved"
    with pytest.raises(RunError, match=message), files.writing(path):
        files.write_synced(path, b"data")


def test_other_exceptions_pass_through_unchanged(tmp_path):
    with pytest.raises(KeyError), files.writing(tmp_path):
        raise KeyError("not the system's")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"{'single': 1}"])
def test_what_is_not_json_is_called_damaged(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"config\.json is damaged"):
        files.read_json(path)


def test_a_missing_or_unreadable_file_is_named(tmp_path):
    with pytest.raises(RunError, match=r"gone\.json is missing; the run directory is damaged"):
        files.read_json(tmp_path / "gone.json")
    with pytest.raises(RunError, match=r"could not read .*: Is a directory"):
        files.read_json(tmp_path)

"""Files are written aside, flushed and renamed; what the system refuses is said in one sentence."""

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.errors import RunError
from ostinato.files import atomic as files
from ostinato.runs import reading

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
    assert reading.read_json(path, 1 << 20) == value


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
        reading.read_json(path, 1 << 20)


def test_a_missing_or_unreadable_file_is_named(tmp_path):
    with pytest.raises(RunError, match=r"gone\.json is missing; the run directory is damaged"):
        reading.read_json(tmp_path / "gone.json", 100)
    with pytest.raises(RunError, match=r"could not read .*: Is a directory"):
        reading.read_json(tmp_path, 100)


def test_files_made_elsewhere_take_their_places_when_all_are_there(tmp_path):
    report = tmp_path / "report"
    for content in ("old", "new"):
        with files.placed_in(report) as elsewhere:
            (elsewhere / "loss").write_text(content)
            (elsewhere / f"only {content}").write_text(content)
            assert content not in {file.read_text() for file in report.glob("*")}
    found = {file.name: file.read_text() for file in report.iterdir()}
    assert found == {"loss": "new", "only old": "old", "only new": "new"}
    assert not elsewhere.exists()


def test_they_are_safe_before_they_take_their_places_and_there_at_the_end(tmp_path, disk):
    for content in ("old", "a newer one"):
        with files.placed_in(tmp_path) as elsewhere:
            for name in ("accuracy", "loss"):
                (elsewhere / name).write_text(content)
        assert disk.renamed[-2:] == [tmp_path / "accuracy", tmp_path / "loss"]
        assert (disk.too_early, disk.owed, disk.unsafe(tmp_path)) == ([], [], [])


def test_an_exception_while_files_are_made_leaves_the_folder_as_it_was(tmp_path):
    def fail_halfway():
        with files.placed_in(tmp_path / "report") as elsewhere:
            (elsewhere / "loss").write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail_halfway()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_keeps_the_old_file_and_nothing_half_written(tmp_path):
    (tmp_path / "loss").write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def run_out_of_room():
        with files.placed_in(tmp_path) as elsewhere:
            (elsewhere / "loss").write_bytes(bytes(5000))
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))

    try:
        with pytest.raises(OSError, match="File too large"):
            run_out_of_room()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"loss": "old"}


def test_a_file_is_safe_before_it_replaces_another_and_leaves_nothing_beside_it(tmp_path, disk):
    path = tmp_path / "recipe.toml"
    for content in (b"old", b"a newer one"):
        files.replace(path, content)
        assert path.read_bytes() == content
    assert (disk.renamed, disk.too_early) == ([path, path], [])
    assert list(tmp_path.iterdir()) == [path]

"""Run directories may come from anyone: only plain files of their own are read, of a sensible size."""

import json
import os

import pytest

from ostinato.errors import RunError
from ostinato.runs import reading


def test_a_sensible_json_file_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, "☃"]}')
    assert reading.read_json(tmp_path / "a.json", 100) == {"a": [1, "☃"]}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"{'single': 1}", b"9" * 5000])
def test_what_is_not_json_is_called_damaged(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(RunError, match=r"a\.json is damaged"):
        reading.read_json(tmp_path / "a.json", 1 << 20)


@pytest.mark.parametrize("depth", [40, 60])
def test_what_is_nested_like_no_file_of_ours_is_damaged(tmp_path, depth):
    (tmp_path / "a.json").write_text('{"a": ' * depth + "1" + "}" * depth)
    if depth == 40:
        assert "a" in reading.read_json(tmp_path / "a.json", 1000)
        return
    with pytest.raises(RunError, match="more than 50 nested levels"):
        reading.read_json(tmp_path / "a.json", 1000)


def test_what_cannot_be_read_or_is_too_large_is_named(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(["a" * 100]))
    os.mkfifo(tmp_path / "pipe.json")
    for name, message in {
        "gone.json": r"gone\.json is missing; the run directory is damaged",
        "a.json": r"could not read .*a\.json: it must have at most 100 bytes, got 104",
        "pipe.json": r"could not read .*pipe\.json: it is not a regular file",
        ".": "could not read .*: Is a directory",
    }.items():
        with pytest.raises(RunError, match=message):
            reading.read_json(tmp_path / name, 100)


def test_a_directory_holds_nothing_but_files_and_folders(tmp_path, monkeypatch):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "loss.png").write_bytes(b"a picture")
    reading.refuse_what_leads_out(tmp_path)
    (tmp_path / "report" / "more").symlink_to(tmp_path / "report" / "loss.png")
    with pytest.raises(RunError, match="report/more is a link, which no run directory contains; remove it"):
        reading.refuse_what_leads_out(tmp_path)
    (tmp_path / "report" / "more").unlink()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="pipe is not a regular file, which no run directory contains"):
        reading.refuse_what_leads_out(tmp_path)
    (tmp_path / "pipe").unlink()
    monkeypatch.setattr(reading, "MOST_FILES", 1)
    with pytest.raises(RunError, match="has more than 1 files"):
        reading.refuse_what_leads_out(tmp_path)


def test_a_directory_itself_may_be_reached_through_a_link(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "newest").symlink_to(tmp_path / "run")
    reading.refuse_what_leads_out(tmp_path / "newest")

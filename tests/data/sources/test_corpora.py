"""Sources: what each kind of source gives, how it is found again, and what is said when it cannot be read."""

import gzip
import hashlib
import io
import os
import pydoc_data.topics
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.data.sources.corpora import IN_MEMORY_BYTES, open_corpus, open_text, reopen
from ostinato.errors import RunError, SourceError


def whole(corpus) -> str:
    return "".join(corpus.chunks())


def message(source) -> str:
    with pytest.raises(SourceError) as caught:
        list(open_corpus(source).chunks())
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(st.lists(st.text()).filter(any), st.integers(1, 9))
def test_chunks_of_any_size_join_to_the_text(texts, size):
    corpus = replace(open_text(texts), chunk_bytes=size)
    assert whole(corpus) == "".join(texts)
    assert b"".join(corpus.byte_chunks()) == "".join(texts).encode()


def test_a_corpus_is_read_as_often_as_asked_and_a_chunk_at_a_time():
    corpus = replace(open_text("abcdefgh"), chunk_bytes=3)
    assert list(corpus.chunks()) == list(corpus.chunks()) == ["abc", "def", "gh"]


def test_the_default_is_the_language_reference_of_this_python():
    topics = pydoc_data.topics.topics
    assert whole(open_corpus(None)) == "\n\n".join(topics[key] for key in sorted(topics))


def test_a_name_is_a_corpus_unless_a_file_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_corpus("pydoc").kind == "named"
    (tmp_path / "pydoc").write_text("a file of mine")
    assert whole(open_corpus("pydoc")) == "a file of mine"


def test_line_ends_stay_as_they_are(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\rthree\n")
    assert whole(open_corpus(tmp_path / "a.txt")) == "one\r\ntwo\rthree\n"


def test_gz_is_decompressed(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress("naïve ".encode()) + gzip.compress(b"text"))
    assert whole(open_corpus(path)) == "naïve text"


def test_a_folder_is_its_text_files_in_sorted_order(tmp_path):
    for name in ("b.txt", "sub/a.md", "sub/z.rst", "c.TEXT", "code.py", ".hidden.txt", ".git/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name} ")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"a.txt.gz "))
    assert whole(open_corpus(tmp_path)) == "a.txt.gz b.txt c.TEXT sub/a.md sub/z.rst "


def test_a_glob_is_every_file_it_matches_in_sorted_order(tmp_path):
    for name in ("b.tex", "a.tex", "c.txt", "sub.tex/d.tex"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name} ")
    assert whole(open_corpus(f"{tmp_path}/*.tex")) == "a.tex b.tex "
    assert whole(open_corpus(f"{tmp_path}/**/*.tex")) == "a.tex b.tex sub.tex/d.tex "


def test_a_file_with_glob_characters_in_its_name_is_that_file(tmp_path):
    (tmp_path / "[a].txt").write_text("brackets")
    assert whole(open_corpus(tmp_path / "[a].txt")) == "brackets"


def test_standard_input_can_be_read_twice(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("über".encode())))
    corpus = open_corpus("-")
    assert whole(corpus) == whole(corpus) == "über"
    assert corpus.describe()["content"] == hashlib.sha256("über".encode()).hexdigest()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_can_be_read_twice():
    reader, writer = os.pipe()
    os.write(writer, b"from a pipe")
    os.close(writer)
    corpus = open_corpus(f"/dev/fd/{reader}")
    os.close(reader)
    assert whole(corpus) == whole(corpus) == "from a pipe"


def test_a_long_stream_of_texts_waits_in_a_file_that_goes_with_the_corpus():
    piece = "0123456789abcde\n" * 65536
    corpus = open_corpus(piece for _ in range(IN_MEMORY_BYTES // len(piece) + 2))
    assert corpus.data is None
    (spooled,) = corpus.files
    assert hashlib.sha256("".join(corpus.chunks()).encode()).hexdigest() == corpus.content
    del corpus
    assert not spooled.exists()


@pytest.mark.parametrize("source", ["a.txt", ".", "*.txt"])
def test_a_described_corpus_is_found_from_another_folder(tmp_path, monkeypatch, source):
    (tmp_path / "a.txt").write_text("found again")
    monkeypatch.chdir(tmp_path)
    description = open_corpus(source).describe()
    monkeypatch.chdir("/")
    assert whole(reopen(description)) == "found again"


def test_a_described_name_is_found_again():
    assert whole(reopen(open_corpus("pydoc").describe())) == whole(open_corpus("pydoc"))


def test_text_is_not_kept_and_says_so():
    with pytest.raises(SourceError, match="text given in Python, which is not kept"):
        list(reopen(open_text("gone").describe()).chunks())


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"kind": "url", "path": "x"},
        {"kind": "file"},
        {"kind": "file", "path": 3},
        {"kind": "named", "path": "x"},
    ]
    + [{"kind": "text", "name": "<text>", "content": content} for content in (None, "../../etc", "ab")],
)
def test_a_damaged_description_is_refused(description):
    with pytest.raises(RunError, match="damaged"):
        reopen(description)


def test_a_missing_file_is_named_with_the_corpora_there_are(tmp_path):
    path = tmp_path / "missing.txt"
    assert str(path) in message(path)
    assert "pydoc, timemachine, tinyshakespeare" in message(path)


def test_a_mistyped_name_gets_the_nearest_one():
    assert "did you mean 'tinyshakespeare'" in message("tinyshakespear")


def test_a_text_taken_for_a_path_is_said_to_be_no_file():
    assert "there is no file or folder 'once upon" in message("once upon a time " * 1000)


def test_a_folder_without_text_says_what_it_looked_for(tmp_path):
    (tmp_path / "data.csv").write_text("1,2")
    assert ".txt, .text, .md, .rst" in message(tmp_path)
    assert f"{tmp_path}/**/*.tex" in message(tmp_path)


def test_a_glob_without_matches_says_so(tmp_path):
    assert "no file matches" in message(f"{tmp_path}/*.txt")


@pytest.mark.parametrize("source", [[], [""], iter(())])
def test_no_text_at_all_is_empty(source):
    assert "is empty" in message(source)


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b""))
    for path in tmp_path.iterdir():
        assert message(path).startswith(f"{path} is empty")


def test_a_device_is_no_file():
    assert "neither a file nor a folder" in message("/dev/null")


@given(st.text(), st.integers(1, 5))
def test_bytes_that_are_not_utf8_are_named_with_their_offset(text, size):
    data = text.encode() + b"\xff" + b"more"
    corpus = replace(open_text("x"), name="data.txt", data=data, chunk_bytes=size)
    with pytest.raises(
        SourceError, match=rf"data.txt is not UTF-8 .*0xff at offset {len(data) - 5} "
    ) as caught:
        list(corpus.chunks())
    assert "encoder='byte'" in str(caught.value)
    assert b"".join(corpus.byte_chunks()) == data


def test_a_character_cut_off_by_the_end_of_a_file_is_not_utf8(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"good")
    (tmp_path / "b.txt").write_bytes("cut é".encode()[:-1])
    (tmp_path / "c.txt").write_bytes("é".encode()[1:])
    assert f"{tmp_path}/b.txt is not UTF-8 text: byte 0xc3 at offset 4" in message(tmp_path)


def test_a_damaged_gzip_file_is_named(tmp_path):
    path = tmp_path / "a.txt.gz"
    data = gzip.compress(b"some text that is long enough" * 100)
    for damaged in (data[:-20], b"no gzip at all", data[:20] + bytes(20) + data[40:]):
        path.write_bytes(damaged)
        assert message(path).startswith(f"{path} is not a complete gzip file")


def test_half_of_a_surrogate_pair_and_other_types_are_refused():
    assert "surrogate" in message(["fine", "\ud800"])
    assert "got int" in message([1])
    assert "expected a path, a name or texts, got int" in message(3)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("text")
    (tmp_path / "folder" / "a.txt").chmod(0)
    assert "a.txt (Permission denied)" in message(tmp_path / "folder")
    (tmp_path / "folder").chmod(0)
    assert "cannot read" in message(tmp_path / "folder")
    assert "cannot read" in message(tmp_path / "folder" / "a.txt")


def test_a_file_that_vanishes_is_said_to_be_unreadable(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    corpus = open_corpus(tmp_path / "a.txt")
    (tmp_path / "a.txt").unlink()
    with pytest.raises(SourceError, match=r"cannot read .*a\.txt"):
        list(corpus.chunks())

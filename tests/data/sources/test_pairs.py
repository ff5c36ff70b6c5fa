"""Sentence pairs: what each kind of source gives, what is refused, and how it is found again."""

import json
import math
import os

import pytest

from ostinato.data.sources.pairs import Pair, open_pairs
from ostinato.errors import OstinatoError, RunError, SourceError

TSV = "Go.\tGeh.\nI like it. \tIch mag es.\n"
PAIRS = [Pair("Go.", "Geh.", 1), Pair("I like it. ", "Ich mag es.", 2)]


def rows(source, **options) -> list[Pair]:
    return list(open_pairs(source, **options).rows())


def message(source, error: type[OstinatoError] = SourceError, **options) -> str:
    with pytest.raises(error) as caught:
        rows(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Formats.


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz", "a.txt", "pairs"])
def test_a_file_gives_a_pair_of_each_line(write, name):
    assert rows(write(name, TSV)) == PAIRS
    assert rows(str(write(name, TSV.rstrip("\n")))) == PAIRS


def test_lines_end_as_on_any_system_and_a_byte_order_mark_is_no_text(write):
    assert rows(write("a.tsv", "\ufeff" + TSV.replace("\n", "\r\n"))) == PAIRS
    assert rows(write("b.tsv", TSV.replace("\n", "\r"))) == PAIRS
    assert rows(write("c.tsv", "a\u2028b\tc\x85d\n")) == [Pair("a\u2028b", "c\x85d", 1)]


@pytest.mark.parametrize("names", [("a.en", "a.de"), ("a.en.gz", "a.de"), ("a.en", "a.de.gz")])
def test_two_files_give_a_pair_of_each_two_lines(write, names):
    source, target = write(names[0], "Go.\nI like it. \n"), write(names[1], "Geh.\r\nIch mag es.")
    assert rows((source, target)) == PAIRS
    assert rows((str(source), target)) == PAIRS
    tabs = write("tabs", "a\tb\nc\n")
    assert rows((source, tabs))[0] == Pair("Go.", "a\tb", 1)


@pytest.mark.parametrize("kind", [list, tuple, iter, lambda pairs: [list(pair) for pair in pairs]])
def test_pairs_of_python_are_taken_however_they_come(kind):
    pairs = open_pairs(kind([pair[:2] for pair in PAIRS]))
    assert [list(pairs.rows()), list(pairs.rows())] == [PAIRS, PAIRS]
    assert (pairs.size, pairs.files, pairs.at(2)) == (None, (), "<pairs>, pair 2")


def test_two_pairs_in_a_tuple_are_not_two_files():
    assert rows((("a", "b"), ("c", "d"))) == [Pair("a", "b", 1), Pair("c", "d", 2)]


def test_blank_lines_at_the_end_are_no_pairs(write):
    assert rows(write("a.tsv", TSV + "\n  \n\n")) == PAIRS
    source, target = write("a", "Go.\nI like it. \n\n\n"), write("b", "Geh.\nIch mag es.\n\n")
    assert rows((source, target)) == PAIRS
    assert rows((target, source))[1] == Pair("Ich mag es.", "I like it. ", 2)


def test_files_say_how_far_they_are_read(write):
    source, target = write("a", "x\n" * 5000), write("b", "yy\n" * 5000)
    seen = []
    pairs = open_pairs((source, target))
    assert len(list(pairs.rows(seen.append))) == 5000
    assert seen == sorted(seen)
    assert seen[-1] == pairs.size == source.stat().st_size + target.stat().st_size
    assert pairs.at(7) == f"{source} and {target}, line 7"


# Bad rows.

BAD = "a\tb\nno\n\n \tx\na\tb\tc\ny\t\u3000\nc\td\n\n"


def test_bad_rows_are_counted_and_listed_by_line(write):
    path = write("a.tsv", BAD)
    said = message(path)
    assert (
        "has 2 rows without a TAB (lines 2, 3), 2 rows with an empty side (lines 4, 6) and 1 row with "
        "several TABs (line 5); correct them" in said
    )
    assert "skip_bad_rows=True" in said
    pairs = open_pairs(path, skip_bad_rows=True)
    assert list(pairs.rows()) == [Pair("a", "b", 1), Pair("c", "d", 7)]
    assert pairs.skips_bad_rows
    assert pairs.skipped == {"without a TAB": 2, "with an empty side": 2, "with several TABs": 1}
    assert list(open_pairs(pairs.description).rows())[1].number == 7


def test_an_empty_line_of_two_files_is_an_empty_side(write):
    source, target = write("a", "a\n\nb\n\n"), write("b", "x\n\ny\nz\n")
    assert "2 rows with an empty side (lines 2, 4)" in message((source, target))
    assert rows((source, target), skip_bad_rows=True) == [Pair("a", "x", 1), Pair("b", "y", 3)]


def test_missing_sides_of_python_are_empty_sides():
    pairs = [("a", "b"), (None, "b"), ("a", math.nan), ("", "b"), ("a", " \n")]
    assert "4 rows with an empty side (pairs 2, 3, 4, 5)" in message(pairs)
    assert rows(pairs, skip_bad_rows=True) == [Pair("a", "b", 1)]


# What is refused.


def test_files_of_unequal_length_are_told_with_both_counts(write):
    source, target = write("a", "a\n" * 1200), write("b", "b\n" * 1198 + "\n")
    assert "b must have equally many lines, got 1,200 and 1,199" in message((source, target))
    assert "equally many lines, got 1,199 and 1,200" in message((target, source), skip_bad_rows=True)


def test_what_is_no_file_is_told(write, tmp_path):
    there = write("a.tsv", TSV)
    gone = tmp_path / "gone.tsv"
    for source in (gone, (there, gone), (gone, there), there / "deeper"):
        assert "there is no file" in message(source)
    assert "gone.tsv'" in message((there, gone))
    for source in (tmp_path, (tmp_path, there), (there, tmp_path)):
        assert f"{tmp_path} is a folder; give a file" in message(source)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert "is not a regular file" in message(tmp_path / "pipe")
    assert "there is no file 'a\\x00b'" in message("a\0b")


@pytest.mark.parametrize("two", [False, True])
def test_what_is_no_text_is_told_by_its_line(write, two):
    def source(data: bytes):
        path = write("a.tsv", data)
        return (write("b", "x\n" * 2), path) if two else path

    assert "a.tsv, line 2 contains a NUL byte" in message(source(b"a\tb\na\0\tb\n"), skip_bad_rows=True)
    assert "a.tsv, line 2 is not UTF-8: byte 0xff at character 2" in message(
        source(b"a\t\xc3\xa9\na\xff\tb\n")
    )


def test_a_broken_gzip_file_is_told(write):
    path = write("a.tsv.gz", TSV * 100)
    path.write_bytes(path.read_bytes()[:-9])
    assert "a.tsv.gz is not a complete gzip file" in message(path)


@pytest.mark.parametrize("data", ["", "\n\n", "\ufeff"])
def test_empty_sources_are_told(write, data):
    path = write("a.tsv", data)
    assert "a.tsv contains no pairs of a source and a target" in message(path)
    assert "contains no pairs" in message((path, path))
    assert "<pairs> contains no pairs" in message([])
    assert "contains no pairs" in message(write("b.tsv", "bad\n"), skip_bad_rows=True)


@pytest.mark.parametrize("wrong", ["ab", ("a",), ("a", "b", "c"), 5, None])
def test_what_is_no_pair_is_told_by_its_place(wrong):
    said = message([("a", "b"), wrong])
    assert said.startswith(f"expected (source, target) pairs, but number 2 is {wrong!r}")


def test_what_is_no_sentence_is_told():
    assert message([("a", 5)]) == "<pairs>, pair 1: expected a sentence, got int 5"
    assert "<pairs>, pair 2 contains a NUL byte" in message([("a", "b"), ("a\0", "b")])
    assert "half of a surrogate pair" in message([("a", "\ud800")])
    assert "expected a path, a tuple of two paths or (source, target) pairs, got int" in message(7)
    assert "give two files as a tuple of two paths" in message(["a.en", "a.de"])


# Found again.


def test_a_description_opens_the_same_pairs(write):
    tsv, source, target = write("a.tsv", TSV), write("a", "a\n"), write("b", "b\n")
    for given in (tsv, (source, target)):
        pairs = open_pairs(given)
        again = open_pairs(json.loads(json.dumps(pairs.description)))
        assert again.description == pairs.description
        assert again.identity() == pairs.identity()
        assert list(again.rows()) == list(pairs.rows())
    target.unlink()
    assert "there is no file" in message(pairs.description)
    with pytest.raises(SourceError, match="cannot read"):
        pairs.identity()


def test_pairs_of_python_are_known_by_their_content_and_are_not_kept():
    first, same = open_pairs([("a", "b")]), open_pairs(iter([["a", "b"]]))
    assert first.identity() == same.identity() == open_pairs(first.description).identity()
    others = [[("ab", "c")], [("a", "bc")], [("b", "a")], [("a", "b"), ("a", "b")], [("a", "b"), ("", "")]]
    assert len({first.content, *(open_pairs(other).content for other in others)}) == 6
    assert "not kept; give them again" in message(first.description)


def test_a_changed_file_is_another_source(write):
    path = write("a.tsv", TSV)
    before = open_pairs(path).identity()
    assert open_pairs(path, skip_bad_rows=True).identity() != before
    path.write_text(TSV + "more\tmehr\n")
    assert open_pairs(path).identity() != before


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"kind": "file", "path": "", "skip_bad_rows": False},
        {"kind": "file", "path": "a.tsv"},
        {"kind": "files", "paths": ["a"], "skip_bad_rows": False},
        {"kind": "files", "paths": ["a", 5], "skip_bad_rows": False},
        {"kind": "pairs", "content": "abc", "skip_bad_rows": False},
        {"kind": "named", "path": "x", "skip_bad_rows": True},
    ],
)
def test_a_damaged_description_is_told(description):
    assert "the description of the pairs is damaged" in message(description, RunError)

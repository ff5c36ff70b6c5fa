"""What is said about rows that cannot be used, and about files that are broken."""

import json
import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.data.sources import delimited
from ostinato.data.sources.tables import Row, open_table
from ostinato.errors import OstinatoError

CSV = "text,label\nGood,pos\nA bore.,neg\n"

# Bad rows.


BAD = 'text,label\nA,x\n,y\nB,\nC,x,3\n"",x\nD\nE, y \n'


def test_bad_rows_are_counted_and_listed_by_line(message, write):
    said = message(write("a.csv", BAD))
    assert "2 rows without a text (lines 3, 6)" in said
    assert "1 row without a label (line 4)" in said
    assert "2 rows with more or fewer fields than columns (lines 5, 7)" in said
    assert "skip_bad_rows=True" in said


def test_bad_rows_are_skipped_only_when_asked_and_counted(write):
    table = open_table(write("a.csv", BAD), skip_bad_rows=True)
    for _ in range(2):
        assert list(table.rows()) == [Row("A", "x", 2), Row("E", "y", 8)]
        assert sorted(table.skipped.values()) == [1, 2, 2]


def test_many_bad_rows_are_not_all_listed(message, write):
    said = message(write("a.csv", "text,label\nA,x\n" + "B,\n" * 1234))
    assert "1,234 rows without a label (lines 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 1,224 more)" in said


def test_missing_values_of_json_and_python_are_bad_rows_and_empty_texts_are_not(rows, message, write, frame):
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
    data_frame = frame(text=["A", None, math.nan, missing, ""], label=["x", "x", "x", "x", missing])
    assert "3 rows without a text (rows 2, 3, 4) and 1 row without a label (row 5)" in message(data_frame)


def test_a_text_that_is_none_is_told(message, write):
    assert "line 2: expected a text, got int 5" in message(
        write("a.jsonl", '{"text": "A", "label": 1}\n{"text": 5, "label": 1}\n')
    )
    assert "row 1: expected a text, got bytes" in message([(b"A", "x")])
    assert "expected a text or a number as the label, got dict" in message([("A", {"x": 1})])
    for wrong in ["ab"], [("A", "b", "c")], [3]:
        assert "expected (text, label) pairs, but number 1 is" in message(wrong)
    assert "expected a path, (text, label) pairs or a DataFrame, got int" in message(3)


# Broken files.


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz", "a.jsonl"])
@pytest.mark.parametrize(
    ("bad", "said"),
    [("é".encode() + b"\xff", "is not UTF-8: byte 0xff at character"), (b"\0", "contains a NUL byte")],
)
def test_nul_bytes_and_broken_utf8_are_told_by_line(message, write, name, bad, said):
    data = {
        "a.csv": b"text,label\nA,x\nB%s,y\n",
        "a.tsv.gz": b"text\tlabel\nA\tx\nB%s\ty\n",
        "a.jsonl": b'{"text": "A", "label": 1}\n\n{"text": "B%s", "label": 1}\n',
    }[name]
    told = message(write(name, data.replace(b"%s", bad)))
    assert f"{name}, line 3 {said}" in told


def test_nul_bytes_and_broken_utf8_in_a_folder_are_told_by_file_and_line(message, write, tmp_path):
    write("data/a/1.txt", b"fin\xc3\xa9\nbr\xc3oken")
    assert "1.txt, line 2 is not UTF-8: byte 0xc3 at character 3" in message(tmp_path / "data")
    write("data/a/1.txt", b"fine\n\nbr\0ken")
    assert "1.txt, line 3 contains a NUL byte" in message(tmp_path / "data")


def test_escapes_of_json_hide_neither_nul_bytes_nor_half_characters(message, write):
    assert "line 1 contains a NUL byte" in message(write("a.jsonl", '{"text": "A\\u0000", "label": 1}\n'))
    assert "line 1 contains '\\ud800', half of" in message(
        write("b.jsonl", '{"text": "\\ud800", "label": 1}\n')
    )
    assert "row 1 contains '\\udcff', half of" in message([("A", "\udcff")])


def test_a_csv_with_broken_quotes_is_told_by_line(message, write):
    assert "line 3: a quote in the row that begins here is not closed" in message(
        write("a.csv", 'text,label\nA,x\n"B,y\nC,x\n')
    )
    assert "line 2: text follows a closing quote" in message(write("b.csv", 'text,label\n"A"B,y\n'))


def test_a_field_too_long_for_any_text_is_told(message, write, monkeypatch):
    monkeypatch.setattr(delimited, "LARGEST_FIELD", 1000)
    said = message(write("a.csv", 'text,label\nA,x\n"B,y\n' + "C,x\n" * 1000))
    assert "line 3: the row that begins here has a field of more than 1,000 characters" in said


def test_json_lines_must_be_objects(message, write):
    first = '{"text": "A", "label": 1}\n'
    assert "line 2 is not JSON (" in message(write("a.jsonl", first + '{"text": \n'))
    assert "line 2 is a JSON array; every line must be one object" in message(
        write("b.jsonl", first + "[1]\n")
    )
    assert "line 1 is not JSON" in message(write("c.jsonl", "[" * 100_000 + "\n"))


def test_empty_tables_are_told(message, write, tmp_path):
    for name in "a.csv", "a.tsv", "a.jsonl":
        assert "is empty: it has no row" in message(write(name, ""))
    assert "contains no rows with a text and a label" in message(write("b.csv", "text,label\n"))
    assert "contains no rows with a text and a label" in message(
        write("c.csv", "text,label\n,\n"), skip_bad_rows=True
    )
    (tmp_path / "folder" / "pos").mkdir(parents=True)
    assert "folder has no files; it must have a folder per label" in message(tmp_path / "folder")


def test_sources_that_cannot_be_read_are_told(message, write, tmp_path):
    assert "there is no file or folder" in message(tmp_path / "none.csv")
    assert "has no columns: its lines have no TAB, comma or semicolon" in message(write("a.txt", "A\nB\n"))
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
def test_any_file_is_read_or_told_in_one_sentence(rows, tmp_path_factory, name, data):
    path = tmp_path_factory.mktemp("drawn") / name
    path.write_bytes(data)
    told = ""
    try:
        found = rows(path, skip_bad_rows=True)
        assert all(row.label and "\0" not in row.text for row in found)
    except OstinatoError as error:
        told = str(error)
    assert "\n" not in told

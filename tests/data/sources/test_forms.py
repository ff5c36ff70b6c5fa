"""Tables in the forms that people have them in: what each gives, and how it is found again."""

import io
import json
import sys
import zipfile

import pytest

from ostinato.data.sources import grids
from ostinato.data.sources.corpora import open_corpus, reopen
from ostinato.data.sources.pairs import open_pairs
from ostinato.data.sources.tables import Row, open_table
from ostinato.errors import ConfigError
from ostinato.files import lines

GOOD, BAD = "I like it, really", "I do not like it"
ROWS = [(GOOD, "good one"), (BAD, "bad"), ("So good", "good one"), ("So bad", "bad")]


def given(table) -> list[tuple[str, str]]:
    """The rows of a table, which its description gives as well."""
    rows = list(table.rows())
    again = open_table(json.loads(json.dumps(table.description)))
    assert list(again.rows()) == rows
    assert (again.identity(), again.several, again.columns) == (
        table.identity(),
        table.several,
        table.columns,
    )
    return [(row.text, row.label) for row in rows]


def lines_of(form: str, rows=ROWS) -> str:
    return "".join(form.format(text=text, label=label) for text, label in rows)


# Text files.


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", "text,label\n" + lines_of('"{text}",{label}\n')),
        ("crlf.csv", "text,label\r\n" + lines_of('"{text}",{label}\r\n')),
        ("headerless.csv", lines_of('"{text}",{label}\n')),
        ("semicolons.txt", lines_of("{text};{label}\n")),
        ("SMSSpamCollection", lines_of("{label}\t{text}\n")),
        ("apostrophes.csv", lines_of("'{text}',{label}\n")),
        ("array.json", json.dumps([{"text": text, "label": label} for text, label in ROWS], indent=1)),
        ("data.json", json.dumps({"n": 4, "data": [{"text": text, "label": label} for text, label in ROWS]})),
        ("lines.json", "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS)),
        ("lines", "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS)),
    ],
)
def test_the_same_rows_come_from_every_form(write, name, data):
    assert given(open_table(write(name, data))) == ROWS


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig", "cp1252"])
def test_a_table_in_any_encoding_gives_its_rows_and_resumes_with_it(write, encoding):
    data = 'text,label\n"Schöne Grüße, ja",süß\nna ja,geht\n'
    table = open_table(write("a.csv", data.encode(encoding)))
    assert given(table) == [("Schöne Grüße, ja", "süß"), ("na ja", "geht")]
    assert any("read as" in note for note in table.notes) == (encoding in ("utf-16-le", "cp1252"))


def test_the_given_encoding_is_taken(write, message):
    path = write("a.csv", "text,label\ncafé,x\nno,y\n".encode("cp1252"))
    assert given(open_table(path, encoding="koi8-r"))[0] == ("cafИ", "x")
    assert "line 2 is not UTF-8: byte 0xe9 at character 4" in message(path, encoding="utf-8")
    assert "encoding must be one that Python knows" in message(path, ConfigError, encoding="x")


def test_lines_that_begin_with_their_label_are_taken_apart(write):
    one = write("a.txt", lines_of("__label__{label} {text}\n", [("A b", "x"), ("C", "y"), ("A", "x")]))
    assert given(open_table(one)) == [("A b", "x"), ("C", "y"), ("A", "x")]
    questions = "DESC:manner How did it start ?\nHUM:ind Who was it ?\n" * 5
    assert given(open_table(write("train.label", questions)))[:2] == [
        ("How did it start ?", "DESC:manner"),
        ("Who was it ?", "HUM:ind"),
    ]


def test_a_zip_with_one_table_is_read_and_any_other_is_told(write, message):
    def packed(**files: str) -> bytes:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            for name, content in files.items():
                archive.writestr(name.replace("_", "/", 1).replace("__", "."), content)
        return data.getvalue()

    table = "text,label\n" + lines_of('"{text}",{label}\n')
    assert given(open_table(write("a.zip", packed(in_a__csv=table)))) == ROWS
    assert "must contain one file, got 2 files (in/a.csv, in/b.csv)" in message(
        write("b.zip", packed(in_a__csv=table, in_b__csv=table))
    )
    assert "is not a zip file that can be read" in message(write("c.zip", b"PK\x03\x04"))
    assert "its name must end in .zip" in message(write("a.csv", packed(in_a__csv=table)))
    assert "its name must end in .gz" in message(write("b.csv", b"\x1f\x8b\x08\0\0"))


def test_json_that_is_no_table_is_told(write, message):
    assert "a.json, object 2 is a JSON number" in message(write("a.json", '[{"text": "A"}, 3]'))
    assert "b.json is a JSON object; it must be an array" in message(write("b.json", '{\n"a": 1\n}'))
    assert "c.json is not JSON" in message(write("c.json", "[\n{"))


# Spreadsheets and columnar files.


@pytest.mark.parametrize(
    ("name", "start", "says"),
    [
        (
            "a.parquet",
            b"PAR1",
            "is a Parquet file, which needs pandas and pyarrow: pip install pandas pyarrow",
        ),
        ("a.csv", b"PAR1", "pandas.read_parquet('a.csv').to_csv('table.csv', index=False)"),
        ("a.xlsx", b"PK\x03\x04", "is an Excel file, which needs pandas and openpyxl"),
        ("a.feather", b"ARROW1", "is a Feather file, which needs pandas and pyarrow"),
    ],
)
def test_what_pandas_reads_is_told_how_to_convert_without_it(write, message, monkeypatch, name, start, says):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert says in message(write(name, start))


@pytest.mark.parametrize("ending", ["xlsx", "parquet", "feather"])
def test_what_pandas_reads_gives_its_rows(tmp_path, message, ending):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("openpyxl" if ending == "xlsx" else "pyarrow")
    frame = pandas.DataFrame({"id": [7, 8], "text": ["A", None], "stars": [5, 1]})
    path = tmp_path / f"a.{ending}"
    getattr(frame, "to_excel" if ending == "xlsx" else f"to_{ending}")(
        path, **{"index": False} if ending == "xlsx" else {}
    )
    table = open_table(path, label="stars", skip_bad_rows=True)
    assert given(table) == [("A", "5")]
    assert "is no file of text; leave out its encoding" in message(path, ConfigError, encoding="cp1252")
    path.write_bytes(path.read_bytes()[:40])
    assert "that cannot be read" in message(path)


def test_numbers_in_a_spreadsheet_are_texts_as_they_are_seen(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("openpyxl")
    path = tmp_path / "a.xlsx"
    pandas.DataFrame({"text": [2020, "A b"], "label": [1, 0]}).to_excel(path, index=False)
    assert given(open_table(path)) == [("2020", "1"), ("A b", "0")]


# Several labels.


def test_lists_in_json_are_several_labels_also_none(write):
    data = [{"text": "A", "label": ["x", "y z"]}, {"text": "B", "label": []}, {"text": "C", "label": "x"}]
    table = open_table(write("a.jsonl", "".join(json.dumps(each) + "\n" for each in [*data, {"text": "D"}])))
    assert table.several
    assert given(table) == [("A", "x\x1fy z"), ("B", ""), ("C", "x"), ("D", "")]


def test_several_columns_of_0_and_1_are_several_labels(write, message, frame):
    path = write("a.csv", "text,rude,mad,n\nA,1,0,3\nB,0,,4\nC,yes,TRUE,5\n")
    table = open_table(path, label=("rude", "mad"))
    assert (table.several, table.columns) == (True, ("text", "rude\x1fmad"))
    assert given(table) == [("A", "rude"), ("B", ""), ("C", "rude\x1fmad")]
    assert "line 2: the column 'n' of several label columns must be 0 or 1" in message(
        path, label=["rude", "n"]
    )
    assert "name it with label='rude', or several of 0 and 1 with label= for each" in message(
        write("b.csv", "words,rude,mad\nA b,1,0\nC d,0,1\nE f,0,0\n")
    )
    flags = open_table(frame(text=["A", "B"], x=[1, 0], y=[1.0, 0.0]), label=["x", "y"])
    assert [row.label for row in flags.rows()] == ["x\x1fy", ""]


def test_several_labels_of_fasttext_and_of_python_are_several_labels(write):
    table = open_table(write("a.txt", "__label__x __label__y A\n__label__x B\n"))
    assert table.several
    assert given(table) == [("A", "x\x1fy"), ("B", "x")]
    table = open_table([{"text": "A", "labels": ["x", "y"]}, {"text": "B", "labels": []}])
    assert (table.several, [row.label for row in table.rows()]) == (True, ["x\x1fy", ""])
    assert not open_table([{"text": "A", "label": "x"}]).several


def test_a_list_after_single_labels_is_a_bad_row(write, message, monkeypatch):
    monkeypatch.setattr(grids, "SAMPLE", 1)
    path = write("a.jsonl", '{"text": "A", "label": "x"}\n{"text": "B", "label": ["x"]}\n')
    assert "1 row with several labels, where the first rows have one (line 2)" in message(path)


# Folders.


def test_a_folder_of_lists_gives_every_line_with_the_name_of_its_file(write, tmp_path):
    write("names/Italian.txt", "Rossi\n\nBianchi\r\n")
    write("names/Old Norse.txt", "Óðinn\n".encode("cp1252"))
    table = open_table(tmp_path / "names")
    assert given(table) == [("Rossi", "Italian"), ("Bianchi", "Italian"), ("Óðinn", "Old Norse")]
    assert "took every line as a text, and the name of its file as the label" in table.notes[0]


def test_folders_of_other_files_and_of_parts_are_told(write, message, tmp_path):
    write("mail/a.eml", "A")
    said = message(tmp_path / "mail")
    assert "mail has 'a.eml'; it must have a folder per label with a file per text, or a .txt file" in said
    for part in ("train", "test"):
        write(f"data/{part}.txt", "A")
    assert "data has test.txt and train.txt, which are parts and no labels" in message(tmp_path / "data")


# Standard input.


class Typed:
    """Standard input with these bytes."""

    def __init__(self, data: bytes):
        self.buffer = io.BytesIO(data)


def test_standard_input_is_a_table_that_is_kept_to_resume(monkeypatch, message, cache):
    data = "label\ttext\ngood\tI like it\nbad\tI do not\n".encode("utf-16")
    tables = []
    for _ in range(2):
        monkeypatch.setattr(sys, "stdin", Typed(data))
        tables.append(open_table("-"))
    assert given(tables[0]) == [("I like it", "good"), ("I do not", "bad")]
    assert tables[0].identity() == tables[1].identity()
    assert len(list((cache / "input").iterdir())) == 1
    assert tables[0].notes[-1].startswith("standard input: took column 'text'")
    monkeypatch.setattr(sys, "stdin", Typed(b""))
    assert "standard input is empty" in message("-")


# Sizes and shapes.


def test_a_single_huge_line_is_told(write, message, monkeypatch):
    monkeypatch.setattr(lines, "LARGEST_TEXT", 10_000)
    assert "line 1 has 10,000 characters or more, which no text does" in message(
        write("a.csv", "a b " * 5000)
    )


def test_two_hundred_labels_and_rare_ones_are_kept(write):
    rows = [(f"text number {n}, of some length", f"label {n % 200}") for n in range(800)]
    rows += [("a rare one", "rare, but there")]
    data = "text,label\n" + lines_of('"{text}","{label}"\n', rows)
    assert given(open_table(write("a.csv", data))) == rows


def test_a_column_of_a_row_number_is_not_a_label(write):
    data = "text,label\n" + "".join(f"some words {n},{int(n == 7)}\n" for n in range(100))
    table = open_table(write("a.csv", data))
    assert sum(row.label == "1" for row in table.rows()) == 1


def test_rows_keep_their_lines(write):
    path = write("a.txt", "I like it\tgood\n\nI do\tgood\nNo\tbad\n")
    assert list(open_table(path).rows())[1] == Row("I do", "good", 3)


def test_descriptions_of_older_versions_open_as_they_did(write):
    table = write("a.csv", "text,label\nA,x\nB,y\n")
    old = {"kind": "file", "path": str(table), "text": "text", "label": "label", "skip_bad_rows": False}
    assert list(open_table(old).rows()) == [Row("A", "x", 2), Row("B", "y", 3)]
    pairs = {"kind": "file", "path": str(write("a.tsv", "A\tB\n")), "skip_bad_rows": False}
    assert [row[:2] for row in open_pairs(pairs).rows()] == [("A", "B")]
    text = write("a.txt", "\ufeffA text\n")
    old_text = {"kind": "file", "path": str(text)}
    assert "".join(reopen(old_text).chunks()) == "\ufeffA text\n"
    new = open_corpus(text)
    assert "".join(new.chunks()) == "".join(reopen(new.describe()).chunks()) == "A text\n"


def test_a_text_in_any_encoding_is_read_and_said(write):
    text = "今天天气很好。这部电影很难看。\n" * 9
    corpus = open_corpus(write("a.txt", text.encode("gb18030")))
    assert "".join(corpus.chunks()) == text
    assert corpus.encoding_notes()[0].endswith("a.txt: read as gb18030; give another with encoding=")
    given_one = open_corpus(write("b.txt", "é".encode("cp1252")), encoding="cp1251")
    assert "".join(reopen(given_one.describe()).chunks()) == "й"
    assert given_one.encoding_notes() == ()

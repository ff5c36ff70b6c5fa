"""Which column is the text and which the label: named, found, guessed, or asked for."""

import pytest

from ostinato.data.sources.tables import Row, open_table
from ostinato.errors import ConfigError, SourceError

CSV = "review,sentiment\nGood,pos\nA bore.,neg\n"


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


def test_columns_that_are_not_there_name_those_that_are(message, write, frame):
    path = write("a.csv", "text,label,kind\nA,pos,x\n")
    said = message(path, label="lable")
    assert "has no label column 'lable'; its columns are 'text', 'label', 'kind'" in said
    assert "did you mean 'label'?" in said
    assert "no text column 'words'" in message(path, text="words")
    assert "no text column 'words'" in message(write("a.jsonl", '{"text": "A", "label": 1}\n'), text="words")
    assert "the DataFrame has no label column 'z'" in message(frame(a=["A"], b=[1]), text="a", label="z")


def test_columns_that_are_not_obvious_are_asked_for(message, write):
    said = message(write("a.csv", "text,class,category\nA,x,y\n"))
    assert "cannot tell which column of" in said
    assert "is the label: 'class' and 'category' both may be; name it with label='class'" in said
    assert "its columns are 'text', 'class'" in said
    assert "the text and the label" in message(write("b.csv", "a,b\nx,y\nx,y\nz,y\n"))
    assert "the text and the label" in message(write("c.csv", "a,b,c\nx,y,z\n"))


def test_a_table_without_a_header_has_columns_with_numbers_and_says_so(write):
    table = open_table(write("a.csv", "I like it,pos\nI do not,neg\nI do,pos\nNo,neg\n"))
    assert [(row.text, row.label) for row in table.rows()][:2] == [("I like it", "pos"), ("I do not", "neg")]
    assert "the first row is like the others, so the columns have numbers as names" in table.notes[0]
    assert "took column '1' as the text and '2' as the label" in table.notes[1]
    assert list(open_table(table.description).rows()) == list(table.rows())


def test_columns_must_be_two_and_each_there_once(message, write):
    assert "must be two columns" in message(write("a.csv", CSV), ConfigError, text="review", label="review")
    assert "more than one column 'text'" in message(write("b.csv", "text,text,label\nA,B,x\n"), text="text")


def test_sources_without_columns_take_no_names(message, write, tmp_path):
    write("data/pos/a.txt", "Nice.")
    assert "no columns to choose" in message(tmp_path / "data", ConfigError, label="pos")
    assert "no columns to choose" in message([("A", "x")], ConfigError, text="A")


# Guesses from content.


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        ("v1,v2,,\n" + "".join(f"ham,Go now {n},,\nspam,You won {n},,\n" for n in range(5)), ("v2", "v1")),
        (
            ",id,what,kind\n" + "".join(f"{n},{n + 9000},a text {n},{n % 2}\n" for n in range(9)),
            ("what", "kind"),
        ),
        (
            "url,date,score,said,mood\n"
            + "".join(
                f"http://a.b/{n},2024-01-{n:02},0.{n},Words of {n},{'up' if n % 2 else 'down'}\n"
                for n in range(1, 9)
            ),
            ("said", "mood"),
        ),
        (
            "title,description,topic\n" + "".join(f"T {n},A longer text {n},{n % 3}\n" for n in range(9)),
            ("description", "topic"),
        ),
        (
            "a_sentiment,airline,words\n"
            + "".join(f"{'good' if n % 2 else 'bad'},{'X' if n % 3 else 'Y'},Text {n}\n" for n in range(9)),
            ("words", "a_sentiment"),
        ),
        (
            "label,label_name,words\n"
            + "".join(f"{n % 2},{'no' if n % 2 else 'yes'},Text {n}\n" for n in range(9)),
            ("words", "label"),
        ),
        (
            "kind,kind_id,words\n"
            + "".join(f"{'no' if n % 2 else 'yes'},{n % 2},Text {n}\n" for n in range(9)),
            ("words", "kind"),
        ),
    ],
)
def test_columns_are_guessed_from_what_they_contain(write, data, columns):
    table = open_table(write("a.csv", data))
    assert table.columns == columns
    assert f"took column {columns[0]!r} as the text and {columns[1]!r} as the label" in table.notes[-1]


def test_two_plausible_label_columns_are_both_named(message, write):
    rows = "".join(f"Text {n},{n % 2},{'x' if n % 3 else 'y'}\n" for n in range(9))
    said = message(write("a.csv", "words,coarse,fine\n" + rows))
    assert "is the label: 'coarse' and 'fine' both may be; name it with label='coarse'" in said


@pytest.mark.parametrize("columns", ["2,1", "words,kind", ("2", "kind"), '"words",kind'])
def test_both_columns_are_named_at_once_by_name_or_number(write, columns):
    table = open_table(write("a.csv", "kind,words,more\nx,A,1\ny,B,2\n"), columns=columns)
    assert list(table.rows()) == [Row("A", "x", 2), Row("B", "y", 3)]
    assert table.notes == ()


def test_columns_that_are_no_two_are_told(message, write):
    path = write("a.csv", CSV)
    for wrong in ("review", "a,b,c", "review,", ("a",)):
        assert "columns= must be two names or numbers" in message(path, ConfigError, columns=wrong)
    assert "leave out text= and label=" in message(path, ConfigError, columns="1,2", text="review")
    assert "must be two columns, got '1' for both" in message(path, ConfigError, columns="1,1")
    assert "must be different columns" in message(path, ConfigError, columns="1,review")
    assert "has no label column '3'" in message(path, columns="1,3")


def test_a_sorted_table_is_looked_into_further_on(write):
    rows = [f"Some words {n} and more of them,{'a' if n < 6000 else 'b'},{n % 3}\n" for n in range(12000)]
    assert "'mood' and 'n' both may be" in _said(write("a.csv", "words,mood,n\n" + "".join(rows)))
    rows = [row.rpartition(",")[0] + ",0\n" for row in rows]
    assert open_table(write("b.csv", "words,mood,n\n" + "".join(rows))).columns == ("words", "mood")


def _said(path) -> str:
    with pytest.raises(SourceError) as caught:
        open_table(path)
    return str(caught.value)

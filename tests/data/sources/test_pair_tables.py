"""Pairs in tables: which columns are taken, and how they are found again."""

import json

import pytest

from ostinato.data.sources.pairs import open_pairs
from ostinato.errors import ConfigError, OstinatoError, SourceError

PAIRS = [("Go now.", "Geh."), ("I like it.", "Ich mag es."), ("Where is it?", "Wo ist es?")]


def given(pairs) -> list[tuple[str, str]]:
    rows = list(pairs.rows())
    again = open_pairs(json.loads(json.dumps(pairs.description)))
    assert list(again.rows()) == rows
    assert again.identity() == pairs.identity()
    return [row[:2] for row in rows]


def message(source, error: type[OstinatoError] = SourceError, **options) -> str:
    with pytest.raises(error) as caught:
        list(open_pairs(source, **options).rows())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_attribution_is_left_out_and_said(write):
    by = "CC-BY 2.0 (France) Attribution: tatoeba.org #{n} (CM) & #{n} (x)"
    rows = "".join(f"{a}\t{b}\t{by.format(n=n)}\n" for n, (a, b) in enumerate(PAIRS))
    pairs = open_pairs(write("deu.txt", rows))
    assert given(pairs) == PAIRS
    assert "took column '1' as the source and '2' as the target; left out '3'" in pairs.notes[-1]


def test_numbers_of_sentences_are_left_out(write):
    rows = "".join(f"{n + 100}\t{a}\t{n + 9}\t{b}\n" for n, (a, b) in enumerate(PAIRS))
    assert given(open_pairs(write("a.tsv", rows))) == PAIRS


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", "en,de\n" + "".join(f'"{a}","{b}"\n' for a, b in PAIRS)),
        ("a.csv.gz", "id,target,source\n" + "".join(f'7,"{b}","{a}"\n' for a, b in PAIRS)),
        ("a.jsonl", "".join(json.dumps({"source": a, "target": b}) + "\n" for a, b in PAIRS)),
        ("a.json", json.dumps([{"en": a, "de": b} for a, b in PAIRS])),
        ("a.txt", "".join(json.dumps({"source": a, "target": b}) + "\n" for a, b in PAIRS)),
    ],
)
def test_tables_give_their_pairs(write, name, data):
    assert given(open_pairs(write(name, data))) == PAIRS


@pytest.mark.parametrize("columns", ["3,1", "there,here", ("there", "1")])
def test_the_columns_are_named_by_name_or_number(write, columns):
    path = write("a.tsv", "here\tn\tthere\n" + "".join(f"{b}\t1\t{a}\n" for a, b in PAIRS))
    pairs = open_pairs(path, columns=columns)
    assert given(pairs) == PAIRS
    assert pairs.notes == ()


def test_columns_that_cannot_be_told_are_asked_for(write):
    path = write("a.csv", "x,y,z\n" + "".join(f"{a},{b},{a} or {b}\n" for a, b in PAIRS))
    assert "name them with columns='SOURCE,TARGET'; its columns are 'x', 'y', 'z'" in message(path)
    assert "has no column 'w'; its columns are 'x', 'y', 'z'" in message(path, columns="w,x")
    assert "must be different columns" in message(path, ConfigError, columns="x,1")
    assert "only a table has columns" in message((path, path), ConfigError, columns="x,y")


def test_python_gives_dicts_and_data_frames(frame):
    dicts = [{"source": a, "target": b} for a, b in PAIRS]
    assert [row[:2] for row in open_pairs(dicts).rows()] == PAIRS
    data = frame(n=[1, 2, 3], en=[a for a, _ in PAIRS], de=[b for _, b in PAIRS])
    pairs = open_pairs(data)
    assert [row[:2] for row in pairs.rows()] == PAIRS
    assert pairs.notes == (
        "the DataFrame: took column 'en' as the source and 'de' as the target; left out 'n'",
    )
    assert "expected dicts with a 'source' and a 'target'" in message([{"source": "a"}])


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_pairs_in_any_encoding_are_read(write, encoding):
    rows = [("the café", "das Café"), ("for you", "für dich")]
    lines = "".join(f"{a}\t{b}\n" for a, b in rows)
    assert given(open_pairs(write("a.tsv", lines.encode(encoding)))) == rows
    two = tuple(write(f"{at}", "".join(f"{row[at]}\n" for row in rows).encode(encoding)) for at in (0, 1))
    assert given(open_pairs(two)) == rows
    one = write("b.tsv", "a\tcafé\n".encode("cp1252"))
    assert given(open_pairs(one, encoding="koi8-r")) == [("a", "cafИ")]
    assert "line 1 is not UTF-8" in message(one, encoding="utf-8")


def test_rows_of_another_width_are_bad_rows(write):
    path = write("a.csv", "en,de\nGo,Geh\nGo,Geh,x\nHi,Hallo\n,\n")
    assert "1 row with more or fewer fields than columns (line 3)" in message(path)
    assert given(open_pairs(path, skip_bad_rows=True)) == [("Go", "Geh"), ("Hi", "Hallo")]

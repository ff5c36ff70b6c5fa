"""Tables, pairs and lists that something has damaged: one sentence, or rows. Never a traceback."""

import gzip
import io
import json
import random
import zipfile

import pytest

from ostinato.data.sources.corpora import open_corpus
from ostinato.data.sources.pairs import open_pairs
from ostinato.data.sources.tables import open_table
from ostinato.errors import ConfigError, SourceError

from ...variants import examples

WORDS = [
    "good",
    "bad",
    "café",
    "今天",
    "день",
    "it's",
    '"so"',
    "a, b",
    "x;y",
    "",
    "1",
    "0.5",
    "https://a.b",
    "\u2028",
]
ENCODINGS = ["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "gb18030", "cp1251"]
ENDINGS = ["csv", "tsv", "txt", "jsonl", "json", "", "csv.gz", "zip", "xlsx", "parquet", "label"]
SEPARATORS = [",", ";", "\t", "|", " "]
MARKS = [
    "\ufeff".encode(),
    b"\xff\xfe",
    b"\0",
    b'"',
    b"'",
    b"\r",
    b"\n",
    b"\t",
    b"__label__",
    b"[",
    b"{",
    b"\xff",
]


def drawn_table(draw: random.Random) -> bytes:
    """A table or a list as people have them."""
    columns, separator = draw.randint(1, 5), draw.choice(SEPARATORS)
    rows = [
        [" ".join(draw.choices(WORDS, k=draw.randint(0, 6))) for _ in range(columns - 1)]
        + [draw.choice("xy")]
        for _ in range(draw.randint(0, 30))
    ]
    names = draw.sample(["text", "label", "id", "", "v1", "v2", "source", "target"], columns)
    kind = draw.random()
    if kind < 0.2:
        objects = [dict(zip(names, row, strict=True)) for row in rows]
        text = (
            json.dumps(objects) if draw.random() < 0.5 else "".join(json.dumps(row) + "\n" for row in objects)
        )
    elif kind < 0.3:
        text = "".join(f"__label__{row[-1]} {' '.join(row)}\n" for row in rows)
    else:
        head = [names] if draw.random() < 0.7 else []
        end = draw.choice(["\n", "\r\n", "\r"])
        text = "".join(separator.join(row) + end for row in head + rows)
    return text.encode(draw.choice(ENCODINGS), "ignore")


def mutated(data: bytes, draw: random.Random) -> bytes:
    """The bytes with something done to them."""
    at, to = sorted(draw.randint(0, len(data)) for _ in range(2))
    lines = data.split(b"\n")
    line = draw.randrange(len(lines))
    return draw.choice(
        [
            lambda: data,
            lambda: b"",
            lambda: data[:at],
            lambda: data[:at] + data[to:],
            lambda: data[:at] + bytes(draw.randrange(256) for _ in range(3)) + data[at:],
            lambda: data[:at] + draw.choice(MARKS) + data[at:],
            lambda: data.replace(draw.choice(MARKS), draw.choice(MARKS)),
            lambda: data.replace(draw.choice(SEPARATORS).encode(), draw.choice(SEPARATORS).encode()),
            lambda: data.replace(b'"', b"", 1),
            lambda: b"\n".join(lines[:line] + lines[line + 1 :]),
            lambda: b"\n".join([*lines[:line], lines[line] * 2, *lines[line:]]),
            lambda: b"\n".join([*lines[:line], lines[line].rpartition(b",")[0], *lines[line + 1 :]]),
            lambda: data[:at] + b"x" * 300_000 + data[at:],
            lambda: data + "день".encode("cp1251") + b"\n",
            lambda: data + drawn_table(draw),
        ]
    )()


def packed(data: bytes, ending: str, draw: random.Random) -> bytes:
    """The content of a file of this ending."""
    if ending == "zip":
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as archive:
            archive.writestr("a.csv", data)
        data = inner.getvalue()
    elif ending.endswith("gz"):
        data = gzip.compress(data)
    else:
        return data
    return mutated(data, draw) if draw.random() < 0.2 else data


def read_or_told(kind: str, path, draw: random.Random) -> int | None:
    """The number of rows of a source, or None where one sentence says what is wrong with it."""
    encoding, skip = draw.choice([None, None, *ENCODINGS]), draw.random() < 0.7
    columns = draw.choice([{}, {}, {"columns": "1,2"}])
    try:
        if kind == "list":
            rows = open_corpus(path, encoding=encoding).chunks()
        elif kind == "pairs":
            rows = open_pairs(path, encoding=encoding, skip_bad_rows=skip, **columns).rows()
        else:
            columns = draw.choice([columns, {"text": "text"}, {"label": ["label", "v1"]}])
            rows = open_table(path, encoding=encoding, skip_bad_rows=skip, **columns).rows()
        return sum(1 for _ in rows)
    except (SourceError, ConfigError) as error:
        said = str(error)
    assert "\n" not in said
    assert 10 < len(said) < 3000
    return None


@pytest.mark.parametrize("kind", ["table", "pairs", "list"])
def test_damaged_sources_give_rows_or_one_sentence(tmp_path, kind):
    draw, counts = random.Random(f"{kind}: 7"), []
    for number in range(examples(50, 334)):
        data = drawn_table(draw)
        for _ in range(draw.randint(0, 3)):
            data = mutated(data, draw)
        ending = draw.choice(ENDINGS)
        path = tmp_path / f"{number}.{ending}".rstrip(".")
        path.write_bytes(packed(data, ending, draw))
        counts.append(read_or_told(kind, path, draw))
        path.unlink()
    assert any(counts), "none was read"
    assert None in counts, "none was told"

"""Files are data from strangers: whatever is in them, a reader succeeds or says in a sentence what is wrong.

Here tables, pairs, texts and recipes; runs are in `test_hostile_runs.py`, Keras' models in
`test_hostile_models.py`. The cases are the same each time. OSTINATO_HOSTILE_CASES=20 draws twenty times as
many, others every time.
"""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.data.sources.corpora import open_corpus
from ostinato.data.sources.pairs import open_pairs
from ostinato.data.sources.tables import open_table
from ostinato.errors import ConfigError, SourceError
from ostinato.files import plain as plain_files
from ostinato.tasks import registry
from ostinato.training.config import TrainingConfig
from ostinato.training.recipes import read_recipe_file

from . import test_hostile_models, test_hostile_runs
from .mutations import NO_PLAIN_FILES, NoPlainFile, changed_bytes, put, sparse
from .strangers import Outside, cases, guarded

CASES = {"tables": 560, "pairs": 240, "texts": 160, "recipes": 320}
TABLES = ("table.csv", "table.tsv", "table.jsonl", "table.csv.gz")


def test_there_are_two_thousand_cases():
    counts = (CASES, test_hostile_runs.CASES, test_hostile_models.CASES)
    assert sum(sum(each.values()) for each in counts) >= 2000


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Outside:
    """A folder with real files, and another which nobody may touch."""
    outside = Outside(tmp_path_factory.mktemp("strangers"))
    outside.write_sources()
    return outside


def read_table(path: Path, skip: bool) -> None:
    table = open_table(path, skip_bad_rows=skip)
    table.identity()
    for _ in table.rows():
        pass
    for _ in open_table(json.loads(json.dumps(table.description))).rows():
        pass


@st.composite
def damaged_contents(draw, data: bytes, *, packed: bool) -> bytes | NoPlainFile:
    """What is in the place of a real file; of a packed one, before or after it was packed."""
    if draw(st.integers(0, 30)) == 0:
        return draw(st.sampled_from(NO_PLAIN_FILES))
    if packed and draw(st.booleans()):
        return gzip.compress(draw(changed_bytes(gzip.decompress(data))), 1, mtime=0)
    return draw(changed_bytes(data))


@st.composite
def damaged_files(draw, folder: Path, names: tuple[str, ...]) -> tuple[str, bytes | NoPlainFile]:
    """One of some files, and what is in its place."""
    name = draw(st.sampled_from(names), "file")
    content = draw(damaged_contents((folder / name).read_bytes(), packed=name.endswith(".gz")))
    return name, content


def check_files(
    home: Outside, names: tuple[str, ...], count: int, read: Callable[[Path, bool], None], record_property
) -> None:
    """Damages one of some real files, and reads it.

    Args:
        home: where they lie.
        names: of the files.
        count: of cases.
        read: called with the path, and something drawn: whether to be lenient.
        record_property: pytest's.
    """

    @cases(count, record_property)
    @given(damaged=damaged_files(home.home, names), lenient=st.booleans())
    def check(damaged, lenient):
        name, content = damaged
        with home.copy_of(home.home / name) as path, guarded(home):
            put(path, content, home.outside)
            with home.refusals():
                read(path, lenient)

    check()


def test_tables(home, record_property):
    check_files(home, TABLES, CASES["tables"], read_table, record_property)


def test_pairs(home, record_property):
    def read(path: Path, skip: bool) -> None:
        for source in (path, (path, home.home / "pairs.tsv")):
            pairs = open_pairs(source, skip_bad_rows=skip)
            pairs.identity()
            for _ in pairs.rows():
                pass

    check_files(home, ("pairs.tsv", "pairs.tsv.gz"), CASES["pairs"], read, record_property)


def test_texts(home, record_property):
    def read(path: Path, by_bytes: bool) -> None:
        if path.is_fifo():
            return  # a pipe that is named on the command line is waited for, as by any program
        corpus = open_corpus(path)
        corpus.stamps()
        for count, _ in enumerate(corpus.byte_chunks() if by_bytes else corpus.chunks()):
            if count > 3:
                return  # a text may be of any size

    check_files(home, ("text.txt", "text.txt.gz"), CASES["texts"], read, record_property)


def test_recipes(home, record_property):
    def read(path: Path, other: bool) -> None:
        task = "classifier" if other else "language_model"
        recipe = read_recipe_file(task, path)
        registry.spec(task).config(**recipe.task)
        TrainingConfig(**recipe.training)

    check_files(home, ("recipe.toml",), CASES["recipes"], read, record_property)


@pytest.mark.parametrize(
    ("name", "head", "row"),
    [
        ("a.csv.gz", "text,label\n", "a,b\n"),
        ("a.jsonl.gz", "", '{"text": "a", "label": 1}\n'),
        ("a.gz", "", "a\tb\n"),
    ],
)
def test_what_unpacks_to_far_more_than_any_text_is_refused(home, tmp_path, monkeypatch, name, head, row):
    monkeypatch.setattr(plain_files, "_HARMLESS", 1 << 22)
    path = tmp_path / name
    path.write_bytes(gzip.compress((head + row.replace("a", "a" * 100_000, 1) * 200).encode(), 1))
    opened = open_pairs if name == "a.gz" else open_table
    for read in (lambda: opened(path).rows(), lambda: open_corpus(path).chunks()):
        with guarded(home), pytest.raises(SourceError, match="unpacks to more than 200 times its size"):
            list(read())


def test_a_line_longer_than_any_text_is_refused(home, tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text,label\n" + b"a" * (1 << 25), 1))
    with guarded(home), pytest.raises(SourceError, match="line 2 has 16,777,216 characters or more"):
        open_table(tmp_path / "a.csv.gz")


def test_a_folder_of_texts_with_pipes_and_bombs_is_refused(home, tmp_path):
    for label in ("good", "bad"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.txt").write_text("a text")
    table = open_table(tmp_path)
    for name, make in {
        "pipe.txt": os.mkfifo,
        "long.txt": lambda path: sparse(path, 1 << 40),
        "bomb.txt.gz": lambda path: path.write_bytes(gzip.compress(bytes(1 << 25), 1)),
    }.items():
        make(tmp_path / "good" / name)
        with (
            guarded(home),
            pytest.raises(SourceError, match=r"not a regular file|must have at most|unpacks to more than"),
        ):
            list(open_table(tmp_path).rows())
        (tmp_path / "good" / name).unlink()
    assert len(list(table.rows())) == 2


def test_a_recipe_too_deep_or_with_too_long_a_number_is_refused(home, tmp_path):
    for text in ("a = " + "[" * 5000, "a = " + "9" * 5000, "x" * 5000, "\0"):
        (tmp_path / "my.toml").write_text(text)
        with guarded(home), pytest.raises(ConfigError, match="is not TOML"):
            read_recipe_file("language_model", tmp_path / "my.toml")

"""ostinato train classify: every kind of table, every kind of decision, and tables that are refused."""

import csv
import functools
import gzip
import io
import json
from collections import UserDict
from pathlib import Path

import numpy as np
import pytest

import ostinato as package
from ostinato.runs.trained import TrainedRun
from ostinato.tasks.classifier import SPEC

from ...variants import one_each

pytestmark = pytest.mark.usefixtures("eagerly")
GOOD = ("a joy to watch", "great fun", "warm and funny from start to end", "a great warm film")
BAD = ("dull", "a waste of time", "slow dull and far too long for what it is", "a dull awful film")
PAIRS = [
    (f"{text} {n}", label) for n in range(6) for label, some in (("pos", GOOD), ("neg", BAD)) for text in some
]
TINY = ("--units", "6", "--embedding", "4", "--batch", "8", "--steps", "4")
WHOLE = ("--validation-fraction", "0")


class Frame(UserDict):
    """As much of a pandas DataFrame as is used: `columns`, and iterables by their name."""

    columns = property(UserDict.keys)


def written(name: str, pairs) -> Path:
    """The pairs in a file of the working directory, in the format that its name says."""
    kind = name.removesuffix(".gz").rpartition(".")[2]
    if kind == "jsonl":
        data = "".join(json.dumps({"label": label, "text": text}) + "\n" for text, label in pairs)
    else:
        lines = io.StringIO()
        rows = csv.writer(lines, delimiter="," if kind == "csv" else "\t")
        rows.writerows([("text", "label"), *pairs])
        data = lines.getvalue()
    Path(name).write_bytes(gzip.compress(data.encode()) if name.endswith(".gz") else data.encode())
    return Path(name)


def config_of(run) -> dict:
    return json.loads((Path(run) / "config.json").read_text())


def in_python(settings: str, source, out: Path) -> TrainedRun:
    """What Python trains on a source with the settings of a run, which are its config.json."""
    config = json.loads(settings)
    task = package.ClassifierConfig(**config["task_config"])
    return package.train(task, source, training=package.TrainingConfig(**config["training"]), out=out)


@pytest.fixture(scope="module")
def of_pairs(tmp_path_factory):
    """of_pairs(settings): what Python trains on the pairs, once for equal settings."""

    @functools.cache
    def train(settings: str) -> TrainedRun:
        return in_python(settings, iter(PAIRS), tmp_path_factory.mktemp("pairs") / "same")

    return lambda run: train(settings_of(run))


def settings_of(run) -> str:
    config = config_of(run)
    return json.dumps({name: config[name] for name in ("task_config", "training")})


def assert_the_same(run, other) -> None:
    """A run ended with the weights of another, and its source was the same to it."""
    weights = zip(package.load(run).model.get_weights(), other.model.get_weights(), strict=True)
    assert all(np.array_equal(one, two) for one, two in weights)
    assert config_of(other.directory.path)["source"]["sha256"] == config_of(run)["source"]["sha256"]


# Every kind of table.


@pytest.mark.parametrize(("kind", "packed"), one_each(["csv", "tsv", "jsonl"], ["", ".gz"]))
def test_a_file_of_any_format_trains_the_network_that_its_pairs_train(
    ostinato, folder, of_pairs, kind, packed
):
    answer = ostinato("train", "classify", written(f"a.{kind}{packed}", PAIRS), "--out", "run", *TINY)
    assert answer.code == 0, answer.err
    assert "2 labels (neg, pos); texts: 43 for train, 5 for validation" in answer.err
    assert_the_same("run", of_pairs("run"))


@pytest.mark.thorough
def test_a_folder_per_label_trains_the_network_that_its_pairs_train(ostinato, folder):
    for number, (text, label) in enumerate(PAIRS):
        path = folder / "mail" / label / f"{number:02}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    answer = ostinato("train", "classify", "mail", "--out", "run", *TINY, *WHOLE)
    assert answer.code == 0, answer.err
    by_label = sorted(PAIRS, key=lambda pair: pair[1])
    assert_the_same("run", in_python(settings_of("run"), by_label, Path("same")))


@pytest.mark.thorough
def test_a_data_frame_trains_the_network_that_its_pairs_train(ostinato, folder):
    answer = ostinato("train", "classify", written("a.csv", PAIRS), "--out", "run", *TINY)
    assert answer.code == 0, answer.err
    texts, labels = zip(*PAIRS, strict=True)
    frame = Frame(number=range(len(PAIRS)), review=texts, sentiment=labels)
    assert_the_same("run", in_python(settings_of("run"), frame, Path("same")))


def test_columns_are_named_and_a_table_may_be_kept_for_validation(ostinato, folder):
    lines = [json.dumps({"id": 1, "body": text, "queue": label}) for text, label in PAIRS]
    Path("all.jsonl").write_text("\n".join(lines[:40]) + "\n")
    Path("more.jsonl").write_text("\n".join(lines[40:]) + "\n")
    flags = ["--text", "body", "--label", "queue", "--validation", "more.jsonl"]
    answer = ostinato("train", "classify", "all.jsonl", "--out", "run", *TINY, *flags, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["validation"]["step"] == answer.json["train"]["step"]
    assert "texts: 40 for train, 8 for validation" in answer.err
    assert ostinato("evaluate", "run", "--json").json["examples"] == 8


def test_a_huge_text_is_cut_and_said(ostinato, folder):
    source = written("a.csv", [*PAIRS, ("dull " * 100_000, "neg")])
    answer = ostinato("train", "classify", source, "--out", "run", *TINY, *WHOLE, "--max-tokens", "8")
    assert answer.code == 0, answer.err
    assert "reading up to 8 tokens of a text; 7 longer texts are cut, the longest has 100,000" in answer.err


# Every kind of decision.


def test_more_than_two_labels_are_told_apart(ostinato, folder):
    queues = [(f"{text} {n}", ("bill", "login", "other")[n % 3]) for n in range(6) for text in GOOD]
    answer = ostinato("train", "classify", written("a.csv", queues), "--out", "run", *TINY, *WHOLE)
    assert answer.code == 0, answer.err
    said = json.loads(ostinato("predict", "run", "great fun", "--json").out)
    assert list(said["probabilities"]) == ["bill", "login", "other"]
    assert sum(said["probabilities"].values()) == pytest.approx(1)
    assert said["label"] == max(said["probabilities"], key=said["probabilities"].get)


def test_a_text_may_have_several_labels(ostinato, folder):
    tagged = [(f"{text} {n}", ("warm", "funny", "warm|funny")[n % 3]) for n in range(6) for text in GOOD]
    flags = ["--label-separator", "|"]
    answer = ostinato("train", "classify", written("a.csv", tagged), "--out", "run", *TINY, *WHOLE, *flags)
    assert answer.code == 0, answer.err
    said = json.loads(ostinato("predict", "run", "great fun", "--json").out)
    assert list(said["probabilities"]) == ["funny", "warm"]
    likely = [label for label, probability in said["probabilities"].items() if probability >= 0.5]
    assert said["label"] == "|".join(likely)


# Bad rows.


def gappy(name: str) -> Path:
    """A table of which two rows lack the text, one the label, and one has a field too many."""
    lines = [f"{text},{label}" for text, label in PAIRS]
    Path(name).write_text("\n".join(["text,label", ",neg", ",pos", "dull,", "dull,neg,5", *lines]) + "\n")
    return Path(name)


def test_bad_rows_are_counted_and_listed_by_line(ostinato, folder):
    answer = ostinato("train", "classify", gappy("a.csv"), "--out", "run", *TINY)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(
        "Error: a.csv has 2 rows without a text (lines 2, 3), 1 row without a label (line 4) and "
        "1 row with more or fewer fields than columns (line 5); correct them, or leave them out with "
        "--skip-bad-rows\n"
    )
    assert answer.err.count("\n") == 1
    assert not Path("run").exists()


def test_bad_rows_are_left_out_only_when_asked_and_said(ostinato, folder, of_pairs):
    answer = ostinato("train", "classify", gappy("a.csv"), "--out", "run", *TINY, "--skip-bad-rows")
    assert answer.code == 0, answer.err
    assert "a.csv: left out 2 rows without a text" in answer.err
    assert "a.csv: left out 1 row without a label" in answer.err
    assert_the_same("run", of_pairs("run"))


def test_a_run_that_left_out_bad_rows_does_so_in_every_table_it_judges(ostinato, folder):
    ostinato("train", "classify", gappy("a.csv"), "--out", "run", *TINY, *WHOLE, "--skip-bad-rows")
    figures = ostinato("evaluate", "run", gappy("b.csv"), "--json").json
    assert figures["examples"] == len(PAIRS)
    assert figures.pop("labels").keys() == {label for _, label in PAIRS}
    assert figures == package.evaluate("run", written("whole.csv", PAIRS))
    run = package.load("run")

    def notes(source: str) -> tuple[str, ...]:
        vocabulary = run.directory.vocabulary
        tables = SPEC.open(source, vocabulary)
        return run.task.read(tables, vocabulary=vocabulary, whole=True).notes

    assert notes("b.csv") == (
        "b.csv: left out 2 rows without a text",
        "b.csv: left out 1 row without a label",
        "b.csv: left out 1 row with more or fewer fields than columns",
    )
    assert notes("whole.csv") == ()


def test_a_run_of_before_that_does_not_say_is_one_that_left_out_nothing(ostinato, folder):
    ostinato("train", "classify", written("whole.csv", PAIRS), "--out", "run", *TINY, *WHOLE)
    vocabulary = json.loads(Path("run/vocabulary.json").read_text())
    assert vocabulary.pop("skip_bad_rows") is False
    Path("run/vocabulary.json").write_text(json.dumps(vocabulary))
    assert ostinato("evaluate", "run", "whole.csv", "--json").json["examples"] == len(PAIRS)
    assert "a.csv has 2 rows without a text" in ostinato("evaluate", "run", gappy("a.csv")).err
    Path("run/vocabulary.json").write_text(json.dumps(vocabulary | {"skip_bad_rows": "no"}))
    answer = ostinato("evaluate", "run", "whole.csv")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "the vocabulary is damaged: its 'skip_bad_rows' must be true or false" in answer.err


# What is refused.

FIRST = b"text,label\na,x\n"


REFUSED = {
    "one.csv": (b"text,label\na,x\nb,x\n", "only one label, 'x'"),
    "odd.csv": (FIRST + b"b,y,z\n", "1 row with more or fewer fields than columns (line 3)"),
    "short.tsv": (b"text\tid\tlabel\na\t1\tx\nb\n", "more or fewer fields than columns (line 3)"),
    "gaps.csv": (FIRST + b",y\nb,\n", "1 row without a text (line 3) and 1 row without a label (line 4)"),
    "gaps.jsonl": (b'{"text": "a", "label": 1}\n{"label": 0}\n', "1 row without a text (line 2)"),
    "nul.csv": (FIRST + b"b\0,y\n", "nul.csv, line 3 contains a NUL byte"),
    "nul.tsv.gz": (gzip.compress(b"text\tlabel\na\tx\nb\0\ty\n"), "nul.tsv.gz, line 3 contains a NUL byte"),
    "nul.jsonl": (b'{"text": "a\\u0000", "label": 1}\n', "nul.jsonl, line 1 contains a NUL byte"),
    "latin.csv": (FIRST + b"caf\xc3\xa9\xe9,y\n", "latin.csv, line 3 is not UTF-8: byte 0xe9 at character 5"),
    "latin.jsonl": (
        b'{"text": "caf\xc3\xa9\xe9", "label": 1}\n',
        "latin.jsonl, line 1 is not UTF-8: byte 0xe9",
    ),
    "cut.csv.gz": (gzip.compress(FIRST)[:-9], "cut.csv.gz is not a complete gzip file"),
    "list.jsonl": (b"[1]\n", "list.jsonl, line 1 is a JSON array; every line must be one object"),
    "quote.csv": (FIRST + b'"b,y\n', "line 3: a quote in the row that begins here is not"),
    "columns.csv": (
        b"a,b,c\n1,2,3\n",
        "name both with --text and --label, or with --columns TEXT,LABEL; its columns are 'a'",
    ),
    "photo.jpg": (b"x", "photo.jpg has no columns: its lines have no TAB"),
    "empty.csv": (b"", "empty.csv is empty"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_tables_that_cannot_be_trained_on_are_refused_in_one_line(ostinato, folder, name):
    content, says = REFUSED[name]
    Path(name).write_bytes(content)
    answer = ostinato("train", "classify", name, "--out", "run", *TINY, *WHOLE)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Error: ")
    assert answer.err.count("\n") == 1
    assert says in answer.err
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--text", "body"], "a.csv has no text column 'body'; its columns are 'text', 'label'"),
        (
            ["--label", "lable"],
            "no label column 'lable'; its columns are 'text', 'label'; did you mean 'label'?",
        ),
        (["--text", "label", "--label", "label"], "text and label must be two columns, got 'label'"),
        (["--validation", "odd.csv"], "odd.csv, line 3 has the label 'odd', which is not in training"),
        (["--validation", "odd.csv", "--text", "body"], "a.csv has no text column 'body'"),
        (
            ["--validation", "stars.csv"],
            "stars.csv has no label column 'label'; its columns are 'text', 'stars'",
        ),
        (["--validation", "gaps.csv"], "gaps.csv has 1 row without a label (line 2)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_columns_and_validation_tables_that_do_not_fit_are_refused_in_one_line(ostinato, folder, flags, says):
    written("a.csv", PAIRS)
    Path("odd.csv").write_text("text,label\nfun,pos\nfun,odd\n")
    Path("stars.csv").write_text("text,stars\nfun,5\n")
    Path("gaps.csv").write_text("text,label\nfun,\n")
    answer = ostinato("train", "classify", "a.csv", "--out", "run", *TINY, *flags)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Error: ")
    assert answer.err.count("\n") == 1
    assert says in answer.err
    assert not Path("run").exists()

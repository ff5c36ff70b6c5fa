"""ostinato train classify, predict, evaluate, neighbors: from a table to labels on standard output."""

import csv
import io
import json
import shutil
import sys
from pathlib import Path

import pytest

import ostinato as package
from ostinato.cli.app import main
from ostinato.data.sources.tables import open_table

from ..tiny import made_once

pytestmark = pytest.mark.usefixtures("eagerly")
GOOD = ("a joy to watch", "great fun", "warm and funny from start to end", "a great warm film")
BAD = ("dull", "a waste of time", "slow dull and far too long for what it is", "a dull awful film")
ROWS = [
    (f"{text} {n}", label) for n in range(9) for label, some in (("pos", GOOD), ("neg", BAD)) for text in some
]
TABLE = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)
TINY = ("--units", "6", "--embedding", "4", "--batch", "8", "--lr", "0.03", "--epochs", "8")


def trained(place: Path, *arguments, table: str = TABLE) -> Path:
    """Trains `place/run` on a table and returns its path."""
    (place / "reviews.csv").write_text(table)
    command = ["train", "classify", place / "reviews.csv", "--out", place / "run", *TINY, *arguments]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTINATO_CACHE", str(place / "cache"))
        patch.setattr(sys, "argv", ["ostinato", *map(str, command)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0
    return place / "run"


@pytest.fixture(scope="session")
def trained_classifier(tmp_path_factory) -> Path:
    """The path of a finished run of a classifier."""
    learns = ("--test-fraction", "0.2")
    return made_once(tmp_path_factory, "classifier", lambda place: trained(place, *learns)) / "run"


@pytest.fixture
def classifier(trained_classifier, folder) -> Path:
    """A copy of it in the working directory: `classifier`."""
    shutil.copytree(trained_classifier, folder / "classifier")
    return Path("classifier")


@pytest.fixture
def typed(monkeypatch):
    """typed(bytes): what standard input will give."""

    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return give


# Training.


def test_a_training_says_what_it_took_and_how_to_ask(ostinato, folder):
    (folder / "reviews.csv").write_text(TABLE)
    answer = ostinato("train", "classify", "reviews.csv", "--out", "run", *TINY, "--epochs", "1")
    assert answer.code == 0
    assert answer.out == "run\n"
    assert "2 labels (neg, pos); texts: 65 for train, 7 for validation" in answer.err
    assert "took column 'text' as the text and 'label' as the label" in answer.err
    assert "validation  loss" in answer.err
    assert 'use it: ostinato predict run "…"' in answer.err
    assert json.loads(Path("run/config.json").read_text())["task"] == "classifier"


# Predicting.


def test_every_text_gets_a_line_with_its_label_and_probability(ostinato, classifier):
    answer = ostinato("predict", classifier, "a great warm film", "dull and slow")
    assert (answer.code, answer.err) == (0, "")
    predictions = package.load(classifier).predict(["a great warm film", "dull and slow"])
    assert [prediction.label for prediction in predictions] == ["pos", "neg"]
    assert answer.out.splitlines() == [f"{p.label}\t{p.probability:.4f}" for p in predictions]


def test_json_is_one_object_a_text(ostinato, classifier):
    (line,) = ostinato("predict", classifier, "a great warm film", "--json").out.splitlines()
    said = json.loads(line)
    assert list(said) == ["label", "labels", "probability", "probabilities", "tokens", "cut", "empty"]
    assert said["labels"] == [said["label"]]
    assert said["probabilities"].keys() == {"neg", "pos"}
    assert (said["tokens"], said["cut"], said["empty"]) == (4, False, False)


def test_a_file_and_standard_input_are_read_line_by_line(ostinato, classifier, typed):
    texts = [f"{text} {n}" for n in range(700) for text in (GOOD[1], BAD[0])]
    data = "".join(f"{text}\n" for text in texts).encode()
    Path("texts.txt").write_bytes(data)
    from_file = ostinato("predict", classifier, "--file", "texts.txt")
    typed(data.replace(b"\n", b"\r\n"))
    from_input = ostinato("predict", classifier, "-")
    assert from_file.code == from_input.code == 0
    labels = [prediction.label for prediction in package.load(classifier).predict(texts)]
    for answer in (from_file, from_input):
        assert [line.partition("\t")[0] for line in answer.out.splitlines()] == labels


def test_an_empty_text_is_answered_with_the_shares_of_training_and_said(ostinato, classifier, typed):
    typed(b"great fun\n\n")
    answer = ostinato("predict", classifier, "-", "--json")
    assert answer.code == 0
    something, nothing = map(json.loads, answer.out.splitlines())
    assert (something["empty"], nothing["empty"]) == (False, True)
    prior = json.loads((classifier / "vocabulary.json").read_text())["prior"]
    assert nothing["probabilities"] == dict(zip(("neg", "pos"), prior, strict=True))
    assert answer.err.startswith("1 of the texts had nothing in them to read")
    assert json.loads(ostinato("predict", classifier, "", "--json").out) == nothing


def test_a_huge_text_is_cut_and_said(ostinato, classifier):
    answer = ostinato("predict", classifier, "dull " * 100_000)
    assert (answer.code, len(answer.out.splitlines())) == (0, 1)
    assert answer.err == "1 of the texts were cut to 400 tokens\n"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"fine\ncaf\xe9\n", "standard input, line 2 is not UTF-8: byte 0xe9 at offset 3"),
        (b"fine\nfine\nnu\0l\n", "standard input, line 3 holds a NUL byte"),
    ],
)
def test_lines_that_are_no_text_are_refused_by_number(ostinato, classifier, typed, data, says):
    typed(data)
    answer = ostinato("predict", classifier, "-")
    assert answer.code == 2
    assert says in answer.err
    assert answer.err.count("\n") == 1


# Judging.


def test_json_is_one_object_and_the_test_part_is_the_default(ostinato, classifier):
    with_baseline = ostinato("evaluate", classifier, "--json").json
    assert {"tfidf_accuracy", "tfidf_macro_f1"} <= with_baseline.keys()
    figures = ostinato("evaluate", classifier, "--no-baseline", "--json").json
    assert list(figures) == [
        "loss",
        "accuracy",
        "macro_f1",
        "roc_auc",
        "calibration_error",
        "examples",
        "labels",
    ]
    assert figures.pop("labels").keys() == {"neg", "pos"}
    assert figures == package.evaluate(classifier, split="test")
    assert figures != package.evaluate(classifier, split="train")


def test_people_get_the_confusion_matrix_and_the_mistakes_with_their_texts(ostinato, classifier, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    wrong = [("a great warm film", "neg"), ("great fun", "pos"), ("dull", "neg")]
    Path("wrong.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in wrong))
    answer = ostinato("evaluate", classifier, "wrong.csv")
    assert (answer.code, answer.err) == (0, "")
    heading, *lines = answer.out.splitlines()
    assert heading == "classifier on wrong.csv, best checkpoint"
    table = lines.index(next(line for line in lines if line.startswith("true")))
    assert [line.split() for line in lines[table : table + 3]] == [
        ["true", "\\", "chosen", "neg", "pos"],
        ["neg", "1", "1"],
        ["pos", "0", "1"],
    ]
    assert "wrong.csv, line 2: 'neg' taken for 'pos'" in answer.out
    assert "  a great warm film" in lines


def test_bad_rows_of_another_table_are_left_out_where_python_asks(classifier):
    Path("gaps.csv").write_text("text,label\ngreat fun,pos\n,neg\ndull,neg\nfun,pos,5\n")
    table = open_table("gaps.csv", skip_bad_rows=True)
    figures = package.evaluate(classifier, table)
    assert figures["examples"] == 2
    assert table.skipped == {"without a text": 1, "with more or fewer fields than columns": 1}
    Path("whole.csv").write_text("text,label\ngreat fun,pos\ndull,neg\n")
    assert figures == package.evaluate(classifier, "whole.csv")


def test_an_evaluation_leaves_its_pictures_in_the_report(ostinato, classifier):
    ostinato("evaluate", classifier, "--split", "validation")
    pictures = {path.name for path in (classifier / "report").glob("*.png")}
    assert pictures >= {"confusion-validation.png", "roc-validation.png", "reliability-validation.png"}
    assert pictures >= {"loss.png", "accuracy.png"}


def test_labels_may_be_any_text(ostinato, folder):
    odd = {"pos": "[bold]$x_1$[/bold]", "neg": "größer / 更大"}
    Path("odd.csv").write_text("text,label\n" + "".join(f"{text},{odd[label]}\n" for text, label in ROWS))
    answer = ostinato("train", "classify", "odd.csv", "--out", "run", *TINY, "--epochs", "3")
    assert answer.code == 0, answer.err
    answer = ostinato("evaluate", "run", "--split", "train")
    assert (answer.code, answer.err) == (0, "")
    assert all(label in answer.out for label in odd.values())
    assert ostinato("predict", "run", "great fun").out.startswith("[bold]$x_1$[/bold]\t")


def test_a_figure_that_does_not_exist_is_null(ostinato, classifier):
    Path("one.csv").write_text("text,label\ngreat fun,pos\n")
    assert ostinato("evaluate", classifier, "one.csv", "--json").json["roc_auc"] is None


# Neighbors.


def test_the_nearest_and_the_farthest_words_are_shown(ostinato, classifier):
    nearest, farthest = package.load(classifier).neighbors("great", 3)
    said = ostinato("neighbors", classifier, "great", "--count", "3", "--json").json
    assert said == {"word": "great", "nearest": [*map(list, nearest)], "farthest": [*map(list, farthest)]}
    lines = ostinato("neighbors", classifier, "great", "--count", "3").out.splitlines()
    assert lines[0] == "nearest to great"
    assert lines[4] == "farthest from great"
    assert lines[1].split() == [nearest[0][0], f"{nearest[0][1]:+.3f}"]


# What does not work.


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "classify", "gone.csv"], "there is no file or folder 'gone.csv'"),
        (
            ["train", "classify", "reviews.csv", "--max-tokens", "long"],
            "max_tokens must be 1 to 1,000,000 or 'auto'",
        ),
        (
            ["train", "classify", "reviews.csv", "--pooling", "sum"],
            "pooling must be 'last', 'mean', 'max', 'max_mean' or 'attention', got 'sum'",
        ),
        (
            ["train", "classify", "reviews.csv", "--units", "8,x"],
            "--units must be whole numbers, as in 256,128, got 8,x",
        ),
        (
            ["train", "classify", "reviews.csv", "--validation", "x.csv", "--validation-fraction", "0.2"],
            "--validation and --validation-fraction",
        ),
        (
            ["train", "classify", "reviews.csv", "--reset-before", "--cell", "lstm"],
            "need a cell with a reset gate, got 'lstm'",
        ),
        (["train", "classify", "reviews.csv", "--epochs", "1", "--steps", "1"], "a run has one budget"),
        (["predict", "classifier"], "there is nothing to predict"),
        (["predict", "classifier", "a", "-"], "only one of them"),
        (["predict", "classifier", "--file", "gone.txt"], "cannot read gone.txt (No such file or directory)"),
        (["predict", "run", "a"], "is a language_model run, which cannot predict"),
        (["neighbors", "run", "a"], "is a language_model run, which cannot show neighbors"),
        (["generate", "classifier"], "is a classifier run, which cannot generate"),
        (["neighbors", "classifier", "aardvark"], "'aardvark' is no token of this run's vocabulary"),
        (
            ["train", "classify", "reviews.csv", "--validation", "strange.csv"],
            "strange.csv, line 3 has the label 'odd', which is not in training; the labels in training are "
            "'neg', 'pos'",
        ),
        (["evaluate", "classifier", "gaps.csv"], "gaps.csv has 1 row without a text (line 3)"),
        (["evaluate", "classifier", "gaps.csv"], "correct them, or leave them out with --skip-bad-rows"),
        (["train", "lm", "text.txt", "--init-from", "classifier"], "is a classifier run, not a"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_uses_that_do_not_work_are_refused_in_one_line(ostinato, folder, run, classifier, arguments, says):
    Path("reviews.csv").write_text(TABLE)
    Path("strange.csv").write_text("text,label\ngreat fun,pos\ngreat fun,odd\n")
    Path("gaps.csv").write_text("text,label\ngreat fun,pos\n,neg\n")
    answer = ostinato(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("Error: ")
    assert answer.err.count("\n") == 1
    assert says in answer.err


# Several labels.

WORDS = {"rude": "fool", "spam": "offer"}
TAGGED = "text,tags\n" + "".join(
    f"{text} {' '.join(WORDS[tag] for tag in tags)} {n},{'|'.join(tags)}\n"
    for n in range(12)
    for text, tags in (
        ("day", ()),
        ("walk", ()),
        ("you", ("rude",)),
        ("buy", ("spam",)),
        ("no", ("rude", "spam")),
    )
)


@pytest.fixture(scope="session")
def trained_tagger(tmp_path_factory) -> Path:
    """The path of a run whose texts have several labels, or none."""
    several = ("--label-separator", "|", "--validation-fraction", "0.4", "--pooling", "max", "--units", "8")
    return made_once(tmp_path_factory, "tagger", lambda place: trained(place, *several, table=TAGGED)) / "run"


@pytest.fixture
def tagger(trained_tagger, folder) -> Path:
    shutil.copytree(trained_tagger, folder / "tagger")
    return Path("tagger")


def test_thresholds_are_chosen_at_the_end_and_shown(ostinato, tagger):
    facts = ostinato("info", tagger, "--json").json
    assert facts["labels"] == ["rude", "spam"]
    assert list(facts["thresholds"]) == facts["labels"]
    assert facts["thresholds"] == dict(
        zip(facts["labels"], json.loads((tagger / "vocabulary.json").read_text())["thresholds"], strict=True)
    )
    assert [line.split()[0] for line in ostinato("info", tagger).out.splitlines()][-2:] == [
        "labels",
        "thresholds",
    ]


def test_each_label_has_its_figures_and_every_text_its_labels(ostinato, tagger):
    figures = ostinato("evaluate", tagger, "--json").json
    assert figures["exact_match"] == figures["accuracy"]
    assert {"micro_f1", "macro_f1"} <= figures.keys()
    assert figures["labels"].keys() == {"rude", "spam"}
    assert figures["labels"]["rude"].keys() == {"precision", "recall", "f1", "support", "threshold"}
    table = ostinato("evaluate", tagger).out
    assert "label  precision" in table
    assert "threshold" in table
    change_thresholds(tagger, [0.0, 1.0])
    answer = ostinato("predict", tagger, "you fool", "day", "--json")
    for line in map(json.loads, answer.out.splitlines()):
        assert (line["label"], line["labels"]) == ("rude", ["rude"])
        assert line["probabilities"].keys() == {"rude", "spam"}
    change_thresholds(tagger, [1.0, 1.0])
    assert ostinato("predict", tagger, "day").out.startswith("(none)\t")


def change_thresholds(run: Path, thresholds: list[float]) -> None:
    vocabulary = json.loads((run / "vocabulary.json").read_text())
    (run / "vocabulary.json").write_text(json.dumps(vocabulary | {"thresholds": thresholds}))


def test_labels_that_are_new_are_counted_as_wrong_and_said(ostinato, tagger):
    Path("new.csv").write_text("text,tags\nyou fool,rude\nhello,odd\nday,\n")
    answer = ostinato("evaluate", tagger, "new.csv", "--json")
    assert answer.code == 0
    assert answer.err == "new.csv: 1 row with labels that training did not have ('odd') counts as wrong\n"
    assert answer.json["examples"] == 3


def test_a_loaded_run_is_evaluated_and_resumed_like_its_path(tagger):
    run = package.load(tagger)
    assert package.evaluate(run) == package.evaluate(tagger)
    assert package.evaluate(run, split="train")["examples"] == 36
    resumed = package.resume(run)
    assert (resumed.directory, resumed.step) == (run.directory, run.step)


# Tables.


def test_a_table_comes_back_with_all_columns_and_the_predictions(ostinato, classifier):
    data = f"id,said,when\n1,{GOOD[0]} é,today\n2,,now\n3,{BAD[0]},\n"
    Path("new.csv").write_bytes(data.encode("cp1252"))
    answer = ostinato("predict", classifier, "--file", "new.csv", "--text", "said", "--out", "out.csv")
    assert (answer.code, answer.out) == (0, "")
    assert "new.csv: read as cp1252" in answer.err
    header, *rows = list(csv.reader(Path("out.csv").read_text().splitlines()))
    assert header == ["id", "said", "when", "prediction", "probability"]
    assert [row[:3] for row in rows] == [["1", f"{GOOD[0]} é", "today"], ["2", "", "now"], ["3", BAD[0], ""]]
    texts = [row[1] for row in rows]
    expected = list(package.load(classifier).predict(texts))
    assert [row[3:] for row in rows] == [[each.label, f"{each.probability:.4f}"] for each in expected]
    printed = ostinato("predict", classifier, "--file", "new.csv", "--text", "2")
    assert printed.out == Path("out.csv").read_text()


@pytest.mark.parametrize(
    ("data", "flags", "says"),
    [
        ("id,said\n1,A\n", ["--text", "words"], "has no text column 'words'; its columns are 'id', 'said'"),
        ("id,said\n1,A\n1\n", ["--text", "said"], "1 row with more or fewer fields than columns (line 3)"),
        ("id,said\n1,A\n", ["--text", "said", "--json"], "choose one"),
        ("id,said\n1,A\n", ["--text", "said", "--encoding", "x"], "encoding must be one that Python knows"),
    ],
)
def test_a_table_without_the_column_is_refused_and_nothing_is_written(
    ostinato, classifier, data, flags, says
):
    Path("new.csv").write_text(data)
    answer = ostinato("predict", classifier, "--file", "new.csv", *flags, "--out", "out.csv")
    assert (answer.code, answer.out) == (2, "")
    assert says in " ".join(answer.err.split())
    assert not Path("out.csv").exists()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_text_to_predict(ostinato, classifier, typed, encoding):
    data = "great fun\ndull\n".encode(encoding)
    typed(b"great fun\ndull\n")
    plain = ostinato("predict", classifier, "-", "--json").out
    Path("marked.txt").write_bytes(data)
    assert ostinato("predict", classifier, "--file", "marked.txt", "--json").out == plain
    typed(data)
    assert ostinato("predict", classifier, "-", "--json").out == plain

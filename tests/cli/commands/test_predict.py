"""ostinato predict --attribute: what moved each decision, on a terminal, in a pipe, as JSON and as a page."""

import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

import ostinato as package
from ostinato.cli.app import main
from ostinato.tasks.base import RunFacts
from ostinato.tasks.classifier import output

pytestmark = pytest.mark.usefixtures("eagerly")
TABLE = "text,label\n" + "".join(
    f"{text} {cause} {n},{label}\n"
    for n in range(8)
    for text in ("the film was seen", "a story of towns")
    for cause, label in (("great", "pos"), ("awful", "neg"))
)
TINY = ("--units", "6", "--embedding", "4", "--batch", "8", "--lr", "0.03", "--epochs", "8")


@pytest.fixture(scope="session")
def trained_on_causes(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("causes")
    (place / "reviews.csv").write_text(TABLE)
    command = ["train", "classify", place / "reviews.csv", "--out", place / "run", *TINY, "--max-tokens", "6"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTINATO_CACHE", str(place / "cache"))
        patch.setattr(sys, "argv", ["ostinato", *map(str, command)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0
    return place / "run"


@pytest.fixture
def classifier(trained_on_causes, folder) -> Path:
    """A run of a classifier in the working directory: `classifier`."""
    shutil.copytree(trained_on_causes, folder / "classifier")
    return Path("classifier")


def test_in_a_pipe_every_word_has_its_contribution_behind_it(ostinato, classifier):
    answer = ostinato("predict", classifier, "the film was great", "awful", "--attribute")
    assert (answer.code, answer.err) == (0, "")
    attributions = package.load(classifier).attribute(["the film was great", "awful"])
    expected = []
    for attribution in attributions:
        expected.append(f"{attribution.prediction.label}\t{attribution.prediction.probability:.4f}")
        expected.append("  " + " ".join(f"{word}({value:+.2f})" for word, value in attribution.contributions))
    assert answer.out.splitlines() == expected
    assert dict(attributions[0].contributions)["great"] > 0


def test_on_a_terminal_words_are_coloured_by_their_strength(ostinato, classifier, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    answer = ostinato("predict", classifier, "the film was great", "--attribute")
    (attribution,) = package.load(classifier).attribute(["the film was great"])
    line = answer.out.splitlines()[1]
    assert re.sub(r"\x1b\[[\d;]*m", "", line) == "  the film was great"
    word, _ = max(attribution.contributions, key=lambda each: abs(each[1]))
    assert word == "great"
    assert "\x1b[30;48;2;64;192;96mgreat\x1b[0m" in line


def test_colours_that_are_not_wanted_leave_the_numbers(ostinato, classifier, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    answer = ostinato("predict", classifier, "the film was great", "--attribute")
    assert re.search(r"great\(\+\d+\.\d\d\)", answer.out)


def test_control_characters_of_a_text_do_not_reach_the_terminal(ostinato, classifier):
    answer = ostinato("predict", classifier, "great \x1b[31mfilm [bold]", "--attribute")
    assert "\x1b" not in answer.out
    assert r"\x1b[31mfilm(" in answer.out
    assert "[bold](" in answer.out


def test_json_has_the_contributions_as_well(ostinato, classifier):
    lines = ostinato("predict", classifier, "so great", "", "--json", "--attribute").out.splitlines()
    said, empty = map(json.loads, lines)
    (attribution,) = package.load(classifier).attribute(["so great"])
    assert list(said)[-1] == "contributions"
    assert said["contributions"] == [list(each) for each in attribution.contributions]
    assert [word for word, _ in said["contributions"]] == ["so", "great"]
    assert (empty["empty"], empty["contributions"]) == (True, [])
    assert "contributions" not in ostinato("predict", classifier, "so great", "--json").out


def test_files_and_standard_input_are_attributed_too(ostinato, classifier, monkeypatch):
    Path("texts.txt").write_text("so great\n\nawful\n")
    from_file = ostinato("predict", classifier, "--file", "texts.txt", "--attribute")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"so great\n\nawful\n")))
    from_input = ostinato("predict", classifier, "-", "--attribute")
    assert from_file.code == 0
    assert from_file == from_input
    assert [line[:1] == " " for line in from_file.out.splitlines()] == [False, True, False, False, True]
    assert from_file.err.startswith("1 of the texts had nothing in them to read")


def test_the_older_name_of_the_flag_does_the_same_and_warns(ostinato, classifier):
    for more in ((), ("--json",)):
        now = ostinato("predict", classifier, "the film was great", "--attribute", *more)
        before = ostinato("predict", classifier, "the film was great", "--explain", *more)
        assert (before.code, before.out) == (now.code, now.out) == (0, now.out)
        assert before.err == "Warning: --explain is now called --attribute\n"
    assert "--explain" not in ostinato("predict", "--help").out


def test_of_a_cut_text_what_was_read_is_attributed_and_it_is_said(ostinato, classifier):
    answer = ostinato(
        "predict", classifier, "one two three " * 3 + "great", "--attribute", "--html", "page.html"
    )
    assert answer.err == "1 of the texts were cut to 6 tokens\n"
    assert answer.out.splitlines()[1].count("(") == 10  # n-grams are of the whole text
    assert "the text was cut: of its other words only n-grams were read" in Path("page.html").read_text()


def test_a_page_is_written_whole_and_replaces_the_one_before(ostinato, classifier):
    Path("page.html").write_text("before")
    answer = ostinato("predict", classifier, "so <script>great", "awful", "--html", "page.html", "--json")
    assert answer.code == 0
    assert all("contributions" in json.loads(line) for line in answer.out.splitlines())
    page = Path("page.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>\n")
    assert page.count("<section>") == 2
    assert "&lt;script&gt;great" in page
    assert "<script" not in page
    assert not list(Path().glob(".page*"))


def test_attributions_that_do_not_add_up_are_counted(classifier, capsys):
    run = package.load(classifier)
    # So large that the score leaps as soon as the words are there at all.
    run.model.embedding.set_weights([1e8 * vectors for vectors in run.model.embedding.get_weights()])
    facts = RunFacts(classifier, run.task.config, run.directory.vocabulary)
    printer = output.predict(facts, attribute=True)(run.use)
    printer.say(["the film was great", ""])
    printer.end()
    assert "\n1 of the attributions do not add up" in "\n" + capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "a", "--attribute"], "is a language_model run, which cannot predict"),
        (["run", "a", "--html", "page.html"], "is a language_model run, which cannot predict"),
        (
            ["classifier", "a", "--html", "gone/page.html"],
            "--html must be a file in a folder that exists, got gone/page.html",
        ),
        (
            ["classifier", "a", "--html", "classifier"],
            "--html must be a file in a folder that exists, got classifier",
        ),
        (["classifier", "a", "--html", "x" * 250], "could not write xxx"),
        (["classifier", "--attribute"], "there is nothing to predict"),
        (["classifier", "--attribute", "--file", "gone.txt"], "cannot read gone.txt"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_cannot_be_attributed_is_refused_in_one_line(ostinato, folder, run, classifier, arguments, says):
    answer = ostinato("predict", *arguments)
    assert answer.code == 2
    assert answer.err.startswith("Error: ")
    assert answer.err.count("\n") == 1
    assert says in answer.err
    assert not Path("page.html").exists()

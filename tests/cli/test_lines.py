"""Lists of short things from the command line, and the habits of those who write with a model."""

import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from ostinato.cli.app import main

from ..tiny import made_once

NAMES = [f"{first}{rest}" for first in "ABCDE" for rest in ("na", "ob", "arla", "iete")] * 2
WRITE = ("generate", "--length", "9")
TINY = ("--cell", "gru", "--units", "8", "--batch", "8")

pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.fixture(scope="session")
def trained_lines(tmp_path_factory) -> Path:
    """The folder of a finished run of lines and its list."""

    def make(place):
        (place / "names.txt").write_text("\n".join([*NAMES, "", ""]))
        arguments = ["train", "lm", place / "names.txt", "--lines", "--out", place / "run", "--steps", "30"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["ostinato", *map(str, arguments), *TINY, "--evaluations", "2"])
            with pytest.raises(SystemExit) as ended:
                main()
        assert ended.value.code == 0

    return made_once(tmp_path_factory, "lines of the commands", make)


@pytest.fixture
def lines(trained_lines, folder) -> Path:
    """A copy of the run in the working directory: `names`; `others.txt` is another list."""
    shutil.copytree(trained_lines / "run", folder / "names")
    (folder / "others.txt").write_text("Anna\n\nBob\nCarla\n")
    return Path("names")


def test_so_many_lines_are_written_and_nothing_else(ostinato, lines):
    answer = ostinato(*WRITE, lines, "--count", "20", "--seed", "1", "--temperature", "1")
    assert (answer.code, answer.err) == (0, "")
    assert len(answer.out.split("\n")) == 21
    assert any(0 < len(line) < 9 for line in answer.out.split("\n"))
    begun = ostinato(*WRITE, lines, "--count", "3", "--prompt", "Bo").out.splitlines()
    assert len(begun) == 3
    assert all(line.startswith("Bo") for line in begun)
    assert ostinato(*WRITE, lines, "--prompt", "Bo", "--seed", "1").out.count("\n") == 1


def test_unique_lines_are_none_of_the_list(ostinato, lines, trained_lines):
    answer = ostinato(*WRITE, lines, "--count", "30", "--unique", "--seed", "1", "--temperature", "1")
    assert (answer.code, answer.err) == (0, "")
    found = answer.out.splitlines()
    assert len({*found} - {*NAMES}) == 30
    few = ostinato("generate", lines, "--count", "9", "--unique", "--length", "1", "--temperature", "0.01")
    assert few.code == 0
    assert few.err.startswith("Warning: found only ")


def test_prompts_of_a_file_are_continued_into_a_file(ostinato, lines, run):
    Path("prompts.txt").write_text("\ufeffAn\r\n\nBo")
    answer = ostinato(*WRITE, lines, "--prompts", "prompts.txt", "--count", "2", "--out", "new.txt")
    assert (answer.code, answer.out, answer.err) == (0, "", "wrote 6 texts to new.txt\n")
    found = Path("new.txt").read_text().splitlines()
    assert len(found) == 6
    assert [line[:2] for line in found[:2] + found[4:]] == ["An", "An", "Bo", "Bo"]
    Path("prompts.txt").write_text("the \na ")
    asked = ["generate", run, "--prompts", "prompts.txt", "--length", "9", "--seed", "2"]
    texts = ostinato(*asked).out[:-1].split("\n\n")
    assert [text[:2] for text in texts] == ["th", "a "]
    told = ostinato(*asked, "--json").json
    assert (told["prompts"], told["texts"]) == (["the ", "a "], texts)


def test_lists_have_a_recipe_of_their_own_where_none_is_named(asked):
    config, training = asked("lm", "--lines", "--units", "8")
    assert (config.lines, config.units, config.output_dropout) == (True, (8,), 0.5)
    assert training.patience == 10
    assert asked("lm", "--lines", "--validation-fraction", "0").training.patience is None
    assert asked("lm", "--lines", "--recipe", "default").training.patience is None
    assert asked("lm", "--recipe", "lines").config.lines
    assert not asked("lm").config.lines


def test_a_text_stops_before_a_text(ostinato, run):
    whole = ostinato("generate", run, "--length", "20", "--seed", "1").out
    stop = whole[12:14]
    stopped = ostinato("generate", run, "--length", "20", "--seed", "1", "--stop", stop).out
    assert stopped == whole[: whole.index(stop)] + "\n"


def test_prompts_come_from_the_terminal_until_its_end(ostinato, lines, monkeypatch):
    typed = io.TextIOWrapper(io.BytesIO(b"An\nXY\nBo"))
    monkeypatch.setattr(sys, "stdin", typed)
    answer = ostinato("generate", lines, "--interactive", "--length", "9")
    assert answer.code == 0
    assert [line[:2] for line in answer.out.splitlines()] == ["An", "Bo"]
    assert answer.err.startswith("Error: the text has symbols that were not in the training text: 'X', 'Y'")
    assert answer.err.count("\n") == 1


def test_the_loss_of_every_line_adds_up_to_that_of_the_list(ostinato, lines):
    whole = ostinato("evaluate", lines, "others.txt", "--json").json
    assert whole["tokens"] == len("Anna.Bob.Carla.")
    rows = [
        json.loads(row)
        for row in ostinato("evaluate", lines, "others.txt", "--each", "--json").out.splitlines()
    ]
    assert [row["line"] for row in rows] == ["Anna", "Bob", "Carla"]
    assert sum(row["loss"] for row in rows) == pytest.approx(whole["loss"] * whole["tokens"], rel=1e-5)
    assert sum(row["loss"] for row in rows) / 3 == pytest.approx(whole["loss_per_line"], rel=1e-5)
    table = [row.split("\t") for row in ostinato("evaluate", lines, "others.txt", "--each").out.splitlines()]
    assert [row[2] for row in table] == ["Anna", "Bob", "Carla"]
    for row, expected in zip(table, rows, strict=True):
        assert float(row[0]) == pytest.approx(expected["loss"], abs=1e-4)
        assert float(row[1]) == pytest.approx(expected["loss"] / expected["tokens"], abs=1e-4)


def test_a_finished_run_of_lines_goes_on_and_another_begins_with_more_symbols(ostinato, lines, tiny):
    answer = ostinato("train", "--resume", lines, "--steps", "34")
    assert (answer.code, answer.out) == (0, "names\n")
    assert json.loads(Path("names/config.json").read_text())["budgets"][0]["amount"] == 34
    assert ostinato("train", "--resume", lines).err.count("nothing to resume") == 1
    Path("more.txt").write_text("\n".join(["Zoé", "Anna", "Bob"] * 9))
    begin = ["train", "lm", "more.txt", "--init-from", lines, "--out", "more", "--steps", "2"]
    refused = ostinato(*begin)
    assert (refused.code, Path("more").exists()) == (2, False)
    assert refused.err.endswith("--extend-vocabulary adds them\n")
    answer = ostinato(*begin, "--extend-vocabulary", "--batch", "4")
    assert answer.code == 0, answer.err
    assert ostinato(*WRITE, "more", "--prompt", "Zoé").out.startswith("Zoé")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["generate", "run", "--unique"], "unique needs a model of lines; train one with --lines"),
        (["generate", "names", "--unique", "--beam", "2"], "leave out unique or beam"),
        (["generate", "names", "--prompts", "none.txt"], "cannot read none.txt"),
        (
            ["generate", "names", "--prompts", "empty.txt"],
            "--prompts needs a file with a prompt on each line",
        ),
        (["generate", "names", "--prompt", "A", "--prompts", "others.txt"], "give one of them"),
        (["generate", "names", "--prompt", "Z"], "--unknown drop"),
        (["generate", "names", "--unknown", "dro"], "unknown must be error, drop or replace, got dro"),
        (["generate", "names", "--interactive", "--json"], "--interactive reads prompts from the terminal"),
        (["generate", "names", "--out", "no/where.txt"], "--out must be a file in a folder that exists"),
        (["generate", "names", "--stop", ""], "stop must not be empty"),
        (["evaluate", "run", "--each"], "the loss of every line needs a model of lines"),
        (["evaluate", "names", "text.txt"], "symbols that were not in the training text"),
        (
            ["train", "--resume", "names", "--steps", "30"],
            "steps must be more than the 30 that the run",
        ),
        (["train", "--resume", "names", "--schedule", "cosine"], "a schedule needs a larger budget"),
        (["train", "--resume", "names", "--epochs", "9", "--steps", "9"], "a run has one budget"),
        (["train", "lm", "text.txt", "--extend-vocabulary"], "name it with --init-from"),
        (["train", "lm", "others.txt", "--lines", "--seq-len", "9"], "--seq-len has no effect with --lines"),
        (["train", "lm", "empty.txt", "--lines"], "empty.txt is empty"),
        (["train", "lm", "text.txt", "--validation", "gone.txt"], "there is no file or folder 'gone.txt'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_work_is_said_in_one_sentence(ostinato, lines, run, arguments, says):
    Path("empty.txt").touch()
    answer = ostinato(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Error: ")
    assert answer.err.count("\n") == 1
    assert says in answer.err

"""ostinato evaluate: one flat object, or a few lines for people."""

from pathlib import Path

import pytest

import ostinato as package

pytestmark = pytest.mark.usefixtures("eagerly")
FIGURES = ["loss", "perplexity", "bits_per_character", "tokens"]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_json_is_one_flat_object(ostinato, run, split):
    answer = ostinato("evaluate", run, "--split", split, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert list(answer.json) == FIGURES
    assert answer.json == package.evaluate(run, split=split)


def test_the_validation_part_is_the_default(ostinato, run):
    assert ostinato("evaluate", run, "--json").json == package.evaluate(run, split="validation")


def test_another_source_is_judged_as_a_whole(ostinato, run):
    Path("other.txt").write_text("the cat sat over the hills\n" * 3)
    answer = ostinato("evaluate", run, "other.txt", "--json")
    assert answer.json["tokens"] == 27 * 3 - 1
    assert answer.json == package.evaluate(run, "other.txt")


def test_without_json_there_is_a_line_for_every_figure(ostinato, run):
    figures = package.evaluate(run)
    heading, *lines = ostinato("evaluate", run).out.splitlines()
    assert heading == "run on the validation part, best checkpoint"
    assert [line.split() for line in lines] == [
        ["loss", f"{figures['loss']:.4f}"],
        ["perplexity", f"{figures['perplexity']:.4f}"],
        ["bits", "per", "character", f"{figures['bits_per_character']:.4f}"],
        ["tokens", f"{figures['tokens']:,}"],
    ]
    heading, *_ = ostinato("evaluate", run, "text.txt", "--checkpoint", "last").out.splitlines()
    assert heading == "run on text.txt, last checkpoint"


@pytest.mark.parametrize("command", [("evaluate",), ("generate", "--length", "9")], ids=lambda each: each[0])
def test_an_older_checkpoint_is_told_in_one_line(ostinato, run, command):
    older, newest = sorted((Path(run) / "checkpoints").iterdir())[-2:]
    (newest / "weights.safetensors").write_bytes(b"damaged")
    answer = ostinato(*command, "--checkpoint", "last", run)
    assert answer.code == 0
    (line,) = answer.err.splitlines()
    assert line.startswith("Warning: checkpoint run/checkpoints/step-")
    assert line.endswith(f"; step {int(older.name.removeprefix('step-'))} is used instead")

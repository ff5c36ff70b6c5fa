"""The textbook's example runs as it stands."""

import re
from pathlib import Path

from .. import forks

EXAMPLE = Path(__file__).parents[2] / "examples" / "time_machine_from_scratch.py"


def test_perplexity_falls_and_a_sample_is_printed(tmp_path):
    text = tmp_path / "melody.txt"
    text.write_text("Round and round, and round again; the same five words. " * 60)
    printed = forks.run(EXAMPLE, "gru", text, "--epochs", "10", check=True).stdout.splitlines()
    perplexities = [float(value) for value in re.findall(r"perplexity ([\d.]+)", "\n".join(printed))]
    assert len(perplexities) == 2
    assert perplexities[1] < perplexities[0] < 28
    assert re.fullmatch("time traveller[a-z ]{80}", printed[-1])


def test_without_a_file_it_reads_the_python_reference():
    printed = forks.run(EXAMPLE, "rnn", "--epochs", "1", check=True).stdout
    assert "epoch 1: perplexity" in printed


def test_the_example_imports_nothing_else_of_the_package_and_is_short():
    source = EXAMPLE.read_text("utf-8")
    assert re.findall(r"^.*ostinato.*import.*$|^import ostinato.*$", source, re.M) == [
        "from ostinato import scratch"
    ]
    assert len(source.splitlines()) < 80

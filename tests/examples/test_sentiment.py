"""The example trains, and scores its eight sentences."""

import re
from pathlib import Path

import pytest

from .. import forks

EXAMPLE = Path(__file__).parents[2] / "examples" / "sentiment.py"


def test_it_learns_from_made_up_reviews_and_says_how_kind_each_sentence_is():
    printed = forks.run(EXAMPLE, "--epochs", "8", check=True).stdout
    (accuracy,) = re.findall(r"^test loss [\d.]+, accuracy ([\d.]+)%$", printed, re.M)
    assert float(accuracy) > 90
    sentences = re.findall(r"^  ([\d.]+)  (.+)$", printed, re.M)
    assert len(sentences) == 8
    assert float(sentences[0][0]) > 0.5 > float(sentences[-1][0])


@pytest.mark.thorough
def test_it_reads_a_table(tmp_path):
    rows = ["a great warm film,1\n", "a dull awful film,0\n"] * 30
    table = tmp_path / "reviews.csv"
    table.write_text("text,label\n" + "".join(rows))
    printed = forks.run(EXAMPLE, table, "--epochs", "1", check=True).stdout
    assert "probability of '1':" in printed

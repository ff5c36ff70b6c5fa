"""The example learns to write dates, and whatever pairs it is given."""

import re
from pathlib import Path

import pytest

from .. import forks

EXAMPLE = Path(__file__).parents[2] / "examples" / "translate.py"


def printed(*arguments) -> str:
    return forks.run(EXAMPLE, *arguments, check=True).stdout


def test_it_learns_dates_and_draws_where_it_looked(tmp_path):
    out = tmp_path / "run"
    said = printed("--count", "5000", "--epochs", "3", "--out", out)
    (right,) = re.findall(r"^[\d,]+ of 250 that it has not seen are right: ([\d.]+)%$", said, re.M)
    assert float(right) > 50
    assert len(re.findall(r"^  .+  →  \d{4}-\d\d-\d\d", said, re.M)) >= 8
    assert said.endswith(f"drawn: {out}/report/alignment.png\n")
    assert (out / "report" / "alignment.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.thorough
def test_it_reads_a_file_of_pairs(tmp_path):
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"{n}\t{str(n)[::-1]}\n" for n in range(100, 160)))
    said = printed(pairs, "--epochs", "1", "--out", tmp_path / "run")
    assert len(re.findall(r"^  1\d\d  →  ", said, re.M)) == 3
    assert " of 3 that it has not seen are right" in said

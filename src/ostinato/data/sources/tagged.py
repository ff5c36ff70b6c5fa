"""Lines that begin with their label: fastText's `__label__good A text`, and `DESC:manner How did …` of TREC.

fastText's format: https://fasttext.cc/docs/en/supervised-tutorial.html. TREC's questions: Li & Roth 2002.
"""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from ostinato.data.sources.rows import BETWEEN
from ostinato.files.lines import OnRead, read_lines

Form = Literal["fasttext", "first word"]
COLUMNS = ("text", "label")
PREFIX = "__label__"
_SAMPLE = 500
_FIRST = re.compile(r"(\d{1,3}|[A-Za-z_]+:[A-Za-z_]+) +\S")
_ROWS_OF_A_LABEL = 2
"""The mean number of rows of a label, from which on first words are taken for labels."""
_FEWEST = 10
"""Lines of a file whose first words are taken for labels."""


def form_of(path: Path, name: str, encoding: str) -> Form | None:
    """The form of a file; None for any other. Raises SourceError as `read_lines` does."""
    lines = [line for line in islice(read_lines(path, name, encoding=encoding), _SAMPLE) if line.strip()]
    if lines and all(PREFIX in line for line in lines) and lines[0].startswith(PREFIX):
        return "fasttext"
    firsts = [_FIRST.match(line) for line in lines]
    labels = {first[1] for first in firsts if first}
    if all(firsts) and 0 < len(labels) * _ROWS_OF_A_LABEL <= len(lines) and len(lines) >= _FEWEST:
        return "first word"
    return None


def read_tagged(
    path: Path, name: str, form: Form, encoding: str, on_read: OnRead | None = None
) -> Iterator[tuple[int, tuple[str | None, str | None]]]:
    """(line, (text, labels)) of every line that is not blank; several labels have `rows.BETWEEN` between
    them.

    A label or text that a line lacks is None. The arguments and errors are those of `read_lines`.
    """
    for number, line in enumerate(read_lines(path, name, on_read, encoding), 1):
        if not (line := line.strip()):
            continue
        if form == "first word":
            label, _, text = line.partition(" ")
            yield number, (text.strip() or None, label)
            continue
        words = line.split()
        labels = [word.removeprefix(PREFIX) for word in words if word.startswith(PREFIX)]
        text = " ".join(word for word in words if not word.startswith(PREFIX))
        yield number, (text or None, BETWEEN.join(dict.fromkeys(filter(None, labels))) or None)

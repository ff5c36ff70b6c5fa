"""Pretrained word vectors in text files, as GloVe, word2vec and fastText publish them.

One word on each line, then its numbers, parted by spaces; a first line with two whole numbers (the count of
words and of numbers) is left out, as fastText and word2vec write it. A file may be packed (.gz, .zip, …).

Sources: Pennington et al. 2014, "GloVe: global vectors for word representation"; Mikolov et al. 2013,
arXiv:1301.3781; Bojanowski et al. 2017, arXiv:1607.04606.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ostinato.errors import SourceError
from ostinato.files.lines import read_lines
from ostinato.wording import shown

_WIDEST = 65536


def width_of(path: str | Path) -> int:
    """How many numbers each vector of a file has. Raises SourceError when it is no file of vectors."""
    for number, line in enumerate(_lines(path), 1):
        if number == 1 and _is_header(line):
            continue
        return _width(path, number, line)
    raise SourceError(f"{path} has no word vectors: it is empty")


def read_vectors(path: str | Path, places: Mapping[str, list[int]], rows: np.ndarray) -> np.ndarray:
    """Puts the vectors of some words into an array.

    Args:
        path: the file.
        places: the rows that each word's vector goes into.
        rows: float32, shape (rows, numbers); changed.

    Returns:
        Whether each row was found, bool, shape (rows,).

    Raises:
        SourceError: when the file cannot be read, or a line is not a word with as many numbers as a row has.
    """
    found = np.zeros(len(rows), bool)
    width = rows.shape[1]
    for number, line in enumerate(_lines(path), 1):
        if number == 1 and _is_header(line):
            continue
        # Some words contain a space, numbers never do.
        word, *numbers = line.rstrip().rsplit(" ", width)
        if len(numbers) != width:
            raise SourceError(
                f"{path}, line {number}: a word with {width} numbers was expected, got {shown(repr(line))}"
            )
        if word not in places:
            continue
        vector = _numbers(path, number, numbers)
        for place in places[word]:
            if not found[place]:
                rows[place], found[place] = vector, True
    return found


def _lines(path: str | Path) -> Iterator[str]:
    return (line.rstrip("\r\n") for line in read_lines(Path(path), str(path)))


def _is_header(line: str) -> bool:
    parts = line.split()
    return len(parts) == 2 and all(part.isdecimal() for part in parts)


def _width(path: str | Path, number: int, line: str) -> int:
    parts = line.rstrip().split(" ")
    width = len(parts) - 1
    while width > 1 and not _is_number(parts[-width]):
        width -= 1
    if not 1 <= width <= _WIDEST or not _is_number(parts[-1]):
        raise SourceError(
            f"{path}, line {number}: a word and its numbers, parted by spaces, were expected, got "
            f"{shown(repr(line))}"
        )
    _numbers(path, number, parts[-width:])
    return width


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(path: str | Path, number: int, texts: list[str]) -> np.ndarray:
    try:
        vector = np.array(texts, np.float32)
    except ValueError:
        vector = np.full(1, np.nan, np.float32)
    if not np.isfinite(vector).all():
        raise SourceError(f"{path}, line {number}: the vector must be finite numbers")
    return vector

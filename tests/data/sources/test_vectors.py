"""Files of pretrained word vectors."""

import gzip

import numpy as np
import pytest

from ostinato.data.sources.vectors import read_vectors, width_of
from ostinato.errors import SourceError

GLOVE = "the 0.1 -0.2 3e-1\ncat 1 2 3\nat home 4 5 6\ncat 9 9 9\n"


@pytest.fixture
def file(tmp_path):
    def write(content, name="vectors.txt"):
        data = content.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return tmp_path / name

    return write


@pytest.mark.parametrize("header", ["", "4 3\n"])
@pytest.mark.parametrize("name", ["vectors.txt", "vectors.vec.gz"])
def test_the_vectors_of_known_words_are_read_and_other_rows_stay(file, header, name):
    path = file(header + GLOVE, name)
    rows = np.full((5, 3), 7.0, np.float32)
    found = read_vectors(path, {"cat": [0, 3], "the": [4], "at home": [1], "dog": [2]}, rows)
    assert width_of(path) == 3
    assert found.tolist() == [True, True, False, True, True]
    expected = [[1, 2, 3], [4, 5, 6], [7, 7, 7], [1, 2, 3], [0.1, -0.2, 0.3]]  # of two cats the first
    np.testing.assert_allclose(rows, np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "has no word vectors: it is empty"),
        ("3 3\n", "has no word vectors: it is empty"),
        ("the cat sat\n", "line 1: a word and its numbers"),
        ("the 1 nan 2\n", "line 1: the vector must be finite numbers"),
    ],
)
def test_a_file_of_something_else_is_refused(file, content, sentence):
    with pytest.raises(SourceError, match=sentence):
        width_of(file(content))


def test_a_line_with_too_few_numbers_is_named(file):
    with pytest.raises(SourceError, match="line 2: a word with 3 numbers was expected, got 'b 1 2'"):
        read_vectors(file("a 1 2 3\nb 1 2\n"), {}, np.zeros((1, 3), np.float32))

"""The lines of a corpus."""

from hypothesis import given
from hypothesis import strategies as st

from ostinato.data.sources.corpora import open_corpus, open_text
from ostinato.data.sources.lines import lines_in

TEXTS = st.text(st.sampled_from("ab\u2028\x0b é\n\r"), max_size=30)


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    places = sorted({cut for cut in cuts if 0 < cut < len(text)})
    return [text[start:stop] for start, stop in zip([0, *places], [*places, len(text)], strict=True)]


@given(TEXTS, st.lists(st.integers(1, 30), max_size=4))
def test_lines_do_not_depend_on_where_chunks_are_cut(text, cuts):
    expected = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    expected = expected[:-1] if expected[-1] == "" else expected
    found = list(lines_in([*(piece for piece in pieces_of(text, cuts) if piece), ""]))
    assert found == expected


def test_a_file_ends_its_last_line_and_its_byte_order_mark_is_left_out(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffAnna\r\nBo\ufeffb".encode())
    (tmp_path / "b.txt").write_bytes("\ufeffCara\n".encode())
    assert list(lines_in(open_corpus(tmp_path).pieces())) == ["Anna", "Bo\ufeffb", "Cara"]
    assert "".join(open_corpus(tmp_path).chunks()) == "Anna\r\nBo\ufeffbCara\n"


def test_bytes_that_are_no_text_stay_bytes():
    corpus = open_text("é\nb")
    broken = corpus.__class__("x", "text", data=b"\xff\nb")
    assert list(lines_in(broken.pieces("surrogateescape"))) == ["\udcff", "b"]
    assert list(lines_in(corpus.pieces("surrogateescape"))) == ["é", "b"]

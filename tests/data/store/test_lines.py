"""Lists of lines as ids in the cache."""

import pytest

from ostinato.data.sources.corpora import open_corpus, open_text, reopen
from ostinato.data.store.lines import LONGEST, prepare_lines
from ostinato.errors import EncodingError, SourceError

NAMES = ["Anna", " Bob  K.", "New York", "Anna", "naïve", "a  b "]
ENCODERS = ("char", "byte", "word", "bpe", "word_bpe")


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_gives_back_the_lines_with_their_spaces_and_their_doubles(name):
    lines = prepare_lines(open_text("\r\n".join([*NAMES, "", " \t"])), name=name, vocabulary_size=300)
    assert list(lines.texts()) == NAMES
    assert lines.blank == 2
    assert lines.lengths.tolist() == [len(lines.line(number)) for number in range(len(NAMES))]


@pytest.mark.parametrize("name", ["char", "word"])
def test_a_line_end_is_no_symbol(name):
    encoder = prepare_lines(open_text("Anna\nBob Bob\r\nAnna"), name=name).encoder
    assert not any("\n" in encoder.decode([number]) for number in range(encoder.size))
    assert not any("\r" in encoder.decode([number]) for number in range(encoder.size))


def test_a_word_has_one_id_at_the_beginning_of_a_line_and_within():
    lines = prepare_lines(open_text("Anna Bob\nBob Anna"), name="word")
    assert lines.encoder.size == 3  # and <unk>
    assert lines.line(0).tolist() == lines.line(1).tolist()[::-1]


def test_letters_are_normalized_line_by_line():
    lines = prepare_lines(open_text("Anna-Lena!\n...\nBob"), normalize="letters")
    assert list(lines.texts()) == ["anna lena", "bob"]
    assert lines.blank == 1


def test_the_cache_has_what_a_text_of_python_no_longer_has():
    corpus = open_text("Anna\nBob")
    first = prepare_lines(corpus)
    again = prepare_lines(reopen(corpus.describe()), encoder=first.encoder)
    assert list(again.texts()) == ["Anna", "Bob"]
    assert again.content == first.content


def test_bytes_of_any_file_are_lines(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"\xff\xfe\n\xe9a\n")
    lines = prepare_lines(open_corpus(tmp_path / "a.bin"), name="byte")
    assert [lines.line(number).tolist() for number in range(2)] == [[0xFF, 0xFE], [0xE9, 0x61]]
    (tmp_path / "b.bin").write_bytes(b"\xc3\xa9\xff\n")
    with pytest.raises(SourceError, match="is not UTF-8 text: byte 0xff at offset 2"):
        prepare_lines(open_corpus(tmp_path / "b.bin"))


def test_nothing_but_blank_lines_and_a_line_too_long_are_refused():
    encoder = prepare_lines(open_text("ab\na")).encoder
    with pytest.raises(SourceError, match="<text> has no lines but blank ones"):
        prepare_lines(open_text("\n \n"), encoder=encoder)
    with pytest.raises(SourceError, match=r"line 2 of <text> has 10,001 tokens; .* at most 10,000"):
        prepare_lines(open_text("a\n" + "b" * (LONGEST + 1)), encoder=encoder)
    with pytest.raises(EncodingError, match="'c'"):
        prepare_lines(open_text("c"), encoder=encoder)


def test_a_lenient_encoder_has_its_own_place_in_the_cache():
    encoder = prepare_lines(open_text("ab?\na")).encoder
    for how, expected in (("drop", ["ab", "b"]), ("replace", ["a?b", "b??"])):
        lines = prepare_lines(open_text("aXb\nbXY"), encoder=encoder.leniently(how))
        assert list(lines.texts()) == expected

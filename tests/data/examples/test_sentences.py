"""One side of a translation: from a sentence to ids and back."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.data.encoders.bpe import BpeEncoder
from ostinato.data.encoders.byte import ByteEncoder
from ostinato.data.encoders.char import CharEncoder
from ostinato.data.encoders.word import WordEncoder
from ostinato.data.encoders.word_bpe import WordBpeEncoder
from ostinato.data.examples.sentences import (
    BOS,
    EOS,
    PAD,
    UNK,
    Sentences,
    marked,
    padded,
    pieces_for,
    script_encoder,
    sentences_from_json,
)
from ostinato.data.sources.corpora import open_text
from ostinato.errors import EncodingError, RunError

CHAR, WORD = CharEncoder(" abé"), WordEncoder((" good", " day", "!", " we"))
BPE = BpeEncoder.fit(
    open_text(" the good day, the better day, the best day" * 5), "none", vocabulary_size=270
)
SPELT = WordBpeEncoder((" the", " day"), BPE)


def single_spaces(text: str) -> str:
    return " ".join(text.split())


# From sentence to ids.


def test_ids_begin_with_the_marks_and_the_unknown_is_one_of_them():
    assert (PAD, BOS, EOS, UNK) == (0, 1, 2, 3)
    word, char, byte = Sentences(WORD), Sentences(CHAR), Sentences(ByteEncoder())
    assert word.encode("good we day bad!").tolist() == [4, 7, 5, 3, 6]
    assert char.encode("ab xé").tolist() == [5, 6, 4, 3, 7]
    assert byte.encode("\x01é").tolist() == [5, 4 + 0xC3, 4 + 0xA9]
    assert (word.size, char.size, byte.size, Sentences(BPE).size) == (8, 8, 260, 4 + BPE.size)
    assert all(some.encode("a").dtype == np.int32 for some in (word, char, byte, Sentences(BPE)))


@pytest.mark.parametrize("encoder", [CHAR, WORD, ByteEncoder(), BPE], ids=lambda encoder: encoder.name)
def test_white_space_is_single_and_inside_only(encoder):
    sentences = Sentences(encoder)
    ids = sentences.encode("good day")
    assert sentences.encode("\u3000good\t\n day \r\n").tolist() == ids.tolist()
    assert sentences.encode(" \n").shape == (0,)
    assert sentences.encode("").dtype == np.int32


def test_the_first_word_is_the_same_as_one_after_a_space():
    for encoder in (WORD, BPE):
        ids = Sentences(encoder).encode("day day").tolist()
        assert ids[: len(ids) // 2] == ids[len(ids) // 2 :]


def test_unicode_is_normalised_and_letters_are_lowered():
    composed, decomposed, wide = "\u00e9", "e\u0301", "\uff21"  # é, e and its accent, a wide A
    assert Sentences(CHAR, "nfc").encode(decomposed).tolist() == [7]
    assert Sentences(CHAR, "none").encode(decomposed).tolist() == [3, 3]
    assert Sentences(CHAR, "nfkc", True).encode(wide + composed.upper()).tolist() == [5, 7]
    assert Sentences(CHAR, "nfc", True).encode(wide).tolist() == [3]
    assert Sentences(CHAR).encode("A").tolist() == [3]


def test_text_that_no_file_holds_is_unknown_or_refused():
    assert Sentences(CHAR).encode("a\0\ud800b").tolist() == [5, 3, 3, 6]
    assert Sentences(WORD).encode("good \0").tolist() == [4, 3]
    with pytest.raises(EncodingError, match="half of a surrogate pair"):
        Sentences(BPE).encode("\ud800")


def test_one_huge_sentence_is_encoded_whole():
    for encoder in (CHAR, WORD):
        sentences = Sentences(encoder)
        text = "a b xx good " * 10_000
        assert len(sentences.encode(text)) == 10_000 * len(sentences.encode("good a b xx")) + (
            9_999 if encoder is CHAR else 0
        )


# Back.


@pytest.mark.parametrize("encoder", [ByteEncoder(), BPE, SPELT], ids=lambda encoder: encoder.name)
@given(text=st.text())
def test_bytes_and_subwords_give_every_sentence_back(encoder, text):
    sentences = Sentences(encoder, "none")
    assert sentences.decode(sentences.encode(text)) == single_spaces(text)


@given(st.text(" abé"), st.booleans())
def test_characters_and_marks_give_the_sentence_back(text, marks):
    sentences = Sentences(CHAR)
    ids = sentences.encode(text)
    assert sentences.decode([PAD, *marked(ids), PAD] if marks else ids) == single_spaces(text)


def test_the_unknown_and_broken_text_are_shown():
    assert Sentences(CHAR).decode(Sentences(CHAR).encode("xab yx")) == "<unk>ab <unk><unk>"
    assert Sentences(WORD).decode(Sentences(WORD).encode("A good, we")) == "<unk> good <unk> we"
    assert Sentences(ByteEncoder()).decode([4 + 0xC3, 4 + ord("a")]) == "�a"
    assert Sentences(CHAR).decode([]) == Sentences(CHAR).decode([BOS, EOS, PAD]) == ""


def test_pieces_are_printable_names():
    marks = ["<pad>", "<bos>", "<eos>", "<unk>"]
    assert Sentences(CHAR).pieces(range(8)) == [*marks, "▁", "a", "b", "é"]
    assert Sentences(WORD).pieces(range(8)) == [*marks, "good", "day", "!", "we"]
    assert Sentences(ByteEncoder()).pieces([3, 4, 36, 69, 259]) == ["<unk>", "0x00", "▁", "A", "0xff"]
    assert "".join(Sentences(BPE).pieces(Sentences(BPE).encode("the best day"))) == "▁the▁best▁day"


# Saved.


@pytest.mark.parametrize("encoder", [CHAR, WORD, ByteEncoder(), BPE], ids=lambda encoder: encoder.name)
def test_sentences_are_saved_and_found(encoder):
    sentences = Sentences(encoder, "nfc", True)
    assert sentences_from_json(json.loads(json.dumps(sentences.to_json()))) == sentences


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder": {}}, "its name must be one of"),
        ({"encoder": None}, "its name must be one of"),
        ({"encoder": CharEncoder("\0a").to_json()}, "a NUL byte"),
        ({"unicode": "nfd"}, "'unicode' must be one of nfkc, nfc, none"),
        ({"unicode": []}, "'unicode' must be one of nfkc, nfc, none"),
        ({"lowercase": 1}, "'lowercase' must be true or false"),
        ({"more": 1}, "the keys of a side must be"),
    ],
    ids=str,
)
def test_what_is_damaged_is_told(change, said):
    with pytest.raises(RunError, match=f"vocabulary is damaged: .*{said}"):
        sentences_from_json(Sentences(CHAR).to_json() | change)


@pytest.mark.parametrize("data", [None, [], {}, {"encoder": {}}], ids=str)
def test_what_is_no_side_is_told(data):
    with pytest.raises(RunError, match="the keys of a side must be"):
        sentences_from_json(data)


# For the network.


def test_sentences_are_marked_and_padded():
    rows = [np.array([7, 8, 9]), np.array([], np.int32), marked(np.array([5], np.int32))]
    assert rows[2].tolist() == [BOS, 5, EOS]
    assert marked(np.array([], np.int32)).tolist() == [BOS, EOS]
    ids, lengths = padded(rows)
    assert ids.tolist() == [[7, 8, 9], [0, 0, 0], [1, 5, 2]]
    assert lengths.tolist() == [3, 0, 3]
    assert padded(rows, 5)[0].tolist() == [[7, 8, 9, 0, 0], [0, 0, 0, 0, 0], [1, 5, 2, 0, 0]]
    assert ids.dtype == lengths.dtype == rows[2].dtype == np.int32
    assert padded([])[0].shape == (0, 0)


@pytest.mark.parametrize(
    ("texts", "encoder"),
    [
        pytest.param(["我喜欢狗。", "GPT 很好"], "char", id="han"),
        pytest.param(["𠮷野"], "char", id="rare han"),
        pytest.param(["犬が好きです", "ﾃﾞｰﾀ"], "char", id="japanese"),
        pytest.param(["ฉันชอบสุนัข"], "char", id="thai"),
        pytest.param(["ຂ້ອຍມັກຫມາ"], "char", id="lao"),
        pytest.param(["ខ្ញុំចូលចិត្តឆ្កែ"], "char", id="khmer"),
        pytest.param(["ငါခွေးကြိုက်တယ်"], "char", id="myanmar"),
        pytest.param(["I like dogs.", "狗"], "bpe", id="english"),
        pytest.param(["나는 개를 좋아한다"], "bpe", id="korean"),
        pytest.param(["Мне нравятся собаки"], "bpe", id="russian"),
        pytest.param(["1 + 1 = 2。"], "bpe", id="figures"),
        pytest.param([], "bpe", id="nothing"),
    ],
)
def test_scripts_without_spaces_are_read_by_characters(texts, encoder):
    assert script_encoder(texts) == encoder


@pytest.mark.parametrize(
    ("sentences", "pieces"), [(0, 3000), (50_000, 3000), (158_114, 5500), (500_000, 8000), (10**9, 8000)]
)
def test_more_sentences_get_more_subwords(sentences, pieces):
    assert pieces_for(sentences) == pieces

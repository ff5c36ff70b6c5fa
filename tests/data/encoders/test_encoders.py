"""Encoders: round trips, streaming, counts of characters, what they do not know, and how they are saved."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.data.encoders.normalize import normalize_text, segments
from ostinato.data.encoders.registry import ENCODERS, encoder_digest, encoder_from_json, fit_encoder
from ostinato.data.sources.corpora import open_text
from ostinato.errors import ConfigError, EncodingError, RunError, SourceError

words = st.text(st.sampled_from("ab Z\n\t.,'_é\u0301日𝄞👩\u200d\x1c\u2028"))
texts = (words | st.text()).map(lambda text: "a " + text + "b")
names = pytest.mark.parametrize("name", ENCODERS)
LEARNED = "the cat, the dog and\nthe bird. naïve 日本語 𝄞\n" * 3


def fitted(name, text=LEARNED, **options):
    return fit_encoder(name, open_text(text), **options)


@names
@settings(max_examples=40)
@given(texts)
def test_decoding_what_was_encoded_gives_the_text(name, text):
    encoder = fitted(name, text, vocabulary_size=270)
    ids = encoder.encode(text)
    assert encoder.decode(ids) == encoder.decode(ids.tolist()) == text
    assert ids.dtype == encoder.dtype
    assert ids.max() < encoder.size == len(encoder.symbols) == len(encoder.characters)


@names
@settings(max_examples=40)
@given(texts)
def test_normalised_text_comes_back_normalised(name, text):
    encoder = fitted(name, text, normalize="letters", vocabulary_size=270)
    assert encoder.decode(encoder.encode(text)) == normalize_text(text, "letters")


@names
@settings(max_examples=40)
@given(texts, st.sampled_from(["none", "letters"]))
def test_characters_of_the_ids_sum_to_the_length_of_the_text(name, text, normalize):
    encoder = fitted(name, text, normalize=normalize, vocabulary_size=270)
    assert encoder.characters.dtype == np.float32
    assert encoder.characters[encoder.encode(text)].sum() == len(normalize_text(text, normalize))


@names
@settings(max_examples=40)
@given(texts, st.integers(1, 7))
def test_encoding_a_corpus_chunk_by_chunk_equals_encoding_the_whole(name, text, size):
    encoder = fitted(name, text, vocabulary_size=270)
    corpus = replace(open_text(text), chunk_bytes=size)
    assert np.array_equal(np.concatenate(list(encoder.encode_chunks(corpus))), encoder.encode(text))
    assert fit_encoder(name, corpus, vocabulary_size=270) == encoder


@pytest.mark.parametrize("name", ["word", "bpe", "word_bpe"])
@settings(max_examples=60)
@given(texts, st.integers(1, 8))
def test_encoding_segment_by_segment_equals_encoding_the_whole(name, text, length):
    encoder = fitted(name, text, vocabulary_size=270)
    parts = [encoder.encode(segment) for segment in segments([text], length)]
    assert np.array_equal(np.concatenate(parts), encoder.encode(text))


@names
def test_a_saved_encoder_is_the_same_encoder(name):
    encoder = fitted(name, normalize="none", vocabulary_size=300)
    again = encoder_from_json(json.loads(json.dumps(encoder.to_json())))
    assert again == encoder
    assert encoder_digest(again) == encoder_digest(encoder)
    assert np.array_equal(again.encode(LEARNED), encoder.encode(LEARNED))


@names
def test_a_text_begins_with_the_line_end_or_else_a_space(name):
    encoder = fitted(name)
    assert encoder.decode([encoder.start]) == "\n"
    encoder = fitted(name, "the bird ", normalize="letters")
    assert encoder.decode([encoder.start]) == " "


@names
def test_one_symbol_is_nothing_to_predict(name):
    with pytest.raises(SourceError, match="nothing to predict"):
        fitted(name, "aaaa")
    with pytest.raises(SourceError, match=r"letters and spaces only.*nothing to predict"):
        fitted(name, "1234", normalize="letters")


@names
def test_half_of_a_surrogate_pair_is_refused_with_a_sentence(name):
    with pytest.raises(EncodingError, match=r"\\ud800"):
        fitted(name).encode("the \ud800", strict=True)


def test_characters_are_sorted_by_code_point():
    encoder = fitted("char", "b𝄞aé\nb")
    assert encoder.symbols == ["\\n", "a", "b", "é", "𝄞"]
    assert encoder.encode("a𝄞\n").tolist() == [1, 4, 0]


@given(texts, st.text())
def test_char_names_exactly_the_characters_it_has_never_seen(text, other):
    encoder = fitted("char", text)
    strange = sorted(set(other) - set(text))
    if not strange:
        assert encoder.decode(encoder.encode(other)) == other
        return
    with pytest.raises(EncodingError) as caught:
        encoder.encode(other)
    assert f": {', '.join(map(repr, strange[:10]))}" in str(caught.value)
    assert ("more" in str(caught.value)) == (len(strange) > 10)


@pytest.mark.parametrize(("count", "bits"), [(256, 8), (257, 16), (65536, 16), (65537, 32)])
def test_ids_take_the_smallest_unsigned_type(count, bits):
    text = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x20000)][:count]))
    encoder = fitted("char", text)
    assert encoder.encode(text).dtype == f"uint{bits}"
    assert encoder.encode(text).tolist() == list(range(count))
    with pytest.raises(EncodingError):
        encoder.encode(chr(0x20001))


def test_bytes_read_what_is_no_text(tmp_path):
    corpus = replace(open_text("x"), data=bytes(range(256)))
    encoder = fit_encoder("byte", corpus)
    assert np.concatenate(list(encoder.encode_chunks(corpus))).tolist() == list(range(256))
    assert encoder.decode([0xC3, 0xA9, 0xFF]) == "é�"


def test_bytes_of_an_undecodable_prompt_are_themselves():
    assert fitted("byte").encode(b"a\xff".decode(errors="surrogateescape")).tolist() == [97, 255]


def test_words_come_by_falling_count_and_then_alphabet():
    encoder = fitted("word", "b a b, c d b, a")
    assert encoder.symbols == ["<unk>", " a", " b", ",", " c", " d", "b"]
    assert encoder.decode(encoder.encode(" b, x")) == " b,<unk>"


def test_rare_words_become_unknown_with_their_mean_length():
    encoder = fitted("word", " a a a bcd bcd efghi", min_count=3)
    assert encoder.symbols == ["<unk>", " a"]
    assert encoder.unknown == 0
    ids = encoder.encode(" a a a bcd bcd efghi")
    assert ids.tolist() == [1, 1, 1, 0, 0, 0]
    assert encoder.characters[ids].sum() == pytest.approx(20)


def test_strict_words_are_named():
    with pytest.raises(EncodingError, match=r"words .* ' elephant', ' zebra'"):
        fitted("word").encode("the zebra elephant", strict=True)


def test_a_minimum_that_no_word_reaches_says_how_far_they_go():
    with pytest.raises(SourceError, match="no word of <text> occurs 9 times, the most frequent 2 times"):
        fitted("word", " a a b", min_count=9)


def test_bpe_learns_frequent_pieces_and_knows_every_text():
    encoder = fitted("bpe", vocabulary_size=300)
    assert 256 < encoder.size <= 300
    assert " the" in encoder.symbols
    assert len(encoder.encode(" the cat")) < 8
    assert encoder.decode(encoder.encode("Ünseen ☃ 𝄞")) == "Ünseen ☃ 𝄞"


def test_frequent_words_are_one_id_and_others_are_spelt():
    text = " the singer sings, the dancer dances" + " the" * 9
    encoder = fitted("word_bpe", text, vocabulary_size=260)
    assert encoder.words == (" the", " dancer", " dances")
    assert len(encoder.encode(" the dancer")) == 2
    spelt = encoder.encode(" sang")
    assert (spelt < encoder.spelling.size).all()
    assert encoder.unknown is None
    assert encoder.decode(encoder.encode(" the sang ☃ the")) == " the sang ☃ the"


def test_subwords_are_of_distinct_words_and_a_quarter_of_the_ids():
    words = [f" {stem}{ending}" for stem in ("walk", "talk", "jump") for ending in ("", "ed", "ing")]
    encoder = fitted("word_bpe", "".join(words) + " of" * 1000, vocabulary_size=1200, min_count=2)
    assert encoder.words == (" of",)
    assert 257 < encoder.spelling.size <= 300
    assert "alk" in encoder.symbols
    assert len(encoder.encode(" chalking")) < 8


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("chars", {}, "did you mean 'char'"),
        ("char", {"normalize": "letter"}, "did you mean 'letters'"),
        ("word", {"min_count": 0}, "must be 1 or more"),
        ("bpe", {"vocabulary_size": 256}, "257 or more"),
        ("word_bpe", {"vocabulary_size": 257}, "258 or more"),
    ],
)
def test_options_that_do_not_exist_are_refused(name, options, expected):
    with pytest.raises(ConfigError, match=expected):
        fitted(name, **options)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@names
@settings(max_examples=60)
@given(st.data())
def test_a_damaged_vocabulary_is_refused_or_still_an_encoder(name, data):
    saved = fitted(name, vocabulary_size=258).to_json()
    part = saved
    if "bpe" in name:
        part = data.draw(st.sampled_from([saved, saved["tokenizer"], saved["tokenizer"]["model"]]))
    key = data.draw(st.sampled_from([*part, "other"]))
    part[key] = data.draw(values)
    try:
        encoder = encoder_from_json(saved)
    except RunError:
        return
    assert encoder_from_json(encoder.to_json()) == encoder


@given(values)
def test_what_is_no_vocabulary_is_refused(data):
    with pytest.raises(RunError, match="damaged"):
        encoder_from_json(data)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("char", {"symbols": ["b", "a"]}),
        ("char", {"symbols": ["a", "bc"]}),
        ("char", {"symbols": []}),
        ("char", {"normalize": "upper"}),
        ("word", {"words": ["two words"]}),
        ("word", {"words": ["a", "a"]}),
        ("word", {"words": ["a", "\ud800"]}),
        ("word", {"unknown_length": True}),
        ("byte", {"more": 1}),
        ("bpe", {"tokenizer": {"model": {"type": "WordPiece"}}}),
        ("word_bpe", {"tokenizer": {"model": {"type": "WordPiece"}}}),
        ("word_bpe", {"words": ["two words"]}),
        ("word_bpe", {"words": ["a", "a"]}),
    ],
)
def test_vocabularies_that_contradict_themselves_are_refused(name, change):
    with pytest.raises(RunError, match="damaged"):
        encoder_from_json(fitted(name, vocabulary_size=258).to_json() | change)

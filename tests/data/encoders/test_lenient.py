"""Symbols that an encoder lacks: dropped, replaced, or added to it."""

import numpy as np
import pytest

from ostinato.data.encoders.byte import ByteEncoder
from ostinato.data.encoders.char import CharEncoder
from ostinato.data.encoders.registry import encoder_digest, fit_encoder
from ostinato.data.encoders.word import WordEncoder
from ostinato.data.sources.corpora import open_text
from ostinato.errors import ConfigError, EncodingError


def test_unknown_characters_are_dropped_or_replaced_and_by_default_an_error_names_the_flags():
    encoder = CharEncoder("?ab")
    with pytest.raises(EncodingError, match=r"'X'; leave them out \(unknown='drop' .* unknown='replace'"):
        encoder.encode("aXb")
    assert encoder.decode(encoder.leniently("drop").encode("aXb☃")) == "ab"
    assert encoder.decode(encoder.leniently("replace").encode("aXb☃")) == "a?b?"


def test_the_first_known_stand_in_is_taken_and_without_one_it_is_an_error():
    for alphabet, expected in ((" ?a\ufffd", "\ufffd"), (" _a", "_"), (" a", " ")):
        encoder = CharEncoder(alphabet)
        assert encoder.decode(encoder.leniently("replace").encode("X")) == expected
    with pytest.raises(ConfigError, match="the model knows none of"):
        CharEncoder("ab").leniently("replace")


def test_a_lenient_encoder_is_saved_as_the_same_and_cached_as_another():
    encoder = CharEncoder("?ab")
    assert encoder.leniently("drop").to_json() == encoder.to_json()
    digests = {encoder_digest(encoder.leniently(how)) for how in ("error", "drop", "replace")}
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (CharEncoder("bdx"), CharEncoder("abcz")),
        (fit_encoder("word", open_text("the cat sat")), fit_encoder("word", open_text("the dog sat here"))),
    ],
    ids=["char", "word"],
)
def test_an_extended_encoder_knows_both_and_says_where_the_old_symbols_are(old, new):
    extended, places = old.extended(new)
    assert [extended.symbols[place] for place in places] == old.symbols
    assert {*extended.symbols} == {*old.symbols, *new.symbols}
    assert type(old).from_json(extended.to_json()) == extended
    same, places = extended.extended(new)
    assert same == extended
    np.testing.assert_array_equal(places, np.arange(extended.size))


def test_an_encoder_that_knows_every_text_is_not_extended():
    for encoder in (ByteEncoder(), fit_encoder("bpe", open_text("ab ab ab"), vocabulary_size=257)):
        with pytest.raises(ConfigError, match=f"the {encoder.name} encoder knows every text"):
            encoder.extended(encoder)
    assert WordEncoder(("a",)).leniently("drop") == WordEncoder(("a",))

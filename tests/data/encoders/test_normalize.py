"""Normalisation and segments: chunk by chunk they give what they give for the whole text."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ostinato.data.encoders.normalize import normalize_chunks, normalize_text, segments

mostly_plain = st.text(st.sampled_from("abYZ  \n.,'é\u212a𝄞")) | st.text()


def chunks(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@given(mostly_plain)
def test_letters_is_the_textbook_normalisation(text):
    assert normalize_text(text, "letters") == re.sub("[^A-Za-z]+", " ", text).lower()


@given(mostly_plain, st.integers(1, 5))
def test_letters_over_chunks_equals_letters_over_the_whole(text, size):
    assert "".join(normalize_chunks(chunks(text, size), "letters")) == normalize_text(text, "letters")


@given(mostly_plain, st.integers(1, 5))
def test_none_changes_nothing(text, size):
    assert "".join(normalize_chunks(chunks(text, size), "none")) == normalize_text(text, "none") == text


@given(mostly_plain, st.integers(1, 5), st.integers(1, 8), st.integers(8, 20))
def test_segments_join_to_the_text_and_are_short(text, size, length, longest):
    cut = list(segments(chunks(text, size), length, longest))
    assert "".join(cut) == text
    assert all(0 < len(segment) <= max(length, longest) for segment in cut)


@given(mostly_plain, st.integers(1, 5), st.integers(1, 8))
def test_segments_end_only_between_a_word_and_white_space(text, size, length):
    cut = list(segments(chunks(text, size), length, longest=10**6))
    for before, after in pairwise(cut):
        assert not before[-1].isspace()
        assert after[0] in " \t\n\r"

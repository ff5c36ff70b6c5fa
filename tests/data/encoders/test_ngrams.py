"""N-grams of a text: what they are, where they stand, and which are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.data.encoders import ngrams
from ostinato.data.encoders.ngrams import NGrams, spans
from ostinato.errors import RunError


def pieces(text: str, *, spaced: bool) -> list[str]:
    found = spans(text, spaced=spaced)
    return [text[start:stop] for start, stop in zip(found.starts, found.stops, strict=True)]


def test_words_pairs_of_words_and_characters_within_words():
    found = pieces("ab, c", spaced=True)
    assert found[-5:] == ["ab", ",", "c", "ab,", ", c"]
    assert set(found[:-5]) == {"a", "ab", "b,", ", ", " c", "c", "ab,", "b, ", "ab, "}


def test_without_spaces_characters_alone():
    assert set(pieces("今天 好", spaced=False)) >= {"今", "今天", "天 好", "今天 好"}
    assert spans("", spaced=True).hashes.size == 0


@given(st.text(max_size=40), st.booleans())
def test_every_text_has_n_grams_within_it(text, spaced):
    found = spans(text, spaced=spaced)
    assert len(found.hashes) == len(found.starts) == len(found.stops)
    assert np.all((found.starts >= 0) & (found.starts <= found.stops) & (found.stops <= len(text)))


def test_upper_case_and_white_space_are_all_one():
    one, other = (set(spans(text, spaced=True).hashes.tolist()) for text in ("Good\tday", "good day"))
    assert one == other


def test_equal_n_grams_have_one_hash_and_others_another():
    found = spans("banana bandana", spaced=True)
    text = "banana bandana"
    kinds = {}
    for hash_, start, stop in zip(*found, strict=True):
        kinds.setdefault(hash_, set()).add(text[start:stop].strip())
    assert all(len(same) == 1 for same in kinds.values())


def hashes_of(text: str, *, spaced: bool = True) -> set[int]:
    return set(spans(text, spaced=spaced).hashes.tolist())


def test_known_are_all_words_and_the_characters_of_two_texts(monkeypatch):
    texts = ["red green", "red blue", "red green"]
    everything = NGrams.fit(iter(texts), 1000, spaced=True)
    new = hashes_of("blue") - hashes_of("red green")
    words = {hash_ for hash_ in new if hash_ < 1 << 31}
    assert len(words) == 1
    assert new & set(everything.hashes.tolist()) == words
    across = NGrams.fit(iter(texts), 1000, spaced=False)
    assert hashes_of("blue", spaced=False) <= set(across.hashes.tolist())
    monkeypatch.setattr(ngrams, "_TOGETHER", 1)  # counted text by text
    assert np.array_equal(NGrams.fit(iter(texts), 1000, spaced=True).hashes, everything.hashes)


def test_the_most_frequent_of_each_kind_are_kept():
    texts = ["red green", "red blue", "red green"]
    few = NGrams.fit(iter(texts), 7, spaced=True)
    assert (len(few), few.of_words) == (7, 4)
    assert few.counts[: few.of_words].tolist().count(3) == 1  # red
    assert few.counts[few.of_words :].tolist() == [3, 3, 3]
    shared = NGrams.fit(iter(["a b c d", "a b c d"]), 14, spaced=True)
    assert (len(shared), shared.of_words) == (14, 7)  # of eight and seven
    assert NGrams.fit(iter(["a b c d", "a b c d"]), 15, spaced=True).of_words == 7


def test_the_rarity_is_the_inverse_document_frequency():
    known = NGrams.fit(iter(["red", "red", "blue", "red blue"]), 1000, spaced=True)
    (red,), (both,) = (known.ids_of(spans(text, spaced=True).hashes[-1:]) for text in ("red", "red blue"))
    assert known.texts == 4
    np.testing.assert_allclose(known.rarity[red - 1], np.log(5 / 4) + 1, rtol=1e-6)
    np.testing.assert_allclose(known.rarity[both - 1], np.log(5 / 2) + 1, rtol=1e-6)


def test_ids_rise_from_one_and_unknown_n_grams_have_none():
    known = NGrams.fit(iter(["red green"] * 2), 1000, spaced=True)
    ids = known.encode("red green")
    assert np.array_equal(ids, np.arange(1, len(known) + 1))
    assert known.encode("xyz").size == 0
    assert NGrams.fit(iter([]), 10, spaced=True).encode("red").size == 0


def test_they_are_read_back_and_damage_is_said():
    known = NGrams.fit(iter(["red green"] * 2), 1000, spaced=False)
    again = NGrams.from_json(known.to_json())
    assert np.array_equal(again.hashes, known.hashes)
    assert again.spaced is False
    assert np.array_equal(again.counts, known.counts)
    assert again.texts == known.texts
    good = {"hashes": [1, 2], "counts": [1, 1], "texts": 2, "spaced": True}
    NGrams.from_json(good)
    for bad in (
        {"hashes": [2, 1]},
        {"hashes": [-1, 2]},
        {"spaced": 1},
        {"counts": [1]},
        {"counts": [1, 3]},
        {"texts": -1},
        {"texts": "2"},
    ):
        with pytest.raises(RunError, match="n-grams"):
            NGrams.from_json(good | bad)
    with pytest.raises(RunError, match="n-grams"):
        NGrams.from_json({})

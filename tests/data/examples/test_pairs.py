"""Sentence pairs as ids: parts by the source alone, vocabularies of the training part, the cache."""

import hashlib
import mmap
import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.data.examples.pairs import prepare_pairs
from ostinato.data.examples.sentences import UNK
from ostinato.data.examples.splits import PARTS
from ostinato.data.sources.pairs import open_pairs
from ostinato.errors import ConfigError, OstinatoError, SourceError
from ostinato.files import cache as cache_folder

ALL: dict[str, Any] = {"validation_fraction": 0.2, "test_fraction": 0.2}
WORDS: dict[str, Any] = {"source_encoder": "word", "target_encoder": "word"}


def some(count: int):
    return open_pairs([(f"Good day {i}!", f"Guten Tag, {i}") for i in range(count)])


def prepared(*pairs, **options):
    return prepare_pairs(open_pairs(pairs), **options)


def message(*arguments, error: type[OstinatoError] = SourceError, **options) -> str:
    with pytest.raises(error) as caught:
        prepare_pairs(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["char", "byte", "word", "bpe", "word_bpe", "auto"])
def test_examples_are_the_encoded_sentences(name):
    pairs = [(" Good  day.", "Guten Tag"), ("I do", "Ja,\tich"), ("Ünd?", "und")]
    examples = prepared(*pairs, source_encoder=name, target_encoder=name)
    assert len(examples) == 3
    assert examples.numbers.tolist() == [1, 2, 3]
    assert examples.lengths.shape == (3, 2)
    assert examples.lengths.dtype == examples.source(0).dtype == examples.target(0).dtype == np.int32
    for i, pair in enumerate(pairs):
        assert examples.texts(i) == pair
        for side, ids, sentences in (
            (0, examples.source(i), examples.source_sentences),
            (1, examples.target(i), examples.target_sentences),
        ):
            assert np.array_equal(ids, sentences.encode(pair[side]))
            assert examples.lengths[i, side] == len(ids)
            assert sentences.decode(ids) == " ".join(pair[side].split())


# Parts.


def test_the_part_of_a_source_is_the_same_everywhere():
    sources = ["Go.", "Hi.", "Run!", "Fire!", "Help!", "Jump.", "Stop!", "Wait!", "Hello!", "I try."]
    sources += ["你好", "Ünd?"]
    examples = prepared(*((source, "x y") for source in sources), **WORDS, **ALL)
    parts = {name: [sources[i] for i in examples.part(name)] for name in PARTS}
    assert parts == {
        "train": ["Go.", "Run!", "Fire!", "Help!", "Jump.", "Stop!", "你好", "Ünd?"],
        "validation": ["Wait!", "Hello!"],
        "test": ["Hi.", "I try."],
    }
    for name, (low, high) in {"test": (0, 0.2), "validation": (0.2, 0.4), "train": (0.4, 1)}.items():
        for source in parts[name]:
            draw = int(hashlib.sha256(source.encode()).hexdigest()[:16], 16)
            assert low <= draw / 2**64 < high


@given(st.lists(st.sampled_from(["a", " a", "b ", "b", "é", "e\u0301", "ﬁ", "fi", "c"]), min_size=1))
def test_equal_sources_are_never_in_two_parts(sources):
    pairs = [(source, f"{i}") for i, source in enumerate(["Go.", *sources])]
    examples = prepared(*pairs, source_encoder="byte", target_encoder="byte", **ALL)
    where = {i: name for name in PARTS for i in examples.part(name).tolist()}
    assert sorted(where) == list(range(len(pairs)))
    equal = {"é": "e\u0301", "ﬁ": "fi", " a": "a", "b ": "b"}
    parts = {}
    for i, (source, _) in enumerate(pairs):
        parts.setdefault(equal.get(source, source), set()).add(where[i])
    assert all(len(names) == 1 for names in parts.values())


def test_parts_are_about_their_fraction_and_the_test_part_follows_from_nothing_else():
    examples = prepare_pairs(some(2000), validation_fraction=0.1, test_fraction=0.2)
    sizes = [len(examples.part(name)) for name in ("validation", "test")]
    assert 150 < sizes[0] < 250
    assert 330 < sizes[1] < 470
    fewer = prepare_pairs(some(1000), validation_fraction=0.3, test_fraction=0.2)
    test = examples.part("test")
    assert fewer.part("test").tolist() == test[test < 1000].tolist()
    with pytest.raises(ConfigError, match="part must be one of train, validation, test, got 'dev'"):
        examples.part("dev")


def test_many_pairs_give_a_smaller_share_for_validation():
    fractions = {"validation_fraction": 0.1, "test_fraction": 0.2}
    whole = prepare_pairs(some(2000), **fractions)
    capped = prepare_pairs(some(2000), **fractions, max_validation=50)
    assert 30 < len(capped.part("validation")) < 70
    assert {*capped.part("validation")} < {*whole.part("validation")}
    assert capped.part("test").tolist() == whole.part("test").tolist()
    few = prepare_pairs(some(400), **fractions, max_validation=50)
    assert (
        few.part("validation").tolist() == prepare_pairs(some(400), **fractions).part("validation").tolist()
    )


def test_fractions_that_leave_nothing_are_told():
    assert "less than 1, got 1.0" in message(some(9), test_fraction=1.0, error=ConfigError)
    said = message(some(9), validation_fraction=0.5, test_fraction=0.5)
    assert "none of the 9 pairs of <pairs> is left for training" in said


# What is left out.


def test_long_pairs_are_left_out_of_training_only():
    pairs = [(f"{i}", "x" + " y" * (i % 10)) for i in range(200)]
    whole = prepared(*pairs, **WORDS, **ALL)
    examples = prepared(*pairs, **WORDS, **ALL, max_tokens=7)
    long = {i for i in range(200) if i % 10 > 6}
    assert set(examples.part("train").tolist()) == set(whole.part("train").tolist()) - long
    for name in ("validation", "test"):
        assert np.array_equal(examples.part(name), whole.part(name))
        assert long & set(examples.part(name).tolist())
    count = len(whole.part("train")) - len(examples.part("train"))
    assert examples.notes == (f"left out {count} pairs of training with more than 7 tokens on a side",)
    assert whole.notes == ()
    assert examples.source_sentences == whole.source_sentences
    swapped = prepared(*((target, source) for source, target in pairs), **WORDS, max_tokens=7)
    assert set(swapped.part("train").tolist()) == set(range(200)) - long


def test_when_every_pair_is_too_long_the_shortest_is_told():
    pairs = [("a b c d e", "x"), ("a b", "x y z"), ("a b", "x x x x")]
    said = message(open_pairs(pairs), **WORDS, max_tokens=2)
    assert said.startswith("no training pair of <pairs> has 1 to 2 tokens on each side; the shor")
    assert "the shortest has 3 on its longer side" in said
    assert prepared(*pairs, **WORDS, max_tokens=3).part("train").tolist() == [1]


def test_bad_rows_are_told_or_counted_in_the_notes_from_the_cache_too(write):
    path = write("a.tsv", "a b\tb c\nno\nc d\td e\n")
    assert "1 row without a TAB (line 2)" in message(open_pairs(path))
    for _ in range(2):
        examples = prepare_pairs(open_pairs(path, skip_bad_rows=True), **WORDS)
        assert examples.numbers.tolist() == [1, 3]
        assert examples.notes == ("left out 1 row without a TAB",)


# Vocabularies.


def test_vocabularies_are_of_the_training_part_only_and_before_pairs_are_left_out():
    pairs = [(f"w{i} a", f"z{i} b") for i in range(100)] + [("long " * 9, "lang " * 9)]
    examples = prepared(*pairs, **WORDS, **ALL, max_tokens=5)
    known = {f"w{i}" for i in examples.part("train").tolist()} | {"a", "long"}
    assert set(examples.source_sentences.pieces(range(4, examples.source_sentences.size))) == known
    targets = set(examples.target_sentences.pieces(range(4, examples.target_sentences.size)))
    assert targets == {word.replace("w", "z") for word in known - {"a", "long"}} | {"b", "lang"}
    assert all(examples.source(i)[0] == UNK for i in examples.part("test").tolist())


def test_rare_words_and_characters_are_unknown():
    words = prepared(("a a b", "x"), ("a b c", "x y"), **WORDS, min_count=2, source_vocabulary=257)
    assert words.source_sentences.pieces(words.source(1)) == ["a", "b", "<unk>"]
    assert words.target_sentences.size == 5
    char = prepared(("aab", "xx"), ("b", "xyx"), source_encoder="char", target_encoder="char", min_count=2)
    assert char.source_sentences.pieces(char.source(0)) == ["a", "a", "b"]
    assert char.target_sentences.pieces(char.target(1)) == ["x", "<unk>", "x"]
    for name, what in (("char", "character"), ("word", "word")):
        said = message(open_pairs([("aa b", "x")]), source_encoder=name, min_count=4)
        assert f"no {what} of <pairs> (sources) occurs 4 times, the most frequent" in said


def test_vocabularies_have_the_sizes_asked_for():
    pairs = [(" ".join(f"w{j}" for j in range(i)), "x y") for i in range(1, 300)]
    words = prepared(*pairs, **WORDS, source_vocabulary=260)
    assert words.source_sentences.size == 264
    assert words.source_sentences.pieces([4, 263]) == ["w0", "w259"]
    pieces = prepared(*pairs, source_encoder="bpe", target_encoder="bpe", source_vocabulary=300)
    assert pieces.source_sentences.size == 304
    assert pieces.target_sentences.size < 264
    assert "257 or more, got 256" in message(
        open_pairs(pairs), source_encoder="bpe", source_vocabulary=256, error=ConfigError
    )
    assert "got 'wrod'" in message(open_pairs(pairs), source_encoder="wrod", error=ConfigError)


def test_without_a_size_there_are_8000_words_and_3000_subwords_of_few_pairs():
    syllables = [first + vowel for first in "bdfgklmnprst" for vowel in "aeiou"]
    words = [one + two + three for one in syllables[:21] for two in syllables for three in syllables[:7]]
    pairs = [(" ".join(words[at : at + 9]), " ".join(words[at : at + 9])) for at in range(0, len(words), 9)]
    examples = prepared(*pairs, source_encoder="word", target_encoder="bpe")
    assert examples.source_sentences.encoder.size == 8001  # with the unknown word
    assert examples.target_sentences.encoder.size == 3000
    given = prepared(*pairs, source_encoder="word", target_encoder="bpe", target_vocabulary=400)
    assert given.target_sentences.encoder.size == 400


def test_auto_takes_the_encoder_of_each_script():
    examples = prepared(("我喜欢狗", "I like dogs"), ("你好", "hello"))
    assert examples.source_sentences.encoder.name == "char"
    assert examples.target_sentences.encoder.name == "bpe"
    examples = prepared(("I like dogs", "我喜欢狗"), ("hello", "你好"))
    assert examples.source_sentences.encoder.name == "bpe"
    assert examples.target_sentences.encoder.name == "char"
    joint = prepared(("I like dogs", "ich mag Hunde"), ("hello", "hallo"), joint_vocabulary=True)
    assert joint.source_sentences.encoder.name == "bpe"


def test_a_joint_vocabulary_knows_both_sides():
    pairs = [("Go now", "Geh jetzt"), ("now", "jetzt JETZT")]
    examples = prepared(
        *pairs, source_encoder="word", target_encoder="char", joint_vocabulary=True, lowercase="both"
    )
    assert examples.source_sentences is examples.target_sentences
    pieces = examples.source_sentences.pieces(range(4, examples.source_sentences.size))
    assert sorted(pieces) == ["geh", "go", "jetzt", "now"]
    assert examples.source(1)[0] == examples.source(0)[1]
    said = message(open_pairs(pairs), joint_vocabulary=True, lowercase="source", error=ConfigError)
    assert "none or both with a joint vocabulary" in said


def test_each_side_is_normalised_as_asked():
    def sides(**options):
        examples = prepared(("AB é ﬁ", "CD é ﬁ"), source_encoder="char", target_encoder="char", **options)
        return [
            examples.source_sentences.decode(examples.source(0)),
            examples.target_sentences.decode(examples.target(0)),
        ]

    assert sides(lowercase="source") == ["ab é fi", "CD é fi"]
    assert sides(lowercase="both", unicode="nfc") == ["ab é ﬁ", "cd é ﬁ"]
    assert sides(unicode="none") == ["AB é ﬁ", "CD é ﬁ"]


def test_sentences_of_a_translator_trained_before_are_kept():
    first = prepare_pairs(some(50), **WORDS)
    known = first.source_sentences, first.target_sentences
    later = prepared(("Good evening", "Guten Abend"), sentences=known, source_encoder="char")
    assert (later.source_sentences, later.target_sentences) == known
    assert later.source_sentences.decode(later.source(0)) == "Good <unk>"
    assert later.target(0).tolist() == [first.target(0)[0], UNK]


# The cache.


@pytest.fixture
def path(write):
    return write("a.tsv", "".join(f"Good day {i}\tGuten Tag {i} ü\n" for i in range(60)))


def test_a_second_call_reads_nothing_again(path):
    reads = []
    first = prepare_pairs(open_pairs(path), **WORDS, on_progress=lambda *at: reads.append(at))
    size = path.stat().st_size
    assert reads[0] == (size, size)
    assert len(reads) == 5  # the pairs; vocabulary and ids of each side
    assert all(done == total for done, total in reads)
    reads.clear()
    second = prepare_pairs(open_pairs(path), **WORDS, on_progress=lambda *at: reads.append(at))
    assert reads == []
    assert second.hash == first.hash
    assert second.source_sentences == first.source_sentences
    assert np.array_equal(second.lengths, first.lengths)


def test_equal_pairs_have_one_hash_wherever_they_come_from(path, write):
    pairs = [pair[:2] for pair in open_pairs(path).rows()]
    two = [write(name, "".join(f"{pair[side]}\n" for pair in pairs)) for side, name in enumerate("ab")]
    hashes = {prepare_pairs(open_pairs(given)).hash for given in (path, pairs, tuple(two))}
    assert hashes == {open_pairs(pairs).content}
    assert prepare_pairs(open_pairs(pairs[::-1])).hash not in hashes


def test_pairs_that_are_gone_are_found_by_their_description():
    first = prepare_pairs(some(12))
    again = prepare_pairs(open_pairs(some(12).description))
    assert again.texts(3) == first.texts(3)
    assert np.array_equal(again.target(3), first.target(3))


def test_a_changed_file_is_read_again(path):
    first = prepare_pairs(open_pairs(path))
    path.write_text(path.read_text().replace("Tag", "Weg"))
    os.utime(path, ns=(1, 1))
    second = prepare_pairs(open_pairs(path))
    assert "Weg" in second.texts(0)[1]
    assert second.hash != first.hash


def test_damaged_files_of_the_cache_are_made_again(path):
    def found():
        examples = prepare_pairs(open_pairs(path), **WORDS, **ALL)
        return [
            (*examples.texts(i), examples.source(i).tolist(), examples.target(i).tolist()) for i in range(60)
        ]

    before = found()
    files = [file for file in cache_folder.folder().rglob("*") if file.is_file()]
    assert len(files) == 12
    for file in files:
        file.write_bytes(file.read_bytes()[:-1])
        assert found() == before


def test_nothing_is_left_in_the_cache_of_pairs_that_cannot_be_read(write):
    path = write("a.tsv", b"a\tx\nb\ty\n" * 5000 + "é".encode() + b"\xff\ty\n")
    assert "line 10001 is not UTF-8" in message(open_pairs(path))
    assert not [file for file in cache_folder.folder().rglob("*") if file.is_file()]


def test_texts_and_ids_are_used_from_files(path):
    """Nothing as large as the pairs themselves is held in memory."""
    examples = prepare_pairs(open_pairs(path), **WORDS)
    (first, second) = examples._stored[0].sides
    mapped = [first.data, second.data, first.ends]
    mapped += [examples._sides[0].ids, examples._sides[1].ids, examples._sides[0].starts]
    for array in mapped:
        while isinstance(array.base, np.ndarray):
            array = array.base
        assert isinstance(array.base, mmap.mmap)


@pytest.mark.parametrize(
    ("target", "encoder", "said"),
    [
        ("HH AH0 L OW{}", "word", "the targets are symbols with spaces between, read by word"),
        ("mot{}", "char", "the targets are single words, read by char"),
        ("several words of number {}", "bpe", "the sources are single words, read by char"),
    ],
)
def test_auto_reads_single_words_by_characters_and_their_symbols_by_words(target, encoder, said):
    pairs = [(f"word{n}", target.format(n % 3)) for n in range(30)]
    examples = prepared(*pairs)
    assert examples.single_words
    assert examples.source_sentences.encoder.name == "char"
    assert examples.target_sentences.encoder.name == encoder
    assert said in examples.notes[0]
    asked = prepared(*pairs, source_encoder="word", target_encoder="byte")
    assert (asked.source_sentences.encoder.name, asked.notes) == ("word", ())
    joint = prepared(*pairs, joint_vocabulary=True)
    assert joint.source_sentences.encoder.name == ("char" if encoder == "char" else "bpe")


def test_other_pairs_are_the_validation_part():
    own = [("Good day", "Guten Tag"), ("Good night", "Gute Nacht")]
    other = open_pairs([("Good evening", "Guten Abend")])
    examples = prepare_pairs(replace(open_pairs(own), validation=other), **WORDS, test_fraction=0.2)
    assert examples.part("validation").tolist() == [2]
    assert examples.texts(2) == ("Good evening", "Guten Abend")
    assert examples.source_sentences.pieces(examples.source(2)) == ["Good", "<unk>"]
    assert examples.hash != prepared(*own).hash
    with pytest.raises(IndexError):
        examples.texts(3)
    said = message(replace(open_pairs(own), validation=other), validation_fraction=0.1, error=ConfigError)
    assert "the validation fraction must be 0 with a validation file" in said

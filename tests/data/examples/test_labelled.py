"""Examples: parts with the same share of every class, ids by the training part's vocabulary, the cache."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.data.examples.labelled import PARTS, encode_text, prepare_examples
from ostinato.data.sources.tables import open_table
from ostinato.errors import ConfigError, OstinatoError, RunError, SourceError
from ostinato.files import cache as cache_folder

GOOD, BAD = "I like it. I do", "Not for me !"


def table(pairs):
    return open_table(list(pairs))


def some(count: int):
    """Texts of which one in three is bad."""
    return table((f"{BAD} {i}", "bad") if i % 3 == 0 else (f"{GOOD} {i}", "good") for i in range(count))


def message(*arguments, error: type[OstinatoError] = SourceError, **options) -> str:
    with pytest.raises(error) as caught:
        prepare_examples(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["char", "byte", "word", "bpe", "word_bpe"])
def test_examples_are_the_encoded_texts_and_their_classes(name):
    pairs = [("  I like it.", "good"), ("I don't\n", "bad"), ("Ünd?", "good")]
    examples = prepare_examples(table(pairs), name)
    assert examples.labels == ("bad", "good")
    assert examples.targets.tolist() == [1, 0, 1]
    assert examples.targets.dtype == examples.lengths.dtype == np.int32
    assert examples.numbers.tolist() == [1, 2, 3]
    assert len(examples) == 3
    for i, (text, _) in enumerate(pairs):
        assert examples.text(i) == text
        assert examples.tokens(i).dtype == np.int32
        assert np.array_equal(examples.tokens(i), encode_text(examples.encoder, text))
        assert examples.lengths[i] == len(examples.tokens(i))
        assert examples.encoder.decode(examples.tokens(i)).strip() == text.strip()
    with pytest.raises(ValueError, match="read-only"):
        examples.tokens(0)[0] = 1


def test_a_word_is_the_same_at_the_beginning_of_a_text():
    examples = prepare_examples(table([("like it", "a"), ("you like", "b")]), "word")
    assert examples.tokens(0)[0] == examples.tokens(1)[1]
    assert 0 not in examples.ids


@pytest.mark.parametrize("name", ["word", "bpe", "word_bpe"])
@given(text=st.text("ab \n.é", max_size=30))
def test_the_vocabulary_counts_words_as_texts_are_encoded(name, text):
    examples = prepare_examples(table([(text, "a"), (text + " zz", "b"), ("b" + text, "a")]), name)
    assert all(
        examples.encoder.decode(examples.tokens(i)).strip() == examples.text(i).strip() for i in range(3)
    )


def test_the_most_frequent_words_are_known_and_others_are_not():
    examples = prepare_examples(table([("a a a b b c", "x"), ("a b d", "y")]), "word", vocabulary_size=3)
    assert examples.encoder.symbols == ["<unk>", " a", " b"]
    assert examples.tokens(1).tolist() == [1, 2, 0]
    assert prepare_examples(table([("a a b", "x"), ("c", "y")]), "word", min_count=2).encoder.size == 2
    assert "must be 2 or more" in message(some(9), "word", vocabulary_size=1, error=ConfigError)


def test_texts_without_symbols_are_examples_of_length_zero():
    pairs = [("", "x"), ("  \n", "y"), ("a b", "x"), ("?!", "y")]
    examples = prepare_examples(table(pairs), "word", normalize="letters")
    assert examples.lengths.tolist() == [0, 0, 2, 0]
    assert examples.tokens(0).shape == (0,)


def test_one_huge_text_is_kept_whole():
    text = "word and word " * 50_000
    examples = prepare_examples(table([(text, "x"), ("short", "y")]), "word")
    assert examples.lengths[0] == 150_000
    assert examples.text(0) == text


# Parts.


@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=5),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.integers(0, 99),
)
def test_parts_hold_every_example_once_and_every_class_by_its_share(counts, validation, test, seed):
    pairs = [(f"t{i}", f"{label}") for label, count in enumerate(counts) for i in range(count)]
    examples = prepare_examples(
        table(pairs), "byte", validation_fraction=validation, test_fraction=test, seed=seed
    )
    parts = {name: examples.part(name) for name in PARTS}
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(pairs)))
    for part in parts.values():
        assert part.dtype == np.int64
        assert np.array_equal(part, np.sort(part))
    for label, count in enumerate(counts):
        of_test = int((examples.targets[parts["test"]] == label).sum())
        of_validation = int((examples.targets[parts["validation"]] == label).sum())
        assert abs(of_test - count * test) <= 1
        assert abs(of_validation - (count - of_test) * validation) <= 1
        assert of_test + of_validation < count
    assert len(parts["test"]) <= round(len(pairs) * test)


def test_parts_follow_from_the_seed_and_the_test_part_from_nothing_else():
    def part(name, seed=0, validation=0.1):
        examples = prepare_examples(
            some(90), "byte", validation_fraction=validation, test_fraction=0.2, seed=seed
        )
        return examples.part(name).tolist()

    assert part("test") == part("test") == part("test", validation=0.5)
    assert part("test") != part("test", seed=1)
    assert len(part("test")) == 18
    assert len(part("validation")) == 7  # a tenth of what is left
    assert part("train") != list(range(len(part("train"))))


def test_the_vocabulary_is_counted_on_the_training_part_only():
    pairs = [(f"w{i}", "x" if i % 2 else "y") for i in range(40)]
    examples = prepare_examples(table(pairs), "word", validation_fraction=0.2, test_fraction=0.2)
    words = {symbol.strip() for symbol in examples.encoder.symbols[1:]}
    assert words == {f"w{i}" for i in examples.part("train")}
    unknown = [examples.tokens(i).tolist() for i in examples.part("test")]
    assert unknown == [[0]] * 8


def test_characters_that_training_lacks_are_left_out():
    examples = prepare_examples(
        table([("ab", "x"), ("ba", "y")]), "char", validation=table([("azbé", "x"), ("zé", "y")])
    )
    assert examples.tokens(2).tolist() == [0, 1]
    assert examples.lengths.tolist() == [2, 2, 2, 0]


def test_a_validation_table_is_the_validation_part():
    examples = prepare_examples(some(30), "word", test_fraction=0.1, validation=some(6))
    assert examples.part("validation").tolist() == [30, 31, 32, 33, 34, 35]
    assert len(examples.part("train")) == 27
    assert examples.text(31) == f"{GOOD} 1"
    assert examples.numbers[31] == 2
    assert examples.targets[30:].tolist() == [0, 1, 1, 0, 1, 1]
    assert examples.source["validation"] == some(6).description
    assert examples.hash != prepare_examples(some(30), "word").hash
    said = message(some(30), "word", validation=some(6), validation_fraction=0.1, error=ConfigError)
    assert "must be 0 with a validation file" in said


def test_fractions_and_parts_that_do_not_exist_are_told():
    assert "less than 1, got 1.0" in message(some(9), "word", test_fraction=1.0, error=ConfigError)
    assert "less than 1, got nan" in message(
        some(9), "word", validation_fraction=float("nan"), error=ConfigError
    )
    with pytest.raises(ConfigError, match="part must be one of train, validation, test, got 'dev'"):
        prepare_examples(some(9), "word").part("dev")


# Labels.


def test_labels_are_in_the_order_of_numbers_when_they_are_numbers():
    assert prepare_examples(table([("a", 10), ("b", 9), ("c", -1)]), "char").labels == ("-1", "9", "10")
    assert prepare_examples(table([("a", "10"), ("b", "9"), ("c", "x")]), "char").labels == ("10", "9", "x")


def test_one_class_only_is_told():
    assert "must have two labels or more, got only one label, 'x'" in message(
        table([("a", "x"), ("b", "x")]), "char"
    )


def test_a_label_that_training_has_never_seen_is_told_by_its_line(tmp_path):
    path = tmp_path / "v.csv"
    path.write_text("text,label\nA,good\nB,bda\n")
    said = message(some(9), "word", validation=open_table(path))
    assert "v.csv, line 3 has the label 'bda', which is not in training" in said
    assert "the labels in training are 'bad', 'good'" in said
    assert "has the label 'good'" in message(some(9), "word", labels=["bad", "other"])


def test_labels_and_vocabulary_of_a_classifier_trained_before_are_kept():
    first = prepare_examples(some(30), "word")
    later = prepare_examples(
        table([("I really do", "good")]), "word", labels=first.labels, vocabulary=first.encoder.to_json()
    )
    assert later.labels == ("bad", "good")
    assert later.targets.tolist() == [1]
    assert later.encoder == first.encoder
    assert later.tokens(0)[1] == 0
    given = prepare_examples(some(30), first.encoder)
    assert np.array_equal(given.ids, first.ids)
    assert "vocabulary is damaged" in message(some(30), "word", vocabulary={}, error=RunError)


def test_several_labels_of_a_text_are_a_row_of_ones():
    pairs = [("a", "x, y"), ("b", "y"), ("c", "z ,x,x"), ("d", "y,")]
    examples = prepare_examples(table(pairs), "char", label_separator=",")
    assert examples.labels == ("x", "y", "z")
    assert examples.targets.dtype == np.uint8
    assert examples.targets.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert "separator of labels must not be blank" in message(
        table(pairs), "char", label_separator=" ", error=ConfigError
    )


@given(st.integers(0, 50))
def test_every_label_of_several_is_seen_in_training(seed):
    pairs = [(str(i), f"{i % 2};rare{i % 7}" if i % 5 else f"{i % 2}") for i in range(60)] + [("x", "0;once")]
    examples = prepare_examples(
        table(pairs), "byte", validation_fraction=0.3, test_fraction=0.3, seed=seed, label_separator=";"
    )
    assert examples.targets[examples.part("train")].any(axis=0).all()
    assert sum(len(examples.part(name)) for name in PARTS) == 61


# The cache.


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f"{GOOD} {i},good\n{BAD} {i},bad\n" for i in range(30)))
    return path


def test_a_second_call_reads_nothing_again(path):
    reads = []
    first = prepare_examples(open_table(path), "word", on_progress=lambda *at: reads.append(at))
    size = path.stat().st_size
    assert reads[0] == (size, size)
    assert reads[-1][0] == reads[-1][1]
    assert len(reads) == 3
    reads.clear()
    second = prepare_examples(open_table(path), "word", on_progress=lambda *at: reads.append(at))
    assert reads == []
    assert second.hash == first.hash
    assert second.encoder == first.encoder
    assert np.array_equal(second.ids, first.ids)
    assert np.array_equal(second.targets, first.targets)


def test_equal_rows_have_one_hash_wherever_they_come_from(path):
    from_file = prepare_examples(open_table(path), "word")
    pairs = [(row.text, row.label) for row in open_table(path).rows()]
    from_python = prepare_examples(table(pairs), "word")
    assert from_python.hash == from_file.hash
    assert from_python.source == {"description": table(pairs).description, "sha256": from_file.hash}
    assert prepare_examples(table([*pairs[1:], pairs[0]]), "word").hash != from_file.hash


def test_pairs_that_are_gone_are_found_by_their_description():
    first = prepare_examples(some(12), "word")
    again = prepare_examples(open_table(first.source["description"]), "word")
    assert again.text(3) == first.text(3)
    assert np.array_equal(again.ids, first.ids)


def test_a_changed_file_is_read_again(path):
    first = prepare_examples(open_table(path), "word")
    path.write_text(path.read_text().replace("like", "love"))
    os.utime(path, ns=(1, 1))
    second = prepare_examples(open_table(path), "word")
    assert "love" in second.text(0)
    assert second.hash != first.hash


def test_damaged_files_of_the_cache_are_made_again(path):
    first = prepare_examples(open_table(path), "word", validation_fraction=0.1)
    ids, texts = np.array(first.ids), [first.text(i) for i in range(60)]
    files = [file for file in cache_folder.folder().rglob("*") if file.is_file()]
    assert len(files) == 7
    for file in files:
        file.write_bytes(file.read_bytes()[:-1])
        again = prepare_examples(open_table(path), "word", validation_fraction=0.1)
        assert np.array_equal(again.ids, ids)
        assert [again.text(i) for i in range(60)] == texts


def test_skipped_rows_are_counted_from_the_cache_too(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\nA,x\nB,\nC,y\n")
    for _ in range(2):
        opened = open_table(path, skip_bad_rows=True)
        assert prepare_examples(opened, "char").numbers.tolist() == [2, 4]
        assert opened.skipped == {"without a label": 1}
    assert "1 row without a label (line 3)" in message(open_table(path), "char")


def test_nothing_is_left_in_the_cache_of_a_table_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\n" + b"A,x\nB,y\n" * 5000 + "é".encode() + b"\xff,y\n")
    assert "line 10002 is not UTF-8" in message(open_table(path), "char")
    assert not [file for file in cache_folder.folder().rglob("*") if file.is_file()]


def test_a_label_column_of_all_different_texts_is_told(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f"a,{i}\n" for i in range(110_000)))
    assert "more than 100,000 different labels in column 'label'" in message(open_table(path), "char")


MEMORY = """
import sys
from ostinato.data.examples.labelled import prepare_examples
from ostinato.data.sources.tables import open_table

def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))

peak = 0
def watch(done, total):
    global peak
    peak = max(peak, anonymous())

before = anonymous()
examples = prepare_examples(open_table(sys.argv[1]), "byte", test_fraction=0.2, on_progress=watch)
watch(0, 0)
print(len(examples.ids) // 2**20, (peak - before) // 2**10)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_table_takes_a_small_part_of_its_size_in_memory(tmp_path, cache):
    path = tmp_path / "a.csv"
    line = "word " * 400
    path.write_text("text,label\n" + "".join(f"{i} {line},{i % 2}\n" for i in range(60_000)))
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, path],
        env=os.environ | {"OSTINATO_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    size, taken = map(int, done.stdout.split())
    assert size > 110
    assert taken < 60

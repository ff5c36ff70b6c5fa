"""Sentence pairs in parts and batches, and what is kept of them."""

import json
from itertools import islice

import numpy as np
import pytest

from ostinato.data.examples.sentences import BOS, EOS, PAD
from ostinato.errors import ConfigError, RunError
from ostinato.tasks.translator.data import FREE_TOKENS, open_source

from ...ready import Ready
from .numbers import PAIRS, prepared

ARRAYS = ("source", "source_lengths", "target", "target_lengths")


def test_a_joint_vocabulary_lower_cases_both_sides_or_none():
    with pytest.raises(ConfigError, match="lowercase must be none or both with a joint vocabulary"):
        prepared(joint_vocabulary=True, lowercase="source")


@pytest.mark.parametrize("reversed_pairs", [False, True])
@pytest.mark.parametrize(
    ("lowercase", "source", "target"),
    [("none", False, False), ("source", True, False), ("both", True, True)],
)
def test_lower_case_is_made_of_the_sides_that_were_asked_for(lowercase, source, target, reversed_pairs):
    pairs = [(one.title(), other.title()) for one, other in PAIRS]
    pairs = [pair[::-1] for pair in pairs] if reversed_pairs else pairs
    ready = prepared(pairs, lowercase=lowercase, source_encoder="char")
    for sentences, lower, text in zip(
        (ready.data.words.source, ready.data.words.target), (source, target), pairs[8], strict=True
    ):
        assert sentences.decode(sentences.encode(text)) == (text.lower() if lower else text)


@pytest.mark.parametrize("epoch", [None, 0, 5])
def test_every_pair_is_in_an_epoch_once_between_its_marks(epoch):
    ready = prepared()
    batches = list(ready.batches("train", epoch=epoch))
    assert len(batches) == ready.part().steps
    found = []
    for batch in batches:
        for source, length, target, target_length in zip(*(batch[name] for name in ARRAYS), strict=True):
            assert (source[length:] == PAD).all()
            assert (target[target_length:] == PAD).all()
            assert (target[0], target[target_length - 1]) == (BOS, EOS)
            found.append(
                (
                    ready.data.words.source.decode(source[:length]),
                    ready.data.words.target.decode(target[:target_length]),
                )
            )
    assert sorted(found) == sorted(
        ready.data.examples.texts(n) for n in ready.data.examples.part("train").tolist()
    )


def test_epochs_differ_and_seeds_differ_and_equal_ones_do_not():
    def order(seed, epoch):
        return [batch["source"].tolist() for batch in prepared(seed=seed).batches("train", epoch=epoch)]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_targets_of_about_equal_length_share_a_batch():
    ready = prepared()
    lengths = np.random.default_rng(0).permutation(
        ready.data.examples.lengths[ready.data.examples.part("train"), 1]
    )
    shuffled = [lengths[at : at + ready.config.batch] for at in range(0, len(lengths), ready.config.batch)]
    for epoch in (None, 0):
        batches = list(ready.batches("train", epoch=epoch))
        padding = sum((batch["target"] == PAD).sum() for batch in batches)
        assert padding < sum((some.max() - some).sum() for some in shuffled) / 2
        longest = [batch["target"].shape[1] for batch in batches]
        assert (longest == sorted(longest)) is (epoch is None)


@pytest.mark.parametrize("epoch", [None, 3])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_shards_of_a_batch_join_to_the_global_batch(epoch, count):
    ready = prepared()
    split = "train" if epoch is not None else "validation"
    whole = list(ready.batches(split, epoch=epoch))
    shards = [list(ready.batches(split, epoch=epoch, shard=(index, count))) for index in range(count)]
    for batch, *parts in zip(whole, *shards, strict=True):
        for name in ARRAYS:
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), batch[name])
        rows_before = np.cumsum([0, *(len(part["source"]) for part in parts)])[:-1]
        assert [part["first_row"] for part in parts] == rows_before.tolist()


@pytest.mark.parametrize("epoch", [None, 2])
def test_batches_go_on_from_any_number(epoch):
    ready = prepared()
    for start in (1, 3):
        expected = islice(ready.batches("train", epoch=epoch), start, None)
        for batch, same in zip(ready.batches("train", epoch=epoch, start=start), expected, strict=True):
            np.testing.assert_equal(batch, same)


def test_long_pairs_are_not_trained_on_and_long_sources_are_cut_where_they_are_evaluated():
    ready = prepared(max_tokens=3, target_encoder="word")
    assert ready.data.examples.lengths[ready.data.examples.part("train")].max() == 3
    assert ready.data.examples.lengths[ready.data.examples.part("validation"), 0].max() > 3
    assert any("with more than 3 tokens on a side" in note for note in ready.data.notes)
    (last,) = islice(ready.batches("validation"), ready.part("validation").steps - 1, None)
    assert last["source"].shape[1] == last["source_lengths"].max() == 3
    assert last["target_lengths"].max() > 3 + 2


def test_translations_may_grow_as_much_as_any_in_training_did():
    pairs = [("one", "x" * (FREE_TOKENS + 7)), ("one two", "x" * (FREE_TOKENS + 9)), ("two", "y")]
    assert prepared(pairs, validation_fraction=0.0).data.words.growth == 7
    assert prepared(target_encoder="word").data.words.growth == 1
    ready = prepared(pairs, validation_fraction=0.0, max_tokens=FREE_TOKENS + 8)
    assert ready.data.words.growth == 7
    again = Ready(ready.config, [("one two", "x" * 99)], vocabulary=ready.data.vocabulary, whole=True)
    assert again.data.words.growth == 7


def test_a_run_that_starts_from_another_lets_translations_grow_as_much_as_either_did():
    def pairs(growth: int) -> list[tuple[str, str]]:
        return [("one", "x" * (FREE_TOKENS + growth)), ("two", "y")]

    for before, after in ((7, 3), (3, 7)):
        other = prepared(pairs(before), validation_fraction=0.0)
        ready = Ready(other.config, pairs(after), vocabulary=other.data.vocabulary)
        assert (other.data.words.growth, ready.data.words.growth) == (before, 7)


@pytest.mark.parametrize(
    "damage",
    [
        {"growth": 0.5},
        {"growth": float("nan")},
        {"growth": 1e9},
        {"growth": 10**400},
        {"growth": "2"},
        {"growth": True},
        {"source": {}},
        {"target": None},
        {"target": {"encoder": {}, "unicode": "nfkc", "lowercase": False}},
    ],
    ids=str,
)
def test_a_damaged_vocabulary_is_refused(damage):
    ready = prepared()
    with pytest.raises(RunError, match="the vocabulary is damaged"):
        ready.task.build(ready.data.vocabulary | damage)
    with pytest.raises(RunError, match="the vocabulary is damaged"):
        ready.task.build({"growth": 1.0})


def test_a_validation_file_is_the_validation_part_and_is_opened_again(tmp_path):
    for name, pairs in (("train.tsv", PAIRS[:30]), ("more.tsv", PAIRS[30:])):
        (tmp_path / name).write_text("".join(f"{one}\t{other}\n" for one, other in pairs))
    for side, name in enumerate(("more.en", "more.fr")):
        (tmp_path / name).write_text("".join(f"{pair[side]}\n" for pair in PAIRS[30:]))
    train, files = str(tmp_path / "train.tsv"), [str(tmp_path / f"more.{end}") for end in ("tsv", "en", "fr")]
    opened = open_source(train, validation=files[0])
    ready = prepared(opened, test_fraction=0.2)
    assert sorted(ready.data.examples.texts(n) for n in ready.data.examples.part("validation")) == sorted(
        PAIRS[30:]
    )
    assert len(ready.data.examples.part("train")) + len(ready.data.examples.part("test")) == 30
    again = open_source(json.loads(json.dumps(ready.data.source["description"])))
    assert again == opened
    assert prepared(again).data.source == ready.data.source
    two = prepared(open_source(train, validation=files[1], validation_target=files[2]))
    assert two.data.source["sha256"] == ready.data.source["sha256"]
    with pytest.raises(ConfigError, match="validation_target= needs validation=; give both"):
        open_source(train, validation_target=files[2])


def test_the_recipe_for_single_words_is_named_where_another_is_used():
    pairs = [(f"word{n}", f"mot{n}") for n in range(30)]
    advice = "the recipe strings is made for single words"
    assert advice in prepared(pairs).data.notes
    assert advice not in prepared(pairs, bidirectional=True).data.notes
    assert advice not in prepared().data.notes

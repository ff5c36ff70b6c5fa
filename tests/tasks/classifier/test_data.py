"""Labelled texts in parts and batches."""

from itertools import islice

import numpy as np
import pytest

from ostinato.data.sources.tables import open_table
from ostinato.errors import SourceError
from ostinato.tasks.classifier.data import Tables

from .reviews import PAIRS, SETS, prepared


def texts_of(ready, split):
    return sorted(ready.data.examples.text(int(i)) for i in ready.data.examples.part(split))


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("epoch", [None, 0, 5])
def test_every_text_is_in_an_epoch_once(epoch, masked):
    ready = prepared(masked=masked)
    batches = list(ready.batches("train", epoch=epoch))
    assert len(batches) == ready.part().steps
    rows = [tuple(ids[ids > 0]) for batch in batches for ids in batch["tokens"]]
    expected = [tuple(ready.data.examples.tokens(int(i)) + 1) for i in ready.data.examples.part("train")]
    cut = [ids[-ready.data.words.max_tokens :] for ids in expected]
    assert sorted(rows) == sorted(cut)


def test_epochs_differ_and_seeds_differ_and_equal_ones_do_not():
    def order(seed, epoch):
        return [batch["tokens"].tolist() for batch in prepared(seed=seed).batches("train", epoch=epoch)]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_texts_of_about_equal_length_share_a_batch_unless_padding_is_read():
    def padding(**changes):
        batches = list(prepared(max_tokens=12, **changes).batches("train", epoch=0))
        assert {batch["tokens"].shape[1] for batch in batches} != {0}
        return sum((batch["tokens"] == 0).sum() for batch in batches)

    assert padding() < padding(masked=False) / 4
    shapes = {batch["tokens"].shape[1] for batch in prepared(max_tokens=12, masked=False).batches("train")}
    assert shapes == {12}


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("epoch", [None, 3])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_shards_of_a_batch_join_to_the_global_batch(kind, epoch, count):
    source, changes = SETS[kind]
    ready = prepared(source, **changes)
    split = "train" if epoch is not None else "validation"
    whole = list(ready.batches(split, epoch=epoch))
    shards = [list(ready.batches(split, epoch=epoch, shard=(index, count))) for index in range(count)]
    for batch, *parts in zip(whole, *shards, strict=True):
        for name in ("tokens", "lengths", "targets", "weights"):
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), batch[name])
        rows_before = np.cumsum([0, *(len(part["tokens"]) for part in parts)])[:-1]
        assert [part["first_row"] for part in parts] == rows_before.tolist()


@pytest.mark.parametrize("epoch", [None, 2])
def test_batches_go_on_from_any_number(epoch):
    ready = prepared()
    for start in (1, 3):
        expected = islice(ready.batches("train", epoch=epoch), start, None)
        for batch, same in zip(ready.batches("train", epoch=epoch, start=start), expected, strict=True):
            np.testing.assert_equal(batch, same)


def test_auto_takes_the_mean_length_of_training_and_two_deviations():
    ready = prepared()
    lengths = ready.data.examples.lengths[ready.data.examples.part("train")]
    assert ready.data.words.max_tokens == int(lengths.mean() + 2 * lengths.std())
    assert any("tokens of a text" in note for note in ready.data.notes)


def test_a_validation_table_is_the_validation_part():
    other = [("great film", "+"), ("dull film", "-")]
    ready = prepared(Tables(open_table(PAIRS), open_table(other)))
    assert texts_of(ready, "validation") == ["dull film", "great film"]
    assert len(texts_of(ready, "train")) == len(PAIRS)


def test_balanced_classes_weigh_the_same_in_training_and_not_in_evaluation():
    rare = PAIRS[:5] * 8 + PAIRS[5:10]
    ready = prepared(rare, class_weights="balanced", validation_fraction=0.0)
    weight = np.zeros(2)
    for batch in ready.batches("train", epoch=0):
        np.add.at(weight, batch["targets"], batch["weights"])
    assert weight[0] == pytest.approx(weight[1])
    assert weight.sum() == pytest.approx(len(rare))
    assert all((batch["weights"] == 1).all() for batch in ready.batches("train"))


def test_what_is_no_classification_is_refused():
    with pytest.raises(SourceError, match="got only one label"):
        prepared([("a", "x"), ("b", "x")])
    with pytest.raises(SourceError, match="which is not in training"):
        prepared(Tables(open_table(PAIRS), open_table([("film", "?"), ("fun", "-")])))

"""Labelled texts in parts and batches."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from ostinato.data.sources.tables import open_table
from ostinato.errors import ConfigError, SourceError
from ostinato.tasks.classifier.data import Tables, open_source

from .reviews import BAD, PAIRS, SETS, prepared


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


# Texts with several labels, or none.

NONE = [
    (f"{text} {n}", tags) for n in range(8) for text, tags in zip(BAD, ("a", "", "a|b", None), strict=False)
]


def test_a_text_without_any_of_several_labels_is_an_answer():
    ready = prepared(NONE, label_separator="|")
    targets, part = ready.data.examples.targets, ready.data.examples.part("train")
    assert ready.data.words.labels.names == ("a", "b")
    assert sorted(map(tuple, np.unique(targets, axis=0).tolist())) == [(0, 0), (1, 0), (1, 1)]
    none = int((targets[part].sum(axis=1) == 0).sum())
    assert f"a text may have several labels, or none, as {none} of the training texts" in ready.data.notes
    first = next(iter(ready.batches("train", epoch=0)))["targets"]
    assert (first.dtype, first.shape[1]) == (np.float32, 2)
    with pytest.raises(SourceError, match="16 rows without a label"):
        prepared(NONE)


def apart(rows):
    """A table that has the labels of a row apart, such as a column for each."""
    return replace(open_table(rows), several=True)


def test_a_table_may_have_its_labels_apart():
    rows = [(text, (tags or "").replace("|", "\x1f")) for text, tags in NONE]
    ready = prepared(apart(rows))
    assert ready.data.words.labels.names == ("a", "b")
    assert (ready.data.examples.targets == prepared(NONE, label_separator="|").data.examples.targets).all()
    kept = ready.data.vocabulary
    assert (kept["several"], kept["unlabelled"]) == (True, True)
    (prediction,) = ready.use(ready.drawn(3.0)).predictions(["a waste of time"])
    assert prediction.label == ", ".join(prediction.labels)
    with pytest.raises(ConfigError, match="has the labels of a row apart"):
        prepared(apart(rows), label_separator="|")
    with pytest.raises(ConfigError, match="class_weights need one label"):
        prepared(apart(rows), class_weights="balanced")
    with pytest.raises(SourceError, match="several labels in a row, but the texts of training have one"):
        prepared(Tables(open_table(PAIRS), apart(rows)))


def test_a_single_label_or_none_is_a_yes_or_no():
    ready = prepared(apart([("dull", "bad"), ("great", ""), ("slow", "bad"), ("fun", "")] * 3))
    assert ready.data.words.labels.names == ("bad",)
    assert ready.build().outputs == 1
    (prediction,) = ready.use(ready.drawn()).predictions(["dull"])
    assert prediction.labels == (("bad",) if prediction.probabilities["bad"] >= 0.5 else ())


def test_advice_about_a_rare_label():
    def notes(rare, **changes):
        rows = [(f"text {n}", "ham" if n >= rare else "spam") for n in range(100)]
        return " ".join(prepared(rows, validation_fraction=0.0, **changes).data.notes)

    said = "'spam', has 3 % of the training texts; class_weights='balanced' gives every label the same weight"
    assert said in notes(3)
    assert "rarest" not in notes(3, class_weights="balanced")
    assert "rarest" not in notes(6)
    many = [(f"text {n}", f"queue {n % 30}") for n in range(120)]  # each has a thirtieth
    assert "rarest" not in " ".join(prepared(many, validation_fraction=0.0).data.notes)


def test_numbers_as_labels_are_questioned(tmp_path):
    path = tmp_path / "houses.csv"
    prices = [100_000 + 250 * (n % 50) for n in range(200)]
    path.write_text("text,label\n" + "".join(f"house {n},{price}\n" for n, price in enumerate(prices)))
    with pytest.raises(
        SourceError, match=r"column 'label' of .*houses.csv, taken as the labels, has 50 different"
    ):
        prepared(str(path))
    named = open_source(str(path), label="label")
    assert len(prepared(named).data.words.labels.names) == 50
    with pytest.raises(SourceError, match="the labels of <pairs> are 50 different numbers"):
        prepared([(f"house {n}", price) for n, price in enumerate(prices)])
    classes = [(f"text {n}", n % 40) for n in range(200)]  # 0, 1, 2 … are names of classes
    assert len(prepared(classes).data.words.labels.names) == 40
    ratings = [(f"text {n}", (n % 10) / 2) for n in range(200)]
    assert len(prepared(ratings).data.words.labels.names) == 10

"""A text in parts and windows."""

from itertools import islice

import numpy as np
import pytest

from ostinato.errors import EncodingError, SourceError
from ostinato.tasks.language_model import LanguageModelConfig

from ...ready import Ready

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "rain", "fall", "–", "over", "hills")
LINES = np.random.default_rng(0).choice(WORDS, size=(60, 8))
TEXT = "\n".join(map(" ".join, LINES))
ENCODERS = ("char", "byte", "word", "bpe", "word_bpe")


def prepared(**changes) -> Ready:
    defaults = {"units": 8, "seq_len": 8, "batch": 4}
    return Ready(LanguageModelConfig(**(defaults | changes)), [TEXT])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_text_is_split_into_contiguous_parts(encoder):
    ready = prepared(encoder=encoder, validation_fraction=0.2, test_fraction=0.1, vocabulary_size=300)
    pieces = []
    for split in ("train", "validation", "test"):
        first = True
        for batch in ready.data.in_order(split).batches():
            count = int(batch["weights"].sum())
            pieces.append(batch["tokens"][0, :1] if first else [])
            pieces.append(batch["targets"][0, :count])
            first = False
    assert ready.data.encoder.decode(np.concatenate(pieces).astype(int)) == TEXT


def test_a_part_of_nothing_is_not_there():
    ready = prepared(validation_fraction=0.0)
    assert ready.data.part("train") is not None
    for read in (ready.data.part, ready.data.in_order):
        assert read("validation") is None
        assert read("test") is None


def test_only_the_first_tokens_are_used_when_asked():
    ready = prepared(max_tokens=100, validation_fraction=0.0)
    assert sum(batch["weights"].sum() for batch in ready.batches("train")) == 99


@pytest.mark.parametrize("sampling", ["sequential", "random"])
@pytest.mark.parametrize("epoch", [None, 0, 3])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_shards_of_a_batch_join_to_the_global_batch(sampling, epoch, count):
    ready = prepared(batch=5, sampling=sampling)
    split = "train" if epoch is not None else "validation"
    whole = list(ready.batches(split, epoch=epoch))
    shards = [list(ready.batches(split, epoch=epoch, shard=(index, count))) for index in range(count)]
    assert {len(shard) for shard in shards} == {len(whole)} == {ready.part(split).steps}
    for batch, *parts in zip(whole, *shards, strict=True):
        assert len(batch["tokens"]) == ready.part(split).rows
        for name in ("tokens", "targets", "weights"):
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), batch[name])
        rows_before = np.cumsum([0, *(len(part["tokens"]) for part in parts)])[:-1]
        assert [int(part["first_row"]) for part in parts] == rows_before.tolist()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_batches_go_on_from_any_number(split):
    ready = prepared()
    epoch = 2 if split == "train" else None
    for start in (1, 3):
        expected = islice(ready.batches(split, epoch=epoch), start, None)
        for batch, same in zip(ready.batches(split, epoch=epoch, start=start), expected, strict=True):
            np.testing.assert_array_equal(batch["tokens"], same["tokens"])


def test_a_part_too_short_for_a_window_is_named():
    with pytest.raises(
        SourceError, match="the validation part has 1 token, and nothing to predict; give more"
    ):
        prepared(validation_fraction=1.2 / len(TEXT))
    with pytest.raises(SourceError, match="the training part has"):
        prepared(seq_len=60_000)


def test_a_validation_part_shorter_than_a_window_is_read_in_a_shorter_one():
    part = prepared(seq_len=300, validation_fraction=0.1).data.part("validation")
    assert part.seq_len < 300
    assert targets_in(part) == len(part.ids) - 1


def test_a_vocabulary_of_before_is_kept_and_strangers_are_named():
    ready = prepared()
    vocabulary = ready.data.vocabulary
    assert ready.task.build(vocabulary).vocabulary_size == ready.data.encoder.size  # without any data
    other = Ready(ready.config, ["the cat sat on a mat\n" * 20], vocabulary=vocabulary)
    assert other.data.encoder == ready.data.encoder
    with pytest.raises(EncodingError, match="'X', '☃'"):
        Ready(ready.config, [TEXT + "X☃"], vocabulary=vocabulary)


def targets_in(part) -> int:
    return int(sum(batch["weights"].sum() for batch in part.batches()))


def test_training_reads_the_beginning_of_a_long_validation_part_and_an_evaluation_all_of_it():
    config = LanguageModelConfig(units=8, seq_len=8, batch=4, validation_fraction=0.5, validation_tokens=41)
    data = Ready(config, ["the cat sat on a mat\n" * 40]).data
    assert targets_in(data.part("validation")) == 40
    assert targets_in(data.in_order("validation")) == 419


def test_a_text_that_is_read_whole_is_one_part():
    ready = Ready(prepared(max_tokens=100, test_fraction=0.2).config, [TEXT], whole=True)
    assert targets_in(ready.data.in_order("train")) == len(TEXT) - 1
    assert ready.data.in_order("validation") is ready.data.in_order("test") is None

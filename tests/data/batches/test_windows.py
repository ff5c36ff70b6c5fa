"""Windows: every id where it belongs, the same for one (seed, epoch), and shards that make up the whole."""

from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ostinato.data.batches.windows import evaluation_batches, evaluation_steps, plan, split, train_batches
from ostinato.errors import ConfigError, SourceError

WAYS = {
    "sequential": {"sampling": "sequential"},
    "random": {"sampling": "random"},
    "random_computed": {"sampling": "random", "in_memory": 0},
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


@st.composite
def epochs(draw):
    """Arguments of `train_batches`. An id is its own place, so that batches show where they come from."""
    seq_len = draw(st.integers(1, 7))
    count = draw(st.integers(seq_len + 1, 150))
    return {
        "ids": np.arange(count),
        "batch": draw(st.integers(1, 9)),
        "seq_len": seq_len,
        "seed": draw(st.integers(0, 5)),
        "epoch": draw(st.integers(0, 5)),
    }


def equal(ours, theirs) -> bool:
    ours, theirs = list(ours), list(theirs)
    return len(ours) == len(theirs) and all(
        np.array_equal(a, b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)
    )


@given(st.integers(0, 10_000), st.floats(0, 0.5), st.floats(0, 0.49))
def test_the_split_is_contiguous_with_the_test_part_at_the_end(count, validation_fraction, test_fraction):
    parts = split(count, validation_fraction=validation_fraction, test_fraction=test_fraction)
    assert parts.train[0] == 0
    assert parts.train[1] == parts.validation[0]
    assert parts.validation[1] == parts.test[0]
    assert parts.test == (count - round(count * test_fraction), count)
    assert all(start <= stop for start, stop in parts)


def test_a_tenth_for_validation_is_the_last_tenth():
    assert split(1000, validation_fraction=0.1, test_fraction=0.0) == ((0, 900), (900, 1000), (1000, 1000))


@pytest.mark.parametrize("fractions", [(-0.1, 0), (0, -0.1), (0.5, 0.5), (1, 0), (float("nan"), 0)])
def test_fractions_that_leave_no_training_part_are_refused(fractions):
    with pytest.raises(ConfigError, match="fraction"):
        split(100, validation_fraction=fractions[0], test_fraction=fractions[1])


@ways
@given(epochs())
def test_every_epoch_has_the_planned_shape_and_targets_one_place_later(way, arguments):
    rows, steps = plan(
        len(arguments["ids"]),
        batch=arguments["batch"],
        seq_len=arguments["seq_len"],
        sampling=way["sampling"],
    )
    batches = list(train_batches(**arguments, **way))
    assert len(batches) == steps >= 1
    for inputs, targets in batches:
        assert inputs.shape == targets.shape == (rows, arguments["seq_len"])
        assert inputs.dtype == targets.dtype == np.int32
        assert inputs.flags.c_contiguous
        assert targets.flags.c_contiguous
        assert np.array_equal(targets, inputs + 1)
        assert np.array_equal(inputs, inputs[:, :1] + np.arange(arguments["seq_len"]))


@ways
@given(epochs())
def test_no_place_is_read_twice_and_less_than_a_batch_and_a_window_is_left_out(way, arguments):
    count, seq_len = len(arguments["ids"]), arguments["seq_len"]
    batches = list(train_batches(**arguments, **way))
    places = np.concatenate([inputs.ravel() for inputs, _ in batches])
    assert len(set(places.tolist())) == len(places)
    rows = len(batches[0][0])
    assert count - 1 - len(places) < rows * seq_len + seq_len


@given(epochs())
def test_sequential_rows_go_on_where_they_ended(arguments):
    batches = list(train_batches(**arguments, sampling="sequential"))
    for (before, _), (after, _) in pairwise(batches):
        assert np.array_equal(after[:, 0], before[:, -1] + 1)


@ways
@given(epochs(), st.integers(0, 20))
def test_start_skips_batches(way, arguments, start):
    every = list(train_batches(**arguments, **way))
    assert equal(train_batches(**arguments, **way, start=start), every[start:])


@ways
@given(epochs(), st.integers(1, 5))
def test_shards_are_the_rows_of_the_global_batch_in_order(way, arguments, count):
    shards = [list(train_batches(**arguments, **way, shard=(i, count))) for i in range(count)]
    joined = [
        [np.concatenate(parts) for parts in zip(*batches, strict=True)]
        for batches in zip(*shards, strict=True)
    ]
    assert equal(joined, train_batches(**arguments, **way))


@ways
def test_epochs_and_seeds_differ_and_repeat(way):
    def places(seed, epoch):
        batches = train_batches(np.arange(1000), batch=4, seq_len=16, seed=seed, epoch=epoch, **way)
        return np.concatenate([inputs for inputs, _ in batches]).tolist()

    drawn = [places(seed, epoch) for seed in range(2) for epoch in range(3)]
    assert drawn == [places(seed, epoch) for seed in range(2) for epoch in range(3)]
    assert any(epoch != drawn[0] for epoch in drawn[1:3])
    assert any(epoch != drawn[0] for epoch in drawn[3:])


def test_random_windows_are_shuffled_and_sequential_ones_are_not():
    ids = np.arange(10_000)
    first = {
        name: next(train_batches(ids, batch=8, seq_len=10, seed=0, epoch=0, **way))[0][:, 0]
        for name, way in WAYS.items()
    }
    assert np.all(np.diff(first["sequential"]) == first["sequential"][1] - first["sequential"][0])
    assert not np.all(np.diff(first["random"]) > 0)
    assert not np.all(np.diff(first["random_computed"]) > 0)


def test_an_order_in_memory_is_that_of_earlier_versions():
    """Runs that began with them go on with their batches."""
    ids = np.arange(1000)
    batches = train_batches(ids, batch=4, seq_len=16, sampling="random", seed=3, epoch=2)
    assert [inputs[:, 0].tolist() for inputs, _ in islice(batches, 3)] == [
        [589, 173, 861, 893],
        [301, 205, 285, 397],
        [781, 333, 733, 493],
    ]


def test_an_order_is_computed_only_for_more_windows_than_fit_in_memory():
    ids = np.arange(1001)  # 100 windows of 10, or 99 after an offset

    def places(in_memory):
        batches = train_batches(
            ids, batch=4, seq_len=10, sampling="random", seed=0, epoch=0, in_memory=in_memory
        )
        return np.concatenate([inputs[:, 0] for inputs, _ in batches]).tolist()

    assert places(100) == places(10**6)
    assert places(98) != places(100)
    assert places(98) == places(0)


def test_an_epoch_of_a_text_that_no_memory_holds_begins_in_its_middle():
    ids = np.broadcast_to(np.uint8(7), 10**15)
    batches = train_batches(
        ids, batch=32, seq_len=64, sampling="random", seed=0, epoch=0, start=10**11, shard=(1, 2)
    )
    inputs, _ = next(batches)
    assert inputs.shape == (16, 64)
    assert np.all(inputs == 7)


def test_offsets_of_a_long_text_take_every_value_below_a_window():
    ids = np.arange(100)
    drawn = {
        int(next(train_batches(ids, batch=2, seq_len=5, sampling="sequential", seed=0, epoch=epoch))[0][0, 0])
        for epoch in range(100)
    }
    assert drawn == set(range(5))


@st.composite
def evaluations(draw):
    seq_len = draw(st.integers(1, 7))
    ids = np.arange(1, draw(st.integers(seq_len + 1, 150)) + 1)
    return {"ids": ids, "rows": draw(st.integers(1, 9)), "seq_len": seq_len}


@given(evaluations())
def test_evaluation_reads_every_id_but_the_first_exactly_once(arguments):
    ids, shape = arguments["ids"], (arguments["rows"], arguments["seq_len"])
    seen = []
    for inputs, targets, weights in evaluation_batches(**arguments):
        assert inputs.shape == targets.shape == weights.shape == shape
        assert (inputs.dtype, targets.dtype, weights.dtype) == (np.int32, np.int32, np.float32)
        counted = weights == 1
        assert np.array_equal(targets[counted], inputs[counted] + 1)
        assert not any(array[~counted].any() for array in (inputs, targets, weights))
        seen += targets[counted].tolist()
    assert sorted(seen) == ids[1:].tolist()


@given(evaluations())
def test_evaluation_rows_are_contiguous_and_padded_only_at_their_end(arguments):
    batches = list(evaluation_batches(**arguments))
    targets, weights = (np.concatenate([batch[i] for batch in batches], axis=1) for i in (1, 2))
    assert len(batches) == evaluation_steps(
        len(arguments["ids"]), rows=arguments["rows"], seq_len=arguments["seq_len"]
    )
    for row, weight in zip(targets, weights, strict=True):
        read = int(weight.sum())
        assert weight[:read].all()
        assert np.array_equal(row[:read], row[0] + np.arange(read))


@given(evaluations(), st.integers(1, 4))
def test_evaluation_shards_make_up_the_whole(arguments, count):
    shards = [list(evaluation_batches(**arguments, shard=(i, count))) for i in range(count)]
    joined = [
        [np.concatenate(parts) for parts in zip(*batches, strict=True)]
        for batches in zip(*shards, strict=True)
    ]
    assert equal(joined, evaluation_batches(**arguments))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_ids_of_any_width_become_int32(tmp_path, dtype):
    np.save(tmp_path / "ids.npy", np.arange(200).astype(dtype))
    ids = np.load(tmp_path / "ids.npy", mmap_mode="r")
    for batch in (
        next(train_batches(ids, batch=2, seq_len=5, sampling="random", seed=0, epoch=0)),
        next(evaluation_batches(ids, rows=2, seq_len=5))[:2],
    ):
        for array in batch:
            assert type(array) is np.ndarray
            assert array.dtype == np.int32


@given(st.integers(0, 20), st.integers(1, 20))
def test_a_text_shorter_than_one_window_names_its_part_and_what_to_change(count, seq_len):
    assume(count < seq_len + 1)
    expected = rf"the validation part has {count} tokens, .*\({seq_len + 1} tokens\); .*seq_len="
    ids = np.arange(count)
    with pytest.raises(SourceError, match=expected):
        plan(count, batch=1, seq_len=seq_len, sampling="random", part="validation part")
    with pytest.raises(SourceError, match=expected):
        evaluation_batches(ids, rows=1, seq_len=seq_len, part="validation part")
    with pytest.raises(SourceError, match="the training part"):
        train_batches(ids, batch=1, seq_len=seq_len, sampling="random", seed=0, epoch=0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"batch": 0}, "batch must be 1 or more, got 0"),
        ({"seq_len": -1}, "sequence length must be 1 or more, got -1"),
        ({"sampling": "shuffled"}, "got 'shuffled'"),
    ],
)
def test_sizes_that_are_not_positive_are_refused(options, expected):
    with pytest.raises(ConfigError, match=expected):
        plan(100, **({"batch": 2, "seq_len": 5, "sampling": "random"} | options))


@pytest.mark.parametrize("shard", [(1, 1), (-1, 2), (0, 0)])
def test_a_shard_that_does_not_exist_is_refused(shard):
    with pytest.raises(ConfigError, match="no shard"):
        evaluation_batches(np.arange(100), rows=2, seq_len=5, shard=shard)

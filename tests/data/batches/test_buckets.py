"""Batches of examples of about equal length."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ostinato.data.batches.buckets import batch_numbers

ORDER, LENGTHS = np.array([3, 5, 6, 8, 9, 12, 13]), np.array([4, 1, 3, 1, 2, 9, 4])


def batches(lengths=(LENGTHS,), seed=None, **options):
    return [some.tolist() for some in batch_numbers(ORDER, lengths, batch=2, seed=seed, **options)]


def test_without_a_seed_examples_are_sorted_over_all():
    assert batches() == [[5, 8], [9, 6], [3, 13], [12]]
    assert batches(()) == [[3, 5], [6, 8], [9, 12], [13]]


def test_the_second_length_counts_where_the_first_is_equal():
    assert batches((np.zeros(7, int), LENGTHS)) == batches()
    assert batches((LENGTHS, np.array([2, 1, 0, 0, 0, 0, 1]))) == [[8, 5], [9, 6], [13, 3], [12]]


def test_the_order_of_an_epoch_stays_what_runs_were_saved_with():
    assert batches(seed=(7, 1)) == [[3, 13], [8, 5], [9, 6], [12]]
    assert batches((), seed=(7, 1)) == [[8, 3], [6, 5], [9, 13], [12]]


@given(
    st.sampled_from([0, 1, 99, 100]),
    st.none() | st.tuples(st.integers(0, 99), st.integers(0, 99)),
    st.integers(1, 40),
)
def test_every_example_is_in_one_batch(count, seed, batch):
    order, lengths = np.arange(count) * 2, np.arange(count) % 7
    found = list(batch_numbers(order, (lengths,), batch=batch, seed=seed))
    assert len(found) == -(-count // batch)
    assert sum(len(some) < batch for some in found) == bool(count % batch)
    assert sorted(number for some in found for number in some.tolist()) == order.tolist()


def test_examples_are_sorted_together_with_few_others():
    lengths = np.arange(400)
    order = lengths
    shuffled = np.concatenate(list(batch_numbers(order, (), batch=4, seed=(0, 0))))
    for together in (1, 5):
        found = list(batch_numbers(order, (lengths,), batch=4, seed=(0, 0), together=together))
        blocks = [set(block) for block in shuffled.reshape(-1, 4 * together).tolist()]
        assert all(np.array_equal(some, np.sort(some)) for some in found)
        assert all(any(block.issuperset(some.tolist()) for block in blocks) for some in found)
        firsts = [next(i for i, block in enumerate(blocks) if some[0] in block) for some in found]
        assert firsts != sorted(firsts)

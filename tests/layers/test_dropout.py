"""A dropout mask follows from the seed, the step, the site and the global row, and from nothing else."""

from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from ostinato.layers.dropout import DropoutKey, dropout


def key(seed: int = 0, step: int = 0, first_row: int = 0) -> DropoutKey:
    return DropoutKey(tf.constant(seed), tf.constant(step), tf.constant(first_row))


def mask(shape: tuple[int, ...], rate: float = 0.5, site: int = 1, **which: int) -> np.ndarray:
    return dropout(tf.ones(shape), rate, key(**which), site=site).numpy()


@given(
    batch=st.integers(1, 9),
    time=st.integers(1, 6),
    features=st.integers(1, 9),
    shards=st.integers(1, 4),
    rate=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**31 - 1),
    step=st.integers(0, 2**31 - 1),
    site=st.integers(0, 1001),
)
def test_the_masks_of_the_shards_join_to_that_of_the_global_batch(
    batch, time, features, shards, rate, seed, step, site
):
    whole = mask((batch, time, features), rate, site, seed=seed, step=step)
    borders = [index * batch // shards for index in range(shards + 1)]
    parts = [
        mask((stop - start, time, features), rate, site, seed=seed, step=step, first_row=start)
        for start, stop in pairwise(borders)
        if stop > start
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_they_join_also_where_the_draw_is_split_over_threads():
    whole = mask((64, 100, 53), 0.3, seed=3, step=70_000)
    parts = [mask((16, 100, 53), 0.3, seed=3, step=70_000, first_row=row) for row in range(0, 64, 16)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("changed", [{"seed": 1}, {"step": 1}, {"first_row": 1}, {"site": 2}])
def test_another_seed_step_row_or_site_draws_another_mask(changed):
    share_equal = np.mean(mask((10, 10, 10)) == mask((10, 10, 10), **changed))
    assert 0.4 < share_equal < 0.6


def test_no_two_rows_have_the_same_mask():
    rows = mask((50, 4, 16)).reshape(50, -1)
    assert len(np.unique(rows, axis=0)) == 50


@given(rate=st.floats(0.02, 0.98), seed=st.integers(0, 1000))
def test_the_rate_is_about_right_and_the_rest_is_scaled_up(rate, seed):
    values = mask((20, 20, 25), rate, seed=seed)
    kept = values != 0
    np.testing.assert_allclose(values[kept], 1 / (1 - rate), rtol=1e-6)
    assert abs(kept.mean() - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / values.size)


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero():
    x = tf.random.stateless_normal((3, 4, 5), seed=(1, 2))
    assert dropout(x, 0.5, None, site=1) is x
    assert dropout(x, 0.0, key(), site=1) is x


def test_gradients_flow_through_what_is_kept():
    x = tf.random.stateless_normal((3, 4, 5), seed=(1, 2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(dropout(x, 0.4, key(), site=1))
    np.testing.assert_allclose(tape.gradient(y, x), mask((3, 4, 5), 0.4), rtol=1e-6)


def test_a_graph_with_unknown_sizes_draws_the_same_mask():
    graph = tf.function(
        lambda x, step: dropout(x, 0.5, DropoutKey(tf.constant(0), step, tf.constant(0)), site=1),
        input_signature=[tf.TensorSpec([None, None, 3]), tf.TensorSpec([], tf.int32)],
    )
    np.testing.assert_array_equal(graph(tf.ones((4, 5, 3)), tf.constant(9)), mask((4, 5, 3), step=9))

"""A dropout mask follows from the seed, the step, the site and the global row, and from nothing else."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.cells.registry import recurrent
from ostinato.layers.dropout import DropoutKey, dropout, recurrent_masks, weight_drop

from ..variants import examples


def key(seed: int = 0, step: int = 0, first_row: int = 0) -> DropoutKey:
    return DropoutKey(tf.constant(seed), tf.constant(step), tf.constant(first_row))


def mask(shape: tuple[int, ...], rate: float = 0.5, site: str = "a", **which: int) -> np.ndarray:
    return dropout(tf.ones(shape), rate, key(**which), site=site).numpy()


@settings(max_examples=examples(40, thorough=100))
@given(
    batch=st.integers(1, 9),
    time=st.integers(1, 6),
    features=st.integers(1, 9),
    shards=st.integers(1, 4),
    rate=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**31 - 1),
    step=st.integers(0, 2**31 - 1),
    site=st.text(),
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


@pytest.mark.parametrize("changed", [{"seed": 1}, {"step": 1}, {"first_row": 1}, {"site": "b"}])
def test_another_seed_step_row_or_site_draws_another_mask(changed):
    share_equal = np.mean(mask((10, 10, 10)) == mask((10, 10, 10), **changed))
    assert 0.4 < share_equal < 0.6


def test_each_step_of_a_loop_over_time_draws_a_mask_of_its_own():
    def at(time: int | None) -> np.ndarray:
        here = key()._replace(time=None if time is None else tf.constant(time))
        return dropout(tf.ones((10, 100)), 0.5, here, site="a").numpy()

    np.testing.assert_array_equal(at(2), at(2))
    for one, other in combinations((None, 0, 1, 2, 1000), 2):
        assert 0.4 < np.mean(at(one) == at(other)) < 0.6


def test_no_two_rows_have_the_same_mask():
    rows = mask((50, 4, 16)).reshape(50, -1)
    assert len(np.unique(rows, axis=0)) == 50


@settings(max_examples=examples(40, thorough=100))
@given(rate=st.floats(0.02, 0.98), seed=st.integers(0, 1000))
def test_the_rate_is_about_right_and_the_rest_is_scaled_up(rate, seed):
    values = mask((20, 20, 25), rate, seed=seed)
    kept = values != 0
    np.testing.assert_allclose(values[kept], 1 / (1 - rate), rtol=1e-6)
    assert abs(kept.mean() - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / values.size)


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero():
    x = tf.random.stateless_normal((3, 4, 5), seed=(1, 2))
    assert dropout(x, 0.5, None, site="a") is x
    assert dropout(x, 0.0, key(), site="a") is x


def test_gradients_flow_through_what_is_kept():
    x = tf.random.stateless_normal((3, 4, 5), seed=(1, 2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(dropout(x, 0.4, key(), site="a"))
    np.testing.assert_allclose(tape.gradient(y, x), mask((3, 4, 5), 0.4), rtol=1e-6)


def test_a_graph_with_unknown_sizes_draws_the_same_mask():
    graph = tf.function(
        lambda x, step: dropout(x, 0.5, DropoutKey(tf.constant(0), step, tf.constant(0)), site="a"),
        input_signature=[tf.TensorSpec([None, None, 3]), tf.TensorSpec([], tf.int32)],
    )
    np.testing.assert_array_equal(graph(tf.ones((4, 5, 3)), tf.constant(9)), mask((4, 5, 3), step=9))


# Within a recurrent layer.


def layer(cell: str, engine: str = "auto", rate: float = 0.4, **options):
    """A layer of 5 units, built for 3 features, every weight drawn from a normal distribution."""
    layer = recurrent(
        cell, 5, engine=engine, recurrent_dropout=rate, return_sequences=True, name="layer", **options
    )
    layer.build((None, None, 3))
    for number, weight in enumerate(layer.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, seed=(1, number)))
    return layer


def run(layer, x, which: DropoutKey | None, site: str = "layer", **options) -> tf.Tensor:
    with recurrent_masks(layer, x, which, site=site):
        return layer(x, training=which is not None, **options)


def inputs(batch: int = 4, time: int = 6) -> tf.Tensor:
    return tf.random.stateless_normal((batch, time, 3), seed=(3, 4))


def drawing_ops(function, *arguments) -> list[str]:
    """The ops of a function's graph that draw numbers, or change a variable as a generator's state."""
    ops = tf.function(function).get_concrete_function(*arguments).graph.get_operations()
    return [op.type for op in ops if "Random" in op.type or "Assign" in op.type]


CELLS = [("rnn", {}), ("gru", {}), ("gru", {"reset_after": False}), ("lstm", {})]
KINDS = pytest.mark.parametrize(("cell", "options"), CELLS, ids=["rnn", "gru", "gru-reset-before", "lstm"])


def test_each_gate_of_an_lstm_sees_its_own_part_of_the_past_at_all_steps():
    lstm, x = layer("lstm"), inputs().numpy()
    kernel, recurrent_kernel, bias = lstm.get_weights()
    drop = np.split(mask((4, 20), 0.4, site="layer", step=7), 4, axis=1)
    h = c = np.zeros((4, 5))
    for step in range(6):
        parts = zip(np.split(recurrent_kernel, 4, axis=1), drop, strict=True)
        past = np.concatenate([(h * kept) @ matrix for matrix, kept in parts], axis=1)
        i, f, new, o = np.split(x[:, step] @ kernel + past + bias, 4, axis=1)
        c = c / (1 + np.exp(-f)) + np.tanh(new) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
    np.testing.assert_allclose(run(lstm, tf.constant(x), key(step=7))[:, -1], h, atol=1e-5)


@pytest.mark.parametrize("engine", ["native", "keras"])
def test_each_gate_of_a_gru_that_resets_before_sees_its_own_part_of_the_past_and_so_do_the_gradients(engine):
    gru, x, units = layer("gru", engine, reset_after=False), inputs(), 5
    drop = tf.split(mask((4, 3 * units), 0.4, site="layer", step=7), 3, axis=1)
    assert not any(np.array_equal(one, other) for one, other in pairwise([*drop, drop[0]]))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        kernel, recurrent_kernel, bias = (variable.value for variable in gru.trainable_variables)
        matrices = tf.split(recurrent_kernel, 3, axis=1)
        h, expected = tf.zeros((4, units)), []
        for step in range(6):
            x_z, x_r, x_h = tf.split(x[:, step] @ kernel + bias, 3, axis=1)
            z = tf.sigmoid(x_z + (h * drop[0]) @ matrices[0])
            r = tf.sigmoid(x_r + (h * drop[1]) @ matrices[1])
            candidate = tf.tanh(x_h + (r * (h * drop[2])) @ matrices[2])
            h = z * h + (1 - z) * candidate
            expected.append(h)
        expected = tf.stack(expected, axis=1)
        found = run(gru, x, key(step=7))
        totals = [tf.reduce_sum(tf.sin(y)) for y in (found, expected)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    watched = [x, kernel, recurrent_kernel, bias]
    ours, equations = (tape.gradient(total, watched) for total in totals)
    for gradient, wanted in zip(ours, equations, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-5)


@KINDS
@pytest.mark.parametrize("masked", [False, True])
def test_with_equal_masks_the_native_engine_equals_kerass_loop_and_so_do_its_gradients(cell, options, masked):
    x, skip = inputs(), {"mask": tf.sequence_mask([6, 4, 1, 5], 6)} if masked else {}
    found = []
    for engine in ("native", "keras"):
        one = layer(cell, engine, **options)
        with tf.GradientTape() as tape:
            y = run(one, x, key(step=7), **skip)
            total = tf.reduce_sum(y**2)
        found.append([y, *tape.gradient(total, one.trainable_variables)])
    for native, in_keras in zip(*found, strict=True):
        np.testing.assert_allclose(native, in_keras, rtol=1e-4, atol=1e-5)


@KINDS
@pytest.mark.parametrize("engine", ["native", "keras"])
def test_the_shards_of_a_batch_run_as_rows_of_the_whole(cell, options, engine):
    one, x = layer(cell, engine, **options), inputs(batch=7)
    whole = run(one, x, key(step=2))
    shards = [run(one, x[first:stop], key(step=2, first_row=first)) for first, stop in ((0, 3), (3, 7))]
    np.testing.assert_allclose(np.concatenate(shards), whole, atol=1e-6)


@KINDS
@pytest.mark.parametrize("engine", ["native", "keras"])
def test_another_step_or_site_drops_others_and_an_evaluation_none(cell, options, engine):
    one, x = layer(cell, engine, **options), inputs()
    first, again = run(one, x, key(step=2)), run(one, x, key(step=2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, run(one, x, key(step=3)))
    assert not np.allclose(first, run(one, x, key(step=2), site="other"))
    without = layer(cell, engine, rate=0.0, **options)
    np.testing.assert_allclose(run(one, x, None), without(x), atol=1e-6)


@KINDS
@pytest.mark.parametrize("engine", ["native", "keras"])
def test_a_layer_draws_once_in_training_and_never_else_nor_at_rate_zero(cell, options, engine):
    x = tf.TensorSpec((None, None, 3))
    one, without = (layer(cell, engine, rate=rate, **options) for rate in (0.4, 0.0))
    assert drawing_ops(lambda x: run(one, x, key()), x) == ["StatelessRandomUniformV2"]
    assert drawing_ops(lambda x: run(one, x, None), x) == []
    assert drawing_ops(lambda x: run(without, x, key()), x) == []


@KINDS
def test_a_graph_with_unknown_sizes_runs_as_eager_code(cell, options):
    for engine in ("native", "keras"):
        one = layer(cell, engine, **options)
        graph = tf.function(
            lambda x, step, one=one: run(one, x, DropoutKey(tf.constant(0), step, tf.constant(0))),
            input_signature=[tf.TensorSpec([None, None, 3]), tf.TensorSpec([], tf.int32)],
        )
        for size in (2, 5):
            np.testing.assert_allclose(
                graph(inputs(size), tf.constant(9)), run(one, inputs(size), key(step=9)), atol=1e-6
            )


def test_afterwards_a_layer_draws_by_itself_again_even_if_it_failed():
    one, x = layer("gru"), inputs()
    with pytest.raises(ValueError, match="expected 7"), recurrent_masks(one, x, key(), site="layer"):
        raise ValueError("expected 7")
    assert "get_recurrent_dropout_mask" not in vars(one.cell)
    assert not np.allclose(one(x, training=True), one(x, training=True))


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_token_ids_drop_what_their_one_hot_vectors_drop(cell):
    one = recurrent(cell, 5, recurrent_dropout=0.4, return_sequences=True, return_state=True)
    ids, h = tf.constant([[1, 0, 2], [2, 2, 1]]), tf.ones((2, 5))
    state = [h, h] if cell == "lstm" else [h]
    one_hot = tf.one_hot(ids, 3)
    expected = run(one, one_hot, key(), initial_state=state)
    with recurrent_masks(one, ids, key(), site="layer"):
        found = one.over_ids(ids, 3, initial_state=state, training=True)
    for part, expected_part in zip(found, expected, strict=True):
        np.testing.assert_allclose(part, expected_part, atol=1e-6)
    assert not np.allclose(found[0], run(one, one_hot, None, initial_state=state)[0])


def test_variational_dropout_has_one_mask_for_all_time_steps():
    found = dropout(tf.ones((6, 9, 50)), 0.5, key(), site="a", variational=True).numpy()
    np.testing.assert_array_equal(found, np.repeat(found[:, :1], 9, axis=1))
    assert 0.4 < np.mean(found == 0) < 0.6
    assert np.any(found[0, 0] != found[1, 0])


@pytest.mark.parametrize("engine", ["native", "keras"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_weight_drop_leaves_out_the_same_recurrent_weights_for_all_rows(cell, engine):
    layer = recurrent(cell, 5, return_sequences=True, engine=engine)
    x = tf.random.stateless_normal((3, 7, 4), (0, 1))
    whole = layer(x)
    kernel = layer.cell.recurrent_kernel.numpy()
    for first_row in (0, 2):
        with tf.GradientTape() as tape, weight_drop(layer, 0.4, key(first_row=first_row), site="a"):
            dropped = layer(x, training=True)
            total = tf.reduce_sum(dropped**2)
            masked = layer.cell.recurrent_kernel.numpy()
        kept = masked != 0
        assert 0.2 < np.mean(~kept) < 0.6
        np.testing.assert_allclose(masked[kept], kernel[kept] / 0.6, rtol=1e-6)
        gradient = tape.gradient(total, layer.cell.recurrent_kernel)
        assert np.any(gradient)
        assert not np.any(np.where(kept, 0.0, gradient))
        layer.cell.recurrent_kernel.assign(masked)
        np.testing.assert_allclose(dropped, layer(x), rtol=1e-5, atol=1e-6)
        layer.cell.recurrent_kernel.assign(kernel)
    np.testing.assert_array_equal(layer(x), whole)
    with weight_drop(layer, 0.4, None, site="a"):
        np.testing.assert_array_equal(layer(x), whole)

"""Matrix memories: their quadratic forms, what the backward pass keeps, and what stays float32."""

import numpy as np
import pytest
import tensorflow as tf

from ostinato import layers
from ostinato.engines.library import function

from . import published

HEADS, WIDTH, TIME = 2, 5, 40


def drawn(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape)


def by_op(cell, q, k, v, gates, keep_history=False):
    """The op over a batch, from an empty memory."""
    batch, _, heads, width = q.shape
    qkv = np.stack([q, k, v], 2)
    rest = [np.zeros(0), np.zeros(0)]
    if cell == "mlstm":
        rest = [np.zeros((batch, heads * width)), np.full((batch, heads), -np.inf)]
    memory = np.zeros((batch, heads * width * width))
    inputs = [tf.constant(each, tf.float32) for each in (qkv, gates, memory, *rest)]
    return function("OstinatoMemoryV1")(
        *inputs, tf.constant([], tf.bool), cell=cell, keep_history=keep_history
    )


def test_mlstm_is_its_quadratic_form():
    q, k, v = (drawn(TIME, WIDTH + at)[:, :WIDTH] for at in range(3))
    i, f = drawn(TIME, 9)[:, 0] * 3, drawn(TIME, 8)[:, 0] + 2
    forgotten = -published.softplus(-f)
    # What is left of step s at step t, in logarithms.
    left = np.full((TIME, TIME), -np.inf)
    for t in range(TIME):
        for s in range(t + 1):
            left[t, s] = forgotten[s + 1 : t + 1].sum() + i[s]
    m = left.max(1, keepdims=True)
    scores = (q @ k.T) * np.exp(left - m)
    wanted = scores @ v / np.maximum(np.abs(scores.sum(1, keepdims=True)), np.exp(-m))
    gates = np.stack([i, forgotten], -1)
    found = by_op("mlstm", *(each[None, :, None] for each in (q, k, v, gates)))[0]
    np.testing.assert_allclose(found[0, :, 0], wanted, rtol=2e-5, atol=2e-5)


def test_gated_delta_is_its_quadratic_form():
    q, k, v = (drawn(TIME, WIDTH + at)[:, :WIDTH] for at in range(3))
    log_alpha, beta = -np.abs(drawn(TIME, 9)[:, 0]) / 5, published.sigmoid(drawn(TIME, 8)[:, 0])
    gates = np.stack([log_alpha, beta], -1)
    found = by_op("gated-delta", *(each[None, :, None] for each in (q, k, v, gates)))[0]
    q, k, v = (each * published.sigmoid(each) for each in (q, k, v))
    q, k = (each / np.sqrt((each**2).sum(1, keepdims=True) + 1e-6) for each in (q, k))
    q /= np.sqrt(WIDTH)
    kept = np.tril(np.exp(np.subtract.outer(log_alpha.cumsum(), log_alpha.cumsum())))
    # What each key writes is v less what the keys before wrote there: a triangular system.
    system = np.eye(TIME) + beta[:, None] * np.tril(kept * (k @ k.T), -1)
    wanted = (kept * (q @ k.T)) @ np.linalg.solve(system, beta[:, None] * v)
    wanted /= np.sqrt((wanted**2).mean(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(found[0, :, 0], wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("cell", ["mlstm", "gated-delta"])
def test_the_backward_pass_keeps_a_memory_for_every_sixteen_steps(cell):
    kept = {}
    for time in (16, 17, 4096):
        q = np.zeros((1, time, HEADS, WIDTH))
        kept[time] = by_op(cell, q, q, q, np.zeros((1, time, HEADS, 2)), keep_history=True)[-1].shape[0]
    of_one = HEADS * (WIDTH * WIDTH + (WIDTH + 1 if cell == "mlstm" else 16))
    assert kept == {16: of_one, 17: 2 * of_one, 4096: 256 * of_one}


@pytest.mark.parametrize("layer_class", [layers.SLSTM, layers.MLSTM, layers.GatedDelta])
@pytest.mark.parametrize("engine", ["native", "keras"])
def test_states_stay_float32_in_half_precision(layer_class, engine):
    layer = layer_class(
        8, heads=2, dtype="mixed_bfloat16", engine=engine, return_sequences=True, return_state=True, seed=1
    )
    single = layer_class(8, heads=2, engine=engine, return_sequences=True, return_state=True, seed=1)
    x = tf.constant(drawn(2, 30, 6), tf.float32)
    whole, *states = layer(x)
    assert whole.dtype == tf.bfloat16
    kept = dict(zip(layer.cell.state_names, states, strict=True))
    assert {name for name, state in kept.items() if state.dtype != tf.float32} <= {"h"}
    first, *between = layer(x[:, :13])
    second, *_ = layer(x[:, 13:], initial_state=between)
    both = tf.cast(tf.concat([first, second], 1), tf.float32)
    np.testing.assert_allclose(both, tf.cast(whole, tf.float32), atol=0.02)
    wanted = single(x)[0]
    assert np.abs(tf.cast(whole, tf.float32) - wanted).mean() < 0.01


def test_a_state_begins_empty():
    m = {type(layer).__name__: layer.get_initial_state(2)[-1] for layer in (layers.SLSTM(4), layers.MLSTM(4))}
    assert all((np.asarray(each) == -np.inf).all() for each in m.values())
    first = layers.SLSTM(4, seed=1)
    x = tf.constant(drawn(3, 1, 2), tf.float32)
    output = first(x)
    z, o = (x[:, 0] @ first.cell.value(f"W_{gate}") + first.cell.value(f"b_{gate}") for gate in "zo")
    np.testing.assert_allclose(output, tf.sigmoid(o) * tf.tanh(z), atol=1e-6)  # n is 1 after one step

"""The chord head: an exact likelihood, drawn and scored alike."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from ostinato.heads import chord

UNITS, KEYS = 5, 8


def made(keys=KEYS, hidden=21, **options):
    head = chord.ChordOutput(keys, hidden, seed=3, **options)
    head.build((None, UNITS))
    random = np.random.default_rng(1)
    head.set_weights([random.normal(scale=0.7, size=weight.shape) for weight in head.weights])
    return head


def states(rows):
    return np.random.default_rng(2).normal(size=(rows, UNITS)).astype("float32")


@pytest.mark.parametrize("options", [{}, {"hidden": 3}, {"independent": True}], ids=str)
def test_the_probabilities_of_all_chords_sum_to_one(options):
    head = made(**options)
    chords = np.array(list(itertools.product((0.0, 1.0), repeat=KEYS)), np.float32)
    for state in states(3):
        scores = head(tf.constant(np.tile(state, (len(chords), 1))), tf.constant(chords))
        assert np.exp(-chord.loss(chords, scores).numpy().astype(float)).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("independent", [False, True])
def test_with_onsets_a_key_that_goes_on_may_be_struck_again(independent):
    head, keys = made(keys=4, onsets=True, independent=independent), 4
    before = np.array([1.0, 0.0, 1.0, 1.0], np.float32)
    chords = np.array(list(itertools.product((0.0, 1.0), repeat=2 * keys)), np.float32)
    allowed = chords[~np.any(chords[:, keys:] > before * chords[:, :keys], axis=1)]
    assert len(allowed) == 2 * 3**3
    for state in states(3):
        scores = head(tf.constant(np.tile(state, (len(allowed), 1))), tf.constant(allowed))
        nats = chord.loss(allowed, scores, tf.constant(np.tile(before, (len(allowed), 1))))
        assert np.exp(-nats.numpy().astype(float)).sum() == pytest.approx(1, abs=1e-5)
    state, befores = states(200), np.random.default_rng(7).random((200, keys)) < 0.7
    drawn, nats = head.drawer().draw(state, np.random.default_rng(4), before=befores, most=3)
    assert not np.any(drawn[:, keys:] > (befores & drawn[:, :keys]))
    assert drawn[:, keys:].any()
    assert drawn[:, :keys].sum(axis=1).max() == 3
    given = drawn.astype(np.float32)
    expected = chord.loss(given, head(tf.constant(state), tf.constant(given)), befores.astype(np.float32))
    np.testing.assert_allclose(nats, expected, atol=1e-5)


def test_a_score_depends_on_the_keys_before_it_alone():
    head, state = made(), tf.constant(states(1))
    before = np.zeros((1, KEYS), np.float32)
    scores = head(state, tf.constant(before)).numpy()
    for key in range(KEYS):
        changed = before.copy()
        changed[0, key] = 1.0
        others = head(state, tf.constant(changed)).numpy()
        np.testing.assert_array_equal(others[0, : key + 1], scores[0, : key + 1])
        assert key == KEYS - 1 or not np.allclose(others[0, key + 1 :], scores[0, key + 1 :])


@pytest.mark.parametrize("independent", [False, True])
def test_what_is_drawn_has_the_nats_that_the_loss_says(independent):
    head, state = made(independent=independent), states(50)
    drawn, nats = head.drawer().draw(state, np.random.default_rng(4))
    scores = head(tf.constant(state), tf.constant(drawn.astype(np.float32)))
    np.testing.assert_allclose(nats, chord.loss(drawn.astype(np.float32), scores), atol=1e-5)


def test_chords_are_drawn_as_often_as_they_are_likely():
    head, state, rows = made(keys=3), states(1), 20_000
    drawn, _ = head.drawer().draw(np.repeat(state, rows, axis=0), np.random.default_rng(5))
    for wanted in itertools.product((0.0, 1.0), repeat=3):
        one = tf.constant([wanted])
        chance = float(np.exp(-chord.loss(one, head(tf.constant(state), one)))[0])
        found = np.all(drawn == np.array(wanted, bool), axis=1).mean()
        assert found == pytest.approx(chance, abs=5 * np.sqrt(chance * (1 - chance) / rows) + 1e-4)


def test_drawing_obeys_its_options():
    head, state = made(), states(200)
    drawer, random = head.drawer(), np.random.default_rng(6)
    assert drawer.draw(state, random, most=2)[0].sum(axis=1).max() == 2
    greedy, _ = drawer.draw(state, random, temperature=0.0)
    again, _ = drawer.draw(state, np.random.default_rng(9), temperature=0.0)
    np.testing.assert_array_equal(greedy, again)
    for top_p in (0.1, 0.5):
        surer, _ = drawer.draw(state, np.random.default_rng(9), top_p=top_p)
        np.testing.assert_array_equal(greedy, surer)
    fixed = np.full((200, KEYS), -1, np.int8)
    fixed[:, 0], fixed[:, 3] = 1, 0
    drawn, _ = drawer.draw(state, random, fixed=fixed)
    assert drawn[:, 0].all()
    assert not drawn[:, 3].any()
    assert drawn[:, 1].any()

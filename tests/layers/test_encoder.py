"""An encoder is Keras' recurrent layers, stacked, in one direction or both, with explicit states."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato.layers import encoder as module
from ostinato.layers.dropout import DropoutKey, dropout, recurrent_masks
from ostinato.layers.encoder import RecurrentEncoder

from ..variants import thorough

KERAS = {"rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
CELLS = pytest.mark.parametrize("cell", KERAS)
DIRECTIONS = pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "both-ways"])
LENGTHS = [4, 2, 3, 1]


def sequence(batch: int = 4, time: int = 4, features: int = 3) -> tf.Tensor:
    return tf.random.stateless_normal((batch, time, features), seed=(1, 2))


def mask(time: int = 4) -> tf.Tensor:
    return tf.sequence_mask(LENGTHS, time)


def key(step: int = 7, first_row: int = 0) -> DropoutKey:
    return DropoutKey(tf.constant(5), tf.constant(step), tf.constant(first_row))


def encoder(cell: str, units=(5, 4), **options) -> RecurrentEncoder:
    """An encoder with every weight drawn from a normal distribution."""
    layer = RecurrentEncoder(cell, units, **options)
    layer(sequence(batch=1, time=1))
    for number, weight in enumerate(layer.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, seed=(2, number), stddev=0.6))
    return layer


def by_keras(layer: RecurrentEncoder, x, mask):
    """Outputs, and the states of each layer, of Keras' own layers with the same weights."""
    states = []
    for depth, units in enumerate(layer.units):
        sequences = layer.return_sequences or depth < len(layer.units) - 1
        options = {"return_sequences": sequences, "return_state": True}
        copy, weights = KERAS[layer.cell](units, **options), layer.forward_layers[depth].get_weights()
        if layer.bidirectional:
            copy = keras.layers.Bidirectional(copy)
            weights = weights + layer.backward_layers[depth].get_weights()
        copy.build(x.shape)
        copy.set_weights(weights)
        x, *state = copy(x, mask=mask)
        states.append(state)
    return x, states


def without_padding(y):
    """Outputs at padding are of no meaning: zeros instead."""
    return np.where(mask()[:, :, tf.newaxis], y, 0.0)


def assert_equal(found, expected, atol: float = 1e-5):
    (y, states), (expected_y, expected_states) = found, expected
    np.testing.assert_allclose(y, expected_y, atol=atol)
    for state, expected_state in zip(states, expected_states, strict=True):
        for part, expected_part in zip(state, expected_state, strict=True):
            np.testing.assert_allclose(part, expected_part, atol=atol)


@CELLS
@DIRECTIONS
@pytest.mark.parametrize("masked", [thorough(False), True], ids=["whole", "masked"])
def test_outputs_and_states_are_those_of_kerass_layers(cell, bidirectional, masked):
    skip = mask() if masked else None
    for sequences in (True, False):
        layer = encoder(cell, bidirectional=bidirectional, return_sequences=sequences)
        found = layer(sequence(), mask=skip)
        assert found[0].shape == ((4, 4, layer.width) if sequences else (4, layer.width))
        expected = by_keras(layer, sequence(), skip)
        if sequences and masked:
            found, expected = ((without_padding(y), states) for y, states in (found, expected))
        assert_equal(found, expected)


@CELLS
@DIRECTIONS
def test_a_sequence_is_read_alone_as_it_is_padded_in_a_batch(cell, bidirectional):
    layer, x = encoder(cell, bidirectional=bidirectional), sequence()
    y, states = layer(x, mask=mask())
    for row, length in enumerate(LENGTHS):
        here, parts = layer(x[row : row + 1, :length])
        found = y[row : row + 1, :length], [[part[row : row + 1] for part in state] for state in states]
        assert_equal(found, (here, parts))


@CELLS
def test_the_states_are_the_last_outputs(cell):
    layer = encoder(cell, bidirectional=True)
    y, states = layer(sequence(), mask=mask())
    top = states[-1]
    for row, length in enumerate(LENGTHS):
        np.testing.assert_allclose(top[0][row], y[row, length - 1, :4], atol=1e-6)
        np.testing.assert_allclose(top[len(top) // 2][row], y[row, 0, 4:], atol=1e-6)


@CELLS
@pytest.mark.parametrize("cut", [1, 3])
def test_reading_in_two_halves_equals_reading_at_once(cell, cut):
    layer, x, there = encoder(cell), sequence(), mask()
    first, between = layer(x[:, :cut], mask=there[:, :cut])
    second, last = layer(x[:, cut:], mask=there[:, cut:], initial_state=between)
    y, states = layer(x, mask=there)
    joined = tf.concat([first, second], axis=1)
    assert_equal((without_padding(joined), last), (without_padding(y), states))


# Dropout.


def test_each_dropout_is_drawn_at_a_site_of_its_own():
    rates = {"dropout": 0.4, "recurrent_dropout": 0.3}
    layer, x = encoder("gru", bidirectional=True, **rates), sequence()
    y, _ = layer(x, mask=mask(), key=key())
    for depth in range(2):
        x = dropout(x, 0.4, key(), site=f"{layer.name}/layer_{depth}/input") if depth else x
        ways = []
        for one in (layer.forward_layers[depth], layer.backward_layers[depth]):
            with recurrent_masks(one, x, key(), site=f"{layer.name}/{one.name}/recurrent"):
                ways.append(one(x, mask=mask(), training=True)[0])
        x = tf.concat([ways[0], tf.reverse(ways[1], [1])], axis=-1)
    np.testing.assert_allclose(y, x, atol=1e-6)
    plain = encoder("gru", bidirectional=True)
    assert_equal(layer(sequence(), mask=mask()), plain(sequence(), mask=mask()))
    assert not np.allclose(y, layer(sequence(), mask=mask())[0])


@CELLS
@DIRECTIONS
@pytest.mark.parametrize("rate", ["dropout", "recurrent_dropout"])
def test_the_shards_of_a_batch_are_read_as_rows_of_the_whole(cell, bidirectional, rate):
    layer, x = encoder(cell, bidirectional=bidirectional, **{rate: 0.4}), sequence()
    y, states = layer(x, mask=mask(), key=key())
    for first, stop in ((0, 1), (1, 4)):
        part = layer(x[first:stop], mask=mask()[first:stop], key=key(first_row=first))
        assert_equal(part, (y[first:stop], [[here[first:stop] for here in state] for state in states]))
    assert not np.allclose(y, layer(x, mask=mask(), key=key(step=8))[0])


# Weights.


@CELLS
def test_every_weight_has_a_gradient(cell):
    layer = encoder(cell, bidirectional=True)
    with tf.GradientTape() as tape:
        y, _ = layer(sequence(), mask=mask())
        total = tf.reduce_sum(y**2)
    gradients = tape.gradient(total, [weight.value for weight in layer.trainable_variables])
    assert len(gradients) == 12
    assert all(np.any(gradient) for gradient in gradients)


def test_equal_seeds_draw_equal_weights_and_no_two_layers_the_same():
    def matrices(seed: int) -> list[np.ndarray]:
        layer = RecurrentEncoder("gru", (3, 3), bidirectional=False, seed=seed)
        layer(sequence())
        both = RecurrentEncoder("gru", (3, 3), bidirectional=True, seed=seed)
        both(sequence())
        return [array for one in (layer, both) for array in one.get_weights() if array.any()]

    first, same, other = matrices(3), matrices(3), matrices(4)
    for one, two, three in zip(first, same, other, strict=True):
        np.testing.assert_array_equal(one, two)
        assert not np.array_equal(one, three)
    forward, both = first[:4], first[4:]
    for one, two in zip(forward, both[:4], strict=True):
        assert one.shape != two.shape or np.array_equal(one, two)
    assert len({array.tobytes() for array in both}) == 8


def test_its_config_builds_it_again():
    rates = {"dropout": 0.2, "recurrent_dropout": 0.3, "seed": 9}
    layer = RecurrentEncoder(
        "rnn", (5, 3), bidirectional=True, return_sequences=False, options={"engine": "keras"}, **rates
    )
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert copy.get_config() == layer.get_config()
    assert_equal(copy(sequence(), mask=mask(), key=key()), layer(sequence(), mask=mask(), key=key()), atol=0)


def test_the_engines_agree():
    native, in_keras = (
        encoder("lstm", bidirectional=True, options={"engine": engine}) for engine in ("native", "keras")
    )
    assert_equal(native(sequence(), mask=mask()), in_keras(sequence(), mask=mask()))


# The former name, Reader.


def test_a_file_written_under_the_former_name_loads(tmp_path):
    """`fixtures/reader.keras` was saved by the version before the renaming, and these were its outputs."""
    x = np.linspace(-1, 1, 6, dtype="float32").reshape(1, 3, 2)
    outputs = [-0.41899654, -0.11652707, 0.12396248]
    model = keras.models.load_model(pathlib.Path(__file__).parent / "fixtures" / "reader.keras")
    assert isinstance(model.layers[1], RecurrentEncoder)
    np.testing.assert_allclose(model(x).numpy().ravel(), outputs, atol=1e-6)
    model.save(tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras")
    np.testing.assert_allclose(again(x).numpy().ravel(), outputs, atol=1e-6)


def test_the_former_name_is_the_same_class_with_a_warning():
    with pytest.warns(
        DeprecationWarning, match=r"encoder\.Reader is now ostinato\.layers\.encoder\.RecurrentEnc"
    ):
        assert module.Reader is RecurrentEncoder
    with pytest.raises(AttributeError, match="no attribute 'Encoder'"):
        _ = module.Encoder

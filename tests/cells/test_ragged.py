"""Rows that end early: `lengths` and ragged sequences do what the mask of the same steps does in Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato import layers

from ..variants import examples

CELLS = ["SimpleRNN", "GRU", "LSTM"]
FEATURES, UNITS = 3, 5
OUTPUTS, GRADIENTS = 1e-5, 1e-4

cells = st.sampled_from(CELLS)
row_lengths = st.lists(st.integers(0, 5), min_size=1, max_size=4)


def pair(cell, **options):
    """Our layer and Keras', with the same weights."""
    ours, stock = (getattr(package, cell)(UNITS, **options) for package in (layers, keras.layers))
    for layer in (ours, stock):
        layer.build((None, None, FEATURES))
    stock.set_weights(ours.get_weights())
    return ours, stock


def ragged(lengths, dtype="float32", seed=0):
    values = np.random.default_rng(seed).normal(size=(sum(lengths), FEATURES)).astype(dtype)
    return tf.RaggedTensor.from_row_lengths(values, lengths)


def padded(sequences):
    """The dense tensor and the mask of its steps; at least one step."""
    time = max(1, *(len(row) for row in sequences))
    lengths = sequences.row_lengths()
    return sequences.to_tensor(shape=(None, time, None)), tf.sequence_mask(lengths, time)


def with_gradients(call, x, weights):
    """Results of a call, and the gradients for x and the weights of a sum over what each step gives."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = call(x)
        loss = tf.reduce_sum(tf.sin(y))
    return y, tape.gradient(loss, [x, *(weight.value for weight in weights)])


@given(cell=cells, lengths=row_lengths, extra=st.integers(1, 2), backwards=st.booleans(), graph=st.booleans())
@settings(max_examples=examples(8, 60), deadline=None)
def test_lengths_skip_what_kerass_mask_skips_both_ways(cell, lengths, extra, backwards, graph):
    ours, stock = pair(cell, return_sequences=True, go_backwards=backwards)
    time = max(lengths) + extra
    x = tf.constant(np.random.default_rng(1).normal(size=(len(lengths), time, FEATURES)), tf.float32)
    mask = tf.sequence_mask(lengths, time)

    def call(x, n):
        return with_gradients(lambda x: ours(x, lengths=n, training=True), x, ours.trainable_weights)

    found, gradients = (tf.function(call, autograph=False) if graph else call)(x, tf.constant(lengths))
    expected, expected_gradients = with_gradients(lambda x: stock(x, mask=mask), x, stock.trainable_weights)
    np.testing.assert_allclose(found, expected, atol=OUTPUTS)
    for a, b in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(a, b, atol=GRADIENTS, rtol=GRADIENTS)
    assert not np.any(gradients[0].numpy()[~mask.numpy()])  # padding has no part in anything


@pytest.mark.parametrize("cell", CELLS)
def test_backwards_a_row_with_a_length_begins_at_its_own_last_step(cell):
    lengths, time = [4, 1, 3], 4
    x = np.random.default_rng(2).normal(size=(3, time, FEATURES)).astype("float32")
    layer = getattr(layers, cell)(UNITS, go_backwards=True)
    together = layer(x, lengths=lengths)
    for row, length in enumerate(lengths):
        alone = layer(x[row : row + 1, :length])
        np.testing.assert_allclose(together[row : row + 1], alone, atol=OUTPUTS)


@pytest.mark.parametrize("lengths", [[5, 1], np.array([2, -1]), tf.constant([-3, 2])])
@pytest.mark.parametrize("graph", [False, True])
def test_known_lengths_outside_of_the_sequences_are_refused(lengths, graph):
    layer, x = layers.GRU(2), tf.zeros((2, 4, 3))
    wrong = {5: 5, 2: -1, -3: -3}[int(lengths[0])]
    call = tf.function(lambda x: layer(x, lengths=lengths)) if graph else lambda x: layer(x, lengths=lengths)
    with pytest.raises(ValueError, match=f"`lengths` must be 0 to 4, the sequences' steps, got {wrong}"):
        call(x)


def test_lengths_and_a_mask_together_are_refused():
    with pytest.raises(ValueError, match="only one of `lengths` and `mask`"):
        layers.LSTM(2)(np.zeros((1, 2, 3)), lengths=[1], mask=np.ones((1, 2), bool))


@given(cell=cells, lengths=row_lengths, backwards=st.booleans(), state=st.booleans(), graph=st.booleans())
@settings(max_examples=examples(8, 60), deadline=None)
def test_ragged_outputs_and_gradients_are_those_of_the_padded_rows(cell, lengths, backwards, state, graph):
    ours, stock = pair(cell, return_sequences=True, return_state=state, go_backwards=backwards)
    sequences = ragged(lengths)
    x, mask = padded(sequences)

    def call(values):
        results = ours(sequences.with_values(values), training=True)
        outputs, *states = results if state else (results,)
        assert isinstance(outputs, tf.RaggedTensor)
        return outputs, states

    def run(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            outputs, states = call(values)
            loss = tf.reduce_sum(tf.sin(outputs.values))
        return outputs, states, tape.gradient(loss, [values, *[w.value for w in ours.trainable_weights]])

    outputs, states, gradients = (tf.function(run, autograph=False) if graph else run)(sequences.values)
    np.testing.assert_array_equal(outputs.row_splits, sequences.row_splits)

    steps = tf.reverse(mask, [1]) if backwards else mask
    with tf.GradientTape() as tape:
        tape.watch(x)
        expected, *expected_states = stock(x, mask=mask) if state else (stock(x, mask=mask),)
        expected = tf.boolean_mask(expected, steps)
        loss = tf.reduce_sum(tf.sin(expected))
    wanted = tape.gradient(loss, [x, *[w.value for w in stock.trainable_weights]])
    np.testing.assert_allclose(outputs.values, expected, atol=OUTPUTS)
    for a, b in zip(states, expected_states, strict=True):
        np.testing.assert_allclose(a, b, atol=OUTPUTS)
    wanted[0] = tf.boolean_mask(tf.convert_to_tensor(wanted[0]), mask)
    for a, b in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(a), b, atol=GRADIENTS, rtol=GRADIENTS)


@pytest.mark.parametrize("engine", ["native", "keras"])
@pytest.mark.parametrize("cell", CELLS)
def test_without_sequences_the_last_output_of_each_ragged_row_is_dense(cell, engine):
    layer = getattr(layers, cell)(UNITS, engine=engine)
    sequences = ragged([4, 1, 2], dtype="float64")
    found = layer(sequences)
    for row, length in enumerate([4, 1, 2]):
        alone = layer(sequences[row : row + 1].to_tensor()[:, :length])
        np.testing.assert_allclose(found[row : row + 1], alone, atol=OUTPUTS)


@pytest.mark.parametrize("many", [False, True])
def test_bidirectional_reads_ragged_rows_both_ways(many):
    layer = keras.layers.Bidirectional(layers.GRU(UNITS, return_sequences=many))
    sequences = ragged([4, 1, 2])
    x, _ = padded(sequences)
    found = layer(sequences)
    for row, length in enumerate([4, 1, 2]):
        alone = layer(x[row : row + 1, :length])[0]
        np.testing.assert_allclose(found[row], alone, atol=OUTPUTS)


def test_a_model_of_ragged_rows_trains_and_is_saved_and_loaded(tmp_path):
    ids = keras.Input((None,), dtype="int32", ragged=True)
    x = keras.layers.Embedding(9, FEATURES)(ids)
    x = layers.LSTM(UNITS)(layers.GRU(UNITS, return_sequences=True)(x))
    model = keras.Model(ids, keras.layers.Dense(1)(x))
    rows = tf.ragged.constant([[1, 2, 3], [4], [5, 6]], dtype=tf.int32)
    batches = tf.data.Dataset.from_tensor_slices((rows, np.ones((3, 1), "float32"))).batch(2)
    model.compile("sgd", "mse")
    before = model(rows).numpy()
    model.fit(batches, verbose=0)
    assert not np.allclose(model(rows), before)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(rows), model(rows))


def test_rows_without_a_step_give_the_initial_state():
    empty = tf.RaggedTensor.from_row_lengths(np.zeros((0, FEATURES), "float32"), [0, 0])
    layer = layers.GRU(UNITS, return_sequences=True, return_state=True)
    outputs, state = layer(empty, initial_state=np.full((2, UNITS), 0.5, "float32"))
    assert outputs.row_lengths().numpy().tolist() == [0, 0]
    np.testing.assert_array_equal(state, np.full((2, UNITS), 0.5))


@pytest.mark.parametrize("beside", [{"lengths": [1, 2]}, {"mask": np.ones((2, 2), bool)}])
def test_ragged_rows_have_lengths_of_their_own(beside):
    with pytest.raises(ValueError, match=f"lengths of its own, got `{next(iter(beside))}` as well"):
        layers.LSTM(2)(ragged([1, 2]), **beside)


def test_ragged_features_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"got the shape .* and ragged_rank 2.*`ragged_rank=1`"):
        layers.LSTM(2)(tf.ragged.constant([[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]]))

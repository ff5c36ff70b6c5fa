"""The network: padding that it skips or reads, and the layers of Keras that it equals."""

from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf

from ...variants import one_each
from .reviews import prepared

CELLS = ("rnn", "gru", "lstm")
POOLINGS = ("last", "mean", "max", "attention")


@pytest.mark.parametrize(("kind", "bidirectional"), one_each(product(CELLS, POOLINGS), [False, True]))
def test_what_is_skipped_changes_nothing_and_every_weight_learns(kind, bidirectional):
    cell, pooling = kind
    ready = prepared(cell=cell, pooling=pooling, bidirectional=bidirectional, units=(4, 3))
    model = ready.drawn()
    ids = tf.constant([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])
    with tf.GradientTape() as tape:
        together = model(ids, tf.constant([5, 3]))
        total = tf.reduce_sum(together**2)
    alone = model(ids[1:, :3], tf.constant([3]))
    np.testing.assert_allclose(together[1:], alone, atol=1e-5)
    gradients = tape.gradient(total, model.trainable_variables)
    assert all(np.any(tf.convert_to_tensor(gradient)) for gradient in gradients)


@pytest.mark.parametrize(("cell", "pooling"), one_each(CELLS, POOLINGS[:3]))
def test_the_network_equals_kerass_own_layers(cell, pooling):
    ready = prepared(cell=cell, pooling=pooling, bidirectional=True, units=(4, 3))
    model = ready.drawn()
    arrays = {variable.path.split("/", 1)[1]: variable.numpy() for variable in model.variables}
    kind = {"rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}[cell]
    ids = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])
    mask = ids > 0
    x = arrays["embedding/embeddings"][ids]
    for depth, units in enumerate((4, 3)):
        sequences = depth == 0 or pooling != "last"
        layer = keras.layers.Bidirectional(kind(units, return_sequences=sequences))
        layer.build(x.shape)
        names = [f"reader/layer_{depth}/", f"reader/backward_{depth}/"]
        layer.set_weights([a for name in names for key, a in arrays.items() if key.startswith(name)])
        x = np.asarray(layer(x, mask=mask))
    if pooling == "mean":
        x = (x * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    elif pooling == "max":
        x = np.where(mask[..., None], x, -np.inf).max(1)
    expected = x @ arrays["output/kernel"] + arrays["output/bias"]
    np.testing.assert_allclose(model(ids, tf.constant([5, 3])), expected, atol=1e-5)


@pytest.mark.parametrize("engine", ["native", "scratch"])
def test_padding_that_is_read_goes_through_every_engine_alike(engine):
    options = {"masked": False, "max_tokens": 9, "units": (5, 3)}
    ids = next(prepared(**options).batches("train", epoch=0))["tokens"]
    assert (ids == 0).any()
    model, reference = (prepared(engine=each, **options).drawn() for each in (engine, "keras"))
    np.testing.assert_allclose(model(ids), reference(ids), atol=1e-5)

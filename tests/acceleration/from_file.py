"""Small models that Keras saves to a file, and what `accelerate` makes of it beside what Keras loads."""

import keras
import numpy as np

import ostinato

layers = keras.layers
TIME, BATCH = 3, 4
ENDINGS = ["keras", "h5"]


def numbers(seed=0, features=3):
    return np.random.default_rng(seed).normal(1.0, 2.0, (BATCH, TIME, features)).astype("float32")


def targets(seed=1):
    return np.random.default_rng(seed).normal(size=(BATCH, 1)).astype("float32")


def stack(*parts, features=3):
    """A model whose last recurrent layer is the quickest of Keras' step by step."""
    return keras.Sequential([keras.Input((TIME, features)), *parts, layers.SimpleRNN(4), layers.Dense(1)])


def in_both_ways(model, path):
    """The model that Keras loads from the saved file, and the one that `accelerate` makes of the path."""
    model.save(path)
    return keras.models.load_model(path), ostinato.accelerate(path)


def recurrent(model):
    return [type(layer) for layer in model._flatten_layers() if isinstance(layer, layers.RNN)]


def assert_same_outputs(model, other, x):
    np.testing.assert_allclose(other(x), model(x), rtol=1e-5, atol=1e-6)


def trained(model, x, y, steps=2):
    model.reset_metrics()
    return [list(model.train_on_batch(x, y, return_dict=True).items()) for _ in range(steps)]


def assert_trains_alike(model, other, x, y):
    for ours, theirs in zip(trained(other, x, y), trained(model, x, y), strict=True):
        assert [name for name, _ in ours] == [name for name, _ in theirs]
        np.testing.assert_allclose([v for _, v in ours], [v for _, v in theirs], rtol=1e-5)
    assert_same_outputs(model, other, x)

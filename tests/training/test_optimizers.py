"""The update rules are Keras' own, in one op for all weights and in one for each."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato.engines import updating
from ostinato.training.config import TrainingConfig
from ostinato.training.optimizers import Optimizer

NAMES = ("cell/kernel", "cell/bias", "cell/gate_bias", "output/scale")
SHAPES = ((5, 4), (4,), (2, 4), (3,))


def rates(step: int) -> float:
    return 0.05 / (1 + step)


def variables() -> list[keras.Variable]:
    random = np.random.default_rng(0)
    return [
        keras.Variable(random.normal(size=shape).astype("f4"), name=name.split("/")[1])
        for name, shape in zip(NAMES, SHAPES, strict=True)
    ]


def gradients(step: int) -> list[tf.Tensor]:
    random = np.random.default_rng(100 + step)
    return [tf.constant(random.normal(scale=0.5, size=shape), tf.float32) for shape in SHAPES]


@pytest.fixture(params=["at once", "one by one"])
def way(request, monkeypatch):
    if request.param == "one by one":
        monkeypatch.setattr(updating, "MOST_WEIGHTS", 0)
    return request.param


def after_steps(config: TrainingConfig, steps: int) -> tuple[list[np.ndarray], Optimizer]:
    weights = variables()
    optimizer = Optimizer(config, NAMES, weights)
    apply = tf.function(optimizer.apply)
    for step in range(steps):
        apply(gradients(step), tf.constant(rates(step)), tf.constant(step))
    return [weight.numpy() for weight in weights], optimizer


def keras_after_steps(optimizer: keras.optimizers.Optimizer, steps: int) -> list[np.ndarray]:
    weights = variables()
    for step in range(steps):
        optimizer.learning_rate = rates(step)
        optimizer.apply(gradients(step), weights)
    return [weight.numpy() for weight in weights]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("steps", [1, 2, 25])
def test_every_rule_equals_keras_over_several_steps(name, steps, way):
    theirs = {
        "sgd": keras.optimizers.SGD,
        "adam": keras.optimizers.Adam,
        "adamw": lambda: keras.optimizers.AdamW(weight_decay=0.3),
    }[name]()
    if name == "adamw":
        # Ours decays matrices, whatever they are called; Keras' everything but what is named here.
        theirs.exclude_from_weight_decay(var_names=["bias", "scale"])
    ours, _ = after_steps(TrainingConfig(optimizer=name, weight_decay=0.3, clip=None), steps)
    for array, expected in zip(ours, keras_after_steps(theirs, steps), strict=True):
        np.testing.assert_allclose(array, expected, rtol=2e-5, atol=2e-6)


def test_adamw_without_decay_is_adam(way):
    one, _ = after_steps(TrainingConfig(optimizer="adamw", weight_decay=0.0), 5)
    other, _ = after_steps(TrainingConfig(optimizer="adam"), 5)
    for array, same in zip(one, other, strict=True):
        np.testing.assert_array_equal(array, same)


def test_the_slots_have_stable_names_and_are_all_a_rule_remembers(way):
    assert after_steps(TrainingConfig(optimizer="sgd"), 1)[1].slots == {}
    _, optimizer = after_steps(TrainingConfig(optimizer="adam"), 3)
    assert list(optimizer.slots)[:3] == ["cell/kernel/momentum", "cell/kernel/velocity", "cell/bias/momentum"]
    assert all(np.any(slot) for slot in optimizer.slots.values())

    weights, restored = variables(), None
    expected, _ = after_steps(TrainingConfig(optimizer="adam"), 4)
    before, _ = after_steps(TrainingConfig(optimizer="adam"), 3)
    restored = Optimizer(TrainingConfig(optimizer="adam"), NAMES, weights)
    for weight, array in zip(weights, before, strict=True):
        weight.assign(array)
    for name, slot in restored.slots.items():
        slot.assign(optimizer.slots[name])
    restored.apply(gradients(3), tf.constant(rates(3)), tf.constant(3))
    for weight, array in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight.numpy(), array, rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("clip", [None, 0.1])
def test_the_rows_of_a_table_are_learned_from_like_their_dense_sum(name, clip, way):
    rows, random = np.array([3, 1, 3, 3, 0]), np.random.default_rng(5)
    values = random.normal(size=(5, 4)).astype("f4")
    whole = np.zeros((6, 4), "f4")
    np.add.at(whole, rows, values)
    results = []
    as_rows = tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant((6, 4)))
    for gradient in (as_rows, tf.constant(whole)):
        table = keras.Variable(np.linspace(-1, 1, 24, dtype="f4").reshape(6, 4))
        optimizer = Optimizer(TrainingConfig(optimizer=name, clip=clip), ["table"], [table])
        apply = tf.function(optimizer.apply)
        for step in range(3):
            norm = apply([gradient], tf.constant(0.1), tf.constant(step), tf.constant(2.0))
            assert float(norm) == pytest.approx(np.linalg.norm(whole) / 2, rel=1e-5)
        results.append([table.numpy(), *(slot.numpy() for slot in optimizer.slots.values())])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


def test_both_ways_learn_the_same():
    results = []
    for most in (updating.MOST_WEIGHTS, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(updating, "MOST_WEIGHTS", most)
            results.append(after_steps(TrainingConfig(optimizer="adamw", clip=0.7), 10)[0])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)

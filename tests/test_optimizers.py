"""Keras' optimizers in one op: what they compute in `fit`, what they save, and when Keras' own step runs."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato import optimizers
from ostinato.engines import native

from .variants import thorough

pytestmark = pytest.mark.skipif(not native.available(), reason="the native engine was not built")

SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.02, 3, 0.5)
MADE = {
    "sgd": lambda of: of.SGD(0.05),
    "momentum": lambda of: of.SGD(0.05, momentum=0.9),
    "nesterov": lambda of: of.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda of: of.Adam(0.01),
    "adam with a schedule": lambda of: of.Adam(SCHEDULE),
    "adam clipped by value": lambda of: of.Adam(0.01, clipvalue=0.02),
    "adamw": lambda of: of.AdamW(0.01, weight_decay=0.1),
    "global norm": lambda of: of.Adam(0.01, global_clipnorm=0.05),
    "norm of each": lambda of: of.SGD(0.05, clipnorm=0.02),
    "amsgrad": lambda of: of.Adam(0.01, amsgrad=True),
    "moving average": lambda of: of.Adam(0.01, use_ema=True),
    "accumulated": lambda of: of.Adam(0.01, gradient_accumulation_steps=2),
}
PLAIN = {"sgd", "momentum", "adam"}
"""Rules that tests/engines/test_updating.py compares with Keras' step by step, in every run of the tests."""
RANDOM = np.random.default_rng(0)
X, IDS = RANDOM.normal(size=(24, 5, 3)).astype("f4"), RANDOM.integers(9, size=(24, 5))
Y = RANDOM.normal(size=(24, 1)).astype("f4")


def model(optimizer, *, ids: bool = False, **options) -> Any:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,), dtype="int32") if ids else keras.Input((5, 3))
    x = keras.layers.Embedding(9, 4)(inputs) if ids else inputs
    layer: Any = ostinato.layers.GRU(6)
    made = keras.Model(inputs, keras.layers.Dense(1)(layer(x)))
    made.compile(optimizer, "mse", **options)
    return made


def fitted(made: Any, x=X, epochs: int = 2) -> Any:
    made.fit(x, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return made


def assert_equal(one: Any, other: Any, **tolerance) -> None:
    variables = zip(
        [*one.weights, *one.optimizer.variables], [*other.weights, *other.optimizer.variables], strict=True
    )
    for variable, its in variables:
        np.testing.assert_allclose(np.asarray(variable), np.asarray(its), **tolerance)


@pytest.mark.parametrize("name", [thorough(name) if name in PLAIN else name for name in MADE])
def test_fit_learns_what_it_learns_with_keras(name):
    ours, theirs = (fitted(model(MADE[name](of))) for of in (optimizers, keras.optimizers))
    # The gradients of the two models differ in nothing; a norm is rounded otherwise.
    assert_equal(ours, theirs, rtol=2e-5 if "norm" in name else 0, atol=1e-6 if "norm" in name else 0)


@pytest.mark.parametrize("name", ["adam", "adam clipped by value", "global norm", "norm of each"])
def test_a_table_learns_what_it_learns_from_dense_gradients_with_keras(name):
    made = [model(MADE[name](of), ids=True) for of in (optimizers, keras.optimizers)]
    for step in range(3):
        for one in made:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((one(IDS[8 * step : 8 * step + 8]) - Y[8 * step : 8 * step + 8]) ** 2)
            gradients = tape.gradient(loss, one.trainable_variables)
            assert isinstance(gradients[0], tf.IndexedSlices)
            if one is made[1]:
                gradients[0] = tf.convert_to_tensor(gradients[0])
            one.optimizer.apply(gradients, one.trainable_variables)
    assert_equal(*made, rtol=2e-5, atol=1e-6)


def test_keras_runs_its_own_step_where_one_op_cannot():
    def reason(optimizer) -> str | None:
        return fitted(model(optimizer), epochs=1).optimizer.obstacle()

    assert reason(optimizers.Adam()) is None
    options: list[dict[str, Any]] = [{"amsgrad": True}, {"use_ema": True}, {"gradient_accumulation_steps": 2}]
    for option in options:
        assert next(iter(option)) in (reason(optimizers.Adam(**option)) or "")
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        distributed = model(optimizers.Adam())
    assert "strategy" in (fitted(distributed).optimizer.obstacle() or "")
    weight = keras.Variable(np.ones(3), dtype="float64")
    optimizer = optimizers.SGD(0.5)
    optimizer.apply([tf.ones(3, tf.float64)], [weight])
    np.testing.assert_array_equal(weight.numpy(), np.full(3, 0.5))
    assert "float64" in (optimizer.obstacle() or "")


def test_xla_compiles_keras_own_step():
    weight, optimizer = keras.Variable(np.ones(3, "f4")), optimizers.SGD(0.5)
    optimizer.build([weight])
    tf.function(lambda: optimizer.apply([tf.ones(3)], [weight]), jit_compile=True)()
    np.testing.assert_array_equal(weight.numpy(), np.full(3, 0.5, "f4"))


def test_loss_scaling_of_mixed_precision_calls_the_op():
    results = []
    for of in (optimizers, keras.optimizers):
        with_scale = keras.optimizers.LossScaleOptimizer(of.Adam(0.01), initial_scale=8.0)
        results.append(fitted(model(with_scale)))
    assert results[0].optimizer.inner_optimizer.obstacle() is None
    assert_equal(*results, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["nesterov", "adam", "adamw"])
def test_a_saved_model_goes_on_as_if_it_had_never_been_saved(name, tmp_path):
    made = fitted(model(MADE[name](optimizers)))
    made.save(tmp_path / "model.keras")
    loaded: Any = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is type(made.optimizer)
    assert_equal(fitted(loaded, epochs=1), fitted(made, epochs=1), rtol=0, atol=0)


def test_keras_configuration_and_state_can_be_taken_over():
    theirs = fitted(model(keras.optimizers.Adam(0.01)))
    ours = model(optimizers.Adam.from_config(theirs.optimizer.get_config()))
    ours.set_weights(theirs.get_weights())
    ours.optimizer.build(ours.trainable_variables)
    for variable, value in zip(ours.optimizer.variables, theirs.optimizer.variables, strict=True):
        variable.assign(value)
    assert_equal(fitted(ours, epochs=1), fitted(theirs, epochs=1), rtol=0, atol=0)

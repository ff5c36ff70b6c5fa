"""Several networks with seeds of their own, whose probabilities are averaged."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato.layers.dropout import DropoutKey
from ostinato.tasks.translator.network import RecurrentTranslator

from .numbers import prepared

SOURCE, LENGTHS = tf.constant([[5, 6, 7, 8], [8, 9, 0, 0]]), tf.constant([4, 2])
TARGET = tf.constant([[1, 5, 6], [1, 7, 8]])
NETWORKS = pytest.mark.parametrize(
    "settings",
    [
        {"attention": "none", "cell": "lstm", "units": (5, 4)},
        {"attention": "multiplicative", "units": (4,), "bidirectional": True},
        {"attention": "multiplicative", "units": (4,), "input_feeding": True, "lexical": True},
        {"attention": "additive", "units": (4,), "joint_vocabulary": True},
    ],
    ids=lambda settings: settings["attention"],
)


@NETWORKS
def test_the_probabilities_are_the_mean_of_those_of_the_networks_alone(settings):
    ready = prepared(seeds=3, **settings)
    model = ready.build()
    alone, looked = [], []
    for number in range(3):
        config = ready.config.model_copy(update={"seeds": 1, "seed": ready.config.seed + number})
        one = RecurrentTranslator(config, model.source_size, model.target_size)
        one.make_weights()
        features, seen = one(SOURCE, LENGTHS, TARGET)
        alone.append(tf.nn.softmax(one.scores(features)).numpy())
        looked.append(seen)
    features, seen = model(SOURCE, LENGTHS, TARGET)
    assert np.abs(alone[0] - alone[1]).max() > 1e-4
    np.testing.assert_allclose(tf.exp(model.scores(features)), np.mean(alone, axis=0), atol=1e-6)
    np.testing.assert_allclose(seen, np.mean(looked, axis=0), atol=1e-6)


@NETWORKS
def test_step_by_step_they_say_what_they_say_at_once(settings):
    model = prepared(seeds=2, **settings).drawn()
    features, weights = model(SOURCE, LENGTHS, TARGET)
    memory, state = model.read(SOURCE, LENGTHS)
    for at in range(TARGET.shape[1]):
        feature, state, looked = model.write(TARGET[:, at : at + 1], memory, state)
        np.testing.assert_allclose(
            model.scores(feature[:, 0]), model.scores(features)[:, at], rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(looked[:, 0], weights[:, at], atol=1e-5)


@NETWORKS
def test_every_weight_has_a_name_of_its_own_and_learns(settings):
    ready = prepared(seeds=2, **settings)
    assert ready.number_of_learning_weights() == 2 * len(prepared(**settings).build().weights)


def test_each_network_learns_by_itself_and_they_are_measured_together():
    ready = prepared(seeds=2, units=4)
    found, measured = [], []
    for stddev in (0.1, 3.0):
        model = ready.build()
        for weight in model.others[0].trainable_variables:
            weight.assign(tf.random.stateless_normal(weight.shape, (1, 2), stddev=stddev))
        with tf.GradientTape() as tape:
            loss = ready.task.loss(model, ready.tensors(), (), step=tf.constant(0)).total
        found.append(tf.convert_to_tensor(tape.gradient(loss, model.decoder.output_layer.kernel)).numpy())
        batch = ready.tensors()
        total, weight, sums, *_ = ready.task.loss(model, batch, ())
        features, _ = model(batch["source"], batch["source_lengths"], batch["target"][:, :-1])
        logs = model.scores(features).numpy()
        wanted = batch["target"].numpy()[:, 1:]
        nats = -np.take_along_axis(logs, wanted[..., None], axis=-1)[..., 0][wanted != 0].sum()
        assert float(total) == float(sums["nats"]) == pytest.approx(nats, rel=1e-5)
        measured.append(float(total / weight))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    assert abs(measured[0] - measured[1]) > 1e-3


def test_each_network_draws_masks_of_its_own():
    model = prepared(seeds=2, units=4, embedding_dropout=0.5).build()
    half = len(model.trainable_variables) // 2
    for one, other in zip(model.trainable_variables[:half], model.trainable_variables[half:], strict=True):
        other.assign(one)
    key = DropoutKey(tf.constant(0), tf.constant(0), tf.constant(0))
    one, other = model.scores_of_each(model(SOURCE, LENGTHS, TARGET, key)[0])
    assert np.abs(one - other).max() > 1e-4
    one, other = model.scores_of_each(model(SOURCE, LENGTHS, TARGET)[0])
    np.testing.assert_array_equal(one, other)


def test_a_run_of_several_translates_aligns_and_is_loaded_again(tmp_path):
    names = ("zero", "one", "two", "three", "four", "five")
    pairs = [(f"{a} {b}", f"{names.index(a)} {names.index(b)}") for a in names for b in names]
    config = ostinato.TranslatorConfig(
        seeds=2, units=16, embedding=16, batch=8, source_encoder="word", target_encoder="word"
    )
    run = ostinato.train(
        config, pairs, training=ostinato.TrainingConfig(epochs=40, learning_rate=0.02), out=tmp_path / "run"
    )
    loaded = ostinato.load(tmp_path / "run")
    (found,) = loaded.predict(["two five"])
    assert found.text == "2 5"
    assert found == run.predict(["two five"])[0]
    np.testing.assert_allclose(loaded.align("two five", "2 5").weights.sum(axis=1), 1, atol=1e-5)


def test_several_networks_are_in_one_keras_file(tmp_path):
    model = prepared(seeds=2, units=4).drawn()
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    one, other = (each.scores(each(SOURCE, LENGTHS, TARGET)[0]) for each in (model, again))
    np.testing.assert_array_equal(one, other)

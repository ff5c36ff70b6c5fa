"""Several networks with seeds of their own, whose scores are averaged."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato.layers.dropout import DropoutKey
from ostinato.tasks.classifier.network import RecurrentClassifier

from .reviews import prepared

IDS, LENGTHS = tf.constant([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]]), tf.constant([5, 3])


def test_the_scores_are_the_mean_of_those_of_the_networks_alone():
    ready = prepared(seeds=3, pooling="max_mean", units=4)
    model = ready.build()
    alone = []
    for number in range(3):
        config = ready.config.model_copy(update={"seeds": 1, "seed": ready.config.seed + number})
        one = RecurrentClassifier(config, model.vocabulary_size, model.outputs)
        one.make_weights()
        alone.append(one(IDS, LENGTHS).numpy())
    assert np.abs(alone[0] - alone[1]).max() > 1e-3
    np.testing.assert_allclose(model(IDS, LENGTHS), np.mean(alone, axis=0), atol=1e-6)
    np.testing.assert_allclose(
        model.decide(model.embed(IDS), tf.sequence_mask(LENGTHS, 5)), np.mean(alone, axis=0), atol=1e-6
    )


def test_every_weight_has_a_name_of_its_own_and_learns():
    ready = prepared(seeds=3, units=4)
    assert ready.number_of_learning_weights() == 3 * 6


def test_each_network_learns_by_itself():
    """The gradient of the first does not depend on what the others say."""
    ready = prepared(seeds=2, units=4)
    found = []
    for stddev in (0.1, 3.0):
        model = ready.build()
        for weight in model.others[0].trainable_variables:
            weight.assign(tf.random.stateless_normal(weight.shape, (1, 2), stddev=stddev))
        with tf.GradientTape() as tape:
            loss = ready.task.loss(model, ready.tensors(), (), step=tf.constant(0)).total
        found.append(tf.convert_to_tensor(tape.gradient(loss, model.output_layer.kernel)).numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_each_network_draws_masks_of_its_own():
    ready = prepared(seeds=2, units=4, embedding_dropout=0.5)
    model = ready.build()
    for one, other in zip(model.trainable_variables[:6], model.trainable_variables[6:], strict=True):
        other.assign(one)
    key = DropoutKey(tf.constant(0), tf.constant(0), tf.constant(0))
    one, other = model.read_each(IDS, LENGTHS, key)
    assert np.abs(one - other).max() > 1e-4
    one, other = model.read_each(IDS, LENGTHS)
    np.testing.assert_array_equal(one, other)


def test_a_run_of_several_predicts_attributes_and_is_loaded_again(tmp_path):
    texts = [(f"good {n} fine", "yes") for n in range(20)] + [(f"bad {n} poor", "no") for n in range(20)]
    config = ostinato.ClassifierConfig(seeds=2, units=4, embedding=4, batch=8, pooling="max_mean")
    run = ostinato.train(
        config, texts, training=ostinato.TrainingConfig(epochs=8, learning_rate=0.05), out=tmp_path / "run"
    )
    loaded = ostinato.load(tmp_path / "run")
    for one, other in zip(
        run.predict(["good fine", "poor"]), loaded.predict(["good fine", "poor"]), strict=True
    ):
        assert one == other
    assert [each.label for each in loaded.predict(["good fine", "bad poor"])] == ["yes", "no"]
    (found,) = loaded.attribute(["good fine"])
    assert found.prediction.label == "yes"


@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_max_and_mean_stand_side_by_side(pooling):
    both = prepared(pooling="max_mean", units=4).drawn()
    x = tf.random.stateless_normal((2, 5, 4), (0, 0))
    mask = tf.sequence_mask(LENGTHS, 5)
    alone = prepared(pooling=pooling, units=4).drawn()
    half = both._pool(x, mask)[:, :4] if pooling == "max" else both._pool(x, mask)[:, 4:]
    np.testing.assert_array_equal(half, alone._pool(x, mask))


def test_several_networks_are_in_one_keras_file(tmp_path):
    model = prepared(seeds=2, units=4).drawn()
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(IDS, LENGTHS), model(IDS, LENGTHS))

"""The classifier's loss, figures, first weights and steps."""

import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato.runs import weights
from ostinato.tasks.base import Loss, as_figures
from ostinato.training.optimizers import Optimizer
from ostinato.training.step import as_tensors, make_train_step

from .reviews import SETS, prepared


@pytest.mark.parametrize("kind", SETS)
def test_the_loss_and_the_accuracy_are_those_of_an_evaluation(kind):
    source, changes = SETS[kind]
    ready = prepared(source, pooling="mean", **changes)
    model = ready.drawn(1.0)
    loss = weight = 0.0
    totals = {"right": 0.0, "texts": 0.0}
    for batch in ready.batches("validation"):
        some, much, sums, state, _ = ready.task.loss(model, as_tensors(batch), ())
        assert state == ()
        loss, weight = loss + float(some), weight + float(much)
        totals = {name: totals[name] + float(sums[name]) for name in totals}
    evaluated = ready.use(model).evaluate(ready.data, "validation").figures
    measured = as_figures(ready.task.metrics(Loss(loss, weight, totals)))
    assert measured["loss"] == pytest.approx(evaluated["loss"], rel=1e-5)
    assert measured["accuracy"] == pytest.approx(evaluated["accuracy"])
    assert evaluated["examples"] == weight == len(ready.data.examples.part("validation"))


@pytest.mark.parametrize("count", [2, 3])
def test_with_dropout_the_losses_of_the_shards_add_up_to_that_of_the_global_batch(count):
    rates = {"word_dropout": 0.2, "embedding_dropout": 0.2, "dropout": 0.3, "output_dropout": 0.3}
    ready = prepared(units=(6, 5), class_weights="balanced", **rates)
    model = ready.drawn()

    def loss(shard):
        batch = ready.tensors(shard)
        return float(ready.task.loss(model, batch, (), step=tf.constant(11))[0])

    assert sum(loss((index, count)) for index in range(count)) == pytest.approx(loss((0, 1)), rel=1e-5)


@pytest.mark.parametrize("rate", ["word_dropout", "embedding_dropout", "dropout", "output_dropout"])
def test_each_dropout_changes_with_the_step_and_is_off_in_evaluation(rate):
    ready = prepared(units=(6, 5), **{rate: 0.5})
    model, batch = ready.drawn(), ready.tensors()

    def loss(step=None):
        return float(ready.task.loss(model, batch, (), step=None if step is None else tf.constant(step))[0])

    assert loss(3) == loss(3)
    assert len({loss(), loss(3), loss(4)}) == 3


def test_equal_seeds_build_equal_weights():
    three = (prepared(seed=seed, bidirectional=True, pooling="attention") for seed in (1, 1, 2))
    one, same, other = (ready.build().get_weights() for ready in three)
    for first, second, third in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(first, second)
        assert not first.any() or not np.array_equal(first, third)  # biases begin at zero


def test_one_trace_serves_batches_of_every_size():
    # A trace of its own for the first size would round differently, and a resumed run end with other weights.
    ready = prepared()
    model = ready.build()
    config = ostinato.TrainingConfig()
    optimizer = Optimizer(config, weights.names(model, model.trainable_variables), model.trainable_variables)
    train_step = make_train_step(ready.task, model, ready.part().signature, optimizer)
    sizes = set()
    for batch in ready.batches("train", epoch=0):
        train_step((as_tensors(batch),), ((),), tf.constant(0), tf.constant(0.1), tf.zeros(4))
        sizes.add(batch["tokens"].shape)
    assert len(sizes) > 2
    assert train_step.experimental_get_tracing_count() == 1

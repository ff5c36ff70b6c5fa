"""The translator's loss, figures and first weights."""

import numpy as np
import pytest
import tensorflow as tf

from ostinato.data.examples.sentences import PAD
from ostinato.tasks.base import Loss, as_figures
from ostinato.training.step import as_tensors

from ...variants import one_each, thorough
from .numbers import RATES, prepared

NETWORKS = {
    "plain": {"attention": "none", "cell": "lstm", "units": (5, 4)},
    "additive": {"attention": "additive", "bidirectional": True},
    "multiplicative": {"attention": "multiplicative", "units": (5, 4), "tied": True},
    "feeding": {"attention": "multiplicative", "input_feeding": True, "cell": "rnn"},
}
EVERY_NETWORK = pytest.mark.parametrize("name", NETWORKS)


def loss_of(ready, model, batch, step=None) -> float:
    return float(ready.task.loss(model, batch, (), step=None if step is None else tf.constant(step))[0])


@pytest.mark.parametrize(("name", "smoothing"), one_each(NETWORKS, [0.0, 0.2]))
def test_the_loss_is_the_cross_entropy_of_every_token_that_is_there(name, smoothing):
    ready = prepared(label_smoothing=smoothing, **NETWORKS[name])
    model, batch = ready.drawn(), ready.tensors()
    assert (batch["target"] == PAD).numpy().any()
    features, _ = model(batch["source"], batch["source_lengths"], batch["target"][:, :-1])
    scores = model.decoder.scores(features).numpy().astype(np.float64)
    logs = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    wanted = batch["target"].numpy()[:, 1:]
    truth = np.eye(scores.shape[-1])[wanted]
    nats, smoothed = (
        -(((1 - part) * truth + part / scores.shape[-1]) * logs).sum(axis=-1)[wanted != PAD].sum()
        for part in (0.0, smoothing)
    )
    for step, expected in ((None, nats), (tf.constant(3), smoothed)):
        loss, weight, sums, state, _ = ready.task.loss(model, batch, (), step=step)
        assert float(loss) == pytest.approx(expected, rel=1e-5)
        assert float(weight) == (batch["target_lengths"].numpy() - 1).sum()
        assert float(sums["nats"]) == pytest.approx(nats, rel=1e-5)
        assert state == ()
        measured = as_figures(
            ready.task.metrics(Loss(float(loss), float(weight), {"nats": float(sums["nats"])}))
        )
        assert measured["loss"] == pytest.approx(nats / float(weight), rel=1e-5)
        assert measured["perplexity"] == pytest.approx(np.exp(nats / float(weight)), rel=1e-4)


@EVERY_NETWORK
def test_the_loss_of_a_batch_is_the_sum_of_those_of_its_pairs_alone(name):
    together, alone = prepared(**NETWORKS[name]), prepared(batch=1, **NETWORKS[name])
    model = together.drawn()
    losses = tf.function(
        lambda batch: together.task.loss(model, batch, ())[:2], [together.part("validation").signature]
    )
    (loss, weight), (summed, same) = (
        np.sum([losses(as_tensors(batch)) for batch in ready.batches("validation")], axis=0)
        for ready in (together, alone)
    )
    assert loss == pytest.approx(summed, rel=1e-5)
    assert weight == same


@pytest.mark.parametrize("name", ["plain", thorough("additive"), "multiplicative", "feeding"])
def test_with_dropout_and_sampling_the_losses_of_the_shards_add_up_to_that_of_the_global_batch(name):
    rates = dict.fromkeys(RATES, 0.3) | {"scheduled_sampling": 0.5, "scheduled_sampling_steps": 1}
    ready = prepared(label_smoothing=0.1, **NETWORKS[name], **rates)
    model = ready.drawn()
    whole = loss_of(ready, model, ready.tensors(), 11)
    shards = [loss_of(ready, model, ready.tensors((index, 3)), 11) for index in range(3)]
    assert sum(shards) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("rate", [*RATES, "scheduled_sampling"])
def test_each_of_them_changes_with_the_step_and_is_off_in_evaluation(rate):
    ready = prepared(units=(6, 5), scheduled_sampling_steps=1, **{rate: 0.5})
    model, batch = ready.drawn(), ready.tensors()
    assert loss_of(ready, model, batch, 3) == loss_of(ready, model, batch, 3)
    assert len({loss_of(ready, model, batch, step) for step in (None, 3, 4)}) == 3
    teacher_forced = prepared(units=(6, 5))
    assert loss_of(ready, model, batch) == loss_of(teacher_forced, model, batch)


class Watched:
    """A model that remembers the target tokens it was fed."""

    def __init__(self, model):
        self.model, self.scores, self.scores_of_each, self.fed = model, model.scores, model.scores_of_each, []

    def __call__(self, source, lengths, target, key=None):
        self.fed.append(target.numpy())
        return self.model(source, lengths, target, key)


def fed_at(step, rate):
    """What the network was fed, the true tokens before each, and what it would have written there itself."""
    rates = {"scheduled_sampling": rate, "scheduled_sampling_steps": 40, "embedding_dropout": 0.5}
    ready = prepared(batch=64, validation_fraction=0.0, **rates)
    model, batch = Watched(ready.drawn()), ready.tensors()
    loss_of(ready, model, batch, step)
    given = batch["target"].numpy()[:, :-1]
    features, _ = model.model(batch["source"], batch["source_lengths"], given)
    own = np.argmax(model.scores(features), axis=-1)
    return model.fed[-1], given, np.concatenate([given[:, :1], own[:, :-1]], axis=1)


def test_scheduled_sampling_begins_with_the_true_tokens_and_may_end_with_the_networks_own():
    fed, given, _ = fed_at(0, 1.0)
    np.testing.assert_array_equal(fed, given)
    for step in (40, 1000):
        fed, given, own = fed_at(step, 1.0)
        np.testing.assert_array_equal(fed, own)
        assert (own != given).any()


def test_scheduled_sampling_rises_linearly():
    for step, share in ((10, 0.2), (20, 0.4), (30, 0.6), (40, 0.8), (400, 0.8)):
        fed, given, own = fed_at(step, 0.8)
        differ = own != given
        assert np.where(fed == own, True, fed == given).all()
        assert (fed == own)[differ].mean() == pytest.approx(share, abs=0.05)


def test_equal_seeds_build_equal_weights():
    three = (prepared(seed=seed, bidirectional=True) for seed in (1, 1, 2))
    one, same, other = (ready.build().get_weights() for ready in three)
    for first, second, third in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(first, second)
        assert not first.any() or not np.array_equal(first, third)  # biases begin at zero

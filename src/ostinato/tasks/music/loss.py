"""The loss of a music model over a batch of windows."""

from __future__ import annotations

import tensorflow as tf

from ostinato.cells.base import State
from ostinato.heads import chord
from ostinato.layers.dropout import DropoutKey
from ostinato.tasks.base import Batch, Loss, Metric, Metrics
from ostinato.tasks.music.network import RecurrentMusicModel


def loss(model: RecurrentMusicModel, batch: Batch, state: State, key: DropoutKey | None) -> Loss:
    """Sums over all steps; see `ostinato.tasks.base.Task.loss`.

    Args:
        model, batch, state: as there.
        key: draws the dropout; None for evaluation.
    """
    chords, weights, begins = batch["chords"], batch["weights"], batch["begins"]
    y, state = model(chords[:, :-1], begins, state, key)
    targets = chords[:, 1:]
    scores = model.chord(y, targets)
    before = chords[:, :-1, : model.keys] if model.onsets else None
    nats = weights * chord.loss(targets, scores, before)
    first, of_keys = weights[:, 0] * begins, weights[:, :, tf.newaxis]
    said, sounding = tf.cast(scores[..., : model.keys] > 0.0, tf.float32), targets[..., : model.keys]
    sums = {
        "nats_of_first": tf.reduce_sum(first * nats[:, 0]),
        "first": tf.reduce_sum(first),
        "right": tf.reduce_sum(of_keys * said * sounding),
        "either": tf.reduce_sum(of_keys * tf.maximum(said, sounding)),
    }
    return Loss(tf.reduce_sum(nats), tf.reduce_sum(weights), sums, state)


def metrics(sums: Loss) -> Metrics:
    """The mean loss in nats per step, the same without the first step of each piece, and the accuracy.

    Papers differ in the first step: Boulanger-Lewandowski et al. 2012 count all, the code of Bai et al. 2018
    begins with the second. Accuracy is that of frames (Bay et al. 2009): of all keys that sound or were
    expected to, the share that did both. A key is expected if it is likelier than not, given those before it.
    """
    total, steps = float(sums.total), float(sums.weight)
    later, either = steps - float(sums.sums["first"]), float(sums.sums["either"])
    from_second = (total - float(sums.sums["nats_of_first"])) / later if later else float("nan")
    return (
        Metric("loss", total / steps, "nats per step"),
        Metric("loss_from_second", from_second, "nats per step"),
        Metric("accuracy", float(sums.sums["right"]) / either if either else float("nan"), "", "higher"),
    )

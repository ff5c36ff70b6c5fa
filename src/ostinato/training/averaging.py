"""An average of the weights over a training, which is often better than the weights themselves.

Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging". The average here has the
profile of a power of time (Karras et al. 2023, arXiv:2312.02696, section 3): after n updates it is

    average ← β · average + (1 − β) · weights,   β = (1 − 1/n)^(1/lag − 1),

so that the mean age of the weights in it is the fraction `lag` of the training so far. It needs no
knowledge of when the training ends, forgets its beginning, and is a pure function of the weights after each
step, so a resumed training has the same average.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from ostinato.layers.tracing import traced
from ostinato.runs.checkpoints import Arrays
from ostinato.training.workers import Workers

if TYPE_CHECKING:
    import keras

EVERY = 8
"""Steps from one update of the average to the next; neighbouring weights are nearly the same."""


class WeightAverage:
    """The average of the trainable weights of a network.

    Args:
        lag: the mean age of the averaged weights, as a fraction of the training so far; 0 keeps no average.
        names: stable names of the weights.
        weights: the trainable variables.
        workers: the workers that train together; each keeps the whole average.
    """

    def __init__(self, lag: float, names: Sequence[str], weights: Sequence[keras.Variable], workers: Workers):
        self._power = 1.0 / lag - 1.0 if lag else 0.0
        self._names, self._weights, self._workers = names, list(weights) if lag else [], workers
        with workers.strategy.scope():
            self._averages = [
                tf.Variable(tf.convert_to_tensor(weight), trainable=False) for weight in self._weights
            ]
        self._update = traced(self._updated, input_signature=[tf.TensorSpec((), tf.float32)])

    def has_begun(self, step: int) -> bool:
        """Whether there is an average after so many steps."""
        return bool(self._weights) and step >= EVERY

    def follow(self, step: int) -> None:
        """Takes the weights after this step into the average, if it is time."""
        if self._weights and step % EVERY == 0:
            self._update(tf.constant((1.0 - EVERY / step) ** self._power, tf.float32))

    def _updated(self, keep: tf.Tensor) -> None:
        def update(keep: tf.Tensor) -> None:
            for average, weight in zip(self._averages, self._weights, strict=True):
                change = (1.0 - keep) * (tf.convert_to_tensor(weight) - average)
                tf.raw_ops.AssignAddVariableOp(resource=average.handle, value=change)

        self._workers.strategy.run(update, (keep,))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """A context in which the network has the averages as its weights."""
        raw = [weight.numpy() for weight in self._weights]
        try:
            for weight, average in zip(self._weights, self._averages, strict=True):
                weight.assign(average)
            yield
        finally:
            for weight, value in zip(self._weights, raw, strict=True):
                weight.assign(value)

    def to_arrays(self, weights: Arrays) -> Arrays:
        """All weights of the network by name, with averages in place of those that are averaged."""
        averages = (average.numpy() for average in self._averages)
        return weights | dict(zip(self._names, averages, strict=True))

    def restore(self, saved: Arrays) -> str | None:
        """Sets the averages to saved ones; the name of one that does not fit, or None."""
        for name, average in zip(self._names if self._weights else (), self._averages, strict=True):
            array = saved.get(name)
            kind = tuple(average.shape), average.dtype.as_numpy_dtype
            if array is None or (array.shape, array.dtype) != kind or not np.isfinite(array).all():
                return name
            average.assign(array)
        return None

"""The task itself, which needs TensorFlow."""

import hashlib
from collections import namedtuple

import keras
import numpy as np
import tensorflow as tf

from ostinato.errors import SourceError
from ostinato.layers.stack import RecurrentStack
from ostinato.tasks.base import Loss, Metric, Task

Data = namedtuple("Data", "vocabulary source notes part")


class Part(namedtuple("Part", "values window steps")):
    rows, carries_state, signature = 1, True, None

    def batches(self, *, epoch=None, start=0, shard=(0, 1)):
        for first in range(start * self.window, self.steps * self.window, self.window):
            piece = self.values[None, first : first + self.window + 1, None]
            yield {"given": piece[:, :-1], "next": piece[:, 1:]}


class Network(keras.Model):
    def __init__(self, config):
        super().__init__()
        self.stack = RecurrentStack(config.cell, config.units, options={"engine": config.engine})
        self.out = keras.layers.Dense(1, kernel_initializer="zeros")
        self(tf.zeros((1, 1, 1)), self.stack.initial_state(1))

    def call(self, given, state):
        outputs, state = self.stack(given, state)
        return self.out(outputs), state

    def generate(self, after, count=5):
        numbers = list(after)
        for _ in range(count):
            said, _ = self(tf.constant(numbers)[None, :, None], self.stack.initial_state(1))
            numbers.append(float(said[0, -1, 0]))
        return [f"{number:.4g}" for number in numbers[-count:]]


class Series(Task):
    unit = "numbers"

    def __init__(self, config):
        self.config = config

    def read(self, source, *, vocabulary=None, whole=False, on_progress=None):
        try:
            numbers, window = np.loadtxt(source, np.float32, ndmin=1), self.config.window
        except (OSError, ValueError) as error:
            raise SourceError(f"{source} must be a file of numbers: {error}") from None
        cut = len(numbers) if whole else len(numbers) * 9 // 10
        pieces = {"train": numbers[:cut], "validation": numbers[cut:]}
        parts = {n: Part(p, window, (len(p) - 1) // window) for n, p in pieces.items() if len(p) > window}
        found = {"description": str(source), "sha256": hashlib.sha256(numbers.tobytes()).hexdigest()}
        return Data({}, found, (f"{len(numbers):,} numbers",), parts.get)

    def build(self, vocabulary):
        return Network(self.config)

    def states(self, model):
        return model.stack.states

    def loss(self, model, batch, state, *, step=None):
        said, state = model(batch["given"], state)
        errors, count = tf.abs(said - batch["next"]), tf.cast(tf.size(said), tf.float32)
        return Loss(tf.reduce_sum(errors**2), count, {"off": tf.reduce_sum(errors)}, state)

    def metrics(self, sums):
        mean, off = float(sums.total / sums.weight), float(sums.sums["off"] / sums.weight)
        return Metric("loss", mean, "squares per number"), Metric("near", 1 / (1 + off), "", "higher")

    def use(self, model, vocabulary):
        return model

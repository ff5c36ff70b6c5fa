"""A task that has read its data: what most tests of tasks and trainings begin with."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import tensorflow as tf

from ostinato.runs import weights
from ostinato.tasks import registry
from ostinato.tasks.base import Batch, Part
from ostinato.tasks.config import TaskConfig
from ostinato.training.step import as_tensors


class Ready:
    """A task and what it has read.

    Args:
        config: the settings of the task.
        source: as a person gives it, or opened already.
        options: of `Task.read`.
    """

    def __init__(self, config: TaskConfig, source: Any, **options: Any):
        self.config = config
        self.task: Any = registry.make(config)
        opened = registry.spec_of(config).open(source, options.get("vocabulary"))
        self.data: Any = self.task.read(opened, **options)

    def part(self, name: str = "train") -> Part:
        """A part that there is."""
        part = self.data.part(name)
        assert part is not None
        return part

    def batches(self, name: str = "train", **options: Any) -> Iterator[Batch]:
        """The batches of a part; without an epoch, those of an evaluation."""
        return self.part(name).batches(**options)

    def tensors(self, shard: tuple[int, int] = (0, 1)) -> dict[str, tf.Tensor]:
        """The first batch of a training."""
        (batch,) = islice(self.batches(epoch=0, shard=shard), 1)
        return as_tensors(batch)

    def build(self) -> Any:
        """A new model."""
        return self.task.build(self.data.vocabulary)

    def drawn(self, stddev: float = 0.5) -> Any:
        """A new model with every weight drawn from a normal distribution."""
        return stirred(self.build(), stddev)

    def number_of_learning_weights(self) -> int:
        """The number of weights of a new model; each must have a name of its own, and learn from a batch."""
        model = self.drawn()
        names = weights.names(model, model.weights)
        assert len(names) == len({*names})
        with tf.GradientTape() as tape:
            loss = self.task.loss(model, self.tensors(), (), step=tf.constant(0)).total
        gradients = tape.gradient(loss, model.trainable_variables)
        assert all(np.any(tf.convert_to_tensor(gradient)) for gradient in gradients)
        return len(names)

    def use(self, model: Any) -> Any:
        """What a model of the task can do."""
        return self.task.use(model, self.data.vocabulary)


def stirred(model: Any, stddev: float = 0.5, seed: int = 1) -> Any:
    """The model with every weight drawn from a normal distribution, so that all of them make a difference."""
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, seed=(seed, number), stddev=stddev))
    return model

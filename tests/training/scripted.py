"""A task of one weight, and data whose validation losses are written in advance."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ostinato.cells.base import StateSpec
from ostinato.runs import checkpoints
from ostinato.runs.directory import RunDirectory
from ostinato.tasks.base import Loss, Metric, Task
from ostinato.training.config import TrainingConfig
from ostinato.training.events import Event, Measured
from ostinato.training.loop import Trainer

STEPS_PER_EPOCH = 5


class Line(keras.Model):
    def __init__(self):
        super().__init__(name="line")
        self.w = self.add_weight(shape=(2, 1), initializer="ones", name="w")


class Scripted(Task):
    """Fits one weight to numbers."""

    unit = "tokens"

    def __init__(self, better="lower"):
        self.better = better

    def build(self, vocabulary):
        return Line()

    def states(self, model):
        return (StateSpec("count", (1,)),)

    def loss(self, model, batch, state, *, step=None):
        weight = tf.constant(1.0)
        if "given" in batch:
            return Loss(batch["given"], weight, state=state)
        loss = tf.reduce_sum((model.w - batch["target"]) ** 2)
        return Loss(loss, weight, {"counted": state[0][0, 0]}, (state[0] + 1.0,))

    def metrics(self, sums):
        return (Metric("loss", sums.total / sums.weight, better=self.better), Metric("other", 1.0))


class Script:
    """The n-th validation loss is the n-th of a list; None is no validation part."""

    vocabulary, source, notes = {}, {}, ()

    def __init__(self, validation_losses=None, targets=(1.0, 2.0, 3.0, 4.0, 5.0)):
        self.validation_losses, self.targets = validation_losses, targets
        self.batches_taken = []
        self.evaluated = 0

    def part(self, name):
        if name == "train":
            return ScriptedPart(STEPS_PER_EPOCH, self._train)
        return None if self.validation_losses is None else ScriptedPart(1, self._validate)

    def _train(self, epoch, start):
        for number in range(start, STEPS_PER_EPOCH):
            self.batches_taken.append((epoch, number))
            yield {"target": np.float32(self.targets[number])}

    def _validate(self, epoch, start):
        self.evaluated += 1
        yield {"given": np.float32(self.validation_losses[self.evaluated - 1])}


class ScriptedPart:
    rows, signature, carries_state = 1, None, True

    def __init__(self, steps: int, read: Callable[..., Any]):
        self.steps, self._read = steps, read

    def batches(self, *, epoch=None, start=0, shard=(0, 1)):
        return self._read(epoch, start)


class Training:
    """A trainer of a script on a new run.

    Attributes:
        task, script, run, trainer, train: what is trained, on what, where, and by what.
        events: all that were told so far.
        listeners: who is told them besides.
    """

    def __init__(self, path, script: Script, better: str = "lower", **settings: Any):
        config = TrainingConfig(**({"learning_rate": 0.1, "optimizer": "sgd", "clip": None} | settings))
        self.task, self.script = Scripted(better), script
        self.run = RunDirectory(path, "scripted", {}, config.model_dump(mode="json"), {}, {})
        self.events: list[Event] = []
        self.listeners: list[Callable[[Event], None]] = [self.events.append]
        self.model = self.task.build({})
        self.trainer = Trainer(self.task, script, self.model, config, self.run, self._tell)
        self.train = self.trainer.train
        self.run.create(self.trainer.checkpoint())

    def _tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    @property
    def position(self):
        """Where the training stands."""
        return self.trainer._snapshot.position

    @property
    def steps(self) -> list[int]:
        """The steps that there are checkpoints of."""
        return checkpoints.steps(self.run.checkpoints)

    def rows(self, split: str) -> list[dict[str, Any]]:
        """The rows of metrics of a part."""
        return [e.row for e in self.events if isinstance(e, Measured) and e.row["split"] == split]

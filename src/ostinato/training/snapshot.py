"""Everything that a training must remember between two steps, and its checkpoints.

This is the position, the weights, their average, the optimizer's slots, the seeds of cells with random
numbers of their own, and the recurrent state. A checkpoint has all of it, so a training that was killed
resumes as if it had never stopped.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from ostinato.cells.base import State, initial_state
from ostinato.errors import RunError, TrainingError
from ostinato.runs import checkpoints, weights
from ostinato.runs.checkpoints import Checkpoint
from ostinato.runs.directory import RunDirectory
from ostinato.tasks.base import Part, Task
from ostinato.training.averaging import WeightAverage
from ostinato.training.budget import Position
from ostinato.training.config import TrainingConfig
from ostinato.training.events import Saved
from ostinato.training.optimizers import Optimizer
from ostinato.training.workers import Workers

if TYPE_CHECKING:
    import keras


class Snapshot:
    """The state of a training: what changes from step to step.

    Args:
        task, model: what is trained.
        part: the training part.
        config: the settings of the training.
        run: the directory that the chief saves into.
        workers: the workers that train together.

    Attributes:
        position: the progress of the training.
        states: the recurrent state of each of this worker's replicas.
        optimizer: the optimizer with its slots.
        average: the average of the weights.
        part: the training part.
    """

    def __init__(
        self,
        task: Task,
        model: keras.Model,
        part: Part,
        config: TrainingConfig,
        run: RunDirectory,
        workers: Workers,
    ):
        self._model, self.part, self._config, self._run, self._workers = model, part, config, run, workers
        names = weights.names(model, model.trainable_variables)
        with workers.strategy.scope():
            self.optimizer = Optimizer(config, names, model.trainable_variables)
        self.average = WeightAverage(config.averaging, names, model.trainable_variables, workers)
        self._specs = task.states(model)
        self.position = Position()
        self.states: tuple[State, ...] = ()
        self.begin_states()

    def begin_states(self) -> None:
        """Sets the recurrent state of every row to its initial value."""
        shares = (self._workers.rows(replica, self.part.rows) for replica in self._workers.replicas)
        self.states = tuple(initial_state(self._specs, share.stop - share.start) for share in shares)

    def checkpoint(self) -> Checkpoint:
        """Everything needed to resume from here; every worker must call this at the same step.

        Raises:
            TrainingError: when a weight is no longer finite.
        """
        seeds = {name: seed.numpy() for name, seed in weights.seeds(self._model).items()}
        names = (spec.name for spec in self._specs)
        groups = {
            "weights": weights.to_arrays(self._model),
            "optimizer": {name: slot.numpy() for name, slot in self.optimizer.slots.items()},
            "state": {**dict(zip(names, self._whole_state(), strict=True)), **seeds},
        }
        if self._config.averaging:
            groups[checkpoints.AVERAGE] = self.average.to_arrays(groups["weights"])
        if not all(np.isfinite(array).all() for array in groups["weights"].values()):
            raise self.diverged("a weight", self.position.step)
        return Checkpoint(self.position.step, self.position.to_json(), groups)

    def _whole_state(self) -> list[np.ndarray]:
        """The recurrent state of all rows of the global batch, gathered from all replicas."""
        workers, rows = self._workers, self.part.rows
        whole = []
        for parts in zip(*self.states, strict=True):
            array = np.zeros((rows, *parts[0].shape[1:]), parts[0].dtype.as_numpy_dtype)
            for replica, part in zip(workers.replicas, parts, strict=True):
                array[workers.rows(replica, rows)] = part.numpy()
            whole.append(workers.sum(array).astype(array.dtype) if workers.count > 1 else array)
        return whole

    def save(self) -> Saved | None:
        """Writes a checkpoint, and removes older ones; None on a worker that is not the chief."""
        if self._workers.chief:
            self.position.metrics_bytes = self._run.sync_metrics()
        checkpoint = self.checkpoint()
        if not self._workers.chief:
            return None
        position, folder = self.position, self._run.checkpoints
        path = checkpoints.save(folder, checkpoint)
        newest = checkpoints.steps(folder)[-self._config.keep :]
        kept = {*newest, position.best_step}
        for step in newest:
            # If a newer checkpoint is damaged, an older one still finds the best one of its time.
            with suppress(RunError):
                kept.add(Position.from_json(checkpoints.load(folder, step, groups=()).position).best_step)
        checkpoints.remove_all_but(folder, kept)
        return Saved(position.step, path, best=position.best_step == position.step)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back to a checkpoint.

        Raises:
            RunError: when it belongs to another network.
        """
        groups = checkpoint.groups
        weights.assign(self._model, groups["weights"], origin=str(self._run.path))
        for name, slot in self.optimizer.slots.items():
            saved = groups["optimizer"].get(name)
            if saved is None or (saved.shape, saved.dtype) != (tuple(slot.shape), slot.dtype.as_numpy_dtype):
                raise self._damaged(f"the optimizer's {name} does not fit")
            slot.assign(saved)
        unfit = self.average.restore(groups.get(checkpoints.AVERAGE, {}))
        if unfit is not None:
            raise self._damaged(f"the average of {unfit} does not fit")
        for name, seed in weights.seeds(self._model).items():
            saved = groups["state"].get(name)
            if saved is None or saved.shape != tuple(seed.shape):
                raise self._damaged(f"its {name} does not fit")
            seed.assign(saved)
        if {spec.name for spec in self._specs} - groups["state"].keys():
            raise self._damaged("its recurrent state does not fit")
        whole = []
        for spec in self._specs:
            array = groups["state"][spec.name]
            if (array.shape, array.dtype.name) != ((self.part.rows, *spec.shape), spec.dtype):
                raise self._damaged(f"its recurrent state {spec.name} does not fit")
            whole.append(array)
        self.states = tuple(
            tuple(tf.constant(array[self._workers.rows(replica, len(array))]) for array in whole)
            for replica in self._workers.replicas
        )
        self.position = Position.from_json(checkpoint.position)

    def _damaged(self, what: str) -> RunError:
        return RunError(f"the checkpoint of {self._run.path} is damaged: {what}")

    def diverged(self, what: str, step: int) -> TrainingError:
        """The error for a value that is no longer finite; names the last good checkpoint."""
        return TrainingError(
            f"{what} is no longer finite at step {step} with learning rate "
            f"{self.position.learning_rate:g}; the last good checkpoint, of step "
            f"{checkpoints.steps(self._run.checkpoints)[-1]}, is kept; "
            "try a lower learning rate, or clip the gradient to a smaller norm"
        )

"""The processes and devices that train one network together, and the messages between them.

A replica is a copy of the network on a device; a worker is a process with one or more replicas. All workers
run the same loop. Each computes gradients on its rows of the global batch, the sums are added up over all
replicas, and each makes the same change to its weights. What only one process knows (the time, whether Ctrl-C
was pressed, what a checkpoint holds) it broadcasts, so that all workers decide alike.

Worker 0, the chief, writes the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from ostinato.data.batches.shards import rows_of
from ostinato.errors import ConfigError, OstinatoError, TrainingError
from ostinato.layers.tracing import traced
from ostinato.wording import either, shortened

_LOST = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.FailedPreconditionError,
)


class Workers:
    """All workers of a training, as one of them sees them.

    Args:
        strategy: TensorFlow's distribution over their devices.
        index: the index of this worker.
        count: the number of workers.

    Attributes:
        replicas: the indices of this worker's replicas.
        replica_count: the number of replicas of all workers.
    """

    def __init__(self, strategy: tf.distribute.Strategy, index: int = 0, count: int = 1):
        self.strategy, self.index, self.count = strategy, index, count
        self.replica_count: int = strategy.num_replicas_in_sync
        local = self.replica_count // count
        self.replicas = range(index * local, (index + 1) * local)

        def total(values: tf.Tensor) -> tf.Tensor:
            return strategy.experimental_local_results(strategy.run(add, (values,)))[0]

        def add(values: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            here = context.replica_id_in_sync_group % local == 0
            return context.all_reduce("sum", tf.where(here, values, tf.zeros_like(values)))

        self._total = traced(total, input_signature=[tf.TensorSpec([None], tf.float64)])

    @property
    def chief(self) -> bool:
        """Whether this worker writes the run."""
        return self.index == 0

    @property
    def shard(self) -> tuple[int, int]:
        """(index, count): which part of an evaluation batch this worker reads."""
        return self.index, self.count

    def rows(self, replica: int, rows: int) -> slice:
        """The rows of a global batch that belong to a replica."""
        mine = rows_of((replica, self.replica_count), rows)
        return slice(mine.start, mine.stop)

    # Messages. Every worker must make the same calls in the same order.

    def sum(self, values: ArrayLike) -> np.ndarray:
        """Values added up over all workers, float64; every worker gives the same shape."""
        values = np.asarray(values, np.float64)
        if self.count == 1:
            return values
        return self._total(tf.constant(values.ravel())).numpy().reshape(values.shape)

    def broadcast(self, root: int, values: ArrayLike) -> np.ndarray:
        """The values of worker `root`, float64; the other workers give any values of the same shape."""
        return self.sum(np.asarray(values, np.float64) * (self.index == root))

    def broadcast_bytes(self, root: int, data: bytes) -> bytes:
        """The bytes of worker `root`, of any length; the data of the other workers is ignored."""
        if self.count == 1:
            return data
        length = int(self.broadcast(root, [len(data)])[0])
        words = np.zeros(-(-length // 4), np.uint32)
        if self.index == root:
            words = np.frombuffer(data.ljust(4 * len(words), b"\0"), np.uint32)
        return self.sum(words).astype(np.uint32).tobytes()[:length]

    @contextmanager
    def all_or_none(self) -> Iterator[None]:
        """A context that fails on all workers when it fails on one.

        Raises:
            TrainingError: when it failed on another worker.
        """
        if self.count == 1:
            yield
            return
        problem = None
        try:
            yield
        except OstinatoError as error:
            problem = error
        failed = np.zeros(self.count)
        failed[self.index] = problem is not None
        failed = self.sum(failed)
        if failed.any():
            self._acknowledge()
        if problem is not None:
            raise problem
        if failed.any():
            raise TrainingError(f"worker {int(np.argmax(failed))} could not go on; its own output says why")

    def _acknowledge(self) -> None:
        """Waits until every worker has received what was exchanged before, so that this one may end."""
        with suppress(*_LOST):
            self.sum([0.0])

    def check_same(self, what: str, value: bytes) -> None:
        """Checks that every worker has the chief's value.

        Raises:
            ConfigError: on a worker whose value differs; the others raise a TrainingError.
        """
        same = self.broadcast_bytes(0, value) == value
        with self.all_or_none():
            if not same:
                raise ConfigError(
                    f"{what} of worker {self.index} differ from those of worker 0; start every worker with "
                    "the same command, on the same source, with the same versions"
                )

    @contextmanager
    def stopping_when_one_is_lost(self) -> Iterator[None]:
        """A context in which the loss of one worker stops all the others with one sentence.

        TensorFlow notices at once that a process died, and after ten seconds that it is silent.

        Raises:
            TrainingError: when another worker no longer answers.
        """
        try:
            yield
        except _LOST as error:
            if self.count == 1:
                raise
            # The reason follows a traceback of the graph.
            said = " ".join(str(error.message).rpartition("aborted by: ")[2].split())
            again = either("ostinato.resume", "ostinato train --resume")
            raise TrainingError(
                "another worker is gone or does not answer, so this one cannot go on; the saved checkpoints "
                f"are intact: start all workers again with {again} "
                f"(TensorFlow says: {shortened(said)})"
            ) from None


def single_worker() -> Workers:
    """This process alone, with one replica."""
    return Workers(tf.distribute.get_strategy())

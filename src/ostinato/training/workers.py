"""The processes and devices that train one network together, and what they tell each other.

A replica is a copy of the network on a device; a worker is a process with one replica or more. All of them
walk through the same loop: each learns from its rows of the global batch, the sums are added up over all, and
each makes the same change to its weights. What only one process can know (what time it is, whether somebody
pressed Ctrl-C, what a checkpoint holds) it tells the others, so that all decide alike.

    nothing set             one worker, one replica
    --devices 2             one worker with two replicas: tf.distribute.MirroredStrategy
    TF_CONFIG, or a Slurm   as many workers as the cluster has processes, a replica on each of their GPUs, or
    step of several tasks   one on the CPU: tf.distribute.MultiWorkerMirroredStrategy

Worker 0, the chief, writes the run.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from ostinato.data.batches.shards import rows_of
from ostinato.errors import ConfigError, OstinatoError, TrainingError

_LOST = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.FailedPreconditionError,
)
_SLURM_PORT = 8888
Resolver = Any
"""TensorFlow's description of a cluster."""


class Workers:
    """All that train together, as one of them sees it.

    Args:
        strategy: TensorFlow's distribution over them.
        index: which worker this process is.
        count: how many workers there are.

    Attributes:
        replicas: the numbers of this worker's replicas.
        replica_count: how many replicas all workers have together.
    """

    def __init__(self, strategy: tf.distribute.Strategy, index: int = 0, count: int = 1):
        self.strategy, self.index, self.count = strategy, index, count
        self.replica_count: int = strategy.num_replicas_in_sync
        local = self.replica_count // count
        self.replicas = range(index * local, (index + 1) * local)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float64)])
        def total(values: tf.Tensor) -> tf.Tensor:
            return strategy.experimental_local_results(strategy.run(add, (values,)))[0]

        def add(values: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            here = context.replica_id_in_sync_group % local == 0
            return context.all_reduce("sum", tf.identity(values) if here else tf.zeros_like(values))

        self._total = total

    @property
    def chief(self) -> bool:
        """Whether this worker writes the run."""
        return self.index == 0

    @property
    def shard(self) -> tuple[int, int]:
        """The (index, count) of this worker's part of a batch that is not trained on, but judged."""
        return self.index, self.count

    def rows(self, replica: int, rows: int) -> slice:
        """Which rows of a global batch are a replica's."""
        mine = rows_of((replica, self.replica_count), rows)
        return slice(mine.start, mine.stop)

    # What they tell each other.

    def sum(self, values: ArrayLike) -> np.ndarray:
        """Numbers added up over all workers, float64; every worker must ask, with as many numbers."""
        values = np.asarray(values, np.float64)
        if self.count == 1:
            return values
        return self._total(tf.constant(values.ravel())).numpy().reshape(values.shape)

    def told_by(self, index: int, values: ArrayLike) -> np.ndarray:
        """One worker's numbers, float64; of the others only how many they give counts."""
        return self.sum(np.asarray(values, np.float64) * (self.index == index))

    def bytes_told_by(self, index: int, data: bytes) -> bytes:
        """What one worker says, of any length; what the others say is ignored."""
        if self.count == 1:
            return data
        length = int(self.told_by(index, [len(data)])[0])
        words = np.zeros(-(-length // 4), np.uint32)
        if self.index == index:
            words = np.frombuffer(data.ljust(4 * len(words), b"\0"), np.uint32)
        return self.sum(words).astype(np.uint32).tobytes()[:length]

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that fails on all workers when it fails on one.

        Raises:
            TrainingError: when another worker could not go on.
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
        if problem is not None:
            raise problem
        if failed.any():
            raise TrainingError(f"worker {int(np.argmax(failed))} could not go on; its own output says why")

    def check_same(self, what: str, value: bytes) -> None:
        """Compares a value with the chief's.

        Raises:
            ConfigError: when it is another; on every worker.
        """
        same = self.bytes_told_by(0, value) == value
        with self.together():
            if not same:
                raise ConfigError(
                    f"{what} of worker {self.index} differ from those of worker 0; start every worker with "
                    "the same command, on the same source, with the same versions"
                )

    @contextmanager
    def attended(self) -> Iterator[None]:
        """A block in which a worker that is gone ends the training of all, with a sentence.

        TensorFlow notices a process that died at once, and one that is silent after ten seconds.

        Raises:
            TrainingError: when another worker does not answer any more.
        """
        try:
            yield
        except _LOST as error:
            if self.count == 1:
                raise
            # Before the reason comes a traceback of the graph.
            said = " ".join(str(error.message).rpartition("aborted by: ")[2].split())
            raise TrainingError(
                "another worker is gone or does not answer, so that this one cannot go on; what was saved is "
                "intact: start all workers again with ostinato train --resume "
                f"(TensorFlow says: {said[:200]})"
            ) from None


def alone() -> Workers:
    """This process by itself, with one replica."""
    return Workers(tf.distribute.get_strategy())


def is_chief() -> bool:
    """Whether this process is the one whose output people read; asked of the environment."""
    cluster = _cluster()
    return cluster is None or _place(cluster)[0] == 0


def join(devices: int | None, wait: Callable[[str], None]) -> Workers:
    """The workers that the environment names, once all of them are there.

    Args:
        devices: replicas in this process; None is one, or where there is a cluster one on each GPU.
        wait: told a sentence when others have to be waited for.

    Raises:
        ConfigError: when the cluster's description makes no sense, devices are given too, or more than there
            are, or TensorFlow was used before in this process.
        TrainingError: when the others do not come.
    """
    cluster = _cluster()
    index, count = (0, 1) if cluster is None else _place(cluster)
    if cluster is None or count == 1:
        return alone() if devices in (None, 1) else Workers(_mirrored(devices))
    if devices is not None:
        raise ConfigError(
            "TF_CONFIG or Slurm make this process one of several, which take the devices they find; "
            "leave out --devices, or limit them with CUDA_VISIBLE_DEVICES"
        )
    wait(f"worker {index} of {count}: waiting for the others")
    addresses = json.dumps(cluster.cluster_spec().as_dict(), sort_keys=True)
    return _joined(addresses, cluster.task_type, cluster.task_id, index, count)


@functools.cache
def _joined(addresses: str, task_type: str, task_id: int, index: int, count: int) -> Workers:
    """The cluster's workers; a process can join once only, for as long as it lives."""
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(json.loads(addresses)),
        task_type=task_type,
        task_id=task_id,
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
        rpc_layer="grpc",
    )
    try:
        with _interruptible():
            strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except RuntimeError as error:
        raise ConfigError(
            f"cannot join the other workers: {error}; train first, before anything else of TensorFlow is used"
        ) from None
    except tf.errors.OpError as error:
        said = " ".join(str(error.message).split())
        raise TrainingError(
            f"the other workers did not come, or this one's address is taken ({said[:200]}); "
            f"the cluster is {addresses}"
        ) from None
    return Workers(strategy, index, count)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lets Ctrl-C end the process while TensorFlow waits, which does not return to Python for it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if previous is not None:  # not one of Python's
            signal.signal(signal.SIGINT, previous)


@functools.cache
def _mirrored(devices: int) -> tf.distribute.Strategy:
    """The devices of this process; kept, since a second strategy would number its messages like the first."""
    if not 1 <= devices <= 1024:
        raise ConfigError(f"devices = {devices}: expected 1 to 1024")
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if devices > len(gpus):
            raise ConfigError(f"devices = {devices}, but TensorFlow sees {len(gpus)} GPUs")
        return tf.distribute.MirroredStrategy([f"GPU:{number}" for number in range(devices)])
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        if len(tf.config.get_logical_device_configuration(cpu) or ()) < devices:
            logical = [tf.config.LogicalDeviceConfiguration()] * devices
            tf.config.set_logical_device_configuration(cpu, logical)
    except RuntimeError:
        raise ConfigError(
            f"devices = {devices}: the CPU can be divided only before anything else of TensorFlow is used"
        ) from None
    return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(devices)])


# The cluster.


def _cluster() -> Resolver | None:
    """TensorFlow's resolver of the cluster this process belongs to; None outside one.

    Raises:
        ConfigError: when its description makes no sense.
    """
    try:
        if os.environ.get("TF_CONFIG"):
            if not json.loads(os.environ["TF_CONFIG"]).get("cluster"):
                return None
            resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        elif int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
            resolver = _slurm()
        else:
            return None
        jobs = resolver.cluster_spec().as_dict()
        _place(resolver)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise ConfigError(f"cannot make out the cluster from TF_CONFIG or Slurm: {error}") from None
    if others := sorted(set(jobs) - {"chief", "worker"}):
        raise ConfigError(
            f"the cluster of TF_CONFIG has {', '.join(others)}; ostinato trains with workers only and at "
            "most one chief"
        )
    return resolver


def _slurm() -> Resolver:
    """The cluster of a Slurm step; the resolver asks nvidia-smi for GPUs, where there is one."""
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver
    if shutil.which("nvidia-smi"):
        return resolver(port_base=_SLURM_PORT)
    # It gives an address to every task that has a GPU. Without any, each is told to have one.
    tasks = int(os.environ["SLURM_STEP_NUM_TASKS"])
    return resolver(port_base=_SLURM_PORT, gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False)


def _place(cluster: Resolver) -> tuple[int, int]:
    """(index, count) of this process among the workers, a chief being the first."""
    spec = cluster.cluster_spec().as_dict()
    jobs: Sequence[str] = [job for job in ("chief", "worker") if job in spec]
    sizes = {job: len(spec[job]) for job in jobs}
    if cluster.task_type not in sizes or not 0 <= int(cluster.task_id) < sizes[cluster.task_type]:
        raise ValueError(f"there is no task {cluster.task_type} {cluster.task_id} in {spec}")
    before = sizes.get("chief", 0) if cluster.task_type == "worker" else 0
    return before + int(cluster.task_id), sum(sizes.values())

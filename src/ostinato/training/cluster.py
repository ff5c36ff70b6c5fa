"""Reads from TF_CONFIG or Slurm which cluster this process belongs to, and joins it.

    nothing set             one worker, one replica
    --devices 2             one worker with two replicas: tf.distribute.MirroredStrategy
    TF_CONFIG, or a Slurm   a worker for each process of the cluster, with a replica on each of its GPUs or,
    step of several tasks   without GPUs, one on the CPU: tf.distribute.MultiWorkerMirroredStrategy

A process can join a cluster only once.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from ostinato.errors import ConfigError, TrainingError
from ostinato.training.workers import Workers, single_worker
from ostinato.wording import option, shortened

_SLURM_PORT = 8888
Resolver = Any
"""TensorFlow's description of a cluster."""


def is_chief() -> bool:
    """Whether this process is the chief, whose output people read; read from the environment."""
    cluster = _cluster()
    return cluster is None or _place(cluster)[0] == 0


def join(devices: int | None, wait: Callable[[str], None]) -> Workers:
    """Joins the cluster that the environment describes; returns when all its workers are there.

    Args:
        devices: the number of replicas in this process; None is one or, in a cluster, one on each GPU.
        wait: called with a sentence before waiting for other workers.

    Raises:
        ConfigError: when the description of the cluster is not valid, when devices are given in a cluster,
            when there are fewer devices, or when this process has used TensorFlow before.
        TrainingError: when the other workers do not come.
    """
    cluster = _cluster()
    index, count = (0, 1) if cluster is None else _place(cluster)
    if cluster is None or count == 1:
        return single_worker() if devices in (None, 1) else Workers(_mirrored(devices))
    if devices is not None:
        raise ConfigError(
            "TF_CONFIG or Slurm makes this process one of several workers, which use all their devices; "
            f"leave out {option('devices')}, or limit the devices with CUDA_VISIBLE_DEVICES"
        )
    wait(f"worker {index} of {count}: waiting for the others")
    addresses = json.dumps(cluster.cluster_spec().as_dict(), sort_keys=True)
    return _joined(addresses, cluster.task_type, cluster.task_id, index, count)


@functools.cache
def _joined(addresses: str, task_type: str, task_id: int, index: int, count: int) -> Workers:
    """The workers of the cluster; cached, since a process can join only once."""
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
            f"cannot join the other workers: {error}; join before any other use of TensorFlow"
        ) from None
    except tf.errors.OpError as error:
        said = " ".join(str(error.message).split())
        raise TrainingError(
            f"the other workers did not come, or the address of this worker is taken ({shortened(said)}); "
            f"the cluster is {addresses}"
        ) from None
    return Workers(strategy, index, count)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lets Ctrl-C end the process while TensorFlow waits; Python cannot act on a signal during that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if previous is not None:  # None: the handler was not installed from Python
            signal.signal(signal.SIGINT, previous)


@functools.cache
def _mirrored(devices: int) -> tf.distribute.Strategy:
    """A strategy over devices of this process; cached, since a second one would reuse its message keys."""
    if not 1 <= devices <= 1024:
        raise ConfigError(f"devices must be 1 to 1024, got {devices}")
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if devices > len(gpus):
            raise ConfigError(f"devices must be at most {len(gpus)}, the number of GPUs, got {devices}")
        return tf.distribute.MirroredStrategy([f"GPU:{number}" for number in range(devices)])
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        if len(tf.config.get_logical_device_configuration(cpu) or ()) < devices:
            logical = [tf.config.LogicalDeviceConfiguration()] * devices
            tf.config.set_logical_device_configuration(cpu, logical)
    except RuntimeError:
        raise ConfigError(
            f"cannot divide the CPU into {devices} devices; do so before any other use of TensorFlow"
        ) from None
    return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(devices)])


def _cluster() -> Resolver | None:
    """TensorFlow's resolver of the cluster this process belongs to; None outside a cluster.

    Raises:
        ConfigError: when the description of the cluster is not valid.
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
        raise ConfigError(f"cannot read the cluster from TF_CONFIG or Slurm: {error}") from None
    if others := sorted(set(jobs) - {"chief", "worker"}):
        raise ConfigError(
            f"the cluster of TF_CONFIG must have only workers and at most one chief, got {', '.join(others)}"
        )
    return resolver


def _slurm() -> Resolver:
    """The cluster of a Slurm step; the resolver asks nvidia-smi for GPUs, where that is installed."""
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver
    if shutil.which("nvidia-smi"):
        return resolver(port_base=_SLURM_PORT)
    # The resolver gives an address only to tasks with a GPU. Without GPUs, claim one for each task.
    tasks = int(os.environ["SLURM_STEP_NUM_TASKS"])
    return resolver(port_base=_SLURM_PORT, gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False)


def _place(cluster: Resolver) -> tuple[int, int]:
    """(index, count) of this process among the workers; a chief comes first."""
    spec = cluster.cluster_spec().as_dict()
    jobs = [job for job in ("chief", "worker") if job in spec]
    sizes = {job: len(spec[job]) for job in jobs}
    if cluster.task_type not in sizes or not 0 <= int(cluster.task_id) < sizes[cluster.task_type]:
        raise ValueError(f"there is no task {cluster.task_type} {cluster.task_id} in {spec}")
    before = sizes.get("chief", 0) if cluster.task_type == "worker" else 0
    return before + int(cluster.task_id), sum(sizes.values())

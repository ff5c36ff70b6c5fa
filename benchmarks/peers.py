"""What `benchmarks/engine.py` measures: the same layer in several frameworks, each in a process of its own.

A process is told what to do in JSON lines on standard input, and answers each with one on standard output.
Every framework gets the same inputs, weights and upstream gradient, and gives them back in the same order, so
that `engine.py` can see that all compute the same thing.

What is timed is one compiled function where the framework compiles:

    forward     outputs of the whole sequence, without what a gradient would need
    training    outputs with `training=True`, and the gradients with respect to the inputs and to the weights,
                and to nothing else, for a given gradient of the outputs
    step        `STEPS` single steps inside a `tf.while_loop` (TensorFlow only)
    model       a training step of ostinato's language model with this layer (TensorFlow only)
    matmul      a product of two square matrices of `MATMUL_SIZE`
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib.metadata
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from comparison.jax_peer import JaxPeer
from comparison.layers import Call, Layer, square
from comparison.onnx_peers import OnnxRuntimePeer, OpenVinoPeer
from comparison.tensorflow_peer import FastPredictPeer, TensorFlowPeer
from comparison.torch_peer import TorchPeer

LEAST_CALLS = 3
# A call that takes longer is not run a first time that does not count, and once a turn.
LONG_CALL_SECONDS = 0.1


class NumpyPeer:
    """NumPy's matrix product: one more measure of what this machine can do."""

    packages = ("numpy",)

    def __init__(self, threads: int):
        self.facts: dict[str, Any] = {}
        self.passes: dict[str, Callable[[Layer], Call]] = {"matmul": self.matmul}

    def matmul(self, layer: Layer) -> Call:
        a = square()
        return lambda: [a @ a]


PEERS: dict[str, Callable[[int, str], Any]] = {
    "ostinato": lambda threads, engine: TensorFlowPeer(threads, engine=engine),
    "old": lambda threads, engine: TensorFlowPeer(threads, engine=engine),
    "fast-predict": lambda threads, engine: FastPredictPeer(threads),
    "keras": lambda threads, engine: TensorFlowPeer(threads),
    "keras-jit": lambda threads, engine: TensorFlowPeer(threads, jit=True),
    "torch": lambda threads, engine: TorchPeer(threads),
    "torch-passive": lambda threads, engine: TorchPeer(threads),
    "keras-jax": lambda threads, engine: JaxPeer(threads, keras=True),
    "jax-scan": lambda threads, engine: JaxPeer(threads, keras=False),
    "onnxruntime": lambda threads, engine: OnnxRuntimePeer(threads),
    "openvino": lambda threads, engine: OpenVinoPeer(threads),
    "numpy": lambda threads, engine: NumpyPeer(threads),
}


class Jobs:
    """The functions made so far, each run on request."""

    def __init__(self, peer: Any):
        self._peer = peer
        self._calls: dict[tuple[str, str], Call] = {}

    def obey(self, request: dict[str, Any]) -> dict[str, Any]:
        key = (request.get("what", ""), request.get("layer", ""))
        match request["do"]:
            case "prepare":
                return self._prepare(*key)
            case "time":
                times = turn(self._calls[key], request["seconds"], request["least"])
                return {"seconds": statistics.median(times), "calls": len(times), "spent": sum(times)}
            case "forget":
                self._calls = {}
                gc.collect()
                return {}
            case "memory":
                return {"bytes": peak_memory()}
        raise ValueError(f"there is nothing to do for {request}")

    def _prepare(self, what: str, layer: str) -> dict[str, Any]:
        """Compiles and runs a function; answers with the norms of what it computed, and the peak before."""
        if what not in self._peer.passes:
            return {"lacking": f"nothing to measure for {what}"}
        try:
            call = self._peer.passes[what](Layer.parse(layer))
        except NotImplementedError as lacking:
            return {"lacking": str(lacking)}
        before = peak_memory()
        norms = [float(np.linalg.norm(np.asarray(array).ravel())) for array in call()]
        self._calls[what, layer] = call
        return {"norms": norms[:4], "bytes": before}


def turn(call: Call, seconds: float, least: int = LEAST_CALLS) -> list[float]:
    """Seconds of each call of a function that runs for a while, after a first one that does not count.

    A function that takes long counts from its first call on, and is called `least` times and no more.
    """
    began = time.perf_counter()
    call()
    first = time.perf_counter() - began
    times, until = [], began + first + seconds
    if first >= LONG_CALL_SECONDS:
        times, until = [first], began
    else:
        least = max(least, LEAST_CALLS)
    while len(times) < least or time.perf_counter() < until:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times


def median_seconds(call: Call, seconds: float) -> float:
    """The median of a turn."""
    return statistics.median(turn(call, seconds))


def peak_memory() -> int:
    """The most memory that was resident in this process, in bytes; Linux only.

    `resource.getrusage` would count what the parent had when it started this process.
    """
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def keep_to(threads: int) -> None:
    """Holds this process to as many cores as threads: XLA takes a thread for each core that it sees."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def die_with_parent() -> None:
    """A worker is stopped between its turns; were its parent killed, it would stay so for ever."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description="A worker of benchmarks/engine.py.")
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--engine", default="native")
    options = parser.parse_args()
    die_with_parent()
    keep_to(options.threads)
    # Libraries print too; what they print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(reply: dict[str, Any]) -> None:
        print(json.dumps(reply), file=answers, flush=True)

    try:
        peer = PEERS[options.peer](options.threads, options.engine)
    except ModuleNotFoundError as missing:
        return answer({"missing": missing.name})
    answer({"versions": versions(peer.packages), "facts": peer.facts, "bytes": peak_memory()})
    jobs = Jobs(peer)
    for line in sys.stdin:
        answer(jobs.obey(json.loads(line)))


if __name__ == "__main__":
    main()

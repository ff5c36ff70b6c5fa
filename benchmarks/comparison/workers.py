"""Processes that measure a peer each, and take turns."""

from __future__ import annotations

import atexit
import json
import math
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .layers import Layer
from .machine import environment
from .tables import report

TURN_SECONDS = 0.2
# Nothing is called again, once it was called so often and took so long.
LEAST_CALLS, MOST_SECONDS = 3, 3.0
PASSES = {"forward": "forward", "training": "forward + backward"}


class Job(NamedTuple):
    """Something a worker can time."""

    peer: str
    what: str
    layer: Layer


class Worker:
    """A peer in a process of its own, stopped except while it answers.

    Args:
        peer: a name from `peers.PEERS`.
        engine: the engine of ostinato's layers.
        folder: where to keep what the process says on standard error.
        threads: how many threads it has, and cores.
        library: the library of the peer `old`: another build of the native engine.
    """

    def __init__(self, peer: str, engine: str, folder: Path, threads: int, library: Path | None = None):
        self.peer = peer
        self._errors = folder / f"{peer}-{len(list(folder.iterdir()))}.txt"
        script = Path(__file__).parents[1] / "peers.py"
        command = [sys.executable, script, peer, "--threads", str(threads), "--engine", engine]
        self._process: Any = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors.open("w"),
            env=environment(peer, library, threads),
            text=True,
        )
        atexit.register(self.end)
        self.hello = self._answer()

    def ask(self, **request: Any) -> dict[str, Any]:
        """The worker's answer; SystemExit if it died instead."""
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            last_lines = "\n".join(self._errors.read_text(errors="replace").splitlines()[-12:])
            raise SystemExit(f"{self.peer} died:\n{last_lines}")
        self._process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def end(self) -> None:
        atexit.unregister(self.end)
        self._process.kill()
        self._process.communicate()


class Workers:
    """All workers of a benchmark, by peer.

    Args:
        peers: names from `peers.PEERS`; those whose framework is not installed are left out and named.
        engine: the engine of ostinato's layers.
        threads: how many threads, and cores, each has.
        old: the library of the peer `old`.

    Attributes:
        missing: the module that each peer lacks which was left out.
        differing: jobs left out because their results are not ostinato's, with both norms.
    """

    def __init__(self, peers: Iterable[str], engine: str, threads: int, old: Path | None = None):
        self._folder = tempfile.TemporaryDirectory()
        self._engine, self._threads = engine, threads
        self._workers: dict[str, Worker] = {}
        self.missing: dict[str, str] = {}
        self.differing: list[str] = []
        for peer in peers:
            report(f"starting {peer}")
            worker = Worker(peer, engine, Path(self._folder.name), threads, old)
            if "missing" in worker.hello:
                self.missing[peer] = worker.hello["missing"]
                worker.end()
            else:
                self._workers[peer] = worker

    def __contains__(self, peer: str) -> bool:
        return peer in self._workers

    def end(self) -> None:
        for worker in self._workers.values():
            worker.end()

    def hello(self, key: str) -> dict[str, Any]:
        """What each peer said of itself (`versions` or `facts`)."""
        return {peer: worker.hello[key] for peer, worker in self._workers.items() if worker.hello[key]}

    def prepare(self, jobs: Sequence[Job]) -> list[Job]:
        """Compiles everything, and sees that all compute the same; gives the jobs there are."""
        possible, ours = [], {}
        for job in jobs:
            if job.peer not in self:
                continue
            report(f"preparing {job.peer}: {job.what} {job.layer.name}")
            reply = self._workers[job.peer].ask(do="prepare", what=job.what, layer=job.layer.name)
            if "lacking" in reply:
                continue
            expected = ours.setdefault((job.what, job.layer), reply["norms"])
            close = [abs(a - b) <= 2e-3 * abs(a) for a, b in zip(expected, reply["norms"], strict=True)]
            if job.what in PASSES and not all(close):
                self.differing.append(
                    f"{job.layer.name}, {job.what}: the norms of outputs and gradients are {reply['norms']} "
                    f"with {job.peer}, but {expected} with ostinato"
                )
                continue
            possible.append(job)
        return possible

    def measure(self, jobs: Sequence[Job], rounds: int) -> dict[Job, list[float]]:
        """Seconds of each job in each round; every other round goes backwards.

        A job that has run for `MOST_SECONDS` in all has no more rounds.
        """
        seconds: dict[Job, list[float]] = {job: [] for job in jobs}
        spent, calls = dict.fromkeys(jobs, 0.0), dict.fromkeys(jobs, 0)
        for number in range(rounds):
            for done, job in enumerate(jobs if number % 2 == 0 else jobs[::-1]):
                if spent[job] > MOST_SECONDS and calls[job] >= LEAST_CALLS:
                    continue
                report(f"{job.layer.name}: round {number + 1} of {rounds}: {done + 1} of {len(jobs)}")
                request = {"what": job.what, "layer": job.layer.name, "seconds": TURN_SECONDS}
                least = math.ceil(LEAST_CALLS / rounds)
                reply = self._workers[job.peer].ask(do="time", least=least, **request)
                seconds[job].append(reply["seconds"])
                spent[job] += reply["spent"]
                calls[job] += reply["calls"]
        report("")
        return seconds

    def forget(self) -> None:
        """Frees what was prepared."""
        for worker in self._workers.values():
            worker.ask(do="forget")

    def peak_memory(self, peer: str, what: str, layer: Layer) -> tuple[int, int]:
        """Bytes resident in a fresh process, at the most: with the data of a job, and after running it."""
        worker = Worker(peer, self._engine, Path(self._folder.name), self._threads)
        before = worker.ask(do="prepare", what=what, layer=layer.name)["bytes"]
        worker.ask(do="time", what=what, layer=layer.name, seconds=0, least=LEAST_CALLS)
        peak = worker.ask(do="memory")["bytes"]
        worker.end()
        return before, peak


def medians(seconds: dict[Job, list[float]]) -> dict[Job, float]:
    """Milliseconds."""
    return {job: 1e3 * statistics.median(times) for job, times in seconds.items()}

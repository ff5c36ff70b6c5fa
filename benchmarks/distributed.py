"""Several workers beside one: throughput, bytes and time of an exchange, and what to expect of more machines.

    python benchmarks/distributed.py                      # everything; Linux, about a quarter of an hour
    python benchmarks/distributed.py --only default --rounds 1
    python benchmarks/distributed.py --latency 200 --bandwidth 1 25

The networks are that of the default recipe of `ostinato train lm` and a larger one. Every training is the
whole of `ostinato.train` in processes of their own, a round of each after the other. The figure of a round is
the median step of the chief after the warm-up, the one printed the median over the rounds. The global batch
is always the same, and so are the processors: one worker has all, or half of them, each of two workers has
half. Three workers share all of them; they are there for the bytes.

    exchanged   what the loopback interface carried during a number of steps, less what it carries while the
                same workers wait. Others that use the interface are counted too; where the system lets you,
                unshare -n sh -c 'ip link set lo up; python benchmarks/distributed.py' has one of its own
    all-reduce  the time to add up as many numbers as a step does, on loopback, and nothing else
    expected    N machines like this one: the step measured at batch / N rows (strong scaling: the batch
                stays) or at all rows (weak: it grows with N), and after it the exchange,
                2 (N - 1) / N × bytes / bandwidth + 2 (N - 1) × latency. The two do not overlap, since a step
                exchanges its sums after the backward pass. That workers wait for the slowest, and the
                processor's own time for the exchange, are left out
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from comparison.machine import THREADS, environment, processor
from comparison.tables import report
from keras_fit import RESULTS

import ostinato
from ostinato.cli.commands.launch import worker_environments
from ostinato.training.events import Started, StepDone
from ostinato.training.recipes import read_recipe

MACHINES = (2, 4, 8, 16)
HALF = max(1, THREADS // 2)
BEYOND_GRADIENTS = 7
"""Numbers in a step's message that are no gradient: loss, weight, characters, and four signals."""
SETTLING, IDLE_SECONDS = 5.0, 3.0
ALL_REDUCES = 20
TICKS = os.sysconf("SC_CLK_TCK")


class Network(NamedTuple):
    """A network, as changes to the default recipe, and how many steps are measured after how many others."""

    changes: dict[str, Any]
    warm_up: int
    steps: int


NETWORKS = {
    "default": Network({}, 20, 150),
    "large": Network({"units": [650, 650]}, 4, 16),
}


class Setup(NamedTuple):
    """Who trains: workers, with so many processors and devices each, and the rows of the batches they try."""

    workers: int
    processors: int
    devices: int | None
    rows: Sequence[int]


def setups(batch: int) -> dict[str, Setup]:
    shares = [batch // machines for machines in MACHINES]
    return {
        "1 worker, half the processors": Setup(1, HALF, None, [batch, batch // 2]),
        "1 worker": Setup(1, THREADS, None, [batch, *shares]),
        "2 workers": Setup(2, HALF, None, [batch]),
        "1 worker, 2 devices": Setup(1, THREADS, 2, [batch]),
        "3 workers": Setup(3, max(1, THREADS // 3), None, [batch]),
    }


# A worker's process.


class Clock:
    """The seconds of each step after the warm-up, and what the loopback interface carried meanwhile."""

    def __init__(self, network: Network, several: bool):
        self._network, self._several = network, several
        self._last, self._bytes_before, self._idle_rate = 0.0, 0, 0.0
        self.seconds: list[float] = []
        self.parameters, self.bytes_per_step = 0, 0.0

    def __call__(self, event: Any) -> None:
        if isinstance(event, Started):
            self.parameters = event.parameters
        if not isinstance(event, StepDone) or event.step < self._network.warm_up:
            return
        if event.step == self._network.warm_up:
            self._begin()
        else:
            self.seconds.append(time.perf_counter() - self._last)
        if len(self.seconds) == self._network.steps:
            carried = loopback_bytes() - self._bytes_before - self._idle_rate * sum(self.seconds)
            self.bytes_per_step = carried / self._network.steps
        self._last = time.perf_counter()

    def _begin(self) -> None:
        if self._several:
            # The others still do their next step, ask for this one's sums, and then wait.
            time.sleep(SETTLING)
            before = loopback_bytes()
            time.sleep(IDLE_SECONDS)
            self._idle_rate = (loopback_bytes() - before) / IDLE_SECONDS
        self._bytes_before = loopback_bytes()


def loopback_bytes() -> int:
    """Bytes sent over the loopback interface, of this process' network namespace, since it is up."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()
    counters = next(line.split(":")[1] for line in lines if line.split(":")[0].strip() == "lo")
    return int(counters.split()[8])


def work(network: Network, setup: Setup, out: Path) -> None:
    """Trains once for each number of rows; the chief writes what it measured into FOLDER/N.json."""
    recipe = read_recipe("language_model", "default")
    for rows in setup.rows:
        clock = Clock(network, setup.workers > 1)
        settings = recipe.task | network.changes | {"batch": rows, "validation_fraction": 0.0}
        steps = network.warm_up + network.steps
        ostinato.train(
            ostinato.LanguageModelConfig(**settings),
            training=ostinato.TrainingConfig(steps=steps, log_every=10**6, checkpoint_minutes=10**4),
            out=out / f"run-{rows}",
            devices=setup.devices,
            on_event=clock,
        )
        seconds = time_all_reduce(clock.parameters) if setup.workers > 1 else None
        if clock.seconds:
            figures = {
                "step_seconds": statistics.median(clock.seconds),
                "parameters": clock.parameters,
                "bytes_per_step": clock.bytes_per_step / setup.workers,
                "all_reduce_seconds": seconds,
            }
            (out / f"{rows}.json").write_text(json.dumps(figures))


def time_all_reduce(parameters: int) -> float:
    """Seconds that the workers take to add up as many numbers as a step does, and nothing else."""
    import numpy as np
    import tensorflow as tf

    from ostinato.training.cluster import join

    workers = join(None, lambda sentence: None)
    # Only the chief was told how many weights there are.
    count = int(workers.broadcast(0, [parameters])[0]) + BEYOND_GRADIENTS

    @tf.function
    def add_up(values: tf.Tensor) -> tf.Tensor:
        def everywhere(values: tf.Tensor) -> tf.Tensor:
            return tf.distribute.get_replica_context().all_reduce("sum", tf.identity(values))

        return workers.strategy.experimental_local_results(workers.strategy.run(everywhere, (values,)))[0]

    values, seconds = tf.constant(np.ones(count, np.float32)), []
    for _ in range(ALL_REDUCES + 3):
        began = time.perf_counter()
        assert add_up(values)[-1].numpy() == workers.count
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[3:])


# The benchmark's own process.


def measure(name: str, title: str, setup: Setup, folder: Path) -> dict[int, dict[str, Any]]:
    """Figures by rows, from the chief of workers that must all succeed."""
    variables = {each: str(setup.processors) for each in ("OSTINATO_THREADS", "TF_NUM_INTRAOP_THREADS")}
    variables = environment("ostinato") | {"OSTINATO_CACHE": str(folder / "cache")} | variables
    environments = worker_environments(setup.workers, variables)
    if setup.workers == 1:
        environments[0].pop("TF_CONFIG")
    out = Path(tempfile.mkdtemp(dir=folder))
    available = sorted(os.sched_getaffinity(0))
    processes, logs = [], [out / f"{index}.log" for index in range(setup.workers)]
    try:
        for index, log in enumerate(logs):
            first = index * setup.processors
            cores = {available[(first + each) % len(available)] for each in range(setup.processors)}
            command = [sys.executable, __file__, "--work", name, title, str(out), *map(str, cores)]
            with log.open("w") as said:
                processes.append(subprocess.Popen(command, env=environments[index], stdout=said, stderr=said))
        while None in (codes := [process.poll() for process in processes]) and not any(codes):
            time.sleep(0.1)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if any(codes):
        failed = next(index for index, code in enumerate(codes) if code)
        raise SystemExit(f"worker {failed} of {title} failed:\n{logs[failed].read_text()[-2000:]}")
    return {rows: json.loads((out / f"{rows}.json").read_text()) for rows in setup.rows}


def compare(name: str, rounds: int, folder: Path) -> dict[str, Any]:
    """All that is measured with a network: medians over the rounds."""
    recipe = read_recipe("language_model", "default").task | NETWORKS[name].changes
    batch, tokens = recipe["batch"], recipe["batch"] * recipe["seq_len"]
    found: dict[str, list[dict[int, dict[str, Any]]]] = {title: [] for title in setups(batch)}
    for number in range(rounds):
        for title, setup in setups(batch).items():
            report(f"{name}, round {number + 1} of {rounds}: {title}")
            found[title].append(measure(name, title, setup, folder))
    report("")

    def median(title: str, figure: str, rows: int = batch) -> float:
        return statistics.median(each[rows][figure] for each in found[title])

    one, half = "1 worker", "1 worker, half the processors"
    clusters = [title for title, setup in setups(batch).items() if setup.workers > 1]
    parameters = int(median(one, "parameters"))
    steps = {rows: median(one, "step_seconds", rows) for rows in setups(batch)[one].rows}
    return {
        "batch": batch,
        "parameters": parameters,
        "bytes": 4 * (parameters + BEYOND_GRADIENTS),
        "tokens_per_second": {title: tokens / median(title, "step_seconds") for title in found},
        "exchanged_bytes": {title: median(title, "bytes_per_step") for title in clusters},
        "all_reduce_seconds": {title: median(title, "all_reduce_seconds") for title in clusters},
        "two_workers_seconds": median("2 workers", "step_seconds"),
        "half_batch_on_half_seconds": median(half, "step_seconds", batch // 2),
        "step_seconds": steps,
        "rounds": found,
    }


def exchange_seconds(size: int, machines: int, gigabits: float, microseconds: float) -> float:
    """A ring all-reduce of so many bytes: each machine sends a part of the vector 2 (N - 1) times."""
    hops = 2 * (machines - 1)
    return hops / machines * 8 * size / (1e9 * gigabits) + hops * microseconds / 1e6


class Processors:
    """How much of the machine's processors others used, from now on."""

    def __init__(self) -> None:
        self._before = self._ticks()

    def share_of_others(self) -> float:
        ours, used, whole = (now - then for now, then in zip(self._ticks(), self._before, strict=True))
        return max(0.0, used - ours) / whole

    def _ticks(self) -> tuple[float, float, float]:
        times = os.times()
        ticks = [int(each) for each in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        ours = TICKS * (times.user + times.system + times.children_user + times.children_system)
        return ours, sum(ticks) - ticks[3] - ticks[4], sum(ticks)


# What is printed.


def throughput_table(results: dict[str, dict[str, Any]]) -> str:
    titles = [title for title in setups(1) if title != "3 workers"]
    lines = [f"| tokens/s | {' | '.join(titles)} | 2 workers ÷ half | ÷ 1 worker |", "|---|" + "---:|" * 6]
    for name, found in results.items():
        rates = [found["tokens_per_second"][title] for title in titles]
        half, one, two, _ = rates
        shown = " | ".join(f"{rate:,.0f}" for rate in rates)
        lines.append(f"| {name} | {shown} | {two / half:.2f} | {two / one:.2f} |")
    return "\n".join(lines)


def exchange_table(results: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| network | workers | KB a step each, calculated | measured | all-reduce, ms "
        "| half the rows + all-reduce, ms | the step of two, ms |",
        "|---|" + "---:|" * 6,
    ]
    for name, found in results.items():
        for title, measured in found["exchanged_bytes"].items():
            workers = int(title.split()[0])
            calculated = 2 * (workers - 1) / workers * found["bytes"]
            seconds = found["all_reduce_seconds"][title]
            steps = ["", ""]
            if workers == 2:
                both = (found["half_batch_on_half_seconds"] + seconds, found["two_workers_seconds"])
                steps = [f"{1e3 * each:.1f}" for each in both]
            figures = [f"{calculated / 1e3:,.0f}", f"{measured / 1e3:,.0f}", f"{1e3 * seconds:.1f}", *steps]
            lines.append(f"| {name} | {workers} | {' | '.join(figures)} |")
    return "\n".join(lines)


def expected_table(results: dict[str, dict[str, Any]], bandwidths: Sequence[float], latency: float) -> str:
    columns = "".join(f" {gigabits:g} Gbit/s: ms | strong | weak |" for gigabits in bandwidths)
    lines = [
        f"| network | N | step at batch / N, ms |{columns}",
        "|---|" + "---:|" * (2 + 3 * len(bandwidths)),
    ]
    for name, found in results.items():
        whole = found["step_seconds"][found["batch"]]
        for machines in MACHINES:
            share = found["step_seconds"][found["batch"] // machines]
            cells = [f"{1e3 * share:.1f}"]
            for gigabits in bandwidths:
                seconds = exchange_seconds(found["bytes"], machines, gigabits, latency)
                gains = whole / (share + seconds), machines * whole / (whole + seconds)
                cells.append(f"{1e3 * seconds:.1f}")
                cells += [f"{gain:.1f} × ({gain / machines:.0%})" for gain in gains]
            lines.append(f"| {name} | {machines} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        name, title, out, *cores = sys.argv[2:]
        os.sched_setaffinity(0, map(int, cores))
        batch = read_recipe("language_model", "default").task["batch"]
        return work(NETWORKS[name], setups(batch)[title], Path(out))
    parser = argparse.ArgumentParser(description="Compare several workers with one.")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bandwidth", nargs="+", type=float, default=[1.0, 10.0], metavar="GBIT/S")
    parser.add_argument("--latency", type=float, default=50.0, metavar="µS", help="of a message, one way")
    parser.add_argument("--out", type=Path, default=RESULTS / "distributed.json", metavar="FILE.json")
    options = parser.parse_args()
    processors, results = Processors(), {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            results[name] = compare(name, options.rounds, Path(folder))
    others = processors.share_of_others()
    print(throughput_table(results), exchange_table(results), sep="\n\n")
    print(f"\nN machines, {options.latency:g} µs of latency, in tokens/s of one; of N times that:\n")
    print(expected_table(results, options.bandwidth, options.latency))
    print(f"\nOthers used {others:.0%} of the processors meanwhile.")
    facts = {"processor": processor(), "threads": THREADS, "share_of_others": others}
    assumed = {"bandwidths": options.bandwidth, "latency_microseconds": options.latency}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    written = {"machine": facts, "assumed": assumed, "results": results}
    options.out.write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()

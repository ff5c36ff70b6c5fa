"""What other programs on the processors cost the engine: one thread beside two.

    python benchmarks/busy.py                     # quiet, then with a program on each of two processors
    python benchmarks/busy.py --busy 2 --seconds 10

A figure is of a layer in a `tf.function`, forward and forward + backward; the engine of one process has one
thread, that of the other two. They run in turn, each a part of the seconds, and with `--busy N` beside N programs that compute
without end. Where others have the processors, two threads should take no more than 1.15 times as long as
one, and 1.3 times at the 99th percentile.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from comparison.machine import cpuinfo, processor_slug

RESULTS = Path(__file__).parent / "results"
SHAPES = ("1x200x64-128", "32x35x28-256", "20x35x650-650", "64x100x8-16", "1x1x64-128")
PASSES = ("forward", "training")
TURNS = 4


def serve() -> None:
    """Answers each line, a pass, a shape and seconds, with the times of the calls in them, in seconds."""
    import numpy as np
    import tensorflow as tf

    import ostinato

    made: dict[tuple[str, str], tuple[Any, Any]] = {}
    for line in sys.stdin:
        what, shape, seconds = line.split()
        if (what, shape) not in made:
            batch, steps, features, units = map(int, re.findall(r"\d+", shape))
            layer = ostinato.layers.LSTM(units, return_sequences=True)
            x = tf.constant(np.random.default_rng(1).normal(size=(batch, steps, features)).astype("float32"))
            made[what, shape] = tf.function(partial(PASS_OF[what], layer)), x
            made[what, shape][0](x)
        call, x = made[what, shape]
        taken, end = [], time.perf_counter() + float(seconds)
        while time.perf_counter() < end:
            began = time.perf_counter()
            call(x)[0].numpy()
            taken.append(time.perf_counter() - began)
        print(json.dumps(taken), flush=True)


def forward(layer: Any, x: Any) -> list[Any]:
    return [layer(x)]


def training(layer: Any, x: Any) -> list[Any]:
    """The gradients of the weights and the inputs, for outputs whose gradients are ones."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    return tape.gradient(y, [x, *layer.trainable_variables])


PASS_OF = {"forward": forward, "training": training}


def ask(server: subprocess.Popen[str], what: str, shape: str, seconds: float) -> list[float]:
    assert server.stdin is not None
    assert server.stdout is not None
    print(what, shape, seconds, file=server.stdin, flush=True)
    return json.loads(server.stdout.readline())


def measure(servers: dict[int, subprocess.Popen[str]], busy: int, seconds: float) -> list[dict[str, Any]]:
    """Rows of milliseconds: median and 99th percentile with one and with two threads."""
    import numpy as np

    rows = []
    with ExitStack() as stack:
        for place in range(busy):
            hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(hog.wait)
            stack.callback(hog.kill)
            processors = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(hog.pid, {processors[place % len(processors)]})
        for what, shape in itertools.product(PASSES, SHAPES):
            taken: dict[int, list[float]] = {threads: [] for threads in servers}
            for _ in range(TURNS):
                for threads, server in servers.items():
                    taken[threads] += ask(server, what, shape, seconds / TURNS)
            row: dict[str, Any] = {"pass": what, "shape": shape, "busy": busy}
            for name, percent in (("median", 50), ("p99", 99)):
                one, two = (float(np.percentile(taken[threads], percent)) * 1e3 for threads in (1, 2))
                row |= {
                    f"{name}_1": round(one, 4),
                    f"{name}_2": round(two, 4),
                    f"{name}_ratio": round(two / one, 3),
                }
            rows.append(row | {"calls_1": len(taken[1]), "calls_2": len(taken[2])})
            print(
                f"{what:10}{shape:16}{busy:5}{row['median_1']:11.3f}{row['median_2']:9.3f}{row['median_ratio']:7.2f}"
                f"{row['p99_1']:11.3f}{row['p99_2']:9.3f}{row['p99_ratio']:7.2f}",
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--busy", type=int, nargs="*", default=[0, 2], help="other programs, for each table")
    parser.add_argument("--seconds", type=float, default=4, help="for each figure")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        return serve()
    servers = {
        threads: subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            env=os.environ | {"OSTINATO_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for threads in (1, 2)
    }
    for server, what, shape in itertools.product(servers.values(), PASSES, SHAPES):
        ask(server, what, shape, 0.1)
    print("LSTM, ms                  busy   median 1        2  ratio      p99 1        2  ratio")
    rows = [row for busy in given.busy for row in measure(servers, busy, given.seconds)]
    for server in servers.values():
        server.communicate()
    slug = processor_slug(cpuinfo())
    path = RESULTS / f"busy-{slug}.json"
    environment = {"processor": slug, "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    path.write_text(json.dumps({"environment": environment, "rows": rows}, indent=1) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()

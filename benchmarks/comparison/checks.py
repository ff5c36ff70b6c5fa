"""Figures of one engine alone: cost in time steps, memory, single steps, a whole model, an older build."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from .layers import Layer
from .tables import check, report
from .tensorflow_peer import STEPS
from .workers import Job, Workers, medians

LINEAR_IN_TIME = ("lstm-64x100x8-16", "lstm-32x250x28-256", "lstm-128x100x128-128")
MEMORY_LAYER, STEP_LAYER, MODEL_LAYER = "lstm-128x1000x128-128", "lstm-1x1x64-128", "lstm-32x35x28-256"
OLD_MEAN, OLD_WORST = 0.02, 0.05
MEBIBYTE = 1 << 20


def beside_old(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Whether this build of the engine takes as long as another: over all layers and passes, and in each."""
    ratios = {
        f"{row['title']}, {row['pass']}, {row['threads']}": 1 / row["ratios"]["old"]
        for row in rows
        if "old" in row["ratios"]
    }
    mean = math.exp(statistics.fmean(map(math.log, ratios.values())))
    (slowest, ratio) = max(ratios.items(), key=lambda item: item[1])
    limit = f"≤ {1 + OLD_MEAN} × the old"
    return [
        check(
            "time of this build ÷ the old: geometric mean",
            {"ostinato": mean},
            "×",
            mean <= 1 + OLD_MEAN,
            limit,
        ),
        check(
            f"the same: {slowest}", {"ostinato": ratio}, "×", ratio <= 1 + OLD_WORST, f"≤ {1 + OLD_WORST} ×"
        ),
    ]


def linear_in_time(workers: Workers, rounds: int) -> list[dict[str, Any]]:
    """Whether twice the time steps cost twice the time."""
    once = [Layer.parse(name) for name in LINEAR_IN_TIME]
    layers = [layer for short in once for layer in (short, short._replace(time=2 * short.time))]
    jobs = workers.prepare([Job("ostinato", "training", layer) for layer in layers])
    figures = medians(workers.measure(jobs, rounds))
    rows = []
    for short, long in zip(jobs[::2], jobs[1::2], strict=True):
        ratio = figures[long] / figures[short]
        title = f"{short.layer.title}, time doubled to {long.layer.time}: cost"
        rows.append(check(title, {"ostinato": ratio}, "×", ratio <= 2.05, "≤ 2.05 ×"))
    return rows


def memory(workers: Workers) -> list[dict[str, Any]]:
    """Peak resident memory of training, in fresh processes."""
    layer, start, peak = Layer.parse(MEMORY_LAYER), {}, {}
    for peer in ("ostinato", "keras"):
        report(f"memory of {peer}")
        start[peer], peak[peer] = workers.peak_memory(peer, "training", layer)
    report("")
    above = {peer: peak[peer] - start[peer] for peer in peak}
    return [
        check(
            f"{layer.title}, training: peak memory{name}",
            {peer: size / MEBIBYTE for peer, size in sizes.items()},
            "MiB",
            sizes["ostinato"] <= 0.6 * sizes["keras"],
            "≤ 0.6 × Keras'",
        )
        for name, sizes in (("", peak), (" above that with the data, before the first step", above))
    ]


def single_steps(workers: Workers, rounds: int) -> list[dict[str, Any]]:
    """One time step of one row, over and over in a `tf.while_loop`."""
    layer = Layer.parse(STEP_LAYER)
    jobs = workers.prepare([Job(peer, "step", layer) for peer in ("ostinato", "keras")])
    figures = medians(workers.measure(jobs, rounds))
    each = {job.peer: 1e3 * ms / STEPS for job, ms in figures.items()}
    title = f"{layer.title} in a tf.while_loop: an iteration"
    return [check(title, each, "µs", each["ostinato"] <= 60, "≤ 60 µs")]


def whole_model(workers: Workers, rounds: int) -> list[dict[str, Any]]:
    """A training step of the language model on our engine and on Keras' loop, and our layer alone."""
    layer = Layer.parse(MODEL_LAYER)
    alone = Job("ostinato", "training", layer)
    jobs = workers.prepare([*(Job(peer, "model", layer) for peer in ("ostinato", "keras")), alone])
    figures = medians(workers.measure(jobs, rounds))
    steps = {job.peer: figures[job] for job in jobs if job.what == "model"}
    outside = steps["ostinato"] - figures[alone]
    return [
        check(f"{layer.title}, language model: a whole training step", steps, "ms", None, ""),
        check("the same, less the layer alone", {"ostinato": outside}, "ms", outside <= 5, "≤ 5 ms"),
    ]


def all_of(workers: Workers, rounds: int) -> list[dict[str, Any]]:
    """Every check of one build."""
    parts = (linear_in_time, single_steps, whole_model)
    return [row for part in parts for row in part(workers, rounds)] + memory(workers)

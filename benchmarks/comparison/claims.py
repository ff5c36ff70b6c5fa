"""What is claimed of the figures, and whether it holds.

A row is a layer and a pass, measured with one number of threads: our time in `ms`, and in `ratios` how many
times longer each peer takes.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from .layers import Layer
from .tables import check
from .workers import PASSES, Job, medians

AHEAD, AHEAD_AT_THE_PEAK, NEAR_THE_PEAK = 1.05, 1.0, 0.85
TORCH_MEANS = {"forward": 1.3, "training": 2.0}
# Of the layers drawn at random: the share that is to be ahead of every peer, and whom none is slower than.
DRAWN_SHARE, NEVER_SLOWER_THAN = 0.9, ("keras", "keras-jit")
# An older build of ours is measured beside the peers, but is none.
NO_PEERS = ("old",)
# A forward pass outside of TensorFlow is compared with what ostinato has for that, `fast_predict`; all else
# with a layer in a `tf.function`.
FAST_PREDICT = "fast-predict"
WITHOUT_TENSORFLOW = ("torch", "torch-passive", "keras-jax", "jax-scan", "onnxruntime", "openvino")


def judge(layer: Layer, threads: int, seconds: dict[Job, list[float]], peak: float) -> list[dict[str, Any]]:
    """The rows of a layer.

    Args:
        layer: what was measured.
        threads: with how many threads.
        seconds: of each job and round, as of `Workers.measure`.
        peak: GFLOP/s of the fastest product of matrices.
    """
    rows, ms = [], medians(seconds)
    for what in PASSES:
        job = Job("ostinato", what, layer)
        if job not in ms:
            continue
        gflops = layer.operations(what) / ms[job] / 1e6
        fast = Job(FAST_PREDICT, what, layer)
        theirs = [other for other in ms if other[1:] == job[1:] and other not in (job, fast)]
        ours = {other: fast if other.peer in WITHOUT_TENSORFLOW and fast in ms else job for other in theirs}
        row = {
            "layer": layer.name,
            "title": layer.title,
            "threads": threads,
            "pass": what,
            "ms": ms[job],
            "gflops": gflops,
            "share_of_peak": gflops / peak,
            "ratios": {other.peer: ms[other] / ms[ours[other]] for other in theirs},
            "ratios_of_fastest_rounds": {
                other.peer: min(seconds[other]) / min(seconds[ours[other]]) for other in theirs
            },
            "ms_of_rounds": {
                other.peer: [1e3 * time for time in seconds[other]]
                for other in (job, fast, *theirs)
                if other in ms
            },
        }
        if fast in ms:
            row["ms_of_fast_predict"] = ms[fast]
        rows.append(row | {"missed": missed(row)})
    return rows


def wanted(row: dict[str, Any], peer: str) -> float:
    """The least ratio to a peer: less where the peer itself is near the peak."""
    ours = row.get("ms_of_fast_predict", row["ms"]) if peer in WITHOUT_TENSORFLOW else row["ms"]
    near = row["share_of_peak"] * row["ms"] / ours / row["ratios"][peer] > NEAR_THE_PEAK
    return AHEAD_AT_THE_PEAK if near else AHEAD


def missed(row: dict[str, Any]) -> list[str]:
    """The peers that ostinato is not far enough ahead of."""
    return [
        peer for peer, ratio in row["ratios"].items() if ratio < wanted(row, peer) and peer not in NO_PEERS
    ]


def smallest(row: dict[str, Any]) -> tuple[float, str]:
    """The smallest ratio to a peer, and the peer; infinity and nobody where there is none."""
    ratios = [(ratio, peer) for peer, ratio in row["ratios"].items() if peer not in NO_PEERS]
    return min(ratios, default=(math.inf, ""))


def threads_named(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def of(rows: Sequence[dict[str, Any]], threads: int, what: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["threads"] == threads and row["pass"] == what]


def claims(layers: Sequence[dict[str, Any]], drawn: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each claim with its figures, for each number of threads.

    Args:
        layers: rows of the chosen layers.
        drawn: rows of the layers that were drawn.
    """
    found = []
    for threads in sorted({row["threads"] for row in (*layers, *drawn)}):
        for what in PASSES:
            name = f"{PASSES[what]}, {threads_named(threads)}"
            found += of_chosen(of(layers, threads, what), what, name)
            found += of_drawn(of(drawn, threads, what), name)
    return found


def of_chosen(rows: Sequence[dict[str, Any]], what: str, name: str) -> list[dict[str, Any]]:
    ratios = sum(len(row["ratios"].keys() - set(NO_PEERS)) for row in rows)
    if not ratios:
        return []
    held = ratios - sum(len(row["missed"]) for row in rows)
    found = [
        check(
            f"{name}: ahead of each peer at each layer",
            {"held": held, "all": ratios},
            "ratios",
            held == ratios,
            f"≥ {AHEAD} ×, ≥ {AHEAD_AT_THE_PEAK:.2f} × a peer above {NEAR_THE_PEAK:.0%} of the peak",
        )
    ]
    torch = [row["ratios"]["torch"] for row in rows if "torch" in row["ratios"]]
    if torch:
        mean, least = math.exp(statistics.fmean(map(math.log, torch))), TORCH_MEANS[what]
        title = f"{name}: PyTorch's time, geometric mean"
        found.append(check(title, {"torch": mean}, "×", mean >= least, f"≥ {least} ×"))
    return found


def of_drawn(rows: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    rows = [row for row in rows if smallest(row)[1]]
    if not rows:
        return []
    ahead = sum(not row["missed"] for row in rows)
    least = math.ceil(DRAWN_SHARE * len(rows))
    return [
        check(
            f"{name}: layers drawn at random ahead of every peer",
            {"ahead": ahead, "all": len(rows)},
            "layers",
            ahead >= least,
            f"≥ {least} of {len(rows)}",
        ),
        check(
            f"{name}: layers drawn at random slower than Keras or Keras jit",
            {"slower": sum(slower_than_keras(row) for row in rows)},
            "layers",
            not any(map(slower_than_keras, rows)),
            "none",
        ),
    ]


def slower_than_keras(row: dict[str, Any]) -> bool:
    return any(row["ratios"].get(peer, 1.0) < 1.0 for peer in NEVER_SLOWER_THAN)


def notes_on_drawn(rows: Sequence[dict[str, Any]]) -> str:
    """For each layer the smallest ratio over the peers, and every layer slower than Keras' loop or jit."""
    lines = []
    for row in rows:
        ratio, peer = smallest(row)
        if not peer:
            continue
        slow = ", SLOWER THAN KERAS" if slower_than_keras(row) else ""
        name = f"{row['title']}, {PASSES[row['pass']]}, {threads_named(row['threads'])}"
        lines.append(f"{name}: smallest ratio {ratio:.2f} ({peer}){slow}")
    return "\n".join(lines)

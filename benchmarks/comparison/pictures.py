"""Pictures of results: the small one of the first page, and all layers beside all peers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .workers import PASSES

COLORS = {
    "keras": "#0072b2",
    "keras-jit": "#56b4e9",
    "torch": "#d55e00",
    "torch-passive": "#000000",
    "keras-jax": "#e69f00",
    "jax-scan": "#009e73",
    "onnxruntime": "#cc79a7",
    "openvino": "#f0e442",
    "old": "#999999",
}
# What the small picture shows, in words for those who do not know the tables.
SMALL = {
    "lstm-32x35x28-256": "LSTM, 256 units,\nbatch of 32",
    "gru-32x35x28-256": "GRU, 256 units,\nbatch of 32",
    "lstm-20x35x650-650": "LSTM, 650 units,\nbatch of 20",
    "lstm-1x200x64-128": "LSTM, 128 units,\none sequence",
}
SMALL_PEERS = {"keras": "Keras", "keras-jit": "Keras, compiled (jit)", "torch": "PyTorch"}


def bars(axes: Any, rows: Sequence[dict[str, Any]], peers: dict[str, str]) -> None:
    """Horizontal bars: a group for each row, a color for each peer."""
    height = 0.8 / len(peers)
    for number, (peer, label) in enumerate(peers.items()):
        places = [place for place, row in enumerate(rows) if peer in row["ratios"]]
        drawn = axes.barh(
            [place - 0.4 + (number + 0.5) * height for place in places],
            [rows[place]["ratios"][peer] for place in places],
            0.9 * height,
            color=COLORS[peer],
            label=label,
        )
        axes.bar_label(
            drawn, [f"{rows[place]['ratios'][peer]:.1f}" for place in places], padding=2, fontsize=7
        )
    axes.axvline(1, color="black", linewidth=1)
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Any, path: Path, results: str, rows: Sequence[dict[str, Any]], peers: Sequence[str]) -> None:
    """Writes a picture. Which results it shows can be read from it.

    Args:
        figure: what was drawn.
        path: where to.
        results: the name of the file of results.
        rows: those that were drawn.
        peers: of these.
    """
    shown = [
        {
            **{key: row[key] for key in ("title", "threads", "pass")},
            "ratios": {peer: row["ratios"][peer] for peer in peers if peer in row["ratios"]},
        }
        for row in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Description": json.dumps({"results": results, "rows": shown})})


def draw_small(rows: Sequence[dict[str, Any]], path: Path, results: str) -> None:
    """Four layers beside Keras and PyTorch on all cores, forward and backward, linear from zero."""
    from matplotlib.figure import Figure

    threads = max(row["threads"] for row in rows)
    by_layer = {row["layer"]: row for row in rows if row["threads"] == threads and row["pass"] == "training"}
    shown = [by_layer[layer] for layer in SMALL if layer in by_layer]
    figure = Figure(figsize=(7, 3.4), dpi=120, layout="constrained")
    axes = figure.subplots()
    bars(axes, shown, SMALL_PEERS)
    axes.set_xlim(left=0)
    axes.set_yticks(range(len(shown)), [SMALL[row["layer"]] for row in shown])
    axes.invert_yaxis()
    cores = "1 CPU core" if threads == 1 else f"{threads} CPU cores"
    axes.set_xlabel(f"training: times slower than ostinato, {cores}")
    axes.text(1, -0.52, " ostinato = 1", fontsize=7, va="bottom")
    axes.legend(loc="upper right", frameon=False)
    save(figure, path, results, shown, list(SMALL_PEERS))


def draw(rows: Sequence[dict[str, Any]], rivals: Sequence[str], path: Path, results: str) -> None:
    """All layers and peers: a row of panels for each number of threads, a panel for each pass."""
    from matplotlib.figure import Figure

    titles, threads = (
        list(dict.fromkeys(row["title"] for row in rows)),
        sorted({row["threads"] for row in rows}),
    )
    height = 1.2 + len(titles) * (0.25 + 0.11 * len(rivals))
    figure = Figure(figsize=(11, height * len(threads)), dpi=110, layout="constrained")
    panels = figure.subplots(len(threads), len(PASSES), sharey=True, squeeze=False)
    ordered = []
    for line, count in zip(panels, threads, strict=True):
        for axes, what in zip(line, reversed(PASSES), strict=True):
            shown = [row for row in rows if row["pass"] == what and row["threads"] == count]
            ordered += shown
            bars(axes, shown, {peer: peer for peer in rivals})
            axes.set_xscale("log")
            axes.set_xticks([0.5, 1, 2, 5, 10, 20, 50], ["½", "1", "2", "5", "10", "20", "50"])
            axes.minorticks_off()
            axes.set_xlim(left=min(0.5, *(0.9 * ratio for row in shown for ratio in row["ratios"].values())))
            axes.set_title(f"{PASSES[what]}, {count} thread{'s' * (count > 1)}")
            axes.set_xlabel("time, ostinato = 1")
            axes.set_yticks(range(len(shown)), [row["title"] for row in shown])
    panels[0][0].invert_yaxis()
    panels[0][-1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    save(figure, path, results, ordered, rivals)

"""Pictures of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def draw_losses(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws training and validation loss over the steps.

    Args:
        rows: of metrics.jsonl.
        path: the PNG file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for split, style in (("train", "-"), ("validation", ".-")):
        chosen = [row for row in rows if row["split"] == split]
        if chosen:
            axes.plot(
                [row["step"] for row in chosen],
                [row["loss"] for row in chosen],
                style,
                label=f"{split}, last {chosen[-1]['loss']:.3f}",
            )
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per token)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)

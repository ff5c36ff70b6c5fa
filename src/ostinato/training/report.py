"""Pictures of a training."""

from __future__ import annotations

from pathlib import Path

from ostinato.training.events import Row


def draw_losses(rows: list[Row], path: Path, unit: str = "tokens") -> None:
    """Draws training and validation loss over the steps.

    Args:
        rows: of metrics.jsonl.
        path: the PNG file to write.
        unit: what the loss is the mean over.
    """
    _draw(rows, path, "loss", f"loss (nats per {unit.removesuffix('s')})")


def draw_accuracies(rows: list[Row], path: Path) -> None:
    """Draws training and validation accuracy over the steps; arguments as for `draw_losses`."""
    _draw(rows, path, "accuracy", "accuracy")


def _draw(rows: list[Row], path: Path, figure_name: str, axis: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for split, style in (("train", "-"), ("validation", ".-"), ("average", ".-")):
        chosen = [row for row in rows if row.get("split") == split and {"step", figure_name} <= row.keys()]
        if chosen:
            axes.plot(
                [row["step"] for row in chosen],
                [row[figure_name] for row in chosen],
                style,
                label=f"{split}, last {chosen[-1][figure_name]:.3f}",
            )
    axes.set_xlabel("step")
    axes.set_ylabel(axis)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)

"""Pictures of an evaluation: the confusion matrix, the ROC curve and the reliability diagram."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from ostinato.tasks.classifier.evaluation import Evaluation, sureness
from ostinato.tasks.classifier.metrics import reliability, roc_curve

_MOST_NAMED = 30
"""A confusion matrix with more labels is drawn without names and numbers."""


def draw(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Draws all pictures of an evaluation.

    Args:
        evaluation: the evaluation of one part.
        folder: the folder for the PNG files, which must exist. Files of the same name are replaced.

    Returns:
        confusion-PART.png (unless a text may have several labels), roc-PART.png, reliability-PART.png.
    """
    drawn = []
    with warnings.catch_warnings():
        # Characters that the font lacks are drawn as boxes; the printed matrix shows the names.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        if evaluation.confusion is not None:
            drawn.append(folder / f"confusion-{evaluation.part}.png")
            draw_confusion(evaluation.confusion, evaluation.labels, drawn[-1])
        drawn += [folder / f"roc-{evaluation.part}.png", folder / f"reliability-{evaluation.part}.png"]
        draw_roc(evaluation, drawn[-2])
        draw_reliability(evaluation, drawn[-1])
    return drawn


def draw_confusion(confusion: np.ndarray, labels: tuple[str, ...], path: Path) -> None:
    """Draws a confusion matrix: a row is a true label, and a cell is shaded by its fraction of the row.

    Args:
        confusion: counts, shape (labels, labels).
        labels: the names of the labels.
        path: the PNG file to write.
    """
    from matplotlib.figure import Figure

    named = len(labels) <= _MOST_NAMED
    side = 3.2 + 0.5 * min(len(labels), _MOST_NAMED)
    figure = Figure(figsize=(side, side), dpi=120, layout="constrained")
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set_xlabel("chosen")
    axes.set_ylabel("true")
    if named:
        names = [_short(label) for label in labels]
        axes.set_xticks(range(len(labels)), names, rotation=45, ha="right", parse_math=False)
        axes.set_yticks(range(len(labels)), names, parse_math=False)
        for (row, column), count in np.ndenumerate(confusion):
            colour = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour)
    figure.savefig(path)


def draw_roc(evaluation: Evaluation, path: Path) -> None:
    """Draws the ROC curve of the second label if there are two, otherwise those of the first ten labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 4.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    truth, scores = evaluation.decisions.truth, evaluation.decisions.probabilities
    two = len(evaluation.labels) == 2 and evaluation.confusion is not None
    for column in [1] if two else range(min(len(evaluation.labels), 10)):
        if 0 < truth[:, column].sum() < len(truth):
            axes.plot(
                *roc_curve(truth[:, column], scores[:, column]), label=_short(evaluation.labels[column])
            )
    axes.plot([0, 1], [0, 1], ":", color="grey", label="by chance")
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    axes.set_title(f"area {evaluation.figures['roc_auc']:.4f}")
    axes.grid(alpha=0.3)
    for text in axes.legend().get_texts():
        text.set_parse_math(False)
    figure.savefig(path)


def draw_reliability(evaluation: Evaluation, path: Path) -> None:
    """Draws the accuracy of predictions over their probability."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 4.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    decisions = evaluation.decisions
    sure = sureness(decisions, several=evaluation.confusion is None)
    count, confidence, right = reliability(decisions.right, sure)
    there = count > 0
    axes.plot([0, 1], [0, 1], ":", color="grey", label="calibrated")
    axes.plot(confidence[there], right[there], ".-", label="decisions")
    axes.set_xlabel("probability of the decision")
    axes.set_ylabel("fraction that is right")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_title(f"expected calibration error {evaluation.figures['calibration_error']:.4f}")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def _short(label: str) -> str:
    return label if len(label) <= 24 else f"{label[:23]}…"

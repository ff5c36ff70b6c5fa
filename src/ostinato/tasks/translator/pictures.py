"""Pictures of an evaluation and of an alignment: BLEU by length, and the attention of the decoder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ostinato.tasks.translator.evaluation import Evaluation
from ostinato.wording import printable

if TYPE_CHECKING:
    from ostinato.tasks.translator.translations import Alignment

_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Unifont",
)
"""Fonts for Chinese, Japanese or Korean; those that are installed have what the usual font lacks."""
_MOST_INCHES = 40.0
_LEAST_SHOWN, _MOST_SHOWN = 0.1, 4
"""For each target token, the text shows source tokens with at least this weight, and at most this many."""


def draw(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Draws BLEU by the length of the source.

    Args:
        evaluation: the evaluation of one part.
        folder: the folder for the PNG file, which must exist. A file of the same name is replaced.

    Returns:
        bleu-by-length-PART.png.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 4.0), dpi=120, layout="constrained")
    axes = figure.subplots()
    names = [
        f"{some.shortest}–{some.longest}" if some.longest > some.shortest else f"{some.longest}"
        for some in evaluation.lengths
    ]
    bars = axes.bar(names, [some.bleu for some in evaluation.lengths])
    axes.bar_label(bars, [f"{some.sentences:,}" for some in evaluation.lengths], padding=2, color="grey")
    axes.axhline(evaluation.figures["bleu"], linestyle=":", color="black", label="all")
    axes.set_xlabel(f"{evaluation.length_unit} of the source")
    axes.set_ylabel("BLEU (above: sentences)")
    axes.margins(y=0.1)
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    path = folder / f"bleu-by-length-{evaluation.part}.png"
    figure.savefig(path)
    return [path]


def draw_alignment(alignment: Alignment, path: Path) -> bool:
    """Draws an alignment: a row is a target token, a column a source token; darker means a greater weight.

    Args:
        alignment: the alignment of one sentence.
        path: the PNG file to write.

    Returns:
        Whether the installed fonts have every character; missing ones are drawn as boxes.
    """
    from matplotlib.figure import Figure

    with _all_fonts() as missing:
        rows, columns = alignment.weights.shape
        size = tuple(min(1.6 + 0.3 * count, _MOST_INCHES) for count in (columns, rows))
        figure = Figure(figsize=size, dpi=120, layout="constrained")
        axes = figure.subplots()
        axes.imshow(alignment.weights, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
        sources, targets = (_names(tokens) for tokens in (alignment.source, alignment.target))
        upright = max(map(len, sources)) <= 2
        axes.set_xticks(range(columns), sources, rotation=0 if upright else 90, parse_math=False)
        axes.set_yticks(range(rows), targets, parse_math=False)
        axes.xaxis.tick_top()
        figure.savefig(path, format="png")
    return not any("missing from" in str(warning.message) for warning in missing)


@contextmanager
def _all_fonts() -> Iterator[list[warnings.WarningMessage]]:
    """Adds installed fonts with more scripts to the usual one; yields the list of warnings in the block."""
    import matplotlib
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    families = [*matplotlib.rcParams["font.family"], *(name for name in _FONTS if name in installed)]
    with matplotlib.rc_context({"font.family": families}), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield told


def alignment_text(alignment: Alignment) -> str:
    """An alignment as text: a line per target token, with its main source tokens and their weights."""
    from rich.cells import cell_len

    sources, targets = (_names(tokens) for tokens in (alignment.source, alignment.target))
    width = max(map(cell_len, targets))
    lines = []
    for target, weights in zip(targets, alignment.weights, strict=True):
        order = (-weights).argsort(kind="stable")[:_MOST_SHOWN]
        seen = [number for place, number in enumerate(order) if not place or weights[number] >= _LEAST_SHOWN]
        looked = "  ".join(f"{sources[n]} {weights[n]:.2f}" for n in seen)
        lines.append(f"{target}{' ' * (width - cell_len(target))}  {looked}")
    return "\n".join(lines)


def _names(tokens: tuple[str, ...]) -> list[str]:
    """Tokens as they are shown, with control characters escaped."""
    return [printable(token) for token in tokens]

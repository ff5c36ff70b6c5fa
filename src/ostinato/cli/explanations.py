"""How explanations of a classifier's decisions are shown: in colours, as numbers, as a web page."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ostinato.wording import printable

_FOR, _AGAINST = (64, 192, 96), (240, 96, 88)
"""The colours, red, green and blue, of words that speak for a label and against it."""
_FAINT = 0.05
"""Words that contribute less than this part of the greatest contribution have no colour."""


def show(explanation: Any) -> None:
    """The words of a text in colours, or with their contributions in brackets where there are none."""
    from rich.console import Console
    from rich.text import Text

    if not explanation.contributions:
        return
    console = Console(highlight=False)
    coloured = console.is_terminal and console.color_system is not None and not console.no_color
    line = Text("  ")
    if explanation.towards != explanation.prediction.label:
        line.append(f"towards {explanation.towards!r}: ")
    for (word, contribution), strength in zip(explanation.contributions, explanation.strengths, strict=True):
        if coloured:
            line.append(printable(word), _colour(strength))
        else:
            line.append(f"{printable(word)}({contribution:+.2f})")
        line.append(" ")
    line.rstrip()
    console.print(line, soft_wrap=True)


def _colour(strength: float) -> str:
    """The style of a word: the greener the more it speaks for the label, the redder the more against it."""
    if abs(strength) < _FAINT:
        return ""
    full = _FOR if strength > 0 else _AGAINST
    red, green, blue = (round(255 + abs(strength) * (part - 255)) for part in full)
    return f"black on #{red:02x}{green:02x}{blue:02x}"


def write_page(path: Path, explanations: list[Any], title: str) -> None:
    """Writes the web page; a kill at any instant leaves what was there, or all of it."""
    from ostinato.files.atomic import write_synced, writing
    from ostinato.tasks.classifier.explanation import page

    partial_path = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with writing(path):
            write_synced(partial_path, page(explanations, title).encode())
            os.replace(partial_path, path)
    finally:
        with suppress(OSError):
            partial_path.unlink(missing_ok=True)

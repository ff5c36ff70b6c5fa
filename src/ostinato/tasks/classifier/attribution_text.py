"""Attributions on a terminal: words in colours or, without colours, with their contributions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ostinato.wording import printable

if TYPE_CHECKING:
    from ostinato.tasks.classifier.attribution import Attribution

_FOR, _AGAINST = (64, 192, 96), (240, 96, 88)
"""The (red, green, blue) colours of words for a label and against it."""
_FAINT = 0.05
"""Words with less than this fraction of the greatest contribution have no colour."""


def show(attribution: Attribution) -> None:
    """Prints the words of a text in colours or, without colours, with their contributions in brackets."""
    from rich.console import Console
    from rich.text import Text

    if not attribution.contributions:
        return
    console = Console(highlight=False)
    coloured = console.is_terminal and console.color_system is not None and not console.no_color
    line = Text("  ")
    if attribution.towards != attribution.prediction.label:
        line.append(f"towards {attribution.towards!r}: ")
    for (word, contribution), strength in zip(attribution.contributions, attribution.strengths, strict=True):
        if coloured:
            line.append(printable(word), _colour(strength))
        else:
            line.append(f"{printable(word)}({contribution:+.2f})")
        line.append(" ")
    line.rstrip()
    console.print(line, soft_wrap=True)


def _colour(strength: float) -> str:
    """The style of a word: green for the label, red against it, stronger for a greater contribution."""
    if abs(strength) < _FAINT:
        return ""
    full = _FOR if strength > 0 else _AGAINST
    red, green, blue = (round(255 + abs(strength) * (part - 255)) for part in full)
    return f"black on #{red:02x}{green:02x}{blue:02x}"

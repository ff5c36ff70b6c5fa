"""The page of all cells, docs/cells.md, made from the cells themselves, with a drawing of each.

python -m ostinato.cli.cells_page docs
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from ostinato.cells import registry
from ostinato.cells.cards import Card, card
from ostinato.cells.diagram import draw

UNITS = 256
_BEGIN, _END = "<!-- cards -->", "<!-- end of cards -->"


def cards() -> str:
    """A card for each cell, Markdown."""
    every = [card(name, units=UNITS, features=UNITS) for name in registry.OWN]
    return "\n\n".join([_table(every), *(_card(each) for each in every)])


def with_cards(page: str) -> str:
    """A page with the cards between its two marks."""
    before, _, rest = page.partition(_BEGIN)
    return f"{before}{_BEGIN}\n\n{cards()}\n\n{_END}{rest.partition(_END)[2]}"


def _table(every: list[Card]) -> str:
    rows = [
        "| cell | states | weights | products a step | KB read by a single step |",
        "|---|---|---:|---:|---:|",
    ]
    for each in every:
        states = ", ".join(f"{name} ({size})" for name, size in each.states.items())
        cells = (
            f"[`{each.name}`](#{each.name})",
            states,
            f"{each.parameters:,}",
            f"{each.multiplications:,}",
        )
        rows.append(f"| {' | '.join(cells)} | {each.bytes / 1024:,.0f} |")
    return "\n".join(rows)


def _card(of: Card) -> str:
    module = importlib.import_module(f"ostinato.cells.{registry.module_of(of.name)}")
    text = (module.__doc__ or "").strip()
    parts = []
    for block in text.split("\n\n"):
        lines = block.split("\n")
        if lines[0].startswith("    "):
            parts.append("```\n" + "\n".join(line.removeprefix("    ") for line in lines) + "\n```")
        else:
            parts.append("\n".join(lines))
    return "\n\n".join(
        [
            f"### {of.name}",
            *parts,
            f"![one step of {of.name}](images/cells/{of.name}.png)",
            f"**When, and what not.** {registry.find(of.name).advice}",
        ]
    )


def write(docs: Path) -> None:
    """Writes the cards into the page, and the drawings beside it."""
    page = docs / "cells.md"
    page.write_text(with_cards(page.read_text(encoding="utf-8")), encoding="utf-8")
    images = docs / "images" / "cells"
    images.mkdir(parents=True, exist_ok=True)
    for name in registry.OWN:
        draw(registry.find(name), images / f"{name}.png")


if __name__ == "__main__":
    write(Path(sys.argv[1]))

"""Results as text: what is shown meanwhile, and Markdown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any


def report(text: str) -> None:
    """Shows how far it is, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def check(title: str, figures: dict[str, float], unit: str, held: bool | None, limit: str) -> dict[str, Any]:
    return {"title": title, "figures": figures, "unit": unit, "held": held, "wanted": limit}


def table(name: str, rows: Sequence[dict[str, Any]], rivals: Sequence[str]) -> str:
    """Markdown. Bold is a ratio below the one claimed.

    Args:
        name: what stands above the layers.
        rows: as of `claims.judge`.
        rivals: the peers with a column.
    """
    fast = any("ms_of_fast_predict" in row for row in rows)
    header = [
        *(name, "ms", *["fast_predict, ms"] * fast, "GFLOP/s", "of peak"),
        *(f"× {peer}" for peer in rivals),
        "ahead of all",
    ]
    lines = [header, ["---", *["---:"] * (len(header) - 2), "---"]]
    for row in rows:
        own = [f"{row['ms_of_fast_predict']:.3g}" if "ms_of_fast_predict" in row else "–"] * fast
        figures = [f"{row['ms']:.3g}", *own, f"{row['gflops']:.1f}", f"{row['share_of_peak']:.0%}"]
        held = "yes" if not row["missed"] else "no: " + ", ".join(row["missed"])
        lines.append([row["title"], *figures, *(ratio_cell(row, peer) for peer in rivals), held])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratio_cell(row: dict[str, Any], peer: str) -> str:
    ratio = row["ratios"].get(peer)
    if ratio is None:
        return "–"
    return f"**{ratio:.2f}**" if peer in row["missed"] else f"{ratio:.2f}"


def check_table(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["| check | figures | wanted | held |", "|---|---|---|---|"]
    for row in rows:
        figures = ", ".join(f"{peer} {figure:.4g} {row['unit']}" for peer, figure in row["figures"].items())
        held = {True: "yes", False: "**no**", None: ""}[row["held"]]
        lines.append(f"| {row['title']} | {figures} | {row['wanted']} | {held} |")
    return "\n".join(lines)


def claim_line(claim: dict[str, Any]) -> str:
    """A claim as an item of a list: whether it is met, its figures, and what is claimed."""
    figures = ", ".join(f"{name} {figure:.4g}" for name, figure in claim["figures"].items())
    met = "met" if claim["held"] else "**unmet**"
    return f"- {met}: {claim['title']}: {figures} {claim['unit']} (claimed: {claim['wanted']})"

"""What a classifier says of texts, and what an evaluation of it found, on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ostinato.cli import explanations

_TABULATED = 20
"""Labels up to which the confusion matrix is printed; the picture has them all."""
_SHOWN = 200
"""Characters of a text that is shown."""


class Labels:
    """Prints a line for every text, counts what was odd, and tells it at the end.

    Args:
        trained: the run of a classifier.
        as_json: whether a line is a JSON object.
        explain: whether to show how each word moved the decision.
        html: where to write the explanations as a web page, too.
    """

    def __init__(self, trained: Any, *, as_json: bool, explain: bool, html: Path | None):
        self._trained, self._as_json, self._explain, self._html = trained, as_json, explain, html
        self._empty = self._cut = self._gaps = 0
        self._kept: list[Any] = []

    def say(self, texts: list[str]) -> None:
        """Prints what each text is."""
        for prediction, explanation in self._answers(texts):
            self._empty, self._cut = self._empty + prediction.empty, self._cut + prediction.cut
            print(self._line(prediction, explanation), flush=self._explain)
            if explanation is not None and not self._as_json:
                explanations.show(explanation)
            self._gaps += explanation is not None and not explanation.adds_up
            if self._html is not None:
                self._kept.append(explanation)

    def end(self) -> None:
        """Writes the web page, and tells what was odd on standard error."""
        if self._html is not None:
            title = f"What {self._trained.directory.path} decided, and why"
            explanations.write_page(self._html, self._kept, title)
        if self._cut:
            tokens = self._trained.task.max_tokens
            print(f"{self._cut:,} of the texts were cut to {tokens:,} tokens", file=sys.stderr)
        if self._empty:
            print(
                f"{self._empty:,} of the texts had nothing in them to read; they got the shares of the "
                "training texts",
                file=sys.stderr,
            )
        if self._gaps:
            print(
                f"{self._gaps:,} of the explanations do not add up: on the way to the text the score leaps, "
                "and no gradient tells which words make it",
                file=sys.stderr,
            )

    def _answers(self, texts: list[str]) -> Iterator[tuple[Any, Any]]:
        """A prediction of each text and, if asked for, its explanation, else None."""
        if self._explain:
            return ((explained.prediction, explained) for explained in self._trained.explanations(texts))
        return ((prediction, None) for prediction in self._trained.predictions(texts))

    def _line(self, prediction: Any, explanation: Any) -> str:
        if not self._as_json:
            return f"{prediction.label}\t{prediction.probability:.4f}"
        answer = {
            "label": prediction.label,
            "probability": prediction.probability,
            "probabilities": prediction.probabilities,
            "tokens": prediction.tokens,
            "cut": prediction.cut,
            "empty": prediction.empty,
        }
        if explanation is not None:
            answer["contributions"] = explanation.contributions
        return json.dumps(answer, ensure_ascii=False)


def show(judgement: Any) -> None:
    """The confusion matrix, and the most confident mistakes."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    if judgement.confusion is not None and len(judgement.labels) > _TABULATED:
        console.print(f"\nthe confusion matrix of {len(judgement.labels):,} labels is too wide to print")
    elif judgement.confusion is not None:
        table = Table("true \\ chosen", box=None, header_style="bold", pad_edge=False)
        for label in judgement.labels:
            table.add_column(escape(label), justify="right")
        for label, row in zip(judgement.labels, judgement.confusion.tolist(), strict=True):
            table.add_row(escape(label), *(f"{count:,}" for count in row))
        console.print()
        console.print(table)
    if judgement.mistakes:
        console.print("\nthe most confident mistakes", style="bold")
    for mistake in judgement.mistakes:
        text = " ".join(mistake.text.split())
        shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
        said = f"{mistake.place}: {mistake.label!r} taken for {mistake.chosen!r} ({mistake.probability:.4f})"
        console.print(f"{said}\n  {shown}", markup=False, soft_wrap=True)

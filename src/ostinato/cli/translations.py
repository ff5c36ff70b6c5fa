"""What a translator makes of texts, and what an evaluation of it found, on standard output."""

from __future__ import annotations

import json
import math
import sys
import textwrap
from pathlib import Path
from typing import Any

from ostinato.errors import ConfigError


class Translations:
    """Prints the translation of every text, counts what was odd, and tells it at the end.

    Args:
        trained: the run of a translator.
        search: `beam`, if it is not the usual one.
        as_json: whether a text gets a JSON object.
        attention: whether to show where the decoder looked.
        image: where to draw that, of a single text.
    """

    def __init__(
        self, trained: Any, search: dict[str, Any], *, as_json: bool, attention: bool, image: Path | None
    ):
        self._trained, self._search = trained, search
        self._as_json, self._attention, self._image = as_json, attention, image
        self._several = "beam" in search and search["beam"].n_best > 1
        self._empty = self._cut = self._unknown = self._said = 0

    def say(self, texts: list[str]) -> None:
        """Prints the translation of each text."""
        for text, translation in zip(texts, self._trained.predictions(texts, **self._search), strict=True):
            self._empty, self._cut = self._empty + translation.empty, self._cut + translation.cut
            self._unknown += translation.unknown
            alignment = self._alignment(text, translation)
            if self._as_json:
                print(_object(translation, alignment if self._attention else None))
            else:
                self._print(translation, alignment)
            self._said += 1

    def end(self) -> None:
        """Tells what was odd on standard error."""
        config = self._trained.task.config
        for count, what in (
            (self._cut, f"longer than {config.max_tokens:,} tokens; only the beginning was translated"),
            (self._empty, "empty, and so is what became of it"),
            (self._unknown, "without a token that the model knows, and repeated as it is"),
        ):
            if count:
                print(
                    f"{count:,} of the texts {'was' if count == 1 else 'were each'} {what}", file=sys.stderr
                )

    def _alignment(self, text: str, translation: Any) -> Any:
        """Where the decoder looked, perhaps drawn; None where nobody asks, or nothing was translated."""
        if not self._attention and self._image is None:
            return None
        if translation.empty or translation.unknown:
            if self._image is not None:
                raise ConfigError("no token of the text is known to the model, so there is nothing to draw")
            return None
        alignment = self._trained.align(text, translation.text)
        if self._image is not None:
            from ostinato.files.atomic import writing
            from ostinato.tasks.translator.pictures import draw_alignment

            with writing(self._image):
                complete = draw_alignment(alignment, self._image)
            if not complete:
                print(
                    f"no font here has all characters of {self._image}; install one that has, such as Noto "
                    "Sans CJK, or read --attention, which prints them",
                    file=sys.stderr,
                )
        return alignment

    def _print(self, translation: Any, alignment: Any) -> None:
        if not self._several:
            print(_one_line(translation.text))
        else:
            if self._said:
                print()
            found = [(each.score, each.text) for each in translation.candidates]
            for score, text in found or [(translation.score, translation.text)]:
                print(f"{score:.4f}\t{_one_line(text)}")
        if self._attention and alignment is not None:
            from ostinato.tasks.translator.pictures import alignment_text

            print(textwrap.indent(alignment_text(alignment), "  "))


def _object(translation: Any, alignment: Any) -> str:
    answer = {
        "text": translation.text,
        # JSON has no NaN: the score is null where nothing was translated.
        "score": None if math.isnan(translation.score) else translation.score,
        "candidates": [{"text": each.text, "score": each.score} for each in translation.candidates],
        "tokens": translation.tokens,
        "cut": translation.cut,
        "empty": translation.empty,
        "unknown": translation.unknown,
    }
    if alignment is not None:
        answer["alignment"] = {
            "source": alignment.source,
            "target": alignment.target,
            "weights": alignment.weights.tolist(),
        }
    return json.dumps(answer, ensure_ascii=False)


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def show(judgement: Any) -> None:
    """What the figures rest on, BLEU by the length of the source, and samples."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for name, signature in judgement.signatures.items():
        console.print(f"  {f'{name} signature':<20}{signature}", markup=False, soft_wrap=True)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in (f"{judgement.length_unit} of the source", "sentences", "BLEU"):
        table.add_column(heading, justify="right")
    for some in judgement.lengths:
        span = f"{some.shortest:,}–{some.longest:,}" if some.longest > some.shortest else f"{some.longest:,}"
        table.add_row(span, f"{some.sentences:,}", f"{some.bleu:.2f}")
    console.print()
    console.print(table)
    for sample in judgement.samples:
        console.print()
        for name, text in vars(sample).items():
            console.print(f"{name:<13}{_one_line(text)}", markup=False, soft_wrap=True)

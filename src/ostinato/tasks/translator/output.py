"""The command line of a translator: its flags, and how it prints translations and evaluations."""

from __future__ import annotations

import json
import math
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ostinato.data.examples.sentences import sentences_from_json
from ostinato.decoding.choices import Beam
from ostinato.errors import ConfigError
from ostinato.files.atomic import check_place, writing
from ostinato.tasks.base import Printer, RunFacts
from ostinato.tasks.config import Flag
from ostinato.tasks.translator.data import penalties_of
from ostinato.wording import print_table

if TYPE_CHECKING:
    from ostinato.tasks.translator.answers import Answers
    from ostinato.tasks.translator.evaluation import Evaluation
    from ostinato.tasks.translator.translations import Alignment, Translation

_TRANSLATORS = Flag("Translators")
_USUAL = Beam()

BeamSize = Annotated[int, _TRANSLATORS, "Beam size: hypotheses kept at every step; 1 is greedy search."]
LengthPenalty = Annotated[
    float | None,
    _TRANSLATORS,
    "Values above 0 favour longer translations (Wu et al. 2016). By default the value that training found "
    "best on the validation part.",
]
CoveragePenalty = Annotated[
    float | None,
    _TRANSLATORS,
    "Values above 0 favour translations that attend to the whole source (Wu et al. 2016). By default the "
    "value that training found best.",
]
NoRepeat = Annotated[
    int, _TRANSLATORS, "No sequence of so many tokens occurs twice in a translation; 0 allows repeats."
]


def predict(
    facts: RunFacts,
    *,
    texts: Sequence[str] | None = None,
    as_json: bool = False,
    beam: BeamSize = _USUAL.size,
    n_best: Annotated[
        int, _TRANSLATORS, "Print the n best translations of each text, with their scores."
    ] = _USUAL.n_best,
    length_penalty: LengthPenalty = None,
    coverage_penalty: CoveragePenalty = None,
    no_repeat: NoRepeat = _USUAL.no_repeat,
    attention: Annotated[
        bool, _TRANSLATORS, "Show which source tokens the network attended to for each target token."
    ] = False,
    attention_image: Annotated[
        Path | None, _TRANSLATORS, "Draw the attention of a single text into this PNG file."
    ] = None,
) -> Callable[[Answers], Printer]:
    """Checks the options of the search, and returns what prints the translations.

    Raises:
        ConfigError: for a value out of range, or attention that there is not.
    """
    check_place("--attention-image", attention_image)
    if attention_image is not None and (texts is None or len(texts) != 1):
        raise ConfigError("--attention-image draws one text; give a single one")
    penalties = _penalties(facts, length_penalty, coverage_penalty)
    search = _checked(facts, Beam(beam, *penalties, no_repeat, n_best))
    if (attention or attention_image is not None) and facts.config.attention == "none":
        raise ConfigError(f"{facts.path} was trained without attention; there is none to show")
    return lambda answers: TranslationPrinter(
        answers, facts.config.max_tokens, search, as_json=as_json, attention=attention, image=attention_image
    )


def evaluate(
    facts: RunFacts,
    *,
    beam: BeamSize = _USUAL.size,
    length_penalty: LengthPenalty = None,
    coverage_penalty: CoveragePenalty = None,
    no_repeat: NoRepeat = _USUAL.no_repeat,
) -> tuple[dict[str, object], Callable[[Evaluation], None]]:
    """Checks the options of the search; returns them, and what prints the details. Raises ConfigError."""
    search = _checked(facts, Beam(beam, *_penalties(facts, length_penalty, coverage_penalty), no_repeat))
    return {"beam": search}, show_evaluation


def _penalties(facts: RunFacts, length: float | None, coverage: float | None) -> tuple[float, float]:
    """The given penalties; in place of those that are not, what the run chose."""
    chosen = penalties_of(facts.vocabulary) or (_USUAL.length_penalty, _USUAL.coverage_penalty)
    return chosen[0] if length is None else length, chosen[1] if coverage is None else coverage


def _checked(facts: RunFacts, beam: Beam) -> Beam:
    return beam.checked(sentences_from_json(facts.vocabulary.get("target", {})).size)


class TranslationPrinter:
    """Prints the translation of every text, and at the end how many were cut, empty or unknown.

    Args:
        answers: the answers of a trained translator.
        max_tokens: the largest number of tokens that is translated.
        beam: the options of the search.
        as_json: whether to print a JSON object for each text.
        attention: whether to show the attention.
        image: the file to draw the attention of a single text into.
    """

    def __init__(
        self,
        answers: Answers,
        max_tokens: int,
        beam: Beam,
        *,
        as_json: bool,
        attention: bool,
        image: Path | None,
    ):
        self._answers, self._max_tokens, self._beam = answers, max_tokens, beam
        self._as_json, self._attention, self._image = as_json, attention, image
        self._empty = self._cut = self._unknown = self._said = 0

    def say(self, texts: list[str]) -> None:
        """Prints the translation of each text."""
        for text, translation in zip(texts, self._answers.predictions(texts, beam=self._beam), strict=True):
            self._empty, self._cut = self._empty + translation.empty, self._cut + translation.cut
            self._unknown += translation.unknown
            alignment = self._alignment(text, translation)
            if self._as_json:
                print(_object(translation, alignment if self._attention else None))
            else:
                self._print(translation, alignment)
            self._said += 1

    def cells(self, texts: list[str]) -> list[dict[str, object]]:
        """The translation of each text, and its score; empty where nothing was translated.

        Raises:
            ConfigError: when several translations or the attention are asked for.
        """
        if self._beam.n_best > 1 or self._attention:
            raise ConfigError("--n-best and --attention need lines of text; leave them out, or add --json")
        found = []
        for translation in self._answers.predictions(texts, beam=self._beam):
            self._empty, self._cut = self._empty + translation.empty, self._cut + translation.cut
            self._unknown += translation.unknown
            score = "" if math.isnan(translation.score) else f"{translation.score:.4f}"
            found.append({"prediction": translation.text, "score": score})
        return found

    def end(self) -> None:
        """Prints how many texts were cut, empty or unknown, on standard error."""
        for count, what in (
            (self._cut, f"longer than {self._max_tokens:,} tokens; only the beginning was translated"),
            (self._empty, "empty, and so is what became of it"),
            (self._unknown, "without a token that the model knows, and repeated as it is"),
        ):
            if count:
                print(
                    f"{count:,} of the texts {'was' if count == 1 else 'were each'} {what}", file=sys.stderr
                )

    def _alignment(self, text: str, translation: Translation) -> Alignment | None:
        """The attention, also drawn if asked for; None if it is not needed or nothing was translated."""
        if not self._attention and self._image is None:
            return None
        if translation.empty or translation.unknown:
            if self._image is not None:
                raise ConfigError("no token of the text is known to the model, so there is nothing to draw")
            return None
        alignment = self._answers.align(text, translation.text)
        if self._image is not None:
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

    def _print(self, translation: Translation, alignment: Alignment | None) -> None:
        if self._beam.n_best == 1:
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


def _object(translation: Translation, alignment: Alignment | None) -> str:
    answer: dict[str, object] = {
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


def show_evaluation(evaluation: Evaluation) -> None:
    """Prints the signatures, BLEU by the length of the source, and samples."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for name, signature in evaluation.signatures.items():
        console.print(f"  {f'{name} signature':<20}{signature}", markup=False, soft_wrap=True)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in (f"{evaluation.length_unit} of the source", "sentences", "BLEU"):
        table.add_column(heading, justify="right")
    for some in evaluation.lengths:
        span = f"{some.shortest:,}–{some.longest:,}" if some.longest > some.shortest else f"{some.longest:,}"
        table.add_row(span, f"{some.sentences:,}", f"{some.bleu:.2f}")
    console.print()
    print_table(table, console)
    for sample in evaluation.samples:
        console.print()
        for name, text in vars(sample).items():
            console.print(f"{name:<13}{_one_line(text)}", markup=False, soft_wrap=True)

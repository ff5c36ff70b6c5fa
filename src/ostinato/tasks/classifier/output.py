"""What the command line asks of a classifier, and how it prints predictions, attributions and evaluations."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from ostinato.data.encoders.registry import encoder_from_json
from ostinato.errors import ConfigError, ConfigWarning, warn
from ostinato.files.atomic import check_place, replace
from ostinato.tasks.base import Printer, RunFacts
from ostinato.tasks.classifier import attribution_text
from ostinato.tasks.classifier.neighbors import token_of
from ostinato.tasks.classifier.vocabulary import ClassifierVocabulary
from ostinato.tasks.config import Flag
from ostinato.wording import print_table

if TYPE_CHECKING:
    from rich.table import Table

    from ostinato.tasks.classifier.answers import Answers
    from ostinato.tasks.classifier.attribution import Attribution
    from ostinato.tasks.classifier.config import ClassifierConfig
    from ostinato.tasks.classifier.evaluation import Evaluation
    from ostinato.tasks.classifier.predictions import Prediction

_TABULATED = 20
"""Labels up to which the confusion matrix is printed; the picture has them all."""
_SHOWN = 200
"""Characters of a text that is shown."""
NONE = "(none)"
"""How a text without any of several labels is printed."""
_CLASSIFIERS = Flag("Classifiers")


def predict(
    facts: RunFacts,
    *,
    texts: Sequence[str] | None = None,
    as_json: bool = False,
    attribute: Annotated[
        bool, _CLASSIFIERS, "Show how much each word contributed to the prediction."
    ] = False,
    html: Annotated[Path | None, _CLASSIFIERS, "Write the contributions of the words to a web page."] = None,
    explain: Annotated[bool, Flag("Classifiers", hidden=True), "The older name of --attribute."] = False,
) -> Callable[[Answers], Printer]:
    """Checks where the web page goes, and returns what prints predictions. Raises ConfigError."""
    check_place("--html", html)
    if explain:
        warn("--explain is now called --attribute", ConfigWarning)
        attribute = True
    return lambda answers: PredictionPrinter(
        answers, facts, as_json=as_json, attribute=attribute or html is not None, html=html
    )


class PredictionPrinter:
    """Prints a line for every text, and at the end how many were cut or empty.

    Args:
        answers: the answers of a trained classifier.
        facts: the facts of its run.
        as_json: whether a line is a JSON object.
        attribute: whether to show the contributions of the words.
        html: the file of a web page with the contributions.
    """

    def __init__(
        self, answers: Answers, facts: RunFacts, *, as_json: bool, attribute: bool, html: Path | None
    ):
        self._answers, self._facts = answers, facts
        self._as_json, self._attribute, self._html = as_json, attribute, html
        self._empty = self._cut = self._gaps = 0
        self._kept: list[Attribution] = []

    def say(self, texts: list[str]) -> None:
        """Prints what each text is."""
        for prediction, attribution in self._answered(texts):
            self._empty, self._cut = self._empty + prediction.empty, self._cut + prediction.cut
            print(self._line(prediction, attribution), flush=self._attribute)
            if attribution is None:
                continue
            if not self._as_json:
                attribution_text.show(attribution)
            self._gaps += not attribution.adds_up
            if self._html is not None:
                self._kept.append(attribution)

    def cells(self, texts: list[str]) -> list[dict[str, object]]:
        """The label and its probability for each text.

        Raises:
            ConfigError: when contributions are asked for.
        """
        if self._attribute:
            raise ConfigError("--attribute and --html need lines of text; leave them out, or add --json")
        found = []
        for prediction in self._answers.predictions(texts):
            self._empty, self._cut = self._empty + prediction.empty, self._cut + prediction.cut
            found.append({"prediction": prediction.label, "probability": f"{prediction.probability:.4f}"})
        return found

    def end(self) -> None:
        """Writes the web page, and tells what was odd on standard error."""
        if self._html is not None:
            from ostinato.tasks.classifier.attribution_page import page

            title = f"What {self._facts.path} decided, and why"
            replace(self._html, page(self._kept, title).encode())
        if self._cut:
            tokens = self._facts.vocabulary["max_tokens"]
            print(f"{self._cut:,} of the texts were cut to {tokens:,} tokens", file=sys.stderr)
        if self._empty:
            print(
                f"{self._empty:,} of the texts had nothing in them to read; they got the shares of the "
                "training texts",
                file=sys.stderr,
            )
        if self._gaps:
            print(
                f"{self._gaps:,} of the attributions do not add up: on the way to the text the score leaps, "
                "and no gradient tells which words make it",
                file=sys.stderr,
            )

    def _answered(self, texts: list[str]) -> Iterator[tuple[Prediction, Attribution | None]]:
        """A prediction of each text and, if asked for, its attribution."""
        if self._attribute:
            return ((each.prediction, each) for each in self._answers.attributions(texts))
        return ((prediction, None) for prediction in self._answers.predictions(texts))

    def _line(self, prediction: Prediction, attribution: Attribution | None) -> str:
        if not self._as_json:
            return f"{prediction.label or NONE}\t{prediction.probability:.4f}"
        answer: dict[str, object] = {
            "label": prediction.label,
            "labels": prediction.labels,
            "probability": prediction.probability,
            "probabilities": prediction.probabilities,
            "tokens": prediction.tokens,
            "cut": prediction.cut,
            "empty": prediction.empty,
        }
        if attribution is not None:
            answer["contributions"] = attribution.contributions
        return json.dumps(answer, ensure_ascii=False)


def neighbors(
    facts: RunFacts,
    word: Annotated[str, "A word of the run's vocabulary."],
    *,
    count: Annotated[int, Flag("Words"), "How many words to show at either end."] = 10,
    as_json: bool = False,
) -> Callable[[Answers], None]:
    """Checks that the vocabulary has a word, and returns what prints its neighbors.

    Raises:
        EncodingError: it has not.
    """
    token_of(encoder_from_json(facts.vocabulary.get("encoder", {})), word)

    def show(answers: Answers) -> None:
        nearest, farthest = answers.neighbors(word, count)
        if as_json:
            found = {"word": word, "nearest": nearest, "farthest": farthest}
            print(json.dumps(found, ensure_ascii=False))
            return
        width = max(len(name) for name, _ in nearest + farthest)
        for heading, found in ((f"nearest to {word}", nearest), (f"farthest from {word}", farthest)):
            print(heading)
            for name, cosine in found:
                print(f"  {name:<{width}}  {cosine:+.3f}")

    return show


def info(facts: RunFacts) -> dict[str, object]:
    """The labels of a run and, if a text may have several, the threshold of each. Raises RunError."""
    config = cast("ClassifierConfig", facts.config)
    labels = ClassifierVocabulary.from_json(config, facts.vocabulary).labels
    found: dict[str, object] = {"labels": list(labels.names)}
    if labels.thresholds:
        found["thresholds"] = dict(zip(labels.names, labels.thresholds, strict=True))
    return found


def evaluate(
    facts: RunFacts,
    *,
    baseline: Annotated[
        bool,
        Flag("Classifiers", names=("--baseline/--no-baseline",)),
        "Where scikit-learn is installed, measure TF-IDF with logistic regression on the same texts, too.",
    ] = True,
) -> tuple[dict[str, object], Callable[[Evaluation], None]]:
    """The options, and what prints the confusion matrix and the mistakes."""
    return {"baseline": baseline}, show_evaluation


def _of_labels(evaluation: Evaluation) -> Table:
    """A table with a row for each label."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("label", box=None, header_style="bold", pad_edge=False)
    columns = ("precision", "recall", "f1", "support", "threshold")
    for name in columns:
        table.add_column({"f1": "F1"}.get(name, name), justify="right")
    for label, figures in evaluation.details["labels"].items():
        cells = (figures[name] for name in columns)
        table.add_row(escape(label), *("–" if value is None else f"{value:.4g}" for value in cells))
    return table


def show_evaluation(evaluation: Evaluation) -> None:
    """The confusion matrix or, if a text may have several labels, the figures of each; and mistakes."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    if evaluation.confusion is not None and len(evaluation.labels) > _TABULATED:
        console.print(f"\nthe confusion matrix of {len(evaluation.labels):,} labels is too wide to print")
    elif evaluation.confusion is not None:
        table = Table("true \\ chosen", box=None, header_style="bold", pad_edge=False)
        for label in evaluation.labels:
            table.add_column(escape(label), justify="right")
        for label, row in zip(evaluation.labels, evaluation.confusion.tolist(), strict=True):
            table.add_row(escape(label), *(f"{count:,}" for count in row))
        console.print()
        print_table(table, console)
    if evaluation.thresholds:
        console.print()
        print_table(_of_labels(evaluation), console)
    if evaluation.mistakes:
        console.print("\nthe most confident mistakes", style="bold")
    for mistake in evaluation.mistakes:
        text = " ".join(mistake.text.split())
        shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
        label, chosen = (repr(each) if each else NONE for each in (mistake.label, mistake.chosen))
        said = f"{mistake.place}: {label} taken for {chosen} ({mistake.probability:.4f})"
        console.print(f"{said}\n  {shown}", markup=False, soft_wrap=True)

"""ostinato predict"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ostinato.cli import options
from ostinato.cli.quiet import import_tensorflow


def predict(
    run: Annotated[Path, typer.Argument(help="The run directory, for example runs/classify-001.")],
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT…", help="Texts; - reads standard input, one text a line."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Read texts from a file, one a line.")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="Use the `best` or the `last` checkpoint.")] = "best",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a text.")] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Show how each word moved the decision.", rich_help_panel="Classifiers"
        ),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the explanations as a web page, too.", rich_help_panel="Classifiers"
        ),
    ] = None,
    beam: options.BeamSize = None,
    n_best: Annotated[
        int | None,
        typer.Option(
            help="Print the n best translations of each text, with their scores.",
            show_default="1",
            rich_help_panel=options.TRANSLATORS,
        ),
    ] = None,
    length_penalty: options.LengthPenalty = None,
    coverage_penalty: options.CoveragePenalty = None,
    no_repeat: options.NoRepeat = None,
    attention: Annotated[
        bool,
        typer.Option(
            "--attention",
            help="Show where the network looked while it wrote each token.",
            rich_help_panel=options.TRANSLATORS,
        ),
    ] = False,
    attention_image: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png", help="Draw that, of a single text.", rich_help_panel=options.TRANSLATORS
        ),
    ] = None,
) -> None:
    """Says what texts are, or translates them: a line for each as soon as it is known.

    A classifier prints the label and its probability. With --explain the text follows, with what each word
    contributed to the score of the label: in colours (green for it, red against it) on a terminal, else as
    numbers. A translator prints the translation; with --n-best several, each after its score.

    Example: ostinato predict runs/classify-001 "This film is a joy from start to end."

    Example: ostinato predict runs/classify-001 --file reviews.txt --html reviews.html

    Example: ostinato predict runs/translate-001 "Where is the station?" --n-best 3

    Example: tail -f support.log | ostinato predict runs/classify-001 - --json
    """
    flags, texts = dict(locals()), texts or []
    given = bool(file) + ("-" in texts) + bool(set(texts) - {"-"})
    if given != 1 or texts.count("-") > 1:
        raise typer.BadParameter(
            "give texts, or - for standard input, or --file FILE"
            + ("; only one of them" if given else "; there is nothing to predict")
        )
    _check_file("--html", html)
    _check_file("--attention-image", attention_image)
    if attention_image is not None and (len(texts) != 1 or texts == ["-"]):
        raise typer.BadParameter("--attention-image draws one text; give a single one")
    import_tensorflow()
    from ostinato.cli.lines import waiting_lines
    from ostinato.errors import SourceError
    from ostinato.runs.trained import load

    teller = _teller(load(run, checkpoint=checkpoint), flags)
    if file is not None:
        try:
            with open(file, "rb") as stream:
                _say_all(teller, waiting_lines(stream, str(file)))
        except OSError as error:
            raise SourceError(f"cannot read {file} ({error.strerror or error})") from None
    elif texts == ["-"]:
        _say_all(teller, waiting_lines(sys.stdin.buffer, "standard input"))
    else:
        _say_all(teller, [texts])


def _check_file(flag: str, path: Path | None) -> None:
    if path is not None and (os.path.isdir(path) or not os.path.isdir(path.parent)):
        raise typer.BadParameter(f"{flag} {path}: expected a file in a folder that exists")


def _teller(trained: Any, flags: dict[str, Any]) -> Any:
    """What prints the answers of a run's task; refuses runs of other tasks, and what the task does not do.

    Raises:
        ConfigError: naming the task.
    """
    from ostinato.cli.labels import Labels
    from ostinato.cli.settings import search
    from ostinato.cli.translations import Translations
    from ostinato.errors import ConfigError

    explain = flags["explain"] or flags["html"] is not None
    if explain:
        trained.explanations([])
    trained.predictions([])
    searched = search(flags, trained.directory)
    attention, image = flags["attention"], flags["attention_image"]
    if trained.task.name == "translator":
        return Translations(trained, searched, as_json=flags["as_json"], attention=attention, image=image)
    if attention or image is not None:
        raise ConfigError(
            f"{trained.directory.path} is a {trained.task.name} run, which has no attention to show; "
            "ostinato train translate trains one that does"
        )
    return Labels(trained, as_json=flags["as_json"], explain=explain, html=flags["html"])


def _say_all(teller: Any, groups: Iterable[list[str]]) -> None:
    for group in groups:
        teller.say(group)
        sys.stdout.flush()
    teller.end()

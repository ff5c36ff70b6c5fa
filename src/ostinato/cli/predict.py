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
from ostinato.decoding.choices import Beam


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
            show_default=f"{Beam().n_best}",
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
    from ostinato.cli.lines import waiting_lines
    from ostinato.cli.runs import open_for
    from ostinato.errors import SourceError

    explains = explain or html is not None
    opened = open_for("explain" if explains else "predictions", run, checkpoint)
    searched = _check(opened, flags)
    if file is not None:
        try:
            with open(file, "rb") as stream:
                import_tensorflow()
                teller = _teller(opened.loaded(), flags, searched)
                _say_all(teller, waiting_lines(stream, str(file)))
        except OSError as error:
            raise SourceError(f"cannot read {file} ({error.strerror or error})") from None
        return
    import_tensorflow()
    teller = _teller(opened.loaded(), flags, searched)
    if texts == ["-"]:
        _say_all(teller, waiting_lines(sys.stdin.buffer, "standard input"))
    else:
        _say_all(teller, [texts])


def _check_file(flag: str, path: Path | None) -> None:
    if path is not None and (os.path.isdir(path) or not os.path.isdir(path.parent)):
        raise typer.BadParameter(f"{flag} {path}: expected a file in a folder that exists")


def _check(opened: Any, flags: dict[str, Any]) -> dict[str, Any]:
    """Refuses what the run's task does not do; returns how a translator shall search, as `search` does.

    Raises:
        ConfigError: naming the task, or the setting that is out of range.
    """
    from ostinato.cli.runs import target_sentences
    from ostinato.cli.settings import search
    from ostinato.errors import ConfigError

    directory = opened.directory
    searched = search(flags, directory)
    if beam := searched.get("beam"):
        beam.checked(target_sentences(directory).size)
    if flags["attention"] or flags["attention_image"] is not None:
        if directory.task != "translator":
            raise ConfigError(
                f"{directory.path} is a {directory.task} run, which has no attention to show; "
                "ostinato train translate trains one that does"
            )
        if opened.config.attention == "none":
            raise ConfigError(f"{directory.path} was trained without attention; there is none to show")
    return searched


def _teller(trained: Any, flags: dict[str, Any], searched: dict[str, Any]) -> Any:
    """What prints the answers of a run's task."""
    from ostinato.cli.labels import Labels
    from ostinato.cli.translations import Translations

    as_json, html = flags["as_json"], flags["html"]
    if trained.task.name == "translator":
        attention, image = flags["attention"], flags["attention_image"]
        return Translations(trained, searched, as_json=as_json, attention=attention, image=image)
    return Labels(trained, as_json=as_json, explain=flags["explain"] or html is not None, html=html)


def _say_all(teller: Any, groups: Iterable[list[str]]) -> None:
    for group in groups:
        teller.say(group)
        sys.stdout.flush()
    teller.end()

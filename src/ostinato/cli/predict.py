"""ostinato predict"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from ostinato.cli.quiet import import_tensorflow

_TOGETHER = 1024
_FOR, _AGAINST = (64, 192, 96), (240, 96, 88)
"""The colours, red, green and blue, of words that speak for a label and against it."""
_FAINT = 0.05
"""Words that contribute less than this part of the greatest contribution have no colour."""


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
    explain: Annotated[
        bool, typer.Option("--explain", help="Show how each word moved the decision.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the explanations as a web page, too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a text.")] = False,
) -> None:
    """Says what texts are: a line for each, with the label and its probability, as soon as it is known.

    With --explain the text follows, with what each word contributed to the score of the label: in colours
    (green for it, red against it) on a terminal, else as numbers.

    Example: ostinato predict runs/classify-001 "This film is a joy from start to end."

    Example: ostinato predict runs/classify-001 --file reviews.txt --html reviews.html

    Example: tail -f support.log | ostinato predict runs/classify-001 - --json
    """
    texts = texts or []
    given = bool(file) + ("-" in texts) + bool(set(texts) - {"-"})
    if given != 1 or texts.count("-") > 1:
        raise typer.BadParameter(
            "give texts, or - for standard input, or --file FILE"
            + ("; only one of them" if given else "; there is nothing to predict")
        )
    if html is not None and (os.path.isdir(html) or not os.path.isdir(html.parent)):
        raise typer.BadParameter(f"--html {html}: expected a file in a folder that exists")
    import_tensorflow()
    from ostinato.errors import SourceError
    from ostinato.runs.trained import load

    trained = load(run, checkpoint=checkpoint)
    explain = explain or html is not None
    _answers(trained, [], explain)  # says so at once when the run is of another task
    say = partial(_say_all, trained, as_json=as_json, explain=explain, html=html)
    if file is not None:
        try:
            with open(file, "rb") as stream:
                say(_waiting_lines(stream, str(file)))
        except OSError as error:
            raise SourceError(f"cannot read {file} ({error.strerror or error})") from None
    elif texts == ["-"]:
        say(_waiting_lines(sys.stdin.buffer, "standard input"))
    else:
        say([texts])


def _say_all(
    trained: Any, groups: Iterable[list[str]], *, as_json: bool, explain: bool, html: Path | None
) -> None:
    empty = cut = gaps = 0
    kept: list[Any] = []
    for group in groups:
        for prediction, explanation in _answers(trained, group, explain):
            empty, cut = empty + prediction.empty, cut + prediction.cut
            print(_line(prediction, explanation, as_json), flush=explain)
            if explanation is not None and not as_json:
                _show(explanation)
            gaps += explanation is not None and not explanation.adds_up
            if html is not None:
                kept.append(explanation)
        sys.stdout.flush()
    if html is not None:
        _write_page(html, kept, f"What {trained.directory.path} decided, and why")
    if cut:
        print(f"{cut:,} of the texts were cut to {trained.task.max_tokens:,} tokens", file=sys.stderr)
    if empty:
        print(
            f"{empty:,} of the texts had nothing in them to read; they got the shares of the training texts",
            file=sys.stderr,
        )
    if gaps:
        print(
            f"{gaps:,} of the explanations do not add up: on the way to the text the score leaps, and no "
            "gradient tells which words make it",
            file=sys.stderr,
        )


def _answers(trained: Any, group: list[str], explain: bool) -> Iterator[tuple[Any, Any]]:
    """A prediction of each text and, if asked for, its explanation, else None."""
    if explain:
        return ((explanation.prediction, explanation) for explanation in trained.explanations(group))
    return ((prediction, None) for prediction in trained.predictions(group))


def _line(prediction: Any, explanation: Any, as_json: bool) -> str:
    if not as_json:
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


def _show(explanation: Any) -> None:
    """The words of a text in colours, or with their contributions in brackets where there are none."""
    from rich.console import Console
    from rich.text import Text

    from ostinato.data.encoder import printable

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


def _write_page(path: Path, explanations: list[Any], title: str) -> None:
    """Writes the web page; a kill at any instant leaves what was there, or all of it."""
    from ostinato.runs.files import write_synced, writing
    from ostinato.tasks.classifier.explanation import page

    partial_path = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with writing(path):
            write_synced(partial_path, page(explanations, title).encode())
            os.replace(partial_path, path)
    finally:
        with suppress(OSError):
            partial_path.unlink(missing_ok=True)


def _waiting_lines(stream: IO[bytes], name: str) -> Iterator[list[str]]:
    """The lines of a stream in groups: all that wait to be read, so that a slow stream is answered at once.

    Raises:
        SourceError: a line is not UTF-8, or has a NUL byte.
    """
    from ostinato.errors import SourceError

    waiting: queue.Queue[Any] = queue.Queue(8 * _TOGETHER)
    ended = threading.Event()

    def put(item: Any) -> None:
        while not ended.is_set():
            try:
                return waiting.put(item, timeout=0.1)
            except queue.Full:
                continue

    def read() -> None:
        try:
            for number, line in enumerate(stream, 1):
                put(_decoded(line, number, name))
                if ended.is_set():
                    return
            put(None)
        except (SourceError, OSError) as error:
            put(error)

    threading.Thread(target=read, daemon=True).start()
    try:
        end: Any = ()
        while end == ():
            group: list[str] = []
            item = waiting.get()
            while isinstance(item, str):
                group.append(item)
                if len(group) == _TOGETHER:
                    break
                try:
                    item = waiting.get_nowait()
                except queue.Empty:
                    break
            if not isinstance(item, str):
                end = item
            if group:
                yield group
        if end is not None:
            raise end
    finally:
        ended.set()


def _decoded(line: bytes, number: int, name: str) -> str:
    from ostinato.errors import SourceError

    try:
        text = line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise SourceError(
            f"{name}, line {number} is not UTF-8: byte 0x{byte:02x} at offset {error.start}; "
            "convert it to UTF-8"
        ) from None
    if "\0" in text:
        raise SourceError(f"{name}, line {number} holds a NUL byte, which no text does; remove it")
    return text

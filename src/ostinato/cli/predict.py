"""ostinato predict"""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from ostinato.cli.quiet import import_tensorflow

_TOGETHER = 1024


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
) -> None:
    """Says what texts are: a line for each, with the label and its probability, as soon as it is known.

    Example: ostinato predict runs/classify-001 "This film is a joy from start to end."

    Example: tail -f support.log | ostinato predict runs/classify-001 - --json
    """
    texts = texts or []
    given = bool(file) + ("-" in texts) + bool(set(texts) - {"-"})
    if given != 1 or texts.count("-") > 1:
        raise typer.BadParameter(
            "give texts, or - for standard input, or --file FILE"
            + ("; only one of them" if given else "; there is nothing to predict")
        )
    import_tensorflow()
    from ostinato.errors import SourceError
    from ostinato.runs.trained import load

    trained = load(run, checkpoint=checkpoint)
    trained.predictions([])  # says so at once when the run is of another task
    if file is not None:
        try:
            with open(file, "rb") as stream:
                _say_all(trained, _waiting_lines(stream, str(file)), as_json)
        except OSError as error:
            raise SourceError(f"cannot read {file} ({error.strerror or error})") from None
    elif texts == ["-"]:
        _say_all(trained, _waiting_lines(sys.stdin.buffer, "standard input"), as_json)
    else:
        _say_all(trained, [texts], as_json)


def _say_all(trained: Any, groups: Iterable[list[str]], as_json: bool) -> None:
    empty = cut = 0
    for group in groups:
        for prediction in trained.predictions(group):
            empty, cut = empty + prediction.empty, cut + prediction.cut
            print(_line(prediction, as_json))
        sys.stdout.flush()
    if cut:
        print(f"{cut:,} of the texts were cut to {trained.task.max_tokens:,} tokens", file=sys.stderr)
    if empty:
        print(
            f"{empty:,} of the texts had nothing in them to read; they got the shares of the training texts",
            file=sys.stderr,
        )


def _line(prediction: Any, as_json: bool) -> str:
    if as_json:
        return json.dumps(
            {
                "label": prediction.label,
                "probability": prediction.probability,
                "probabilities": prediction.probabilities,
                "tokens": prediction.tokens,
                "cut": prediction.cut,
                "empty": prediction.empty,
            },
            ensure_ascii=False,
        )
    return f"{prediction.label}\t{prediction.probability:.4f}"


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

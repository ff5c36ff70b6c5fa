"""ostinato neighbors"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ostinato.cli.quiet import import_tensorflow


def neighbors(
    run: Annotated[Path, typer.Argument(help="The run directory, for example runs/classify-001.")],
    word: Annotated[str, typer.Argument(help="A word of the run's vocabulary.")],
    count: Annotated[int, typer.Option(min=1, help="How many words to show at either end.")] = 10,
    checkpoint: Annotated[str, typer.Option(help="Use the `best` or the `last` checkpoint.")] = "best",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Shows the nearest and farthest words of a word in a classifier's embedding, by cosine.

    Example: ostinato neighbors runs/classify-001 great
    """
    from ostinato.cli.runs import encoder_of, open_for
    from ostinato.tasks.classifier.neighbors import token_of

    opened = open_for("neighbors", run, checkpoint)
    token_of(encoder_of(opened.directory), word)
    import_tensorflow()
    nearest, farthest = opened.loaded().neighbors(word, count)
    if as_json:
        print(json.dumps({"word": word, "nearest": nearest, "farthest": farthest}, ensure_ascii=False))
        return
    width = max(len(name) for name, _ in nearest + farthest)
    for heading, found in (("nearest", nearest), ("farthest", farthest)):
        print(f"{heading} to {word}" if heading == "nearest" else f"{heading} from {word}")
        for name, cosine in found:
            print(f"  {name:<{width}}  {cosine:+.3f}")

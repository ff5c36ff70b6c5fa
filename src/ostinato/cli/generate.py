"""ostinato generate"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ostinato.cli.quiet import import_tensorflow

DRAWING, SEARCHING = "Drawing", "Searching instead"
"""Panels of the help."""


def generate(
    run: Annotated[Path, typer.Argument(help="The run directory, for example runs/lm-001.")],
    prompt: Annotated[str, typer.Option(help="What the text begins with.")] = "",
    length: Annotated[int, typer.Option(help="How many tokens to write.")] = 400,
    count: Annotated[int, typer.Option(help="How many texts to write; a blank line parts them.")] = 1,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="Lower is safer, higher is wilder; 0 always takes the likeliest token.",
            show_default="0.8",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(help="Draw from the k likeliest tokens only.", rich_help_panel=DRAWING)
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            help="Draw from the likeliest tokens that together have this probability.",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    repetition_penalty: Annotated[
        float | None,
        typer.Option(
            help="Above 1, tokens already written become less likely.",
            show_default="1.0",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="The same seed writes the same text; without one, any.", rich_help_panel=DRAWING),
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(
            help="Search the likeliest text with a beam of so many; --count takes the best of them.",
            rich_help_panel=SEARCHING,
        ),
    ] = None,
    no_repeat: Annotated[
        int,
        typer.Option(
            help="With --beam, write no sequence of so many tokens twice.", rich_help_panel=SEARCHING
        ),
    ] = 0,
    checkpoint: Annotated[str, typer.Option(help="Use the `best` or the `last` checkpoint.")] = "best",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of the text.")
    ] = False,
) -> None:
    """Writes text with a trained language model, onto standard output as it is written.

    Example: ostinato generate runs/lm-001 --prompt "The " --temperature 0.6

    Example: ostinato generate runs/lm-001 --prompt "The " --length 80 --beam 8 --no-repeat 12
    """
    import_tensorflow()
    from ostinato.decoding.sampling import Sampling
    from ostinato.runs.trained import load

    options: dict[str, Any] = {
        "prompt": prompt,
        "length": length,
        "count": count,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "repetition_penalty": repetition_penalty,
        "seed": seed,
        "beam": beam,
        "no_repeat": no_repeat,
    }
    streams = not as_json and count == 1
    texts = load(run, checkpoint=checkpoint).generate(**options, on_text=_write if streams else None)
    if as_json:
        defaults = Sampling()._asdict() if beam is None else {}
        used = {name: defaults.get(name) if value is None else value for name, value in options.items()}
        print(json.dumps({"run": str(run), **used, "texts": texts}, ensure_ascii=False))
    elif streams:
        print()
    else:
        print("\n\n".join(texts))


def _write(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()

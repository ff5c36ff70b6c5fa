"""ostinato generate"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ostinato.cli.quiet import import_tensorflow
from ostinato.decoding.choices import Sampling

DRAWING, SEARCHING = "Drawing", "Searching instead"
"""Panels of the help."""


def generate(
    run: Annotated[Path, typer.Argument(help="The run directory, for example runs/lm-001.")],
    prompt: Annotated[str, typer.Option(help="What the text begins with.")] = "",
    length: Annotated[int, typer.Option(help="How many tokens to write.")] = 400,
    count: Annotated[int, typer.Option(help="How many texts to write, separated by blank lines.")] = 1,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="Lower is safer, higher is wilder; 0 always takes the likeliest token.",
            show_default=f"{Sampling().temperature:g}",
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
            show_default=f"{Sampling().repetition_penalty:g}",
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
    from ostinato.cli.runs import encoder_of, open_for
    from ostinato.tasks.language_model.writing import how_to_write

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
    opened = open_for("generate", run, checkpoint)
    encoder = encoder_of(opened.directory)
    how_to_write(encoder.size, **{name: value for name, value in options.items() if name != "prompt"})
    encoder.encode(prompt, strict=True)
    import_tensorflow()
    streams = not as_json and count == 1
    texts = opened.loaded().generate(**options, on_text=_write if streams else None)
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

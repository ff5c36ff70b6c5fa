"""ostinato export"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from ostinato.cli.quiet import import_tensorflow
from ostinato.cli.usage import Command, click_command


def command() -> Command:
    """What Click runs."""
    return click_command(export)


def export(
    source: Annotated[
        Path, typer.Argument(metavar="RUN_OR_FILE", help="A run's folder, or a file of a Keras model.")
    ],
    out: Annotated[
        Path,
        typer.Argument(
            help="Where to write: .onnx, .tflite, .h (C), .safetensors, .json (RTNeural), or a folder "
            "(SavedModel)."
        ),
    ],
    format: Annotated[
        str | None,
        typer.Option(help="The format, where the ending does not tell: for example safetensors-torch."),
    ] = None,
    states: Annotated[
        Literal["none", "inputs"], typer.Option(help="Make the recurrent layers' states inputs and outputs.")
    ] = "none",
    quantize: Annotated[
        Literal["int8", "int8-weights"] | None,
        typer.Option(help="Weights of eight bits: stored so, or computed with where ONNX Runtime can."),
    ] = None,
    target: Annotated[
        Literal["micro"] | None,
        typer.Option(help="A .tflite for microcontrollers; needs --batch and --time."),
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Fix the batch.")] = None,
    time: Annotated[int | None, typer.Option(help="Fix the number of steps.")] = None,
    opset: Annotated[int, typer.Option(help="The version of ONNX's operators.")] = 17,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Run the file in its own runtime, and compare.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Writes a trained network for ONNX, LiteRT, TensorFlow, C, or as weights alone, and checks the file.

    Example: ostinato export runs/lm-001 model.onnx
    """
    import_tensorflow()
    from ostinato.exports.export import export as write

    report = write(
        str(source),
        out,
        format=format,
        states=states,
        quantize=quantize,
        target=target,
        batch=batch,
        time=time,
        opset=opset,
        check=check,
    )
    print(json.dumps(report.to_json()) if as_json else report)

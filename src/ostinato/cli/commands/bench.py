"""ostinato bench"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ostinato import engines
from ostinato.cli.quiet import import_tensorflow
from ostinato.cli.usage import Command, click_command
from ostinato.interop.keras.model_files import check_model_path

if TYPE_CHECKING:
    from ostinato.acceleration.compare import Comparison


def command() -> Command:
    """What Click runs."""
    return click_command(bench)


def bench(
    model: Annotated[
        Path, typer.Argument(help="A model saved by Keras, .keras or .h5; it is read, never changed.")
    ],
    shapes: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="BATCH,TIME,…",
            help="Shape of the model's input, batch included, for example 32,100,8; once for each input.",
            show_default="the model's own, with batch 32 and 100 time steps if it leaves them open",
        ),
    ] = None,
    train: Annotated[
        bool,
        typer.Option("--train", help="Also measure training: the loss and its gradients for all weights."),
    ] = False,
    rounds: Annotated[
        int, typer.Option(min=1, help="How often to time each model; figures are medians.")
    ] = 7,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Also measure memory, in two more processes.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one flat JSON object.")] = False,
) -> None:
    """Measures how much faster your Keras model runs with ostinato, on this machine.

    The model runs twice on the same random inputs: as Keras runs it, and with its SimpleRNN, GRU and LSTM
    layers replaced by ostinato's. Printed are the time and memory of each, and the largest difference between
    their results. To use the faster model: [bold]model = ostinato.accelerate("model.keras")[/bold].

    Example: ostinato bench model.keras

    Example: ostinato bench model.keras --input 64,200,16 --train
    """
    sizes = [_sizes(shape) for shape in shapes or []]
    check_model_path(model)
    engines.check("auto")  # what OSTINATO_ENGINE asks for
    import_tensorflow()
    import warnings

    from rich.console import Console
    from rich.progress import Progress

    from ostinato.acceleration.compare import compare, finite

    shown = Progress(console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty())
    with shown as progress, warnings.catch_warnings():
        # Keras warns of optimizers that it cannot restore; no figure here depends on them.
        warnings.simplefilter("ignore", UserWarning)
        bar = progress.add_task("loading")
        figures = compare(
            model,
            sizes,
            training=train,
            rounds=rounds,
            memory=memory,
            on_progress=lambda what, done, total: progress.update(
                bar, description=what, completed=done, total=total
            ),
        )
    if as_json:
        print(json.dumps(finite(figures._asdict())))
    else:
        show(figures)


def _sizes(shape: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in shape.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise typer.BadParameter(
            f"--input must be sizes above 0 separated by commas, as in 32,100,8, got {shape}"
        )
    return sizes


def show(figures: Comparison) -> None:
    """A table for people, and beneath it what its figures rest on."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in ("keras", "ostinato", "ratio", "largest difference"):
        table.add_column(heading, justify="right")
    table.add_row(
        "forward",
        *_times(figures.forward_keras_ms, figures.forward_ostinato_ms, figures.forward_ratio),
        f"{figures.output_difference:.1e} in outputs",
    )
    if figures.gradient_difference is not None:
        table.add_row(
            "forward + backward",
            *_times(figures.training_keras_ms, figures.training_ostinato_ms, figures.training_ratio),
            f"{figures.gradient_difference:.1e} of gradients",
        )
    if figures.memory_of is not None:
        doing = "train" if figures.memory_of == "training" else "run"
        for what, keras, ours in (
            (f"memory to {doing}", figures.keras_extra_mib, figures.ostinato_extra_mib),
            ("peak, all included", figures.keras_peak_mib, figures.ostinato_peak_mib),
        ):
            table.add_row(what, *(f"{mib or 0:,.1f} MiB" for mib in (keras, ours)), "", "")
    console = Console()
    console.print(
        f"{figures.model} on inputs of {figures.inputs}", markup=False, highlight=False, soft_wrap=True
    )
    console.print(table)
    console.print(_basis(figures), style="dim", markup=False, highlight=False, soft_wrap=True)


def _times(keras: float | None, ours: float | None, ratio: float | None) -> tuple[str, str, str]:
    return (f"{keras:,.3g} ms", f"{ours:,.3g} ms", f"{ratio:.2f} ×")


def _basis(figures: Comparison) -> str:
    count, native = figures.recurrent_layers, figures.native_layers
    engine = f"{native} of {count} recurrent layer{'s' if count > 1 else ''} on the native engine"
    parts = [engine, f"medians of {figures.rounds} round{'s' if figures.rounds > 1 else ''}"]
    if figures.engine_note:
        parts.append(figures.engine_note)
    if figures.loss:
        parts.append(f"gradients of the loss: {figures.loss}")
    if figures.memory_note:
        parts.append(figures.memory_note)
    return "; ".join(parts)

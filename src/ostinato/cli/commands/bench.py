"""ostinato bench"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ostinato import engines
from ostinato.cli.quiet import import_tensorflow
from ostinato.cli.usage import Command, click_command
from ostinato.interop.keras.model_files import check_model_path

if TYPE_CHECKING:
    from rich.console import Console

    from ostinato.acceleration.compare import Comparison

_BATCHES, _LENGTH, _RUNS = "1,8,32", 100, 100


def command() -> Command:
    """What Click runs."""
    return click_command(bench)


Batches = Annotated[
    list[str] | None,
    typer.Option(
        "--batch",
        metavar="N,…",
        help="Batches to measure at, divided by commas, or one for each time the flag is given.",
        show_default=_BATCHES,
    ),
]
Length = Annotated[
    int | None,
    typer.Option(min=1, help="Time steps where the model leaves them open.", show_default=str(_LENGTH)),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="BATCH,TIME,…",
        help="Shape of the model's input, batch included, for example 32,100,8; once for each input. "
        "Then only this is measured.",
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights", help="File with the weights, for a model in a .json file.", show_default="none"
    ),
]
SafeMode = Annotated[
    bool,
    typer.Option(
        "--safe-mode/--no-safe-mode",
        help="Refuse a file whose Lambda layers would run Python code that is in it.",
    ),
]


def bench(
    model: Annotated[
        Path, typer.Argument(help="A model saved by Keras, .keras, .h5 or .json; it is read, never changed.")
    ],
    batches: Batches = None,
    length: Length = None,
    shapes: Shapes = None,
    weights: Weights = None,
    safe_mode: SafeMode = True,
    train: Annotated[
        bool,
        typer.Option("--train", help="Also measure training: the loss and its gradients for all weights."),
    ] = False,
    rounds: Annotated[
        int, typer.Option(min=1, help="How often each model has its turn; figures are of all runs together.")
    ] = 7,
    memory: Annotated[
        bool,
        typer.Option(
            "--memory/--no-memory", help="Also measure memory, at the largest batch, in two more processes."
        ),
    ] = True,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print a line of JSON: a flat object with --input or a single --batch, else a list of them.",
        ),
    ] = False,
) -> None:
    """Measures how much faster your Keras model runs with ostinato, on this machine.

    The model runs twice on the same random inputs: as Keras runs it, and with its SimpleRNN, GRU and LSTM
    layers replaced by ostinato's. Printed are the time and memory of each, and the largest difference between
    their results. To use the faster model: [bold]model = ostinato.accelerate("model.keras")[/bold].

    Half of the runs take at most p50, and 99 of 100 at most p99 (by the nearest rank); the ratio is that of
    p50. Each model runs for at least 0.2 seconds a round and 100 times in all, but not much longer than 10
    seconds; where these were fewer than 100 runs, p99 is the slowest of them, and a line says so.

    Example: ostinato bench model.keras

    Example: ostinato bench model.keras --batch 1,64 --length 200 --train

    Example: ostinato bench model.keras --input 64,200,16 --train
    """
    sizes = [_sizes(shape, "--input", "as in 32,100,8") for shape in shapes or []]
    at = [size for each in batches or [_BATCHES] for size in _sizes(each, "--batch", f"as in {_BATCHES}")]
    if sizes and (batches or length):
        raise typer.BadParameter("--input says the batch and the length; leave out --batch and --length")
    check_model_path(model)
    engines.check("auto")  # what OSTINATO_ENGINE asks for
    import_tensorflow()
    import warnings

    from ostinato.acceleration import compare
    from ostinato.acceleration.progress import shown_progress
    from ostinato.interop.keras.loading import Source, load_source

    with shown_progress() as progress, warnings.catch_warnings():
        # Keras warns of optimizers that it cannot restore; no figure here depends on them.
        warnings.simplefilter("ignore", UserWarning)
        source: Source = model
        if weights is not None or not safe_mode:
            source = load_source(model, weights=weights, safe_mode=safe_mode)
        how: dict[str, Any] = {"training": train, "rounds": rounds, "memory": memory, "on_progress": progress}
        if sizes:
            found = [compare.compare(source, sizes, **how)]
        else:
            found = compare.compare_batches(source, at, length=length or _LENGTH, **how)
    if as_json:
        objects = [compare.finite(each._asdict()) for each in found]
        print(json.dumps(objects[0] if sizes or len(set(at)) == 1 else objects))
    else:
        show(found)


def _sizes(shape: str, flag: str, example: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in shape.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise typer.BadParameter(f"{flag} must be sizes above 0 separated by commas, {example}, got {shape}")
    return sizes


def show(found: Sequence[Comparison]) -> None:
    """Tables for people, and beneath them what their figures rest on."""
    from rich.console import Console
    from rich.table import Table

    from ostinato.wording import print_table

    console = Console(highlight=False)
    shapes = ", ".join(figures.inputs for figures in found)
    console.print(f"{found[0].model} on inputs of {shapes}", markup=False, soft_wrap=True)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, heading in enumerate(
        ("", "batch", "keras p50", "p99", "ostinato p50", "p99", "ratio", "runs", "largest difference")
    ):
        table.add_column(heading, justify="right" if number else "left")
    for figures in found:
        forward = f"{figures.output_difference:.1e} in outputs"
        table.add_row("forward", f"{figures.batch:,}", *_times(figures, "forward"), forward)
    for figures in found:
        if figures.gradient_difference is not None:
            training = f"{figures.gradient_difference:.1e} of gradients"
            table.add_row("forward + backward", f"{figures.batch:,}", *_times(figures, "training"), training)
    print_table(table, console)
    for figures in found:
        if figures.memory_of is not None:
            _show_memory(figures, console)
    console.print(_basis(found), style="dim", markup=False, soft_wrap=True)


def _show_memory(figures: Comparison, console: Console) -> None:
    from rich.table import Table

    from ostinato.wording import print_table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("", "batch", "keras", "ostinato"):
        table.add_column(heading, justify="right" if heading else "left")
    doing = "train" if figures.memory_of == "training" else "run"
    for what, keras, ours in (
        (f"memory to {doing}", figures.keras_extra_mib, figures.ostinato_extra_mib),
        ("peak, all included", figures.keras_peak_mib, figures.ostinato_peak_mib),
    ):
        table.add_row(what, f"{figures.batch:,}", *(f"{mib or 0:,.1f} MiB" for mib in (keras, ours)))
    console.print()
    print_table(table, console)


def _times(figures: Comparison, kind: str) -> list[str]:
    """The cells about the time of a pass."""
    of = figures._asdict()
    times = [
        of[f"{kind}_{variant}{percentile}_ms"]
        for variant in ("keras", "ostinato")
        for percentile in ("", "_p99")
    ]
    runs = [of[f"{kind}_{variant}_runs"] for variant in ("keras", "ostinato")]
    return [
        *(f"{ms:,.3g} ms" for ms in times),
        f"{of[f'{kind}_ratio']:.2f} ×",
        " and ".join(f"{count:,}" for count in runs),
    ]


def _basis(found: Sequence[Comparison]) -> str:
    from ostinato.acceleration.machine import machine

    first = found[0]
    count, native, rounds = first.recurrent_layers, first.native_layers, first.rounds
    parts = [
        f"{native} of {count} recurrent layer{'s' if count > 1 else ''} on the native engine",
        f"p50 and p99 of the runs of {rounds} round{'s' if rounds > 1 else ''}, ratio of p50",
        machine(),
    ]
    runs = [
        (value, f"{name.partition('_')[0]} at batch {figures.batch}")
        for figures in found
        for name, value in figures._asdict().items()
        if name.endswith("_runs") and value is not None
    ]
    if few := list(dict.fromkeys(where for value, where in runs if value < _RUNS)):
        parts.append(f"fewer than {_RUNS} runs, of which p99 is the slowest, in {', '.join(few)}")
    parts += [note for note in (first.engine_note, *(each.memory_note for each in found)) if note]
    if first.loss:
        parts.append(f"gradients of the loss: {first.loss}")
    return "; ".join(parts)

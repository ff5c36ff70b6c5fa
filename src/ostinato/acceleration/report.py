"""Which engine runs each recurrent layer of a model, why, and what `ostinato.accelerate` would gain."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ostinato.acceleration.accelerate import recurrent_layers
from ostinato.acceleration.gains import WHOLE, Gain, Gains, measure_gains
from ostinato.acceleration.machine import machine
from ostinato.acceleration.progress import shown_progress
from ostinato.cells import registry
from ostinato.cells.engine_layer import EngineLayer
from ostinato.engines import choose
from ostinato.engines.facts import stacked
from ostinato.errors import ConfigError
from ostinato.interop.keras.loading import Path, Source, load_source
from ostinato.wording import print_table

if TYPE_CHECKING:
    from rich.console import Console

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load

_NOTE = "`ostinato bench` measures other shapes, the 99th percentile and memory."
_NOT_MEASURED = (
    "How much the native engine gains depends on the shapes and on the rest of the model; "
    "`ostinato.report(model)` and `ostinato bench` measure it."
)
_WIDTH, _LEAST_WIDTH = 120, 60


class Row(NamedTuple):
    """One recurrent layer of a model.

    Attributes:
        layer: its path: the names of the models and wrappers around it, then its own.
        kind: its class and units; the class and units of its cells where it has none.
        engine: what runs it now: "native", "keras" or "scratch".
        reason: why this engine runs it; for a layer of Keras that would gain nothing, why not.
        accelerated: what would run it after `ostinato.accelerate`.
        gains: how much faster that is than Keras' layer, one for each batch; None where not measured.
        why_not: why there are no gains, in a sentence; empty if there are, or if none were wanted.
    """

    layer: str
    kind: str
    engine: str
    reason: str
    accelerated: str
    gains: tuple[Gain, ...] | None = None
    why_not: str = ""


class Report(list[Row]):
    """The rows of `report`; prints as tables.

    Attributes:
        gains: how much faster the whole model is, one for each batch; None where not measured.
        why_not: why there are no gains of it, in a sentence; empty if there are, or if none were wanted.
        basis: what the figures rest on, in words; empty without figures.
    """

    def __init__(
        self,
        rows: Iterable[Row] = (),
        *,
        gains: tuple[Gain, ...] | None = None,
        why_not: str = "",
        basis: str = "",
    ) -> None:
        super().__init__(rows)
        self.gains, self.why_not, self.basis = gains, why_not, basis

    def __str__(self) -> str:
        if not self:
            return "The model has no recurrent layers."
        from rich.console import Console

        text = io.StringIO()
        width = max(Console().width, _LEAST_WIDTH) if Console().is_terminal else _WIDTH
        console = Console(file=text, width=width, markup=False, highlight=False)
        _print_layers(self, console)
        if any(row.gains for row in self) or self.gains:
            console.print()
            _print_gains(self, console)
        if any(_may_gain(row) for row in self):
            console.print("\n".join(_notes(self)), soft_wrap=True)
        return text.getvalue().rstrip()

    __repr__ = __str__


def report(
    model: Source,
    *,
    batch: int | Sequence[int] | None = None,
    length: int | None = None,
    measure: bool = True,
    seconds: float = 1.0,
    weights: Path | None = None,
    custom_objects: Mapping[str, object] | None = None,
    safe_mode: bool = True,
) -> Report:
    """Lists a model's recurrent layers: what runs each, why, and how much `ostinato.accelerate` gains.

    Each layer that is faster accelerated is timed in both forms, on made-up inputs of the shapes that it gets
    in a run of the model; then the whole model is. The model is not changed.

    Args:
        model: a Keras model, or the path of a file with one, as for `ostinato.accelerate`. An accelerated
            model is compared with what `ostinato.to_keras` makes of it.
        batch: the batch to measure at, or several; by default 1 and 32.
        length: the time steps where the model leaves them open; by default 32.
        measure: False measures nothing, which is much quicker.
        seconds: about how long to time each layer, and the model, in all; compiling comes on top.
        weights, custom_objects, safe_mode: as for `ostinato.accelerate`.

    Returns:
        A list of `Row`, one per recurrent layer, which prints as tables; beneath them stands what the figures
        rest on, and why a layer was not measured.

    Raises:
        ConfigError: `model` is neither a Keras model nor a file that holds one; or `batch`, `length` or
            `seconds` is too small.
        EngineError: the environment variable OSTINATO_ENGINE is neither "keras" nor "auto"; or a layer was
            changed after it was made and its engine cannot run it any more.

    Example:
        >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4)])
        >>> [row] = report(model, batch=2, seconds=0.1)
        >>> row.layer[:4], row.kind, row.engine, row.accelerated, row.gains[0].inputs
        ('lstm', 'LSTM(4)', 'keras', 'native', '2,32,3')
    """
    batches = [batch] if isinstance(batch, int) else None if batch is None else list(batch)
    for name, sizes in (("batch", batches), ("length", None if length is None else [length])):
        if sizes is not None and (not sizes or min(sizes) < 1):
            raise ConfigError(f"{name} must be at least 1, got {batch if name == 'batch' else length}")
    if seconds <= 0:
        raise ConfigError(f"seconds must be above 0, got {seconds}")
    loaded = load_source(model, weights=weights, custom_objects=custom_objects, safe_mode=safe_mode)
    rows = [_row(layer, path) for path, layer in recurrent_layers(loaded)]
    paths = list(dict.fromkeys(row.layer for row in rows if _may_gain(row)))
    if not measure or not paths:
        return Report(rows)
    with shown_progress() as progress:
        gains = measure_gains(loaded, paths, batches, length, seconds, progress)
    return Report(
        [_with_gains(row, gains) for row in rows],
        gains=gains.measured.get(WHOLE),
        why_not=gains.why_not.get(WHOLE, ""),
        basis=_basis(gains),
    )


def _row(layer: keras.layers.RNN, path: str) -> Row:
    kind = _kind(layer)
    if isinstance(layer, EngineLayer):
        choice = choose(layer.engine, layer)
        return Row(path, kind, choice.engine, choice.reason, choice.engine)
    choice = choose("auto", layer)
    stock = tuple(registry.accelerated())
    if isinstance(layer, stock) and type(layer) not in stock:
        reason = f"{type(layer).__name__} is a subclass, which may differ from Keras' layer in any way"
        return Row(path, kind, "keras", reason, "keras")
    if choice.engine == "native":
        return Row(path, kind, "keras", "it is a Keras layer, which has only Keras' own loop", "native")
    return Row(path, kind, "keras", choice.reason, "keras")


def _kind(layer: keras.layers.RNN) -> str:
    if getattr(layer, "units", None) or getattr(layer, "filters", None):
        return _with_size(layer)
    cells = ", ".join(map(_with_size, stacked(layer)))
    return f"{type(layer).__name__}({f'[{cells}]' if cells else _with_size(getattr(layer, 'cell', None))})"


def _with_size(layer: object) -> str:
    size = getattr(layer, "units", None) or getattr(layer, "filters", None)
    return f"{type(layer).__name__}({size})" if size else type(layer).__name__


def _may_gain(row: Row) -> bool:
    return row.accelerated != "keras"


def _with_gains(row: Row, gains: Gains) -> Row:
    if not _may_gain(row):
        return row._replace(why_not="it stays with Keras' own loop")
    why_not = gains.why_not.get(row.layer) or gains.why_not.get(WHOLE, "")
    measured = gains.measured.get(row.layer)
    return row._replace(gains=measured, why_not="" if measured else why_not)


def _basis(gains: Gains) -> str:
    """What was measured, how, and on what."""
    every = [gain for found in gains.measured.values() for gain in found]
    if not every:
        return ""
    sizes = list(dict.fromkeys(f"{gain.batch:,}" for gain in every))
    batches = f"batch{'es' if len(sizes) > 1 else ''} {' and '.join(sizes)}"
    runs, rounds = ([getattr(gain, name) for gain in every] for name in ("runs", "rounds"))
    return (
        f"Measured at {batches}, with {gains.length} steps where the model leaves them open, on {machine()}. "
        f"Figures are medians of {_counted(runs, 'run')} in {_counted(rounds, 'round')}, both forms in turn; "
        "training is a loss and its gradients."
    )


def _counted(numbers: Sequence[int], what: str) -> str:
    """A range of numbers of something, as in "5 to 12 runs"."""
    least, most = min(numbers), max(numbers)
    span = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"{span} {what}{'s' if most > 1 else ''}"


def _print_layers(rows: Sequence[Row], console: Console) -> None:
    from rich.table import Table

    headings = Row._fields[:5]
    table = Table(*headings, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*row[:5])
    print_table(table, console, wraps=["reason"])


def _print_gains(found: Report, console: Console) -> None:
    """A table of times and ratios: a line for each layer and batch, and for the model."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    times = ("keras", "accelerated", "gain")
    for heading in (
        "layer",
        "inputs",
        *(f"{kind} {time}" for kind in ("forward:", "training:") for time in times),
    ):
        table.add_column(heading, justify="left" if heading in ("layer", "inputs") else "right")
    measured = [(row.layer, gain) for row in found for gain in row.gains or ()]
    for name, gain in [*measured, *(("the whole model", gain) for gain in found.gains or ())]:
        forward = (gain.forward_keras_ms, gain.forward_ostinato_ms, gain.forward_ratio)
        training = (gain.training_keras_ms, gain.training_ostinato_ms, gain.training_ratio)
        table.add_row(name, gain.inputs, *_cells(*forward), *_cells(*training))
    print_table(table, console)


def _cells(keras: float | None, ours: float | None, ratio: float | None) -> tuple[str, ...]:
    if keras is None or ours is None or ratio is None:
        return ("–",) * 3
    return f"{keras:,.3g} ms", f"{ours:,.3g} ms", f"{ratio:.2f} ×"


def _notes(found: Report) -> list[str]:
    """What stands beneath the tables, in sentences."""
    notes = [found.basis] if found.basis else []
    if found.why_not:
        notes.append(f"The whole model was not measured: {found.why_not}.")
    for row in found:
        if row.why_not and row.why_not != found.why_not and _may_gain(row):
            notes.append(f"{row.layer} was not measured: {row.why_not}.")
    measured = [(row.layer, row.gains or ()) for row in found] + [("The whole model", found.gains or ())]
    for name, gains in measured:
        if untrained := next((gain.training_note for gain in gains if gain.training_note), ""):
            notes.append(f"{name}: training was not measured: {untrained}.")
        if (calls := max((gain.calls for gain in gains), default=1)) > 1:
            notes.append(
                f"{name} is called {calls} times in a run; its figures are of one call of each shape."
            )
    return [*dict.fromkeys(notes), _NOTE if notes else _NOT_MEASURED]

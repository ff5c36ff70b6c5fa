"""Which engine runs each recurrent layer of a model, why, and what `ostinato.accelerate` would change."""

import io
from typing import NamedTuple

from ostinato.acceleration.accelerate import recurrent_layers
from ostinato.cells import registry
from ostinato.cells.engine_layer import EngineLayer
from ostinato.engines import choose
from ostinato.engines.facts import stacked
from ostinato.interop.keras.loading import Source, load_source

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load

_NOTE = (
    "How much the native engine gains depends on the shapes and on the rest of the model; "
    "`ostinato bench` measures it."
)


class Row(NamedTuple):
    """One recurrent layer of a model.

    Attributes:
        layer: its path: the names of the models and wrappers around it, then its own.
        kind: its class and units; the class and units of its cells where it has none.
        engine: what runs it now: "native", "keras" or "scratch".
        reason: why this engine runs it; for a layer of Keras that would gain nothing, why not.
        accelerated: what would run it after `ostinato.accelerate`.
    """

    layer: str
    kind: str
    engine: str
    reason: str
    accelerated: str


class Report(list[Row]):
    """The rows of `report`; prints as a table."""

    def __str__(self) -> str:
        if not self:
            return "The model has no recurrent layers."
        from rich.console import Console
        from rich.table import Table

        headings = ("layer", "kind", "engine", "reason", "accelerated")
        table = Table(*headings, box=None, header_style="bold", pad_edge=False)
        for row in self:
            table.add_row(*row)
        text = io.StringIO()
        console = Console(file=text, width=None if Console().is_terminal else 120, markup=False)
        console.print(table)
        native = any("native" in (row.engine, row.accelerated) for row in self)
        return text.getvalue() + _NOTE if native else text.getvalue().rstrip()

    __repr__ = __str__


def report(model: Source) -> Report:
    """Lists a model's recurrent layers: what runs each, why, and what `ostinato.accelerate` would change.

    It gives no speed-up, which depends on the shapes and on the rest of the model; `ostinato bench` measures
    that.

    Args:
        model: a Keras model, or the path of a file with one, as for `ostinato.accelerate`.

    Returns:
        A list of `Row`, one per recurrent layer, which prints as a table.

    Raises:
        ConfigError: `model` is neither a Keras model nor a file that holds one.
        EngineError: the environment variable OSTINATO_ENGINE is neither "keras" nor "auto"; or a layer was
            changed after it was made and its engine cannot run it any more.

    Example:
        >>> [row] = report(keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4)]))
        >>> row.layer[:4], row.kind, row.engine, row.accelerated
        ('lstm', 'LSTM(4)', 'keras', 'native')
    """
    return Report(_row(layer, path) for path, layer in recurrent_layers(load_source(model)))


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

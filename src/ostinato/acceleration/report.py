"""Which engine runs each recurrent layer of a model, why, and which would after `ostinato.accelerate`."""

import io
from typing import Any, NamedTuple

from ostinato.acceleration.accelerate import recurrent_layers
from ostinato.engines import choose
from ostinato.interop.keras.loading import Source, loaded
from ostinato.layers import classic

import keras  # isort: skip - classic says in one sentence what is wrong when it does not load

_NOTE = (
    "What the native engine gains depends on the shapes and on the rest of the model; `ostinato bench` "
    "measures it."
)


class Row(NamedTuple):
    """One recurrent layer of a model.

    Attributes:
        layer: where it stands, the names of models and wrappers before its own.
        kind: its class and units; without units its cell.
        engine: what runs it now: "native", "keras" or "scratch".
        reason: why; of a layer of Keras' that would not gain, why not.
        accelerated: what would run it after `ostinato.accelerate`.
    """

    layer: str
    kind: str
    engine: str
    reason: str
    accelerated: str


class Explanation(list[Row]):
    """The rows of `explain`; printed, they are a table."""

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


def explain(model: Source) -> Explanation:
    """Which engine runs each recurrent layer of a model, why, and which would after `ostinato.accelerate`.

    How much sooner that is, is not said: it depends on the shapes and on the rest of the model.
    `ostinato bench` measures it.

    Args:
        model: a Keras model, or a file with one, as for `ostinato.accelerate`.

    Returns:
        A list of `Row`, one for each recurrent layer, which prints as a table.

    Raises:
        ConfigError: it is not a Keras model, nor a file that holds one.
        EngineError: the environment variable OSTINATO_ENGINE is neither "keras" nor "auto"; or a layer was
            changed after it was made, and the engine it asks for lacks what it has now.

    Example:
        >>> [row] = explain(keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4)]))
        >>> row.layer[:4], row.kind, row.engine, row.accelerated
        ('lstm', 'LSTM(4)', 'keras', 'native')
    """
    return Explanation(_row(layer, path) for path, layer in recurrent_layers(loaded(model)))


def _row(layer: Any, path: str) -> Row:
    kind = _kind(layer)
    if isinstance(layer, classic._Engine):
        choice = choose(layer.engine, layer)
        return Row(path, kind, choice.engine, choice.reason, choice.engine)
    choice = choose("auto", layer)
    stock = (keras.layers.SimpleRNN, keras.layers.GRU, keras.layers.LSTM)
    if isinstance(layer, stock) and type(layer) not in stock:
        reason = f"{type(layer).__name__} is a class of its own, and may differ from Keras' in anything"
        return Row(path, kind, "keras", reason, "keras")
    if choice.engine == "native":
        return Row(path, kind, "keras", "it is Keras' layer, which has only Keras' own loop", "native")
    return Row(path, kind, "keras", choice.reason, "keras")


def _kind(layer: Any) -> str:
    size = getattr(layer, "units", None) or getattr(layer, "filters", None)
    return f"{type(layer).__name__}({size or type(getattr(layer, 'cell', None)).__name__})"

"""Which engine runs each recurrent layer of a model, why, and what is to be gained."""

import io
from collections.abc import Iterator
from typing import Any, NamedTuple

from ostinato.engines import choose
from ostinato.layers import classic
from ostinato.layers.accelerate import children
from ostinato.layers.loading import Source, loaded

import keras  # isort: skip - classic says in one sentence what is wrong when it does not load

# How often Keras' own loop takes that time, as docs/benchmarks.md measures it; by the most units it is for.
_GAINS = ((64, "about 10 times"), (384, "2 to 3 times"), (float("inf"), "about 2 times"))
_NOTE = "Gains are typical of training on CPU, higher in small batches; `ostinato bench` measures."


class Row(NamedTuple):
    """One recurrent layer of a model.

    Attributes:
        layer: where it stands, the names of models and wrappers before its own.
        kind: its class and units.
        engine: what runs it now.
        reason: why.
        gain: how much sooner than with Keras' own loop, in words; empty if there is nothing to be gained.
    """

    layer: str
    kind: str
    engine: str
    reason: str
    gain: str


class Explanation(list[Row]):
    """The rows of `explain`; printed, they are a table."""

    def __str__(self) -> str:
        if not self:
            return "The model has no recurrent layers."
        from rich.console import Console
        from rich.table import Table

        headings = ("layer", "kind", "engine", "reason", "expected gain")
        table = Table(*headings, box=None, header_style="bold", pad_edge=False)
        for row in self:
            table.add_row(*row)
        text = io.StringIO()
        console = Console(file=text, width=None if Console().is_terminal else 120, markup=False)
        console.print(table)
        return text.getvalue() + _NOTE if any(row.gain for row in self) else text.getvalue().rstrip()

    __repr__ = __str__


def explain(model: Source) -> Explanation:
    """Which engine runs each recurrent layer of a model, why, and what that gains.

    Args:
        model: a Keras model, or a file with one, as for `ostinato.accelerate`.

    Returns:
        A list of `Row`, one for each recurrent layer, which prints as a table. For a layer of Keras' the row
        says what `ostinato.accelerate` would change.

    Raises:
        ConfigError: it is not a Keras model, nor a file that holds one.

    Example:
        >>> [row] = explain(keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4)]))
        >>> row.layer[:4], row.kind, row.engine, row.gain
        ('lstm', 'LSTM(4)', 'keras', 'about 10 times with ostinato.accelerate')
    """
    return Explanation(_rows(loaded(model), ()))


def _rows(parent: keras.layers.Layer, path: tuple[str, ...]) -> Iterator[Row]:
    for layer in children(parent):
        names = (*path, layer.name)
        if isinstance(layer, keras.layers.RNN):
            yield _row(layer, "/".join(names))
        else:
            yield from _rows(layer, names)


def _row(layer: Any, path: str) -> Row:
    units = getattr(layer, "units", None)
    kind = (
        f"{type(layer).__name__}({units})"
        if units
        else f"{type(layer).__name__}({type(layer.cell).__name__})"
    )
    gain = next(words for most, words in _GAINS if (units or 0) <= most)
    if isinstance(layer, classic._Engine):
        choice = choose(layer.engine, layer)
        return Row(path, kind, choice.engine, choice.reason, gain if choice.engine == "native" else "")
    stock = type(layer) in (keras.layers.SimpleRNN, keras.layers.GRU, keras.layers.LSTM)
    choice = choose("auto", layer)
    if stock and choice.engine == "native":
        gain = f"{gain} with ostinato.accelerate"
        return Row(path, kind, "keras", "it is Keras' layer, which has only Keras' own loop", gain)
    if units and not stock:
        reason = f"{type(layer).__name__} is a class of its own, and may differ from Keras' in anything"
        return Row(path, kind, "keras", reason, "")
    return Row(path, kind, "keras", choice.reason, "")

"""The recurrent cells by name: the one place that knows which there are.

A package adds a cell with an entry point in the group `ostinato.cells`. It names a callable that takes the
number of units and Keras' options (`return_sequences`, `name`, …) and returns a Keras recurrent layer:

    [project.entry-points."ostinato.cells"]
    mycell = "mypackage:MyCell"
"""

import difflib
import importlib.metadata
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ostinato import engines
from ostinato.errors import ConfigError, EngineError

if TYPE_CHECKING:
    import keras

_CLASSIC = {"rnn": "SimpleRNN", "gru": "GRU", "lstm": "LSTM"}


def cells() -> tuple[str, ...]:
    """The names that `recurrent` knows: first `rnn`, `gru` and `lstm`, then those of other packages."""
    return (*_CLASSIC, *sorted(_entry_points().keys() - _CLASSIC.keys()))


def recurrent(
    cell: str,
    units: int,
    *,
    engine: str = "auto",
    reset_before: bool = False,
    recurrent_dropout: float = 0.0,
    **options: Any,
) -> "keras.layers.RNN":
    """A recurrent layer.

    Args:
        cell: one of `cells()`.
        units: width of its hidden state.
        engine: see `ostinato.engines.choose`. A cell of another package may bring a loop of its own.
        reset_before: for a cell with a reset gate, apply it before the recurrent product. Others ignore it.
        recurrent_dropout: fraction of its own past state that the layer drops in training; with
            `ostinato.layers.dropout.recurrent_masks` it is drawn from a key.
        **options: anything the layer takes, for example `return_sequences=True`.

    Raises:
        ConfigError: there is no such cell, the package that brings it does not load, or it has no recurrent
            dropout and is to have some.
        EngineError: there is no such engine, or it cannot run this layer.
    """
    factory = _factory(cell)
    engines.check(engine)
    if _takes(factory, "engine"):
        options["engine"] = engine
    elif engine not in ("auto", "keras"):
        raise EngineError(
            f"The cell '{cell}' brings its own loop and has no engine='{engine}'; use engine='auto'."
        )
    if _takes(factory, "reset_after"):
        options.setdefault("reset_after", not reset_before)
    if recurrent_dropout == 0.0:
        return factory(units, **options)
    layer = None
    if _takes(factory, "recurrent_dropout"):
        layer = factory(units, recurrent_dropout=recurrent_dropout, **options)
    # Masks can be handed only to a cell that takes them where Keras' own do.
    if layer is None or not hasattr(layer.cell, "get_recurrent_dropout_mask"):
        raise ConfigError(
            f"The cell '{cell}' has no recurrent dropout; leave recurrent_dropout at 0, or take another cell."
        )
    return layer


def check(cell: str) -> None:
    """Raises ConfigError when there is no such cell; does not import TensorFlow when there is."""
    if cell not in cells():
        _factory(cell)


def has_reset_gate(cell: str) -> bool:
    """Whether `reset_before` means anything to a cell: whether what builds it takes `reset_after`.

    Raises:
        ConfigError: there is no such cell, or the package that brings it does not load.
    """
    return _takes(_factory(cell), "reset_after")


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group="ostinato.cells")}


def _factory(cell: str) -> Callable[..., Any]:
    if cell in _CLASSIC:
        from ostinato.layers import classic

        return getattr(classic, _CLASSIC[cell])
    point = _entry_points().get(cell)
    if point is None:
        nearest = difflib.get_close_matches(str(cell), cells(), n=1)
        hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
        raise ConfigError(f"There is no cell '{cell}'; choose one of {', '.join(cells())}.{hint}")
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"The cell '{cell}' ({point.value}) does not load: {error}.") from error


def _takes(factory: Callable[..., Any], argument: str) -> bool:
    # A subclass may hand arguments on as **options, so the classes it derives from are asked too.
    callables = [base.__init__ for base in factory.__mro__] if isinstance(factory, type) else [factory]
    return any(argument in inspect.signature(function).parameters for function in callables)

"""The recurrent cells by name: the one place that knows which there are.

A package adds a cell with an entry point in the group `ostinato.cells`. It names a Keras cell class, made
with the number of units, which `keras.layers.RNN` runs over time; or a callable that takes the number of
units and the options of Keras' recurrent layers (`return_sequences`, `name`, …) and returns such a layer:

    [project.entry-points."ostinato.cells"]
    mycell = "mypackage:MyCell"
    another = "mypackage:make"

    def make(units, **options):
        return keras.layers.RNN(AnotherCell(units), **options)
"""

import functools
import importlib.metadata
import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ostinato import engines
from ostinato.errors import ConfigError, EngineError
from ostinato.wording import nearest

if TYPE_CHECKING:
    import keras

_CLASSIC = {"rnn": "SimpleRNN", "gru": "GRU", "lstm": "LSTM"}
_INITIALIZERS = ("kernel_initializer", "recurrent_initializer")


def cells() -> tuple[str, ...]:
    """The names that `recurrent` knows: first `rnn`, `gru` and `lstm`, then those of other packages."""
    return (*_CLASSIC, *sorted(_entry_points().keys() - _CLASSIC.keys()))


def recurrent(
    cell: str,
    units: int,
    *,
    engine: str = "auto",
    reset_after: bool = True,
    recurrent_dropout: float = 0.0,
    seed: int = 0,
    **options: Any,
) -> "keras.layers.RNN":
    """A recurrent layer.

    Args:
        cell: one of `cells()`.
        units: width of its hidden state.
        engine: see `ostinato.engines.choose`. A cell of another package may bring a loop of its own.
        reset_after: for a cell with a reset gate, apply it after the recurrent product, as Keras does; else
            before it. Others ignore it. `reset_before`, the older word for its opposite, is still taken.
        recurrent_dropout: fraction of its own past state that the layer drops in training; with
            `ostinato.layers.dropout.recurrent_masks` it is drawn from a key.
        seed: what a cell of another package draws from, where it is given no initializer: its first weights,
            and the dropout that it draws itself.
        **options: anything the layer takes, for example `return_sequences=True`. Initializers are handed only
            to a cell that takes them.

    Raises:
        ConfigError: there is no such cell, the package that brings it does not load, what it brings makes no
            recurrent layer, or has no recurrent dropout and is to have some.
        EngineError: there is no such engine, or it cannot run this layer.
    """
    factory = _factory(cell)
    engines.check(engine)
    if "reset_before" in options:  # files of older versions have it
        reset_after = not options.pop("reset_before")
    if _takes(factory, "engine"):
        options["engine"] = engine
    elif engine not in ("auto", "keras"):
        raise EngineError(
            f"The cell '{cell}' brings its own loop and has no engine='{engine}'; use engine='auto'."
        )
    if _takes(factory, "reset_after"):
        options["reset_after"] = reset_after
    if cell in _CLASSIC:
        return factory(units, recurrent_dropout=recurrent_dropout, **options)
    takes_dropout = recurrent_dropout > 0.0 and _takes(factory, "recurrent_dropout")
    if takes_dropout:
        options["recurrent_dropout"] = recurrent_dropout
    layer = _of_another_package(cell, factory, units, options, seed)
    # Masks can be handed only to a cell that takes them where Keras' own do.
    if recurrent_dropout > 0.0 and not (takes_dropout and hasattr(layer.cell, "get_recurrent_dropout_mask")):
        raise ConfigError(
            f"The cell '{cell}' has no recurrent dropout; leave recurrent_dropout at 0, or take another cell."
        )
    return layer


def state_sizes(layer: "keras.layers.RNN") -> tuple[int, ...]:
    """The units of each tensor of a recurrent layer's state."""
    import keras

    return tuple(keras.tree.flatten(layer.state_size))


def _of_another_package(
    cell: str, factory: Callable[..., Any], units: int, options: dict[str, Any], seed: int
) -> "keras.layers.RNN":
    """The layer that another package's cell class or callable makes.

    It draws its first weights and the seeds of its own dropout from `seed`: when it is made, and when it is
    built.
    """
    import keras

    layer: Any = None

    def made(options: dict[str, Any]) -> Any:
        if not _is_cell_class(factory):
            return factory(units, **options)
        of_cell = {name: options[name] for name in options if _takes(factory, name)}
        of_layer = {name: options[name] for name in options.keys() - of_cell if name not in _INITIALIZERS}
        return keras.layers.RNN(factory(units, **of_cell), **of_layer)

    if isinstance(factory, type) or not _takes_any(factory):
        attempts = [
            {
                name: value
                for name, value in options.items()
                if name not in _INITIALIZERS or _takes(factory, name)
            }
        ]
    else:  # only by trying can one tell what a function does with its **options
        without = {name: value for name, value in options.items() if name not in _INITIALIZERS}
        attempts = [options, without]
    with _drawing_from(seed):
        for attempt in attempts:
            try:
                layer = made(attempt)
                break
            except (TypeError, ValueError) as error:
                of_initializers = any(name in str(error) for name in _INITIALIZERS)
                if attempt is attempts[-1] or not of_initializers:
                    raise ConfigError(f"The cell '{cell}' makes no layer: {_first_line(error)}.") from error
    if not isinstance(layer, keras.layers.RNN):
        raise ConfigError(
            f"The cell '{cell}' must be a Keras cell class, or a callable that returns a keras.layers.RNN, "
            f"got a {type(layer).__name__}."
        )
    build: Any = layer.build

    @functools.wraps(build)
    def drawing(*arguments: Any, **named: Any) -> None:
        with _drawing_from(seed):
            build(*arguments, **named)

    layer.build = drawing
    return layer


def _is_cell_class(factory: Callable[..., Any]) -> bool:
    import keras

    kinds = keras.layers.Layer, keras.layers.RNN
    return isinstance(factory, type) and issubclass(factory, kinds[0]) and not issubclass(factory, kinds[1])


@contextmanager
def _drawing_from(seed: int) -> Iterator[None]:
    """While it lasts, seeds that Keras draws, from Python's generator, are a function of this one."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def check(cell: str) -> None:
    """Raises ConfigError when there is no such cell; does not import TensorFlow when there is."""
    if cell not in cells():
        _factory(cell)


def package_of(cell: str) -> str | None:
    """The package that brings a cell, and its version; None for a cell of ostinato's own.

    Raises:
        ConfigError: there is no such cell.
    """
    check(cell)
    point = None if cell in _CLASSIC else _entry_points().get(cell)
    if point is None:
        return None
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def has_reset_gate(cell: str) -> bool:
    """Whether `reset_after` means anything to a cell: whether what builds it takes `reset_after`.

    Raises:
        ConfigError: there is no such cell, or the package that brings it does not load.
    """
    if cell in _CLASSIC:
        return cell == "gru"  # known without Keras, which takes seconds to import
    return _takes(_factory(cell), "reset_after")


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group="ostinato.cells")}


def _factory(cell: str) -> Callable[..., Any]:
    if cell in _CLASSIC:
        from ostinato.layers import classic

        return getattr(classic, _CLASSIC[cell])
    point = _entry_points().get(cell)
    if point is None:
        meant = nearest(cell, cells())
        hint = f" Did you mean '{meant}'?" if meant else ""
        raise ConfigError(f"There is no cell '{cell}'; choose one of {', '.join(cells())}.{hint}")
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"The cell '{cell}' ({point.value}) does not load: {error}.") from error


def _takes_any(function: Callable[..., Any]) -> bool:
    """Whether a function takes options that it does not name."""
    parameters = inspect.signature(function).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def _takes(factory: Callable[..., Any], argument: str) -> bool:
    # A subclass may hand arguments on as **options, so the classes it derives from are asked too.
    callables = [base.__init__ for base in factory.__mro__] if isinstance(factory, type) else [factory]
    return any(argument in inspect.signature(function).parameters for function in callables)

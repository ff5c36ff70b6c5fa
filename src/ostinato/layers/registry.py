"""The recurrent cells by name: ostinato's own, and those that other packages register.

A package adds a cell with an entry point in the group `ostinato.cells`. It names a Keras cell class, which
takes the number of units and is run over time by `keras.layers.RNN`; or a callable, which takes the number of
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
from typing import TYPE_CHECKING, Any, cast

from ostinato import engines
from ostinato.errors import ConfigError, EngineError
from ostinato.wording import hint_after

if TYPE_CHECKING:
    import keras

KerasOption = Any
"""An option of a Keras layer, passed on as it is."""

_CLASSIC = {"rnn": "SimpleRNN", "gru": "GRU", "lstm": "LSTM"}
_INITIALIZERS = ("kernel_initializer", "recurrent_initializer")
_Factory = Callable[..., object]


def cells() -> tuple[str, ...]:
    """The names that `recurrent` accepts: `rnn`, `gru` and `lstm`, then the cells of other packages."""
    return (*_CLASSIC, *sorted(_entry_points().keys() - _CLASSIC.keys()))


def recurrent(
    cell: str,
    units: int,
    *,
    engine: str = "auto",
    reset_after: bool = True,
    recurrent_dropout: float = 0.0,
    seed: int = 0,
    **options: KerasOption,
) -> "keras.layers.RNN":
    """Makes a recurrent layer.

    Args:
        cell: one of `cells()`.
        units: width of the hidden state.
        engine: see `ostinato.engines.choose`. A cell of another package may bring its own loop.
        reset_after: apply the reset gate after the recurrent product, as Keras does, else before it. Cells
            without a reset gate ignore it. `reset_before`, the older word for its opposite, is still read.
        recurrent_dropout: fraction of its own past state that the layer drops in training.
            `ostinato.layers.dropout.recurrent_masks` draws it from a key.
        seed: seed of another package's cell: of its initial weights where it gets no initializer, and of the
            dropout that it draws itself.
        **options: any option of the layer, for example `return_sequences=True`. Initializers are passed only
            to cells that take them.

    Raises:
        ConfigError: there is no such cell; its package does not load, or makes no recurrent layer; or it has
            no recurrent dropout and `recurrent_dropout` is above 0.
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
            f"engine must be 'auto' for the cell '{cell}', which has its own loop, got '{engine}'"
        )
    if _takes(factory, "reset_after"):
        options["reset_after"] = reset_after
    if cell in _CLASSIC:
        return cast("keras.layers.RNN", factory(units, recurrent_dropout=recurrent_dropout, **options))
    takes_dropout = recurrent_dropout > 0.0 and _takes(factory, "recurrent_dropout")
    if takes_dropout:
        options["recurrent_dropout"] = recurrent_dropout
    layer = _layer_of_another_package(cell, factory, units, options, seed)
    # Masks can be set only in a cell that asks for them where Keras' own cells do.
    if recurrent_dropout > 0.0 and not (takes_dropout and hasattr(layer.cell, "get_recurrent_dropout_mask")):
        raise ConfigError(
            f"recurrent_dropout must be 0 for the cell '{cell}', which has none, got {recurrent_dropout}"
        )
    return layer


def state_sizes(layer: "keras.layers.RNN") -> tuple[int, ...]:
    """The units of each tensor of a recurrent layer's state."""
    import keras

    return tuple(keras.tree.flatten(layer.state_size))


def _layer_of_another_package(
    cell: str, factory: _Factory, units: int, options: dict[str, KerasOption], seed: int
) -> "keras.layers.RNN":
    """The layer that another package's cell class or callable makes.

    `seed` determines its initial weights and dropout seeds, both when it is made and when it is built.
    """
    import keras

    with _python_seed(seed):
        layer = _make(cell, factory, units, options)
    if not isinstance(layer, keras.layers.RNN):
        raise ConfigError(
            f"the cell '{cell}' must be a Keras cell class or a callable that returns a keras.layers.RNN, "
            f"got a {type(layer).__name__}"
        )
    build = layer.build

    @functools.wraps(build)
    def seeded_build(*args: KerasOption, **named: KerasOption) -> None:
        with _python_seed(seed):
            build(*args, **named)

    layer.build = seeded_build
    return layer


def _make(cell: str, factory: _Factory, units: int, options: dict[str, KerasOption]) -> object:
    """Calls a factory with the options it takes."""
    without_initializers = {name: options[name] for name in options if name not in _INITIALIZERS}
    if isinstance(factory, type) or not _takes_any(factory):
        accepted = {
            name: options[name] for name in options if name in without_initializers or _takes(factory, name)
        }
        attempts = [accepted]
    else:  # only a trial shows what a function does with its **options
        attempts = [options, without_initializers]
    for attempt in attempts[:-1]:
        try:
            return _call(factory, units, attempt)
        except (TypeError, ValueError) as error:
            if not any(name in str(error) for name in _INITIALIZERS):
                raise _no_layer(cell, error) from error
    try:
        return _call(factory, units, attempts[-1])
    except (TypeError, ValueError) as error:
        raise _no_layer(cell, error) from error


def _call(factory: _Factory, units: int, options: dict[str, KerasOption]) -> object:
    import keras

    if not _is_cell_class(factory):
        return factory(units, **options)
    cell_options = {name: options[name] for name in options if _takes(factory, name)}
    layer_options = {
        name: options[name] for name in options.keys() - cell_options if name not in _INITIALIZERS
    }
    return keras.layers.RNN(factory(units, **cell_options), **layer_options)


def _no_layer(cell: str, error: Exception) -> ConfigError:
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ConfigError(f"the cell '{cell}' makes no layer: {first_line.rstrip('.')}")


def _is_cell_class(factory: _Factory) -> bool:
    import keras

    kinds = keras.layers.Layer, keras.layers.RNN
    return isinstance(factory, type) and issubclass(factory, kinds[0]) and not issubclass(factory, kinds[1])


@contextmanager
def _python_seed(seed: int) -> Iterator[None]:
    """Seeds Python's generator for a while, from which Keras draws its seeds."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


def check(cell: str) -> None:
    """Raises ConfigError when there is no such cell; does not import TensorFlow when there is."""
    if cell not in _CLASSIC and cell not in cells():  # to look for packages takes 10 ms
        _factory(cell)


def package_of(cell: str) -> str | None:
    """The package that brings a cell, with its version; None for a cell of ostinato's own.

    Raises:
        ConfigError: there is no such cell.
    """
    check(cell)
    point = None if cell in _CLASSIC else _entry_points().get(cell)
    if point is None:
        return None
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def has_reset_gate(cell: str) -> bool:
    """Whether `reset_after` affects a cell, that is, whether its factory takes `reset_after`.

    Raises:
        ConfigError: there is no such cell, or its package does not load.
    """
    if cell in _CLASSIC:
        return cell == "gru"  # known without Keras, which takes seconds to import
    return _takes(_factory(cell), "reset_after")


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group="ostinato.cells")}


def _factory(cell: str) -> _Factory:
    if cell in _CLASSIC:
        from ostinato.layers import classic

        return getattr(classic, _CLASSIC[cell])
    point = _entry_points().get(cell)
    if point is None:
        names = cells()
        raise ConfigError(f"cell must be one of {', '.join(names)}, got {cell!r}{hint_after(cell, names)}")
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the cell '{cell}' ({point.value}) does not load: {error}") from error


def _takes_any(function: _Factory) -> bool:
    """Whether a function takes options that it does not name."""
    parameters = inspect.signature(function).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def _takes(factory: _Factory, argument: str) -> bool:
    # A subclass may pass arguments on as **options, so its base classes are asked too.
    callables = [base.__init__ for base in factory.__mro__] if isinstance(factory, type) else [factory]
    return any(argument in inspect.signature(function).parameters for function in callables)

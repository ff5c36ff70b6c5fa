"""Layers of other packages' cells: from a Keras cell class, or from a callable that returns a layer."""

from __future__ import annotations

import functools
import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ostinato.errors import ConfigError

if TYPE_CHECKING:
    import keras

    from ostinato.cells.base import KerasOption

Factory = Callable[..., object]
_INITIALIZERS = ("kernel_initializer", "recurrent_initializer")


def layer_of_another_package(
    cell: str, factory: Factory, units: int, options: dict[str, KerasOption], seed: int
) -> keras.layers.RNN:
    """The layer that another package's cell class or callable makes.

    `seed` determines its initial weights and dropout seeds, both when it is made and when it is built.
    """
    import keras

    with _python_seed(seed):
        layer = _make(cell, factory, units, options)
    if not isinstance(layer, keras.layers.RNN):
        raise no_cell(cell, layer)
    build = layer.build

    @functools.wraps(build)
    def seeded_build(*args: KerasOption, **named: KerasOption) -> None:
        with _python_seed(seed):
            build(*args, **named)

    layer.build = seeded_build
    return layer


def _make(cell: str, factory: Factory, units: int, options: dict[str, KerasOption]) -> object:
    """Calls a factory with the options it takes."""
    without_initializers = {name: options[name] for name in options if name not in _INITIALIZERS}
    if isinstance(factory, type) or not _takes_any(factory):
        accepted = {
            name: options[name] for name in options if name in without_initializers or takes(factory, name)
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


def _call(factory: Factory, units: int, options: dict[str, KerasOption]) -> object:
    import keras

    if not _is_cell_class(factory):
        return factory(units, **options)
    cell_options = {name: options[name] for name in options if takes(factory, name)}
    layer_options = {
        name: options[name] for name in options.keys() - cell_options if name not in _INITIALIZERS
    }
    return keras.layers.RNN(factory(units, **cell_options), **layer_options)


def no_cell(cell: str, got: object) -> ConfigError:
    return ConfigError(
        f"the cell '{cell}' must be a Cell, a Keras cell class, or a callable that returns a "
        f"keras.layers.RNN, got a {type(got).__name__}"
    )


def _no_layer(cell: str, error: Exception) -> ConfigError:
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ConfigError(f"the cell '{cell}' makes no layer: {first_line.rstrip('.')}")


def _is_cell_class(factory: Factory) -> bool:
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


def _takes_any(function: Factory) -> bool:
    """Whether a function takes options that it does not name."""
    parameters = inspect.signature(function).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def takes(factory: Factory, argument: str) -> bool:
    # A subclass may pass arguments on as **options, so its base classes are asked too.
    callables = [base.__init__ for base in factory.__mro__] if isinstance(factory, type) else [factory]
    return any(argument in inspect.signature(function).parameters for function in callables)

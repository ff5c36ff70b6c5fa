"""The weights of a model as arrays with stable names, and back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from ostinato.errors import RunError
from ostinato.runs.checkpoints import Arrays
from ostinato.wording import quoted

Kinds = dict[str, tuple[object, str]]
"""Shape and dtype by name."""
_NONE = "none", "none"


def names(model: keras.Model, variables: Iterable[keras.Variable]) -> list[str]:
    """Stable names of variables: their Keras paths below the model, such as `stack/layer_0/lstm_cell/kernel`.

    Keras numbers layers without a given name over the whole process: `my_cell_3`. Here they are numbered
    within the model, in their order there: `my_cell`, `my_cell_1`.
    """
    renamed = _stable_layer_names(model)
    paths = (variable.path.split("/", 1)[-1].split("/") for variable in variables)
    return ["/".join(str(renamed.get(part, part)) for part in path) for path in paths]


def _stable_layer_names(model: keras.Model) -> dict[str, str]:
    """From the name that Keras gave a layer to one that does not depend on layers elsewhere."""
    renamed: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for layer in _in_order(model):
        kind = _snake_case(type(layer).__name__)
        if re.fullmatch(rf"{re.escape(kind)}(_\d+)?", layer.name) and layer.name not in renamed:
            renamed[layer.name] = f"{kind}_{counts[kind]}" if counts[kind] else kind
            counts[kind] += 1
    return renamed


def _in_order(layer: keras.Layer) -> Iterator[keras.Layer]:
    """A layer and all its sublayers, each before its own sublayers, in the order of their making."""
    yield layer
    for inner in layer._layers:
        yield from _in_order(inner)


def _snake_case(name: str) -> str:
    """The name that Keras gives a layer of this class."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def to_arrays(model: keras.Model) -> Arrays:
    """All weights by name, without the states of Keras' seed generators (see `seeds`)."""
    variables = model.weights
    return dict(zip(names(model, variables), (variable.numpy() for variable in variables), strict=True))


def seeds(model: keras.Model) -> dict[str, keras.Variable]:
    """The states of the seed generators of cells from other packages, by name.

    The generators of other layers are not used: `ostinato.layers.dropout` draws for them.
    """
    generators = [
        generator
        for layer in _in_order(model)
        if isinstance(layer, keras.layers.RNN) and not hasattr(layer, "engine")
        for inner in _in_order(layer)
        for generator in inner._seed_generators
    ]
    return {f"seed_{number}": generator.state for number, generator in enumerate(generators)}


def kinds(model: keras.Model) -> Kinds:
    """The shape and dtype of all weights by name."""
    return {
        name: (tuple(variable.shape), str(variable.dtype))
        for name, variable in zip(names(model, model.weights), model.weights, strict=True)
    }


def check(expected: Kinds, arrays: Arrays, *, origin: str) -> None:
    """Checks that arrays fit a network.

    Args:
        expected: the result of `kinds`.
        arrays: such as the result of `to_arrays`.
        origin: where they come from, for the message.

    Raises:
        RunError: they belong to another network, or are not finite, which no training saves.
    """
    given = {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
    different = sorted(name for name in expected | given if expected.get(name) != given.get(name))
    if different:
        name = different[0]
        (shape, dtype), (right, proper) = given.get(name, _NONE), expected.get(name, _NONE)
        what = f"shape {shape}, expected {right}" if shape != right else f"dtype {dtype}, expected {proper}"
        raise RunError(f"the weights of {origin} are another network's: {quoted(name)} has {what}")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise RunError(f"the weights of {origin} are damaged: {quoted(name)} contains NaN or infinity")


def extended(model: keras.Model, arrays: Arrays, places: np.ndarray) -> Arrays:
    """The weights of a smaller network, in the shapes of one with more symbols.

    Args:
        model: the larger network; rows of new symbols keep its initial weights.
        arrays: of the smaller network, as from `to_arrays`.
        places: the new ids of its symbols, shape (symbols,).

    Returns:
        Arrays for `assign`. One that differs in anything else than the number of symbols is left as it is.
    """
    result = dict(arrays)
    for name, larger in to_arrays(model).items():
        array = arrays.get(name)
        if array is None or array.ndim != larger.ndim:
            continue
        axes = [axis for axis in range(array.ndim) if array.shape[axis] != larger.shape[axis]]
        if len(axes) == 1 and array.shape[axes[0]] == len(places):
            result[name] = larger.copy()
            result[name][(*[slice(None)] * axes[0], places)] = array
    return result


def assign(model: keras.Model, arrays: Arrays, *, origin: str) -> None:
    """Sets all weights.

    Args:
        model: a built model.
        arrays: such as the result of `to_arrays`.
        origin: where they come from, for the message.

    Raises:
        RunError: the arrays belong to another network, or are not finite; the model is unchanged then.
    """
    check(kinds(model), arrays, origin=origin)
    for name, variable in zip(names(model, model.weights), model.weights, strict=True):
        variable.assign(np.asarray(arrays[name]))

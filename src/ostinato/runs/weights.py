"""A model's weights as arrays with stable names, and back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from ostinato.errors import RunError
from ostinato.runs.checkpoints import Arrays
from ostinato.wording import quoted

Kinds = dict[str, tuple[Any, str]]
"""Shape and dtype by name."""
_NONE = "none", "none"


def names(model: Any, variables: Iterable[Any]) -> list[str]:
    """Stable names of a model's variables: their Keras paths below it, `stack/layer_0/lstm_cell/kernel`.

    Keras numbers the layers that nobody named over the whole process, `my_cell_3`. Here they are numbered
    within the model, in the order in which they stand in it: `my_cell`, `my_cell_1`.
    """
    renamed = _names_of_the_unnamed(model)
    paths = (variable.path.split("/", 1)[-1].split("/") for variable in variables)
    return ["/".join(str(renamed.get(part, part)) for part in path) for path in paths]


def _names_of_the_unnamed(model: Any) -> dict[str, str]:
    """For the name that Keras gave a layer, the one that does not depend on what else was made."""
    renamed: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for layer in _in_order(model):
        kind = _snake_case(type(layer).__name__)
        if re.fullmatch(rf"{re.escape(kind)}(_\d+)?", layer.name) and layer.name not in renamed:
            renamed[layer.name] = f"{kind}_{counts[kind]}" if counts[kind] else kind
            counts[kind] += 1
    return renamed


def _in_order(layer: Any) -> Iterator[Any]:
    """A layer and all in it, each before those in it, in the order in which they were made."""
    yield layer
    for inner in layer._layers:
        yield from _in_order(inner)


def _snake_case(name: str) -> str:
    """A class's name as Keras makes a layer's of it."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def to_arrays(model: Any) -> Arrays:
    """All weights by name; not the state of Keras' seed generators, see `seeds`."""
    variables = model.weights
    return dict(zip(names(model, variables), (variable.numpy() for variable in variables), strict=True))


def seeds(model: Any) -> dict[str, Any]:
    """The states of the generators that cells of other packages draw from, by name.

    The other layers' generators rest: `ostinato.layers.dropout` draws for them.
    """
    generators = [
        generator
        for layer in _in_order(model)
        if isinstance(layer, keras.layers.RNN) and not hasattr(layer, "engine")
        for inner in _in_order(layer)
        for generator in inner._seed_generators
    ]
    return {f"seed_{number}": generator.state for number, generator in enumerate(generators)}


def kinds(model: Any) -> Kinds:
    """The shape and dtype of all weights by name."""
    return {
        name: (tuple(variable.shape), str(variable.dtype))
        for name, variable in zip(names(model, model.weights), model.weights, strict=True)
    }


def check(expected: Kinds, arrays: Arrays, *, origin: str) -> None:
    """Compares arrays with what a network has.

    Args:
        expected: as `kinds` gives.
        arrays: as `to_arrays` gives.
        origin: where they come from, for the message.

    Raises:
        RunError: when they are another network's, or not finite, which no training saves.
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


def assign(model: Any, arrays: Arrays, *, origin: str) -> None:
    """Sets all weights.

    Args:
        model: a built model.
        arrays: as `to_arrays` gives.
        origin: where they come from, for the message.

    Raises:
        RunError: when the arrays are another network's, or no numbers; the model is unchanged then.
    """
    check(kinds(model), arrays, origin=origin)
    for name, variable in zip(names(model, model.weights), model.weights, strict=True):
        variable.assign(np.asarray(arrays[name]))

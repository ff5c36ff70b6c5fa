"""A model's weights as arrays with stable names, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ostinato.data.lines import quoted
from ostinato.errors import RunError
from ostinato.runs.checkpoints import Arrays

Kinds = dict[str, tuple[Any, str]]
"""Shape and dtype by name."""
_NONE = "none", "none"


def names(variables: Iterable[Any]) -> list[str]:
    """Stable names of a model's variables: their Keras paths below it, `stack/layer_0/lstm_cell/kernel`."""
    return [variable.path.split("/", 1)[-1] for variable in variables]


def to_arrays(model: Any) -> Arrays:
    """All weights by name; not the state of Keras' seed generators, which differs from process to process."""
    return dict(zip(names(model.weights), (variable.numpy() for variable in model.weights), strict=True))


def kinds(model: Any) -> Kinds:
    """The shape and dtype of all weights by name."""
    return {
        name: (tuple(variable.shape), str(variable.dtype))
        for name, variable in zip(names(model.weights), model.weights, strict=True)
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
            raise RunError(
                f"the weights of {origin} are damaged: {quoted(name)} holds no finite numbers only"
            )


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
    for name, variable in zip(names(model.weights), model.weights, strict=True):
        variable.assign(np.asarray(arrays[name]))

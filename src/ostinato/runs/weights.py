"""A model's weights as arrays with stable names, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ostinato.errors import RunError
from ostinato.runs.checkpoints import Arrays


def names(variables: Iterable[Any]) -> list[str]:
    """Stable names of a model's variables: their Keras paths below it, `stack/layer_0/lstm_cell/kernel`."""
    return [variable.path.split("/", 1)[-1] for variable in variables]


def to_arrays(model: Any) -> Arrays:
    """All weights by name; not the state of Keras' seed generators, which differs from process to process."""
    return dict(zip(names(model.weights), (variable.numpy() for variable in model.weights), strict=True))


def assign(model: Any, arrays: Arrays, *, origin: str) -> None:
    """Sets all weights.

    Args:
        model: a built model.
        arrays: as `to_arrays` gives.
        origin: where they come from, for the message.

    Raises:
        RunError: when the arrays are another network's; the model is unchanged then.
    """
    expected = {
        name: tuple(variable.shape)
        for name, variable in zip(names(model.weights), model.weights, strict=True)
    }
    given = {name: array.shape for name, array in arrays.items()}
    if expected != given:
        different = sorted(name for name in expected | given if expected.get(name) != given.get(name))
        name = different[0]
        raise RunError(
            f"the weights of {origin} are another network's: {name} has shape {given.get(name, 'none')}, "
            f"expected {expected.get(name, 'none')}"
        )
    for name, variable in zip(names(model.weights), model.weights, strict=True):
        variable.assign(np.asarray(arrays[name]))

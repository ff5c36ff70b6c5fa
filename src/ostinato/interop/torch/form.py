"""The form of a recurrent PyTorch module, which its weights and the Keras layers for them must share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ostinato.registration import own_cells

if TYPE_CHECKING:
    from ostinato.cells.base import Cell, TorchForm

SUFFIXES = ("", "_reverse")
"""The endings of the weights' names, by direction."""


class Form(NamedTuple):
    """Kind and sizes of a `torch.nn.RNN`, `GRU` or `LSTM`.

    Attributes:
        kind: "RNN", "GRU" or "LSTM".
        depth: number of layers.
        directions: 1 or 2.
        features: features of the inputs.
        units: width of the hidden state of one direction.
        bias: whether the layers have biases.
    """

    kind: str
    depth: int
    directions: int
    features: int
    units: int
    bias: bool

    def __str__(self) -> str:
        layers = "1 layer" if self.depth == 1 else f"{self.depth} layers"
        directions = "two directions" if self.directions == 2 else "one direction"
        bias = "with" if self.bias else "without"
        return (
            f"{self.kind}, {layers}, {directions}, {self.features} features, {self.units} units, {bias} bias"
        )


def weight_names(depth: int, suffix: str, bias: bool) -> list[str]:
    """The names of the weights of one layer and direction."""
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if bias else ("weight_ih", "weight_hh")
    return [f"{kind}_l{depth}{suffix}" for kind in kinds]


def with_dot(prefix: str) -> str:
    """A prefix of names with the dot that follows it."""
    return prefix if not prefix or prefix.endswith(".") else f"{prefix}."


def cells() -> dict[str, Cell]:
    """ostinato's cells that PyTorch has, too, by the name of its module."""
    return {cell.torch.kind: cell for cell in own_cells() if cell.torch is not None}


def form_of_cell(kind: str) -> TorchForm:
    """What is to know of PyTorch's module of a kind."""
    form = cells()[kind].torch
    assert form is not None
    return form


def layer_class(kind: str) -> Callable[..., Any]:
    """ostinato's layer that computes what PyTorch's module of a kind does."""
    return cells()[kind].layer


def to_keras_order(kind: str, array: np.ndarray) -> np.ndarray:
    """Reorders gates, which lie side by side in the last axis, from PyTorch's order to Keras'."""
    return _reordered(array, form_of_cell(kind).gates, cells()[kind].gates)


def to_torch_order(kind: str, array: np.ndarray) -> np.ndarray:
    """Reorders gates, which lie side by side in the last axis, from Keras' order to PyTorch's."""
    return _reordered(array, cells()[kind].gates, form_of_cell(kind).gates)


def _reordered(array: np.ndarray, given: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    if given == wanted:
        return array
    blocks = dict(zip(given, np.split(array, len(given), axis=-1), strict=True))
    return np.concatenate([blocks[gate] for gate in wanted], axis=-1)

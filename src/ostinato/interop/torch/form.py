"""The form of a recurrent PyTorch module, which its weights and the Keras layers for them must share."""

from typing import NamedTuple

import numpy as np

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


def swap_gates(array: np.ndarray) -> np.ndarray:
    """Reorders a GRU's gates from r z n to z r h, or back. They lie side by side in the last axis."""
    first, second, candidate = np.split(array, 3, axis=-1)
    return np.concatenate([second, first, candidate], axis=-1)

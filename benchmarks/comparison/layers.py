"""The layers that are compared, the numbers each framework gets, and shapes drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

MATMUL_SIZE = 2048
Call = Callable[[], Any]

# The layers of the tables.
LAYERS = (
    "lstm-32x35x28-256",
    "gru-32x35x28-256",
    "gru-before-32x35x28-256",
    "rnn-32x35x28-256",
    "lstm-64x100x8-16",
    "gru-64x544x8-16",
    "lstm-20x35x650-650",
    "gru-20x35x650-650",
    "lstm-128x100x128-128",
    "lstm-1x200x64-128",
)
# What a draw takes shapes from, how many, and when it takes another.
DRAWN = {"batch": 256, "time": 2000, "features": 512, "units": 1500}
SHAPES_OF_A_DRAW = 10
MOST_OPERATIONS = 6e9
MOST_NUMBERS = 1 << 26


class Layer(NamedTuple):
    """A recurrent layer and the size of what it reads; `gru-before` resets before the recurrent product."""

    cell: str
    batch: int
    time: int
    features: int
    units: int

    @classmethod
    def parse(cls, name: str) -> Layer:
        """From a name such as lstm-32x35x28-256: cell, batch x time x features, units.

        Raises:
            ValueError: it is no such name.
        """
        cell, sizes, units = name.rsplit("-", 2)
        if cell not in GATES:
            raise ValueError(f"no cell {cell!r}")
        batch, time, features = sizes.split("x")
        return cls(cell, int(batch), int(time), int(features), int(units))

    @property
    def name(self) -> str:
        return f"{self.cell}-{self.batch}x{self.time}x{self.features}-{self.units}"

    @property
    def title(self) -> str:
        titles = {"gru": "GRU", "gru-before": "GRU (reset before)", "rnn": "SimpleRNN", "lstm": "LSTM"}
        return f"{titles[self.cell]} {self.batch}×{self.time}×{self.features}→{self.units}"

    def operations(self, what: str) -> int:
        """Floating-point operations of the matrix products; backward there are two for each one forward."""
        weights = GATES[self.cell] * self.units * (self.features + self.units)
        return 2 * self.batch * self.time * weights * (3 if what == "training" else 1)


GATES = {"rnn": 1, "gru": 3, "gru-before": 3, "lstm": 4}


class Problem(NamedTuple):
    """Inputs and weights in Keras' layout, and the gradient of the outputs."""

    x: np.ndarray
    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray
    upstream: np.ndarray


def problem(layer: Layer) -> Problem:
    """The same numbers in every process."""
    random = np.random.default_rng(0)
    width, limit = GATES[layer.cell] * layer.units, layer.units**-0.5

    def weight(*shape: int) -> np.ndarray:
        return random.uniform(-limit, limit, shape).astype(np.float32)

    return Problem(
        random.standard_normal((layer.batch, layer.time, layer.features), np.float32),
        weight(layer.features, width),
        weight(layer.units, width),
        weight(2, width) if layer.cell == "gru" else weight(width),
        random.standard_normal((layer.batch, layer.time, layer.units), np.float32),
    )


def keras_layer(layers: Any, layer: Layer, given: Problem, **options: Any) -> Any:
    """A built layer of `keras.layers` or of `ostinato.layers` with the problem's weights."""
    name = {"rnn": "SimpleRNN", "lstm": "LSTM"}.get(layer.cell, "GRU")
    if name == "GRU":
        options["reset_after"] = layer.cell == "gru"
    built = getattr(layers, name)(layer.units, return_sequences=True, **options)
    built.build(given.x.shape)
    built.set_weights([given.kernel, given.recurrent_kernel, given.bias])
    return built


def square() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((MATMUL_SIZE, MATMUL_SIZE), np.float32)


def draw(seed: int) -> list[Layer]:
    """Ten layers that nobody chose.

    Cells are equally likely, sizes log-uniform from 1 to those in `DRAWN`. A layer is drawn again where a
    forward pass takes more than 6 GFLOP, or its inputs or outputs more than 256 MiB.
    """
    random = np.random.default_rng(seed)
    layers: list[Layer] = []
    while len(layers) < SHAPES_OF_A_DRAW:
        cell = str(random.choice(sorted(GATES)))
        sizes = {name: int(np.exp(random.uniform(0, np.log(most + 1)))) for name, most in DRAWN.items()}
        layer = Layer(cell, **sizes)
        numbers = layer.batch * layer.time * max(layer.features, layer.units)
        if layer.operations("forward") <= MOST_OPERATIONS and numbers <= MOST_NUMBERS and layer not in layers:
            layers.append(layer)
    return layers

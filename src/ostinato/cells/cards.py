"""Cells in figures: their states, weights, products and bytes, and the engine that runs them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ostinato import engines
from ostinato.cells import registry
from ostinato.cells.diagram import traced


class Card(NamedTuple):
    """A cell in figures, for one layer.

    Attributes:
        name: of the cell.
        states: the tensors of its state, with their sizes.
        parameters: weights of the layer.
        multiplications: of the products of one row at one step; None where no step is known.
        bytes: weights and state of one row, in float32: what a single step must read.
        engine: what runs the layer here.
        reason: why, in words.
    """

    name: str
    states: dict[str, int]
    parameters: int
    multiplications: int | None
    bytes: int
    engine: str
    reason: str


def card(name: str, *, units: int = 128, features: int = 128) -> Card:
    """The figures of a cell.

    Args:
        name: one of `ostinato.layers.cells()`, or an import path.
        units: width of the layer.
        features: width of its inputs.

    Raises:
        ConfigError: there is no such cell, or it makes no layer.
    """
    cell = registry.find(name)
    layer: Any = registry.recurrent(name, units, engine="auto")
    layer.build((None, None, features))
    states = {spec.name: math.prod(spec.shape) for spec in registry.states(layer)}
    parameters = sum(math.prod(weight.shape) for weight in layer.trainable_variables)
    known = cell.step is not None and cell.params is not None
    choice = engines.choose("auto", layer)
    return Card(
        name,
        states,
        parameters,
        traced(cell, units, features).multiplications if known else None,
        4 * (parameters + sum(states.values())),
        choice.engine,
        choice.reason,
    )

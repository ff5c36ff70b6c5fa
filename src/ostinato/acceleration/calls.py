"""What the recurrent layers of a model are called with when the model runs."""

from __future__ import annotations

import collections
import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ostinato.acceleration.inputs import (
    SEED,
    Batch,
    Nested,
    OpenShape,
    Shape,
    comma_separated,
    make_numbers,
)
from ostinato.errors import ConfigError

_TENSOR_ARGUMENTS = ("sequences", "initial_state", "mask")


class Call(NamedTuple):
    """The tensors that a layer was called with: shape and dtype in place of each.

    Attributes:
        structure: the arguments, None for those not given.
        specs: shapes and dtypes, in the order of the structure.
    """

    structure: Nested
    specs: tuple[tuple[OpenShape, str], ...]

    @property
    def inputs(self) -> str:
        """The shape of the sequences, as in "32,100,8"."""
        return comma_separated("any" if size is None else size for size in self.specs[0][0])


class _Place:
    """Stands for a tensor in a structure."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Place)

    def __hash__(self) -> int:
        return hash(_Place)


def calls_of_layers(
    model: keras.layers.Layer, layers: Iterable[keras.layers.RNN], batch: Batch
) -> dict[int, collections.Counter[Call]]:
    """The calls of layers in a run of a model, which is traced as a graph and not computed.

    Args:
        model: the model.
        layers: recurrent layers in it, wherever they are.
        batch: what the model is called with.

    Returns:
        By the identity of each layer, its calls, each with the number of them in the graph. A layer in a loop
        of TensorFlow counts once; one that the model does not call has none.
    """
    found: dict[int, collections.Counter[Call]] = {}
    with contextlib.ExitStack() as stack:
        for layer in {id(each): each for each in layers}.values():
            found[id(layer)] = stack.enter_context(_watched(layer))
        # A new function each time: TensorFlow would not trace one again that it has traced.
        tf.function(
            lambda *arguments, **options: model(*arguments, training=False, **options)
        ).get_concrete_function(*batch.arguments, **batch.options)
    return found


@contextlib.contextmanager
def _watched(layer: keras.layers.RNN) -> Iterator[collections.Counter[Call]]:
    """Counts the calls of a layer, also those of `layer.call`, which `TimeDistributed` makes."""
    calls: collections.Counter[Call] = collections.Counter()
    original: Callable[..., Any] = layer.call
    signature = inspect.signature(original)
    attributes: dict[str, Any] = layer.__dict__  # not by setattr, which Keras tracks
    before = attributes.get("call")

    def call(*args: Any, **options: Any) -> Any:
        given = signature.bind(*args, **options).arguments
        recorded = _recorded([given.get(name) for name in _TENSOR_ARGUMENTS])
        if recorded is not None:
            calls[recorded] += 1
        return original(*args, **options)

    attributes["call"] = call
    try:
        yield calls
    finally:
        del attributes["call"]
        if before is not None:
            attributes["call"] = before


def _recorded(arguments: Nested) -> Call | None:
    """A call with these arguments; None where Keras only computes shapes."""
    specs: list[tuple[OpenShape, str]] = []

    def place(thing: Any) -> Any:
        if thing is None:
            return None
        if isinstance(thing, list | tuple):
            return tuple(map(place, thing))
        specs.append((tuple(thing.shape), keras.backend.standardize_dtype(thing.dtype)))
        return _Place()

    if any(isinstance(each, keras.KerasTensor) for each in keras.tree.flatten(arguments)):
        return None
    return Call(place(arguments), tuple(specs))


def make_call(call: Call) -> Batch:
    """Made-up arguments for a call: standard normal numbers, and masks that skip nothing.

    Raises:
        ConfigError: a size of the arguments is known only when the model runs.
    """
    random = np.random.default_rng(SEED)
    tensors = iter([make_numbers(random, shape, dtype) for shape, dtype in _known(call)])

    def fill(place: Any) -> Any:
        if isinstance(place, tuple):
            return list(map(fill, place))
        return None if place is None else next(tensors)

    sequences, *others = map(fill, call.structure)
    options = dict(zip(_TENSOR_ARGUMENTS[1:], others, strict=True))
    return Batch((sequences,), {name: value for name, value in options.items() if value is not None})


def _known(call: Call) -> list[tuple[Shape, str]]:
    """The shapes and dtypes of a call, where all sizes are known."""
    if any(size is None for shape, _ in call.specs for size in shape):
        raise ConfigError(f"it gets inputs of shape {call.inputs}, of which a size depends on their values")
    return [(tuple(size or 0 for size in shape), dtype) for shape, dtype in call.specs]

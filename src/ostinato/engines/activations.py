"""The activations of the native engine: which functions of Keras they are, and what they compute.

A function is recognised by its identity. One of the user's that is called `relu` may compute anything, and
Keras' own with options, as in `functools.partial` or a layer `ReLU`, computes something else. Keras' names
that mean the same, as "swish" and "silu", are one function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from ostinato import registration

if TYPE_CHECKING:
    import keras

    from ostinato.cells.base import NativeOp

Function = Callable[[tf.Tensor], tf.Tensor]

FUNCTIONS: dict[str, Function] = {
    "elu": tf.nn.elu,
    "hard_sigmoid": lambda x: tf.nn.relu6(x + 3.0) / 6.0,
    "keras2_hard_sigmoid": lambda x: tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0),
    "linear": tf.identity,
    "relu": tf.nn.relu,
    "selu": tf.nn.selu,
    "sigmoid": tf.sigmoid,
    "silu": lambda x: x * tf.sigmoid(x),
    "softsign": lambda x: x / (1.0 + tf.abs(x)),
    "tanh": tf.tanh,
}
"""By the names in the ops' attributes, in TensorFlow's own ops that it differentiates any number of times."""
DOUBLE = "Double"
"""What the names of ops in float64 have behind the name of their cell's."""
OPTIONS = ("activation", "recurrent_activation")
"""The options of layers that are activations."""


@functools.cache
def _of_keras() -> tuple[tuple[Callable[..., Any], str], ...]:
    """Keras' functions, and ostinato's for files of Keras 2, with their names."""
    from keras import activations

    return tuple(
        (getattr(activations, name, None) or registration.function(name), name) for name in FUNCTIONS
    )


def name_of(function: Callable[..., Any]) -> str | None:
    """The name of Keras' function in the engine; None for any other function."""
    return next((name for known, name in _of_keras() if known is function), None)


def names_of(layer: keras.layers.RNN) -> dict[str, str | None]:
    """The names of a layer's activations, by `OPTIONS` that it has."""
    return {option: name_of(getattr(layer, option)) for option in OPTIONS if hasattr(layer, option)}


def obstacle(layer: keras.layers.RNN) -> str | None:
    """The first activation of the layer that the engine does not have; None when it has them all."""
    for option, name in names_of(layer).items():
        if name is None:
            given = getattr(layer, option)
            called = getattr(given, "__name__", type(given).__name__)
            module = getattr(given, "__module__", type(given).__module__)
            return f"the layer's {option} is {called} of {module}, and it has Keras' {_in_words()}"
    return None


def _in_words() -> str:
    *first, last = FUNCTIONS
    return f"{', '.join(first)} and {last}"


def op_and_attributes(
    op: NativeOp, layer: keras.layers.RNN, dtype: tf.DType
) -> tuple[str, dict[str, bool | bytes | str]]:
    """The op that computes in `dtype`, with the layer's activations, and its attributes for them.

    In float32 the first version has the activations of the textbook. It stays, because SavedModels name it,
    and it is the fastest. In bfloat16 the third lets products round what they read, where the processor has
    instructions for them. In float64 the only version has all activations.
    """
    names = {option: str(name) for option, name in names_of(layer).items()}
    if dtype == tf.float64:
        return f"{op.name}{DOUBLE}V1", {**names}
    if layer.cell.compute_dtype == "bfloat16":
        return f"{op.name}V3", {**names, "bfloat16_products": True}
    if any(name not in op.activations[option] for option, name in names.items()):
        return f"{op.name}V2", {**names}
    return f"{op.name}V1", {option: name for option, name in names.items() if len(op.activations[option]) > 1}

"""Build a network in a graph, to learn its shapes and its size without allocating its weights.

A configuration of a few bytes may ask for more weights than any machine holds, so a configuration from an
untrusted source is built here first.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import tensorflow as tf

Result = TypeVar("Result")


class DryBuild(NamedTuple, Generic[Result]):
    """The outcome of a dry build.

    Attributes:
        result: what `make` returned; None when it raised.
        error: what `make` raised.
        size: bytes of all variables that were made.
    """

    result: Result | None
    error: Exception | None
    size: int


def dry_build(make: Callable[[], Result]) -> DryBuild[Result]:
    """Calls a function that makes Keras layers or models, in a graph that is never run.

    Args:
        make: the function. Its result must not refer to what it made: return shapes or names, not the model.
    """
    builds: list[DryBuild[Result]] = []

    def work() -> None:
        result = error = None
        with tf.Graph().as_default() as graph, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the real build gives the same warnings
            try:
                result = make()
            except Exception as raised:  # Keras raises whatever its parts raise
                error = raised
            size = sum(_variable_bytes(operation) for operation in graph.get_operations())
        builds.append(DryBuild(result, error, size))

    # Keras counts the names that it gives, and TensorFlow its graphs, per thread.
    thread = threading.Thread(target=work, name="dry build")
    thread.start()
    thread.join()
    return builds[0]


def _variable_bytes(operation: tf.Operation) -> int:
    """The bytes of the variable that an operation makes; 0 if it makes none."""
    if operation.type != "VarHandleOp":
        return 0
    shape = tf.TensorShape(operation.get_attr("shape"))
    count = shape.num_elements() if shape.is_fully_defined() else None
    return (count or 0) * max(operation.get_attr("dtype").size, 1)

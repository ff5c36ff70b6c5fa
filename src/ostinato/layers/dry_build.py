"""Count a network's weights without allocating them.

A configuration of a few bytes may ask for more weights than any machine holds, so that one which may come
from anyone is tried here first.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf


class Rehearsed(NamedTuple):
    """What came of making a network for show.

    Attributes:
        result: what `make` returned; None when it raised.
        error: what it raised.
        size: bytes of all variables that were made.
    """

    result: Any
    error: Exception | None
    size: int


def rehearse(make: Callable[[], Any]) -> Rehearsed:
    """Calls a function that makes Keras layers or models, in a graph, where nothing is computed.

    Args:
        make: its result must not hold on to what it makes: shapes and names are fine, a model is not.
    """
    done: list[Rehearsed] = []

    def work() -> None:
        result = error = None
        with tf.Graph().as_default() as graph, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # whoever makes it in earnest is told
            try:
                result = make()
            except Exception as raised:  # Keras raises whatever its parts raise
                error = raised
            done.append(Rehearsed(result, error, sum(map(_size, graph.get_operations()))))

    # Keras counts the names it gives, and TensorFlow its graphs, for each thread.
    thread = threading.Thread(target=work, name="rehearsal")
    thread.start()
    thread.join()
    return done[0]


def _size(operation: Any) -> int:
    """The bytes of the variable that an operation makes."""
    if operation.type != "VarHandleOp":
        return 0
    shape = tf.TensorShape(operation.get_attr("shape"))
    count = shape.num_elements() if shape.is_fully_defined() else None
    return (count or 0) * max(operation.get_attr("dtype").size, 1)

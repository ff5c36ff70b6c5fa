"""Functions that TensorFlow traces, made anew for every model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

Traced = Callable[..., Any]


def traced(function: Callable[..., Any], *, autograph: bool = False, **options: Any) -> Traced:
    """`tf.function(function, **options)`, whose traces TensorFlow counts for this function alone.

    TensorFlow counts the traces of functions by their code, to warn of a function that is traced again and
    again. The functions of several models share their code, so a loop of trainings would seem to be one.
    `tf.function` takes a partial as a callable without code, and counts it by itself; its own repeated traces
    are still warned of.

    AutoGraph is off, as in the training of Keras: it would rewrite the Python of every layer, which takes
    longer than the trace itself. A function with a Python loop over tensors asks for it.
    """
    return tf.function(partial(function), autograph=autograph, **options)

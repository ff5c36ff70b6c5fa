"""Small trainings whose graph is not the point: to trace it takes far longer than their few steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf


@contextmanager
def run_eagerly() -> Iterator[None]:
    """Runs what is a `tf.function` step by step, like any other Python code."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)

"""The process-wide random generators: Python's, NumPy's, TensorFlow's and Keras'."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import cast

import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from tensorflow.python.eager import context

_KERAS = "global_seed_generator"


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds all of them for a while; afterwards they continue as if nothing had been drawn."""
    eager = cast("context.Context", context.context())
    python_state, numpy_state = random.getstate(), np.random.get_state()
    generator = getattr(eager, "_rng", None)  # None until a seed was set
    tensorflow_seed, tensorflow_state = eager._seed, None if generator is None else generator.getstate()
    keras_generator = global_state.get_global_attribute(_KERAS)
    global_state.set_global_attribute(_KERAS, None)
    random.seed(seed)
    np.random.seed(seed)
    tf.random.set_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        global_state.set_global_attribute(_KERAS, keras_generator)
        eager._set_global_seed(tensorflow_seed)
        if tensorflow_state is not None:
            eager._rng.setstate(tensorflow_state)

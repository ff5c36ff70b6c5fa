"""The generators that a whole process draws from: Python's, NumPy's, TensorFlow's and Keras'."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from tensorflow.python.eager import context

_KERAS = "global_seed_generator"


@contextlib.contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """While it lasts, all of them begin at a seed; afterwards they go on as if nothing had been drawn."""
    eager: Any = context.context()
    python, numpy = random.getstate(), np.random.get_state()
    generator: Any = getattr(eager, "_rng", None)  # there is none before a seed was set
    tensorflow = eager._seed, None if generator is None else generator.getstate()
    keras_generator = global_state.get_global_attribute(_KERAS)
    global_state.set_global_attribute(_KERAS, None)
    random.seed(seed)
    np.random.seed(seed)
    tf.random.set_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        global_state.set_global_attribute(_KERAS, keras_generator)
        eager._set_global_seed(tensorflow[0])
        generator = eager._rng
        if tensorflow[1] is not None:
            generator.setstate(tensorflow[1])

"""Initial weights in bfloat16, for which TensorFlow has no QR decomposition.

`keras.initializers.Orthogonal`, the default of recurrent kernels, needs one, and fails in bfloat16. Here it
draws in float32, and its weights are then rounded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import keras
import tensorflow as tf

_OPTIONS = ("kernel_initializer", "recurrent_initializer", "bias_initializer")


class _DrawnInFloat32:
    """An initializer that draws in float32 for any dtype."""

    def __init__(self, initializer: keras.initializers.Initializer) -> None:
        self._initializer = initializer

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> tf.Tensor:
        return tf.cast(self._initializer(shape, dtype="float32"), dtype or "float32")


@contextlib.contextmanager
def that_bfloat16_has(cells: Iterable[keras.layers.Layer]) -> Iterator[None]:
    """Orthogonal initializers of cells with bfloat16 weights draw in float32 while the context lasts.

    The cells have their own initializers again afterwards, so configurations stay as they are.
    """
    replaced = []
    for cell in cells:
        for option in _OPTIONS if getattr(cell, "variable_dtype", None) == "bfloat16" else ():
            initializer = getattr(cell, option, None)
            if isinstance(initializer, keras.initializers.Orthogonal):
                replaced.append((cell, option, initializer))
                setattr(cell, option, _DrawnInFloat32(initializer))
    try:
        yield
    finally:
        for cell, option, initializer in replaced:
            setattr(cell, option, initializer)

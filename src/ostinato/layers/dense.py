"""Dense layers whose initial weights follow from a seed."""

from __future__ import annotations

import keras

from ostinato.cells.base import KerasOption


def dense(units: int, seed: int, name: str, **options: KerasOption) -> keras.layers.Dense:
    """A dense layer whose initial weights are drawn from a seed."""
    initializer: KerasOption = keras.initializers.GlorotUniform(seed=seed)
    return keras.layers.Dense(units, kernel_initializer=initializer, name=name, **options)

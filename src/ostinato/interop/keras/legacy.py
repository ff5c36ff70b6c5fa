"""Functions that Keras 2 had and Keras 3 has not; files name them by this module."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="ostinato")
def keras2_hard_sigmoid(x: Any) -> Any:
    """Keras 2's hard_sigmoid, max(0, min(1, 0.2 x + 0.5)); Keras 3's has a slope of 1/6.

    Args:
        x: any shape.

    Returns:
        A tensor of x's shape.

    Example:
        >>> import numpy as np
        >>> keras2_hard_sigmoid(np.array([-3.0, 1.0, 3.0])).numpy().round(2).tolist()
        [0.0, 0.7, 1.0]
    """
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)

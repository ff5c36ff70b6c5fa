"""Weights of eight bits, with a scale for each row."""

import numpy as np


def rows_of_int8(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers from −127 to 127, and the scale of each row: array ≈ whole × scale.

    Args:
        array: weights.
        axis: whose entries have a scale each.
    """
    others = tuple(at for at in range(array.ndim) if at != axis)
    scales = np.maximum(np.max(np.abs(array), axis=others), 1e-30) / 127
    shape = [-1 if at == axis else 1 for at in range(array.ndim)]
    whole = np.rint(array / scales.reshape(shape)).astype(np.int8)
    return whole, scales.astype(np.float32)

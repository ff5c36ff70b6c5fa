"""The native engine through its C interface, `kernels/ostinato.h`, without TensorFlow."""

from __future__ import annotations

import ctypes
import functools
import weakref
from typing import Any

import numpy as np

from ostinato import kernels
from ostinato.errors import EngineError
from ostinato.runtime.program import Recurrent

_POINTER = ctypes.c_void_p
POINTER = ctypes.sizeof(_POINTER)
"""Bytes of an address."""


class _Options(ctypes.Structure):
    """`ostinato_options`."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("cell", ctypes.c_char_p),
        ("features", ctypes.c_int64),
        ("units", ctypes.c_int64),
        ("activation", ctypes.c_char_p),
        ("reset_after", ctypes.c_int),
        ("go_backwards", ctypes.c_int),
        ("return_sequences", ctypes.c_int),
        ("recurrent_activation", ctypes.c_char_p),
    )


@functools.cache
def _library() -> ctypes.CDLL:
    path = kernels.library()
    try:
        library = ctypes.CDLL(str(path))
        for name in ("ostinato_forward", "ostinato_forward_ids"):
            getattr(library, name).argtypes = (_POINTER, *[ctypes.c_int64] * 2, *[_POINTER] * 4)
        library.ostinato_create.argtypes = (
            ctypes.POINTER(_Options),
            *[_POINTER] * 3,
            ctypes.POINTER(_POINTER),
        )
        library.ostinato_destroy.argtypes = (_POINTER,)
        library.ostinato_destroy.restype = None
        library.ostinato_error.restype = ctypes.c_char_p
    except (OSError, AttributeError) as error:
        raise EngineError(
            f"the engine's library must have the C interface of ostinato.h, but: {error}"
        ) from None
    return library


class EngineLayer:
    """A recurrent layer of the engine, which keeps its own copy of the weights.

    Any number of threads may run it at the same time.

    Args:
        stage: the weights and options.

    Raises:
        EngineError: there is no library, or it refuses the layer.
    """

    def __init__(self, stage: Recurrent):
        self._library = _library()
        self._over_vectors = self._library.ostinato_forward
        self._over_ids = self._library.ostinato_forward_ids
        self._sequences = stage.return_sequences
        features, self._units = len(stage.kernel), stage.units
        options = _Options(
            size=ctypes.sizeof(_Options),
            cell=stage.cell.encode(),
            features=features,
            units=self._units,
            activation=stage.activation.encode(),
            reset_after=stage.reset_after,
            go_backwards=stage.go_backwards,
            return_sequences=stage.return_sequences,
            recurrent_activation=stage.recurrent_activation.encode(),
        )
        weights = [
            None if each is None else np.ascontiguousarray(each, np.float32)
            for each in (stage.kernel, stage.recurrent, stage.bias)
        ]
        made = _POINTER()
        addresses = [None if each is None else address(each) for each in weights]
        self._check(self._library.ostinato_create(options, *addresses, made))
        self._made = made
        weakref.finalize(self, self._library.ostinato_destroy, made)

    def run(self, x: np.ndarray, mask: np.ndarray | None, states: bytes | None = None) -> np.ndarray:
        """Runs over a batch of sequences; x and mask are contiguous.

        Args:
            x: (batch, time, features) float32, or token ids (batch, time) int32.
            mask: (batch, time) bool, False where a step is skipped; None skips none.
            states: addresses of the states before the first step, each (batch, units) of float32. Those after
                the last step are written there. None begins with zeros.

        Returns:
            The outputs, (batch, time, units) or (batch, units).
        """
        shape = x.shape
        batch, time = shape[0], shape[1]
        y = np.empty((batch, time, self._units) if self._sequences else (batch, self._units), np.float32)
        run = self._over_vectors if len(shape) == 3 else self._over_ids
        given = None if mask is None else address(mask)
        status = run(self._made, batch, time, address(x), given, states, address(y))
        if status:
            self._check(status)
        return y

    def _check(self, status: int) -> None:
        if status:
            raise EngineError(f"the engine says: {self._library.ostinato_error().decode()}")


def address(array: Any) -> int:
    """Where the numbers of an array lie."""
    if array.flags.writeable:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    return array.__array_interface__["data"][0]  # slower, and for every array

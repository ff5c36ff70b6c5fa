"""The native engine's library: its ops as Python functions, and its C functions.

A SavedModel with such ops loads once this module is imported, which `ostinato.registration` does as soon as
TensorFlow is there. Importing it must therefore not import Keras.
"""

import ctypes
import functools
import re
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.python.eager import record

from ostinato import kernels
from ostinato.errors import EngineError

Gradient = Callable[..., Sequence[tf.Tensor | None]]
"""The registered gradient of an op: from the op and its outputs' gradients to its inputs'."""


class Library(NamedTuple):
    """The loaded library: its ops as Python functions, and its C functions."""

    ops: ModuleType
    functions: ctypes.CDLL


@functools.cache
def found() -> Library | str:
    """The library; or, in words, why there is none."""
    try:
        path = str(kernels.library())
    except EngineError as error:
        return str(error)
    try:
        ops = tf.load_op_library(path)
        functions = ctypes.CDLL(path)
    except (tf.errors.OpError, OSError) as error:
        first_line = (str(error).splitlines() or ["no reason given"])[0]
        return f"its library does not load ({first_line})"
    functions.ostinato_instruction_set.restype = ctypes.c_char_p
    functions.ostinato_missing_function.restype = ctypes.c_char_p
    if missing := functions.ostinato_missing_function():
        return f"its library needs {missing.decode()}, which TensorFlow {tf.__version__} lacks"
    return Library(ops, functions)


def available() -> bool:
    """Whether the library exists and loads."""
    return isinstance(found(), Library)


def reason() -> str:
    """Why the engine is not available, in words; empty when it is."""
    library = found()
    return library if isinstance(library, str) else ""


def instruction_set() -> str:
    """The instruction set that the kernels use on this processor, for example "avx2".

    Raises:
        EngineError: the engine is not available.
    """
    return loaded().functions.ostinato_instruction_set().decode()


def threads() -> int:
    """The number of threads that the kernels use.

    It is the environment variable OSTINATO_THREADS, else TensorFlow's intra-op setting, else the number of
    processors.

    Raises:
        EngineError: the engine is not available.
    """
    return loaded().functions.ostinato_threads()


def has(name: str) -> bool:
    """Whether the library has an op's Python function; one that was built from older sources may lack it."""
    return hasattr(loaded().ops, name)


def machine_obstacle() -> str | None:
    """Why the engine cannot run any layer on this machine; None when it can."""
    if not available():
        return reason()
    if tf.config.get_visible_devices("GPU"):
        return "TensorFlow has a GPU here, and its kernels run on the CPU"
    return None


def may_be_recorded(inputs: Sequence[tf.Tensor]) -> bool:
    """Whether a tape records a call with these inputs; in a graph, whether any tape may.

    A graph does not know which of its arguments a tape outside of it watches.
    """
    return record.should_record_backprop(inputs) if tf.executing_eagerly() else record.could_possibly_record()


def register_gradients(op: str, of_op: str, gradient: Gradient, second: Gradient) -> None:
    """Registers the gradient of an op, and that of its gradient's op `of_op`, where the library has them."""
    library = found()
    if isinstance(library, Library) and op in vars(library.ops):
        tf.RegisterGradient(op)(gradient)
        tf.RegisterGradient(of_op)(second)


def as_mask(mask: tf.Tensor) -> tf.Tensor:
    """A mask as the ops read it, bool (batch, time); Keras takes (batch, time, 1), too."""
    mask = tf.cast(mask, tf.bool)
    return tf.squeeze(mask, -1) if mask.shape.rank == 3 else mask


def absent(dtype: tf.DType) -> tf.Tensor:
    """A tensor without elements, which stands for an input that is not given."""
    return _eager_absent(dtype) if tf.executing_eagerly() else tf.constant([], dtype)


@functools.cache
def _eager_absent(dtype: tf.DType) -> tf.Tensor:
    return tf.constant([], dtype)


@functools.cache
def loaded() -> Library:
    """The library, with TensorFlow's number of threads, which is fixed when the first op is made."""
    library = found()
    if isinstance(library, str):
        raise EngineError(f"the native engine is not available: {library}")
    configured = tf.config.threading.get_intra_op_parallelism_threads()
    if configured > 0:
        library.functions.ostinato_set_threads(configured)
    return library


@functools.cache
def function(name: str) -> Callable[..., Any]:
    """The Python function of an op: ostinato_lstm_grad_v1 of OstinatoLstmGradV1."""
    return getattr(loaded().ops, re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower())

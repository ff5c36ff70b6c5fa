"""Which engine runs a recurrent layer, and why.

- `native`: the whole layer as one TensorFlow op in C++; fast, on CPU, in float32.
- `keras`: Keras' own loop; it supports every option.
- `scratch`: the textbook equations of `ostinato.scratch` on the layer's own weights; slow, and without the
  options that the textbook does not have.
- `auto`: the native engine where it can run the layer, else Keras' own loop.

With the environment variable OSTINATO_ENGINE=keras, Keras' own loop runs every layer, whatever engine it asks
for: an error that persists is not the native engine's. The variable is read at each choice; a function that
TensorFlow has traced keeps the engine it was traced with.

Neither importing this module nor `check` imports TensorFlow.
"""

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ostinato.errors import EngineError, EngineWarning, warn
from ostinato.wording import hint_after

if TYPE_CHECKING:
    import keras

ENGINES = ("auto", "native", "keras", "scratch")
_VARIABLE = "OSTINATO_ENGINE"


class Choice(NamedTuple):
    """An engine, and why it was chosen, in words."""

    engine: str
    reason: str


def check(engine: str) -> None:
    """Raises EngineError when there is no such engine, or OSTINATO_ENGINE is neither "keras" nor "auto".

    It does not import TensorFlow.
    """
    if engine not in ENGINES:
        hint = hint_after(engine, ENGINES)
        raise EngineError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}{hint}")
    _keras_is_forced()  # raises when the variable has another value


def choose(engine: str, layer: "keras.layers.Layer | None" = None, *, masked: bool = False) -> Choice:
    """The engine that runs a layer whose `engine` argument is given.

    Args:
        engine: one of `ENGINES`.
        layer: a recurrent layer: SimpleRNN, GRU, LSTM, or another `keras.layers.RNN`, which only Keras' own
            loop can run; None stands for an LSTM with default options.
        masked: whether the layer is called with a mask.

    Raises:
        EngineError: there is no such engine, or it does not support an option of the layer; the layer is not
            recurrent; or OSTINATO_ENGINE is neither "keras" nor "auto".
    """
    check(engine)
    if layer is not None:
        layer = _recurrent(layer)
    if _keras_is_forced():
        return Choice("keras", f"the environment variable {_VARIABLE}=keras asks for it")
    if engine == "keras":
        return Choice("keras", "engine='keras' was asked for")
    if engine == "scratch":
        lacking = None if layer is None else _beyond_the_textbook(layer, masked)
        if lacking:
            raise EngineError(
                f"engine='scratch' cannot run this layer: the textbook has no {lacking}; use engine='keras'"
            )
        return Choice("scratch", "engine='scratch' was asked for")
    obstacle = _obstacle(layer)
    if engine == "native":
        if obstacle:
            raise EngineError(
                f"the native engine cannot run this layer: {obstacle}; use engine='auto', or set the "
                f"environment variable {_VARIABLE}=keras"
            )
        return Choice("native", "engine='native' was asked for")
    if obstacle:
        return Choice("keras", f"Keras' own loop runs the layer, since the native engine cannot: {obstacle}")
    return Choice("native", "the native engine has everything the layer needs")


def may_be_native(engine: str, layer: "keras.layers.RNN") -> bool:
    """Whether the native engine runs the layer, unless OSTINATO_ENGINE forbids it.

    Args:
        engine: the layer's `engine` argument, one of `ENGINES`.
        layer: a SimpleRNN, GRU or LSTM layer.
    """
    return engine in ("auto", "native") and _obstacle(layer) is None


def warn_without_library() -> None:
    """Warns once per process when the native engine's library is missing or does not load.

    There is no warning where OSTINATO_ENGINE asks for Keras' own loop, or because of a GPU.
    """
    from ostinato.engines import native

    if not native.available() and not _keras_is_forced():
        _warn(native.reason())


@functools.cache
def _warn(reason: str) -> None:
    warn(
        f"the native engine is not available: {reason}; layers run on Keras' own loop, which is slower, "
        f"until ostinato is installed again with a C++ compiler (g++ or clang++); engine='keras' or the "
        f"environment variable {_VARIABLE}=keras silences this warning",
        EngineWarning,
    )


def _keras_is_forced() -> bool:
    """Whether OSTINATO_ENGINE asks for Keras' own loop. Raises EngineError when it asks for anything else."""
    value = os.environ.get(_VARIABLE, "")
    if value not in ("", "auto", "keras"):
        hint = hint_after(value, ("auto", "keras"))
        raise EngineError(f"{_VARIABLE} must be 'keras' or 'auto', got {value!r}{hint}")
    return value == "keras"


def _recurrent(layer: object) -> "keras.layers.RNN":
    import keras  # loaded already, as there is a layer

    if not isinstance(layer, keras.layers.RNN):
        raise EngineError(f"layer must be a keras.layers.RNN, as SimpleRNN, GRU and LSTM are, got {layer!r}")
    return layer


def _obstacle(layer: "keras.layers.RNN | None") -> str | None:
    """Why the native engine cannot run the layer; None when it can."""
    return _beyond_this_machine() or (None if layer is None else _beyond_the_kernels(layer))


def _beyond_this_machine() -> str | None:
    """Why the native engine cannot run any layer on this machine; None when it can."""
    import tensorflow as tf

    from ostinato.engines import native

    if not native.available():
        return native.reason()
    if tf.config.get_visible_devices("GPU"):
        return "TensorFlow has a GPU here, and its kernels run on the CPU"
    return None


def _beyond_the_kernels(layer: "keras.layers.RNN") -> str | None:
    """The first option of the layer that the native engine does not support."""
    import keras  # loaded already, as there is a layer
    from keras import activations

    cell, policy = getattr(layer, "cell", None), layer.dtype_policy
    if not _has_known_cell(layer):
        return f"it does not know the cell {type(cell).__name__}"
    if not _is_classic(layer):
        name = type(cell).__name__
        same = f"; a layer {name.removesuffix('Cell')} computes the same"
        return (
            f"it runs the layers SimpleRNN, GRU and LSTM, and this is {type(layer).__name__}({name})"
            f"{same if type(layer) is keras.layers.RNN else ''}"
        )
    if (policy.compute_dtype, policy.variable_dtype) != ("float32", "float32"):
        return f"it computes in float32, and the layer's dtype is '{policy.name}'"
    plain = isinstance(cell, keras.layers.SimpleRNNCell)
    known = (activations.tanh, activations.relu, activations.linear) if plain else (activations.tanh,)
    if layer.activation not in known:
        names = " or ".join(activation.__name__ for activation in known)
        return f"its activation is Keras' {names}, and the layer's is {_name(layer.activation)}"
    if not plain and layer.recurrent_activation is not activations.sigmoid:
        return f"its gates are Keras' sigmoid, and the layer's are {_name(layer.recurrent_activation)}"
    if layer.unroll:
        return "unroll=True asks for Keras' unrolled loop"
    if getattr(layer, "use_cudnn", False) is True:
        return "use_cudnn=True asks for cuDNN"
    return None


def _is_classic(layer: "keras.layers.RNN") -> bool:
    import keras

    return isinstance(layer, keras.layers.SimpleRNN | keras.layers.GRU | keras.layers.LSTM)


def _has_known_cell(layer: "keras.layers.RNN") -> bool:
    import keras

    known = (keras.layers.SimpleRNNCell, keras.layers.GRUCell, keras.layers.LSTMCell)
    return type(getattr(layer, "cell", None)) in known


def _name(activation: Callable[..., object]) -> str:
    name = getattr(activation, "__name__", type(activation).__name__)
    return f"{name} of {getattr(activation, '__module__', type(activation).__module__)}"


def _beyond_the_textbook(layer: "keras.layers.RNN", masked: bool) -> str | None:
    """The first option of the layer that the textbook equations do not have."""
    from keras import activations

    if not _is_classic(layer):
        return f"{type(layer).__name__} layers, only SimpleRNN, GRU and LSTM"
    recurrent_activation = getattr(layer, "recurrent_activation", activations.sigmoid)
    policy = layer.dtype_policy
    options = {
        f"{type(layer.cell).__name__}": not _has_known_cell(layer),
        "masks": masked,
        "go_backwards": layer.go_backwards,
        "dropout": layer.dropout,
        "recurrent_dropout": layer.recurrent_dropout,
        "activation but tanh": layer.activation is not activations.tanh,
        "recurrent_activation but sigmoid": recurrent_activation is not activations.sigmoid,
        f"mixed precision (dtype '{policy.name}')": policy.compute_dtype != policy.variable_dtype,
        "cuDNN (use_cudnn=True)": getattr(layer, "use_cudnn", False) is True,
    }
    return next((option for option, given in options.items() if given), None)

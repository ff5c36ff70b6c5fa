"""Which engine runs a recurrent layer, and why.

- `native`: the whole layer as one TensorFlow op in C++; fast, on CPU, in float32, half precision and
  float64.
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
        layer: a recurrent layer: SimpleRNN, GRU, LSTM, a `keras.layers.RNN` of their cells, or any other,
            which only Keras' own loop can run; None stands for an LSTM with default options.
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
    obstacle = _obstacle(engine, layer, masked)
    if engine == "scratch":
        if obstacle:
            raise EngineError(f"engine='scratch' cannot run this layer: {obstacle}; use engine='keras'")
        return Choice("scratch", "engine='scratch' was asked for")
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
        layer: a layer of ostinato's.
    """
    return engine in ("auto", "native") and _obstacle("native", layer) is None


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


def _obstacle(engine: str, layer: "keras.layers.RNN | None", masked: bool = False) -> str | None:
    """Why an engine cannot run the layer, or any layer on this machine; None when it can."""
    from ostinato.engines import in_turn, native, scratch

    why = None if engine == "scratch" else native.machine_obstacle()
    if why is not None or layer is None:
        return why
    of_engine = scratch.obstacle if engine == "scratch" else native.obstacle
    return in_turn.obstacle(layer, of_engine, mask=masked)

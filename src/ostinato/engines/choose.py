"""Which engine runs a recurrent layer, and why.

- `native`: the whole layer as one TensorFlow op in C++; fast, on CPU, in float32.
- `keras`: Keras' own loop; it has every option.
- `scratch`: the textbook equations of `ostinato.scratch` on the layer's own weights; slow, and only what the
  textbook has.
- `auto`: the native engine where it can run the layer, else Keras' own loop.

Importing this does not import TensorFlow, nor does `check`: the names are known before it is loaded.
"""

import difflib
from typing import Any, NamedTuple

from ostinato.errors import EngineError

ENGINES = ("auto", "native", "keras", "scratch")


class Choice(NamedTuple):
    """An engine, and the reason in words why it is this one."""

    engine: str
    reason: str


def check(engine: str) -> None:
    """Raises EngineError when there is no such engine; does not import TensorFlow."""
    if engine not in ENGINES:
        nearest = difflib.get_close_matches(str(engine), ENGINES, n=1)
        hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
        raise EngineError(f"There is no engine {engine!r}; choose one of {', '.join(ENGINES)}.{hint}")


def choose(engine: str, layer: Any = None, *, masked: bool = False) -> Choice:
    """The engine that runs a layer when its user asks for `engine`.

    Args:
        engine: one of `ENGINES`.
        layer: a SimpleRNN, GRU or LSTM layer; None asks about an ordinary one.
        masked: whether the layer is called with a mask.

    Raises:
        EngineError: there is no such engine, or it lacks an option the layer has.
    """
    check(engine)
    if engine == "keras":
        return Choice("keras", "engine='keras' was asked for")
    if engine == "scratch":
        lacking = None if layer is None else _beyond_the_textbook(layer, masked)
        if lacking:
            raise EngineError(
                f"engine='scratch' is the textbook, which has no {lacking}; use engine='keras'."
            )
        return Choice("scratch", "engine='scratch' was asked for")
    obstacle = _beyond_this_machine() or (None if layer is None else _beyond_the_kernels(layer))
    if engine == "native":
        if obstacle:
            raise EngineError(f"The native engine cannot run this layer: {obstacle}. Use engine='auto'.")
        return Choice("native", "engine='native' was asked for")
    if obstacle:
        return Choice("keras", f"Keras' own loop runs the layer, since the native engine cannot: {obstacle}")
    return Choice("native", "the native engine has everything the layer needs")


def _beyond_this_machine() -> str | None:
    """Why the native engine runs no layer at all here."""
    import tensorflow as tf

    from ostinato.engines import native

    if not native.available():
        return native.reason()
    if tf.config.get_visible_devices("GPU"):
        return "TensorFlow has a GPU here, and its kernels run on the CPU"
    return None


def _beyond_the_kernels(layer: Any) -> str | None:
    """The first option of the layer that the native engine does not have."""
    import keras  # whoever has a layer has loaded it
    from keras import activations

    cell, policy = layer.cell, layer.dtype_policy
    if type(cell) not in (keras.layers.SimpleRNNCell, keras.layers.GRUCell, keras.layers.LSTMCell):
        return f"it does not know the cell {type(cell).__name__}"
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
        return "unroll=True asks for Keras' loop, written out"
    if getattr(layer, "use_cudnn", False) is True:
        return "use_cudnn=True asks for cuDNN"
    return None


def _name(activation: Any) -> str:
    name = getattr(activation, "__name__", type(activation).__name__)
    return f"{name} of {activation.__module__}"


def _beyond_the_textbook(layer: Any, masked: bool) -> str | None:
    """The first option of the layer that the textbook equations do not have."""
    from keras import activations  # whoever has a layer has loaded Keras

    recurrent_activation = getattr(layer, "recurrent_activation", activations.sigmoid)
    policy = layer.dtype_policy
    options = {
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

"""Which engine runs a recurrent layer, and why.

- `keras`: Keras' own loop; it has every option.
- `scratch`: the textbook equations of `ostinato.scratch` on the layer's own weights; slow, and only what the
  textbook has.
- `auto`: the fastest that can run the layer.

Nothing here imports TensorFlow, so that the names are known before it is loaded.
"""

import difflib
from typing import Any, NamedTuple

from ostinato.errors import EngineError

ENGINES = ("auto", "keras", "scratch")


class Choice(NamedTuple):
    """An engine, and the reason in words why it is this one."""

    engine: str
    reason: str


def choose(engine: str, layer: Any = None, *, masked: bool = False) -> Choice:
    """The engine that runs a layer when its user asks for `engine`.

    Args:
        engine: one of `ENGINES`.
        layer: a SimpleRNN, GRU or LSTM layer; None asks about an ordinary one.
        masked: whether the layer is called with a mask.

    Raises:
        EngineError: there is no such engine, or it lacks an option the layer has.
    """
    if engine == "auto":
        return Choice(
            "keras", "the native engine is not part of this version, so Keras' own loop runs the layer"
        )
    if engine == "keras":
        return Choice("keras", "engine='keras' was asked for")
    if engine == "scratch":
        lacking = None if layer is None else _beyond_the_textbook(layer, masked)
        if lacking:
            raise EngineError(
                f"engine='scratch' is the textbook, which has no {lacking}; use engine='keras'."
            )
        return Choice("scratch", "engine='scratch' was asked for")
    nearest = difflib.get_close_matches(str(engine), ENGINES, n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    raise EngineError(f"There is no engine {engine!r}; choose one of {', '.join(ENGINES)}.{hint}")


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

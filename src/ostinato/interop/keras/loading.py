"""A Keras model, whether it is given or stands in a file; and what is wrong with it, in one sentence."""

import os
import pathlib
import re
from typing import Any

from ostinato.errors import ConfigError
from ostinato.interop.keras.model_files import check_file
from ostinato.layers import classic  # registers the layers that files name # noqa: F401

import keras  # isort: skip - classic says in one sentence what is wrong when it does not load

Source = keras.layers.Layer | str | os.PathLike[str]
_LONGEST = 400


def load_source(model: Source, *, compile: bool = True) -> Any:
    """The model or layer itself, or the model in a file.

    Args:
        model: a Keras model or layer, or a file with a model.
        compile: False leaves out what a file says of optimizer, loss and metrics.

    Raises:
        ConfigError: it is no Keras model, or no file that holds one.
    """
    if isinstance(model, keras.layers.Layer):
        return model
    if not isinstance(model, str | os.PathLike):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        if kind.startswith("tf_keras."):
            raise ConfigError(
                f"{kind} is a model of Keras 2; save it with model.save('model.h5') and give the file's name."
            )
        raise ConfigError(f"A Keras model or the path of a .keras or .h5 file is expected, not {kind}.")
    path = pathlib.Path(model)
    check_file(path)
    from ostinato.interop.keras import allowed as vetting
    from ostinato.interop.keras import legacy

    try:
        if path.suffix == ".keras":
            vetting.vet_keras(path)
            return keras.models.load_model(path, safe_mode=True, compile=compile)
        vetting.vet_h5(path, legacy.load)
        return legacy.load(path, compile=compile)
    except ConfigError:
        raise
    except Exception as error:  # Keras raises whatever its parts raise
        raise ConfigError(f"{path} cannot be loaded: {reason(error)}") from error


def reason(error: Exception) -> str:
    """The sentence of Keras' message that says what is wrong."""
    text = str(error)
    if "safe_mode" in text:
        return "it holds a Python lambda, which could only be rebuilt by running code from its configuration."
    lines = [line.strip() for line in text.partition("Exception encountered:")[2].splitlines()]
    lines += [line.strip() for line in text.splitlines()]
    lines = [re.sub(r"\x1b\[\d*m", "", line) for line in lines if line] + [type(error).__name__]
    # Keras wraps what a layer raises in a report, whose first line says only which layer it was.
    first = next(line for line in lines if not line.startswith("Exception encountered when calling"))
    first = first.partition(" Full object config")[0].partition(" using config=")[0]
    first = first if len(first) <= _LONGEST else f"{first[:_LONGEST]}…"
    first = "".join(c if c.isprintable() else repr(c)[1:-1] for c in first)  # it may quote the file
    return first if first.endswith((".", "!", "?", "…")) else f"{first}."

"""Loads a Keras model from a file."""

import os
import pathlib
from typing import cast

from ostinato.cells import engine_layer  # registers what files name # noqa: F401
from ostinato.errors import ConfigError
from ostinato.interop.keras.model_files import check_model_path
from ostinato.interop.keras.sentences import describe_error

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load

Source = keras.layers.Layer | str | os.PathLike[str]


def load_source(model: Source, *, compile: bool = True) -> keras.layers.Layer:
    """Returns a model or layer as it is, and loads a model from a path.

    Args:
        model: a Keras model or layer, or the path of a file with a model.
        compile: False ignores a file's optimizer, loss and metrics.

    Raises:
        ConfigError: it is neither a Keras model nor a file that holds one, or the file is not safe to load.
    """
    if isinstance(model, keras.layers.Layer):
        return model
    if not isinstance(model, str | os.PathLike):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        if kind.startswith("tf_keras."):
            raise ConfigError(
                f"{kind} is a model of Keras 2; save it with model.save('model.h5') and give the file's path"
            )
        raise ConfigError(f"the model must be a Keras model or the path of a .keras or .h5 file, got {kind}")
    path = pathlib.Path(model)
    check_model_path(path)
    from ostinato.interop.keras import allowed, legacy

    try:
        if path.suffix == ".keras":
            allowed.check_keras_file(path)
            return cast("keras.Model", keras.models.load_model(path, safe_mode=True, compile=compile))
        allowed.check_h5_file(path, legacy.load)
        return legacy.load(path, compile=compile)
    except ConfigError:
        raise
    except Exception as error:  # Keras raises whatever its parts raise
        raise ConfigError(f"{path} cannot be loaded: {describe_error(error)}") from error

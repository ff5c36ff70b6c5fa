"""Models and weights in `.h5` files of Keras 2 and 3."""

from __future__ import annotations

import json
import pathlib
from typing import NamedTuple, cast

import h5py
import keras

from ostinato.errors import ConfigError
from ostinato.interop.keras.hdf5 import MAX_CONFIG_BYTES
from ostinato.interop.keras.keras2 import compiled, models, weights
from ostinato.interop.keras.origin import JsonObject, Origin


class Contents(NamedTuple):
    """What a file says of its model.

    Attributes:
        config: the configuration of the model; None in a file of weights alone.
        training: what it was compiled with; None where it was not.
        version: the Keras that wrote it.
    """

    config: JsonObject | None
    training: JsonObject | None
    version: str


def read(path: pathlib.Path) -> Contents:
    """Reads the configurations in a file, which are still to be checked."""
    with h5py.File(path) as file:
        config, training = (_json(file.attrs.get(name)) for name in ("model_config", "training_config"))
        holder = file.get("model_weights", file)
        version = file.attrs.get("keras_version", holder.attrs.get("keras_version"))
    if version is None:
        version = (config or {}).get("keras_version", "2")
    return Contents(config, training, version.decode() if isinstance(version, bytes) else str(version))


def build(config: JsonObject, origin: Origin) -> keras.Model:
    """The model of a configuration of any Keras but 1, with new weights.

    Raises:
        ConfigError: it has a part that Keras 3 does not have.
        Exception: Keras refuses it; whatever its parts raise.
    """
    if not origin.is_keras_3:
        return models.build(config, origin)
    from keras.src.legacy.saving import saving_options, saving_utils
    from keras.src.saving import serialization_lib

    objects = {**keras.saving.get_custom_objects(), **origin.custom_objects}
    with (
        saving_options.keras_option_scope(use_legacy_config=True),
        serialization_lib.SafeModeScope(origin.safe_mode),
    ):
        return cast("keras.Model", saving_utils.model_from_config(config, custom_objects=objects))


def load(path: pathlib.Path, contents: Contents, origin: Origin, *, compile: bool = True) -> keras.Model:
    """Loads a model.

    Args:
        path: the file.
        contents: from `read`.
        origin: where it comes from.
        compile: False ignores optimizer, loss and metrics.

    Returns:
        The model, compiled if it was saved so, with the saved state of the optimizer. A warning says when it
        cannot be compiled.

    Raises:
        ConfigError: the file has only weights, or parts that Keras 3 does not have.
    """
    if contents.config is None:
        raise ConfigError(
            f"{path} holds weights without a model; give the model, or its JSON file, and load them with "
            f'ostinato.load_weights(model, "{path.name}")'
        )
    model = build(contents.config, origin)
    with h5py.File(path) as file:
        pairs = weights.assignments(model, weights.read(file))
        weights.assign(pairs)
        if contents.training and compile and compiled.compile_as_saved(model, contents.training, origin):
            trainable = {id(variable) for variable in model.trainable_variables}
            order = [variable for variable, _ in pairs if id(variable) in trainable]
            if state := compiled.stored_state(file, type(model.optimizer).__name__):
                compiled.restore_state(model, state, order)
    return model


def _json(text: str | bytes | None) -> JsonObject | None:
    if text is not None and len(text) > MAX_CONFIG_BYTES:
        raise ValueError(f"its configuration has more than {MAX_CONFIG_BYTES:,} bytes")
    return None if text is None else json.loads(text)

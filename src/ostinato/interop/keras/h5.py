"""Models and weights in `.h5` files of Keras 2 and 3."""

from __future__ import annotations

import importlib
import json
import pathlib
from types import ModuleType
from typing import Any, NamedTuple, cast

import h5py
import keras

from ostinato.errors import ConfigError
from ostinato.interop.keras.hdf5 import MAX_CONFIG_BYTES
from ostinato.interop.keras.keras2 import compiled, models, weights
from ostinato.interop.keras.origin import JsonObject, Origin

_OPERATIONS = ("numpy", "core", "nn", "math", "linalg", "image")


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
        version = file.attrs.get("keras_version", weights.group(file).attrs.get("keras_version"))
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
    made = keras.saving.deserialize_keras_object(
        _with_modules(config), custom_objects=dict(origin.custom_objects), safe_mode=origin.safe_mode
    )
    return cast("keras.Model", made)


def _with_modules(config: Any) -> Any:
    """A configuration of an `.h5` file of Keras 3 with the modules of its classes, as in a `.keras` file."""
    if isinstance(config, list):
        return [_with_modules(part) for part in config]
    if not isinstance(config, dict):
        return config
    config = {name: _with_modules(part) for name, part in config.items()}
    name = config.get("class_name")
    if not isinstance(name, str) or "module" in config or name.startswith("__"):
        return config
    known = next((module for module in _modules() if isinstance(vars(module).get(name), type)), None)
    registered = {"registered_name": None if known else config.get("registered_name", name)}
    return {**config, "module": known and known.__name__.removesuffix(".models"), **registered}


def _modules() -> list[ModuleType]:
    """Where the classes of Keras are that stand in the graph of a model."""
    operations = [importlib.import_module(f"keras.src.ops.{name}") for name in _OPERATIONS]
    return [keras.models, importlib.import_module("keras.src.models.functional"), keras.layers, *operations]


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
        weights.assign(model, pairs)
        if contents.training and compile and compiled.compile_as_saved(model, contents.training, origin):
            trainable = {id(variable) for variable in model.trainable_variables}
            order = [pair for pair in pairs if id(pair.variable) in trainable]
            if "optimizer_weights" in file:
                state = compiled.stored_state(file, model.optimizer, len(order))
                compiled.restore_state(model, state, order)
    return model


def _json(text: str | bytes | None) -> JsonObject | None:
    if text is not None and len(text) > MAX_CONFIG_BYTES:
        raise ValueError(f"its configuration has more than {MAX_CONFIG_BYTES:,} bytes")
    return None if text is None else json.loads(text)

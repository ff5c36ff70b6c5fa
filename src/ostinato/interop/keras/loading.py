"""Loads a Keras model, or weights for one, from files of Keras 2 and 3."""

import dataclasses
import json
import os
import pathlib
import tempfile
import zipfile
from collections.abc import Mapping
from typing import cast

from ostinato.cells import engine_layer  # registers what files name # noqa: F401
from ostinato.errors import ConfigError, warn
from ostinato.interop.keras.model_files import check_model_path, check_weights_path, is_hdf5, keras_1
from ostinato.interop.keras.origin import Origin
from ostinato.interop.keras.sentences import class_name, describe_error, why_not_loaded

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load

Path = str | os.PathLike[str]
Source = keras.layers.Layer | Path


def load_source(
    model: Source,
    *,
    weights: Path | None = None,
    custom_objects: Mapping[str, object] | None = None,
    safe_mode: bool = True,
    compile: bool = True,
) -> keras.layers.Layer:
    """Returns a model or layer as it is, and loads a model from a path.

    Args:
        model: a Keras model or layer, or the path of a file with a model: `.keras`, `.h5`, or the `.json` of
            `model.to_json`, of Keras 2 or 3.
        weights: a file with the model's weights; needed for a `.json`.
        custom_objects: classes and functions of your own that the file names.
        safe_mode: False runs the Python code of the file's Lambda layers. Only for files that you trust.
        compile: False ignores a file's optimizer, loss and metrics.

    Raises:
        ConfigError: it is neither a Keras model nor a file that holds one, or the file is not safe to load.
    """
    if isinstance(model, keras.layers.Layer):
        if weights is not None:
            load_weights(model, weights)
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
    if weights is not None:
        check_weights_path(pathlib.Path(weights))
    elif path.suffix == ".json":
        raise ConfigError(f"{path} has no weights; give their file with weights=")
    origin = Origin("", dict(custom_objects or {}), safe_mode)
    try:
        loaded = _load(path, weights, origin, compile=compile)
    except ConfigError as error:
        raise (
            error if str(error).startswith(f"{path} ") else ConfigError(f"{path} cannot be loaded: {error}")
        ) from error
    except Exception as error:  # Keras raises whatever its parts raise
        raise ConfigError(f"{path} cannot be loaded: {why_not_loaded(error)}") from error
    if weights is not None:
        load_weights(loaded, weights)
    return loaded


def load_weights(model: keras.layers.Layer, path: Path) -> None:
    """Loads the weights of a file of Keras 2 or 3 into a model, also those of CuDNNLSTM and CuDNNGRU.

    Layers are found by their names where the file has the names of the model's, else in their order. Nothing
    is loaded unless everything fits. Other datasets in the file are left alone.

    Args:
        model: a built Keras model, accelerated or not.
        path: `.h5` or `.hdf5` of `save_weights` or `save`, or `.weights.h5`.

    Raises:
        ConfigError: there is no such file, it has no weights, or they are not those of the model.
    """
    import h5py

    from ostinato.interop.keras import hdf5
    from ostinato.interop.keras.keras2 import weights

    path = pathlib.Path(path)
    check_weights_path(path)
    if not isinstance(model, keras.layers.Layer):
        raise ConfigError(f"the model must be a Keras model, got {class_name(type(model))}")
    if not model.built:
        raise ConfigError(f"the model {model.name} has no weights yet; call it on a batch first")
    if problem := hdf5.find_problem(path):
        raise ConfigError(f"{path} cannot be loaded: {problem}")
    try:
        with h5py.File(path) as file:
            if weights.has_layers(file):
                weights.assign(model, weights.assignments(model, weights.read(file)))
                return
        before = [(variable, variable.numpy()) for variable in model.variables]
        try:
            cast("keras.Model", model).load_weights(path)
        except Exception:
            for variable, value in before:
                variable.assign(value)
            raise
    except ConfigError as error:
        raise ConfigError(f"{path} cannot be loaded into {model.name}: {error}") from error
    except Exception as error:  # Keras raises whatever its parts raise
        raise ConfigError(f"{path} cannot be loaded into {model.name}: {describe_error(error)}") from error


def _load(path: pathlib.Path, weights: Path | None, origin: Origin, *, compile: bool) -> keras.Model:
    from ostinato.interop.keras import allowed, h5

    archive = path.suffix == ".keras" and not is_hdf5(path)
    if archive or (path.suffix != ".json" and zipfile.is_zipfile(path)):
        version = allowed.check_keras_file(path, origin)
        return _load_keras(path, _written_by(origin, version), compile=compile)
    if path.suffix == ".json":
        config = allowed.read_json(path)
        version = config.get("keras_version") or ("3" if "module" in config else "2")
        origin = _written_by(origin, version)
        allowed.check_json(path, config, origin, pathlib.Path(weights or path).stat().st_size)
        return h5.build(config, origin)
    allowed.check_arrays(path, path)
    contents = h5.read(path)
    origin = _written_by(origin, contents.version)
    allowed.check_h5_file(path, contents, origin)
    return h5.load(path, contents, origin, compile=compile)


def _written_by(origin: Origin, version: str) -> Origin:
    if version.startswith("1."):
        raise ConfigError(keras_1(version))
    return dataclasses.replace(origin, version=version)


def _load_keras(path: pathlib.Path, origin: Origin, *, compile: bool) -> keras.Model:
    """Loads a `.keras` file, which Keras 2.12 and later wrote, too."""
    from ostinato.interop.keras.keras2 import compiled, models

    if origin.is_keras_3:
        return _load_of_keras_3(path, origin, compile=compile)
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        config = json.loads(archive.read("config.json"))
        model = models.build(config, origin)
        model.load_weights(archive.extract("model.weights.h5", folder))
    training = config.get("compile_config")
    if training and compile:
        training = {**training, "optimizer_config": training["optimizer"]}
        if compiled.compile_as_saved(model, training, origin):
            warn(
                f"the optimizer of {path} starts anew: Keras 3 does not read its state from a .keras file of "
                "Keras 2"
            )
    return model


def _load_of_keras_3(path: pathlib.Path, origin: Origin, *, compile: bool) -> keras.Model:
    """Loads a file of Keras 3; uncompiled, with a warning, where only its loss or the like is missing."""

    def load(*, compile: bool) -> keras.Model:
        given = dict(origin.custom_objects)
        loaded = keras.models.load_model(
            path, custom_objects=given, safe_mode=origin.safe_mode, compile=compile
        )
        return cast("keras.Model", loaded)

    if not compile:
        return load(compile=False)
    try:
        return load(compile=True)
    except Exception as error:  # Keras raises whatever its parts raise
        model = load(compile=False)
        warn(f"the model comes back uncompiled: {why_not_loaded(error)}")
        return model

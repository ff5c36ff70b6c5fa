"""Checks a model file before Keras reads it, because it may come from an untrusted source.

Keras makes whatever the configuration in a file names, and some versions import any module it names. Versions
differ in what they allow, so it is decided here: the parts of Keras that models consist of, and what this
process has registered. Then the weights that the configuration asks for are counted and compared with the
file. Only after that is anything of their size allocated.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import reprlib
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress

import keras

from ostinato.errors import ConfigError
from ostinato.interop.keras import h5, hdf5
from ostinato.interop.keras.hdf5 import ALWAYS_ALLOWED, MAX_CONFIG_BYTES, MAX_EXPANSION, MAX_PARTS
from ostinato.interop.keras.keras2 import models
from ostinato.interop.keras.origin import JsonObject, Origin
from ostinato.layers.dry_build import dry_build

_MAX_COPIES = 8
"""How many times the stored weights a model may need: optimizers keep a few values for each weight."""
_SHORT = reprlib.Repr()
_SHORT.maxstring = 200

_MODULES = {
    *("activations", "constraints", "dtype_policies", "initializers", "layers", "losses", "metrics"),
    *("mixed_precision", "models", "ops", "optimizers", "quantizers", "random", "regularizers", "trainers"),
}
_FUNCTION_MODULES = _MODULES - {"layers", "mixed_precision", "models", "optimizers", "trainers"}
# Layers that run code or a program that is not in the configuration.
_EXTERNAL_LAYERS = ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
_NUMBER_DTYPES = re.compile(r"bool|bfloat16|(u?int|float|complex)\d{1,3}")


def check_keras_file(path: pathlib.Path, origin: Origin) -> str:
    """Checks a `.keras` file.

    Args:
        path: the file.
        origin: what its owner allows.

    Returns:
        The version of Keras that wrote it.

    Raises:
        ConfigError: it names something that is not allowed, or asks for far more than it holds.
        Exception: it is damaged; whatever zipfile, json and h5py raise.
    """
    with zipfile.ZipFile(path) as archive:
        _check_members(path, archive.infolist())
        config = json.loads(archive.read("config.json"))
        version = str(json.loads(archive.read("metadata.json")).get("keras_version", "3"))
        check_config(path, config, origin)
        with tempfile.TemporaryDirectory() as folder:
            weights = pathlib.Path(archive.extract("model.weights.h5", folder))
            stored = weights.stat().st_size
            check_arrays(path, weights)

    def make() -> object:
        if version.startswith("2."):
            return models.build(config, dataclasses.replace(origin, version=version))
        return keras.saving.deserialize_keras_object(
            config, safe_mode=origin.safe_mode, custom_objects=dict(origin.custom_objects)
        )

    _check_size(path, make, config, stored)
    return version


def check_h5_file(path: pathlib.Path, contents: h5.Contents, origin: Origin) -> None:
    """Checks an `.h5` file, whose arrays `check_arrays` has checked.

    Args:
        path: the file.
        contents: its configurations.
        origin: what its owner allows.

    Raises:
        ConfigError: as for `check_keras_file`.
    """
    configs = [config for config in (contents.config, contents.training) if config is not None]
    check_config(path, configs, origin)
    metrics = list(_named_parts(contents.training))

    def make() -> None:
        for part in metrics:
            with suppress(Exception):  # a loss or an optimizer
                keras.metrics.deserialize(part)
        if contents.config is not None:
            h5.build(contents.config, origin)

    _check_size(path, make, configs, path.stat().st_size)


def read_json(path: pathlib.Path) -> JsonObject:
    """Reads the configuration in a `.json` file, which is still to be checked.

    Raises:
        ConfigError: it is too large, or not one of a model.
        Exception: it is damaged; whatever json raises.
    """
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise _refusal(path, f"its configuration has more than {MAX_CONFIG_BYTES:,} bytes")
    config = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(config, dict) or "class_name" not in config:
        raise _refusal(path, "it is not the JSON of a Keras model, as model.to_json writes it")
    return config


def check_json(path: pathlib.Path, config: JsonObject, origin: Origin, stored: int) -> None:
    """Checks the configuration of a `.json` file.

    Args:
        path: the file.
        config: its configuration.
        origin: what its owner allows.
        stored: bytes of the file with its weights.

    Raises:
        ConfigError: as for `check_keras_file`.
    """
    check_config(path, config, origin)
    _check_size(path, lambda: h5.build(config, origin), config, stored)


def check_config(path: pathlib.Path, config: object, origin: Origin) -> None:
    """Refuses a configuration that names something that is not allowed.

    Args:
        path: the file, for messages.
        config: the configuration, as read from JSON.
        origin: what its owner allows.

    Raises:
        ConfigError: it does; the message says what.
    """
    parts = list(_named_parts(config))
    if origin.safe_mode and any(
        part["class_name"] == "__lambda__" or _is_keras2_lambda(part) for part in parts
    ):
        raise _refusal(
            path,
            "it holds a Python lambda, which could only be rebuilt by running code from its configuration; "
            "if the file is your own, safe_mode=False runs it",
        )
    for part in parts:
        if problem := _problem(part, origin):
            raise _refusal(path, problem)


def _named_parts(config: object) -> Iterator[dict[str, object]]:
    """All parts of a configuration that name a class or function."""
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "class_name" in part:
                yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _is_keras2_lambda(part: dict[str, object]) -> bool:
    """Whether it is a Lambda of Keras 2, which holds Python bytecode."""
    config = part.get("config")
    return isinstance(config, dict) and config.get("function_type") == "lambda"


def _problem(part: dict[str, object], origin: Origin) -> str:
    """What is wrong with a part of a configuration; empty when nothing is."""
    name, config = part["class_name"], part.get("config")
    if not isinstance(name, str):
        return f"its configuration must name a class, got {_SHORT.repr(name)}"
    kind = name.rpartition(">")[2]
    if kind == "Lambda" and origin.safe_mode and not _calls_a_given(part, origin):
        return (
            "it has a Lambda layer, which may call any function; if the file is your own, safe_mode=False "
            "allows it"
        )
    if kind in _EXTERNAL_LAYERS:
        return f"it has a {kind}, which runs code that is not in its configuration"
    if kind in ("__numpy__", "__tensor__"):
        dtype = config.get("dtype") if isinstance(config, dict) else None
        known = isinstance(dtype, str) and _NUMBER_DTYPES.fullmatch(dtype)
        return "" if known else f"it has an array of {_SHORT.repr(dtype)}, not of numbers"
    if isinstance(config, dict) and isinstance(config.get("vocabulary"), str):
        return f"it reads the file {_SHORT.repr(config['vocabulary'])}, which is not part of it"
    if _registered_name(part) or _is_given(part, origin):
        return ""
    module, function = part.get("module"), name == "function"
    if module is None or (function and module == "builtins") or _is_keras(module, function=function):
        return ""
    what = f"{module}.{config if function else name}"
    return (
        f"it names {_SHORT.repr(what)}, which is not part of a Keras model; if it is your own, give it with "
        f"custom_objects={{'{_SHORT.repr(config if function else name)[1:-1]}': …}}"
    )


def _is_keras(module: object, *, function: bool) -> bool:
    first, *rest = module.split(".") if isinstance(module, str) else [""]
    rest = rest[1:] if rest[:1] == ["src"] else rest
    if first != "keras":
        return False
    return rest[0] in (_FUNCTION_MODULES if function else _MODULES) if rest else not function


def _is_given(part: dict[str, object], origin: Origin) -> bool:
    """Whether the file's owner gave what a part names."""
    name, config = part["class_name"], part.get("config")
    names = (config,) if name == "function" else (name, part.get("registered_name"))
    return any(isinstance(each, str) and each in origin.custom_objects for each in names)


def _calls_a_given(part: dict[str, object], origin: Origin) -> bool:
    """Whether it is a Lambda of Keras 2 with a function that the file's owner gave."""
    config = part.get("config")
    return isinstance(config, dict) and config.get("function") in [*origin.custom_objects]


def _registered_name(part: dict[str, object]) -> str | None:
    """The name under which this process has registered what a part names; None if it has not."""
    name, config = part["class_name"], part.get("config")
    name = config if name == "function" else part.get("registered_name") or name
    return name if isinstance(name, str) and keras.saving.get_registered_object(name) is not None else None


def _check_members(path: pathlib.Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuses an archive whose members lead out of it, or unpack to far more than they should."""
    names = [member.filename for member in members]
    if len(members) > MAX_PARTS or len(set(names)) < len(names):
        raise _refusal(path, "it holds a file twice, or far too many")
    for member in members:
        name = pathlib.PurePosixPath(member.filename)
        link = stat.S_ISLNK(member.external_attr >> 16)
        if link or name.is_absolute() or ".." in name.parts or re.search(r"[\\:\0]", member.filename):
            raise _refusal(path, f"its part {_SHORT.repr(member.filename)} leads out of it")
        if member.file_size > max(ALWAYS_ALLOWED, MAX_EXPANSION * member.compress_size):
            raise _refusal(
                path, f"its part {_SHORT.repr(member.filename)} unpacks to {member.file_size:,} bytes"
            )
    if sum(member.file_size for member in members) > max(ALWAYS_ALLOWED, MAX_EXPANSION * path.stat().st_size):
        raise _refusal(path, "it unpacks to far more than its own size")
    for needed in ("config.json", "model.weights.h5"):
        if needed not in names:
            raise _refusal(path, f"it has no {needed}")
    if members[names.index("config.json")].file_size > MAX_CONFIG_BYTES:
        raise _refusal(path, f"its configuration has more than {MAX_CONFIG_BYTES:,} bytes")


def check_arrays(path: pathlib.Path, weights: pathlib.Path) -> None:
    """Refuses a damaged HDF5 file, and one whose arrays lie elsewhere or are far larger than it.

    Args:
        path: the file, for messages.
        weights: the HDF5 file.
    """
    if problem := hdf5.find_problem(weights):
        raise _refusal(path, problem)


def _check_size(path: pathlib.Path, make: Callable[[], object], config: object, stored: int) -> None:
    """Refuses a configuration that asks for far more weights than there are. Keras reports other errors.

    Args:
        path: the file, for messages.
        make: makes the model of the configuration.
        config: the configuration, as read from JSON.
        stored: bytes of the weights in the file.
    """
    names = filter(None, map(_registered_name, _named_parts(config)))
    registered = {name: keras.saving.get_registered_object(name) for name in names}

    def make_in_scope() -> None:
        with keras.saving.custom_object_scope(registered):  # Keras keeps its scopes per thread
            make()

    needed = dry_build(make_in_scope).size
    if needed > max(ALWAYS_ALLOWED, _MAX_COPIES * stored):
        raise _refusal(
            path, f"its configuration asks for {needed:,} bytes of weights, and it holds {stored:,}"
        )


def _refusal(path: pathlib.Path, why: str) -> ConfigError:
    return ConfigError(f"{path} cannot be loaded: {why}")

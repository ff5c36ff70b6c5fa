"""A model's file, looked through before Keras reads it: it may come from anyone.

Keras makes again whatever a file's configuration names. What that may be is decided here, as versions of
Keras differ in it, and some import any module that they are told: parts of Keras that models are made of, and
what this process has registered. Then the weights that the configuration asks for are counted, and compared
with the file; only after that is anything as large as them made.
"""

from __future__ import annotations

import json
import pathlib
import re
import reprlib
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import h5py
import keras

from ostinato.errors import ConfigError
from ostinato.interop.keras import hdf5
from ostinato.interop.keras.hdf5 import EXPANDS, HARMLESS, MOST_PARTS
from ostinato.layers.dry_build import dry_build

LARGEST_CONFIG = 1 << 26
"""Bytes of a configuration; a model of a thousand layers has about one million."""
_COPIES = 8
"""How many times the stored weights a model may need: optimizers keep a few values for each weight."""
_SHORT = reprlib.Repr()
_SHORT.maxstring = 200

_PARTS = {
    *("activations", "constraints", "dtype_policies", "initializers", "layers", "losses", "metrics"),
    *("models", "ops", "optimizers", "quantizers", "random", "regularizers", "trainers"),
}
_FUNCTIONS = _PARTS - {"layers", "models", "optimizers", "trainers"}
_OUTSIDE = ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
_NUMBERS = re.compile(r"bool|bfloat16|(u?int|float|complex)\d{1,3}")


def vet_keras(path: pathlib.Path) -> None:
    """Looks through a `.keras` file.

    Raises:
        ConfigError: it names what a file may not name, or asks for far more than it holds.
        Exception: it is damaged; whatever zipfile, json and h5py raise.
    """
    with zipfile.ZipFile(path) as archive:
        _check_members(path, archive.infolist())
        config = json.loads(archive.read("config.json"))
        check_config(path, config)
        with tempfile.TemporaryDirectory() as folder:
            weights = pathlib.Path(archive.extract("model.weights.h5", folder))
            stored = weights.stat().st_size
            _check_arrays(path, weights)
    _check_size(path, lambda: keras.saving.deserialize_keras_object(config, safe_mode=True), config, stored)


def vet_h5(path: pathlib.Path, load: Callable[[pathlib.Path], Any]) -> None:
    """Looks through an `.h5` file.

    Args:
        path: the file.
        load: what will load it.

    Raises:
        ConfigError: as for `vet_keras`.
        Exception: it is damaged.
    """
    stored = path.stat().st_size
    _check_arrays(path, path)
    with h5py.File(path) as file:
        attributes = {
            name: file.attrs.get(name) for name in ("keras_version", "model_config", "training_config")
        }
    attributes = {name: value for name, value in attributes.items() if value is not None}
    configs = {name: _json(value) for name, value in attributes.items() if name.endswith("config")}
    check_config(path, list(configs.values()))
    metrics = list(_named(configs.get("training_config")))

    def make(bare: pathlib.Path) -> None:
        for part in metrics:
            with suppress(Exception):  # a loss or an optimizer
                keras.metrics.deserialize(part)
        load(bare)

    with tempfile.TemporaryDirectory() as folder:
        # The same model without weights: to load it fails where they would be read.
        bare = pathlib.Path(folder) / f"bare{path.suffix}"
        with h5py.File(bare, "w") as file:
            file.attrs.update(attributes)
            file.create_group("model_weights").attrs["layer_names"] = []
        _check_size(path, lambda: make(bare), list(configs.values()), stored)


def check_config(path: pathlib.Path, config: Any) -> None:
    """Refuses a configuration that names what a file may not name.

    Args:
        path: the file, for messages.
        config: what its JSON holds.

    Raises:
        ConfigError: saying what that is.
    """
    parts = list(_named(config))
    if any(part["class_name"] == "__lambda__" or _is_python(part) for part in parts):
        raise _refused(
            path,
            "it holds a Python lambda, which could only be rebuilt by running code from its configuration",
        )
    for part in parts:
        if problem := _problem(part):
            raise _refused(path, problem)


def _named(config: Any) -> Iterator[dict[str, Any]]:
    """All parts of a configuration that name a class or function."""
    waiting = [config]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if "class_name" in each:
                yield each
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def _is_python(part: dict[str, Any]) -> bool:
    """Whether it is a Lambda of Keras 2, which holds Python's bytecode."""
    config = part.get("config")
    return isinstance(config, dict) and config.get("function_type") == "lambda"


def _problem(part: dict[str, Any]) -> str:
    """What is wrong with a part of a configuration; empty when nothing is."""
    name, config = part["class_name"], part.get("config")
    if not isinstance(name, str):
        return f"its configuration names no class, but {_SHORT.repr(name)}"
    kind = name.rpartition(">")[2]
    if kind == "Lambda":
        return (
            "it has a Lambda layer, which may call any function; if you trust it, load it with Keras, and "
            "give the model"
        )
    if kind in _OUTSIDE:
        return f"it has a {kind}, which runs what is not in its configuration"
    if kind in ("__numpy__", "__tensor__"):
        dtype = config.get("dtype") if isinstance(config, dict) else None
        known = isinstance(dtype, str) and _NUMBERS.fullmatch(dtype)
        return "" if known else f"it has an array of {_SHORT.repr(dtype)}, not of numbers"
    if isinstance(config, dict) and isinstance(config.get("vocabulary"), str):
        return f"it reads the file {_SHORT.repr(config['vocabulary'])}, which is none of its own"
    if _registered_as(part):
        return ""
    module, function = part.get("module"), name == "function"
    if module is None or (function and module == "builtins") or _is_keras(module, function=function):
        return ""
    what = f"{module}.{config if function else name}"
    return (
        f"it names {_SHORT.repr(what)}, which is no part of a Keras model; if it is your own, register it "
        "with keras.saving.register_keras_serializable"
    )


def _is_keras(module: Any, *, function: bool) -> bool:
    first, *rest = module.split(".") if isinstance(module, str) else [""]
    rest = rest[1:] if rest[:1] == ["src"] else rest
    if first != "keras":
        return False
    return rest[0] in (_FUNCTIONS if function else _PARTS) if rest else not function


def _registered_as(part: dict[str, Any]) -> str | None:
    """The name by which this process has registered what a part of a configuration names."""
    name, config = part["class_name"], part.get("config")
    name = config if name == "function" else part.get("registered_name") or name
    return name if isinstance(name, str) and keras.saving.get_registered_object(name) is not None else None


def _check_members(path: pathlib.Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuses an archive with files that lead out of it, or that are packed far too well."""
    names = [member.filename for member in members]
    if len(members) > MOST_PARTS or len(set(names)) < len(names):
        raise _refused(path, "it holds a file twice, or far too many")
    for member in members:
        name = pathlib.PurePosixPath(member.filename)
        link = stat.S_ISLNK(member.external_attr >> 16)
        if link or name.is_absolute() or ".." in name.parts or re.search(r"[\\:\0]", member.filename):
            raise _refused(path, f"its part {_SHORT.repr(member.filename)} leads out of it")
        if member.file_size > max(HARMLESS, EXPANDS * member.compress_size):
            raise _refused(
                path, f"its part {_SHORT.repr(member.filename)} unpacks to {member.file_size:,} bytes"
            )
    if sum(member.file_size for member in members) > max(HARMLESS, EXPANDS * path.stat().st_size):
        raise _refused(path, "it unpacks to far more than it is")
    for needed in ("config.json", "model.weights.h5"):
        if needed not in names:
            raise _refused(path, f"it has no {needed}")
    if members[names.index("config.json")].file_size > LARGEST_CONFIG:
        raise _refused(path, f"its configuration has more than {LARGEST_CONFIG:,} bytes")


def _check_arrays(path: pathlib.Path, weights: pathlib.Path) -> None:
    if problem := hdf5.problem(weights):
        raise _refused(path, problem)


def _check_size(path: pathlib.Path, make: Callable[[], Any], config: Any, stored: int) -> None:
    """Refuses a configuration that asks for far more weights than there are. What else is wrong, Keras says.

    Args:
        path: the file, for messages.
        make: makes the model of the configuration.
        config: what its JSON holds.
        stored: bytes of the weights in the file.
    """
    names = filter(None, map(_registered_as, _named(config)))
    known = {name: keras.saving.get_registered_object(name) for name in names}

    def scoped() -> None:
        with keras.saving.custom_object_scope(known):  # Keras keeps its scopes for each thread
            make()

    needed = dry_build(scoped).size
    if needed > max(HARMLESS, _COPIES * stored):
        raise _refused(
            path, f"its configuration asks for {needed:,} bytes of weights, and it holds {stored:,}"
        )


def _json(text: Any) -> Any:
    if len(text) > LARGEST_CONFIG:
        raise ValueError(f"its configuration has more than {LARGEST_CONFIG:,} bytes")
    return json.loads(text)


def _refused(path: pathlib.Path, why: str) -> ConfigError:
    return ConfigError(f"{path} cannot be loaded: {why}.")

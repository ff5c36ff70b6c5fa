"""Checks a model file before Keras reads it, because it may come from an untrusted source.

Keras makes whatever the configuration in a file names, and some versions import any module it names. Versions
differ in what they allow, so it is decided here: the parts of Keras that models consist of, and what this
process has registered. Then the weights that the configuration asks for are counted and compared with the
file. Only after that is anything of their size allocated.
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

import h5py
import keras

from ostinato.errors import ConfigError
from ostinato.interop.keras import hdf5
from ostinato.interop.keras.hdf5 import ALWAYS_ALLOWED, MAX_EXPANSION, MAX_PARTS
from ostinato.layers.dry_build import dry_build

MAX_CONFIG_BYTES = 1 << 26
"""Size of a configuration; that of a model of a thousand layers has about a million bytes."""
_MAX_COPIES = 8
"""How many times the stored weights a model may need: optimizers keep a few values for each weight."""
_SHORT = reprlib.Repr()
_SHORT.maxstring = 200

_MODULES = {
    *("activations", "constraints", "dtype_policies", "initializers", "layers", "losses", "metrics"),
    *("models", "ops", "optimizers", "quantizers", "random", "regularizers", "trainers"),
}
_FUNCTION_MODULES = _MODULES - {"layers", "models", "optimizers", "trainers"}
# Layers that run code or a program that is not in the configuration.
_EXTERNAL_LAYERS = ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
_NUMBER_DTYPES = re.compile(r"bool|bfloat16|(u?int|float|complex)\d{1,3}")


def check_keras_file(path: pathlib.Path) -> None:
    """Checks a `.keras` file.

    Raises:
        ConfigError: it names something that is not allowed, or asks for far more than it holds.
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


def check_h5_file(path: pathlib.Path, load: Callable[[pathlib.Path], object]) -> None:
    """Checks an `.h5` file.

    Args:
        path: the file.
        load: the function that will load it.

    Raises:
        ConfigError: as for `check_keras_file`.
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
    metrics = list(_named_parts(configs.get("training_config")))

    def make(bare: pathlib.Path) -> None:
        for part in metrics:
            with suppress(Exception):  # a loss or an optimizer
                keras.metrics.deserialize(part)
        load(bare)

    with tempfile.TemporaryDirectory() as folder:
        # The same model without weights; loading it fails where it would read them.
        bare = pathlib.Path(folder) / f"bare{path.suffix}"
        with h5py.File(bare, "w") as file:
            file.attrs.update(attributes)
            file.create_group("model_weights").attrs["layer_names"] = []
        _check_size(path, lambda: make(bare), list(configs.values()), stored)


def check_config(path: pathlib.Path, config: object) -> None:
    """Refuses a configuration that names something that is not allowed.

    Args:
        path: the file, for messages.
        config: the configuration, as read from JSON.

    Raises:
        ConfigError: it does; the message says what.
    """
    parts = list(_named_parts(config))
    if any(part["class_name"] == "__lambda__" or _is_keras2_lambda(part) for part in parts):
        raise _refusal(
            path,
            "it holds a Python lambda, which could only be rebuilt by running code from its configuration",
        )
    for part in parts:
        if problem := _problem(part):
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


def _problem(part: dict[str, object]) -> str:
    """What is wrong with a part of a configuration; empty when nothing is."""
    name, config = part["class_name"], part.get("config")
    if not isinstance(name, str):
        return f"its configuration must name a class, got {_SHORT.repr(name)}"
    kind = name.rpartition(">")[2]
    if kind == "Lambda":
        return (
            "it has a Lambda layer, which may call any function; if you trust the file, load it with "
            "Keras and give the model"
        )
    if kind in _EXTERNAL_LAYERS:
        return f"it has a {kind}, which runs code that is not in its configuration"
    if kind in ("__numpy__", "__tensor__"):
        dtype = config.get("dtype") if isinstance(config, dict) else None
        known = isinstance(dtype, str) and _NUMBER_DTYPES.fullmatch(dtype)
        return "" if known else f"it has an array of {_SHORT.repr(dtype)}, not of numbers"
    if isinstance(config, dict) and isinstance(config.get("vocabulary"), str):
        return f"it reads the file {_SHORT.repr(config['vocabulary'])}, which is not part of it"
    if _registered_name(part):
        return ""
    module, function = part.get("module"), name == "function"
    if module is None or (function and module == "builtins") or _is_keras(module, function=function):
        return ""
    what = f"{module}.{config if function else name}"
    return (
        f"it names {_SHORT.repr(what)}, which is not part of a Keras model; if it is your own, register it "
        "with keras.saving.register_keras_serializable"
    )


def _is_keras(module: object, *, function: bool) -> bool:
    first, *rest = module.split(".") if isinstance(module, str) else [""]
    rest = rest[1:] if rest[:1] == ["src"] else rest
    if first != "keras":
        return False
    return rest[0] in (_FUNCTION_MODULES if function else _MODULES) if rest else not function


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


def _check_arrays(path: pathlib.Path, weights: pathlib.Path) -> None:
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


def _json(text: str | bytes) -> object:
    if len(text) > MAX_CONFIG_BYTES:
        raise ValueError(f"its configuration has more than {MAX_CONFIG_BYTES:,} bytes")
    return json.loads(text)


def _refusal(path: pathlib.Path, why: str) -> ConfigError:
    return ConfigError(f"{path} cannot be loaded: {why}")

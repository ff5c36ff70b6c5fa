"""Lambda layers of Keras 2, whose Python code stands in the file."""

from __future__ import annotations

import binascii
import builtins
import dis
import marshal
import types
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ostinato.errors import ConfigError, warn
from ostinato.interop.keras.origin import JsonObject, Origin


def restore(config: JsonObject, origin: Origin) -> keras.layers.Lambda:
    """The Lambda layer of a configuration.

    Args:
        config: its options.
        origin: where it comes from; only `safe_mode=False` or its `custom_objects` allow code.

    Raises:
        ConfigError: it is not allowed, or its code is of another version of Python.
    """
    name = config.get("name")
    function = _function(config.get("function"), config.get("function_type"), name, origin)
    shape = config.get("output_shape")
    if isinstance(shape, list) and config.get("output_shape_type") in ("lambda", "function"):
        shape = _function(shape, config["output_shape_type"], name, origin)
    elif isinstance(shape, str):
        shape = _function(shape, "function", name, origin)
    arguments = {
        key: np.array(value["value"]) if isinstance(value, dict) and value.get("type") == "ndarray" else value
        for key, value in (config.get("arguments") or {}).items()
    }
    return keras.layers.Lambda(
        function,
        output_shape=tuple(shape) if isinstance(shape, list) else shape,
        arguments=arguments,
        name=name,
    )


def _function(stored: object, kind: object, name: object, origin: Origin) -> object:
    if kind == "function" or isinstance(stored, str):
        given = origin.custom_objects.get(str(stored)) or keras.saving.get_registered_object(str(stored))
        if given is None:
            raise ConfigError(
                f"the Lambda layer '{name}' calls the function {stored}, which is not in the file; give it "
                f"as custom_objects={{'{stored}': {stored}}}"
            )
        return given
    if origin.safe_mode:
        raise ConfigError(
            f"it has a Lambda layer, '{name}', whose Python code is in the file; if the file is your own, "
            "safe_mode=False runs it"
        )
    code, defaults = _code(stored, name)
    warn(f"the Lambda layer '{name}' runs Python code that is in the file")
    backend = types.SimpleNamespace(**{**vars(keras.ops), **vars(keras.backend), **_former_backend()})
    names = {"K": backend, "backend": backend, "tf": tf, "np": np, "keras": keras, "__builtins__": builtins}
    return types.FunctionType(code, {**names, **origin.custom_objects}, argdefs=defaults)


def _former_backend() -> dict[str, object]:
    """The functions of Keras 2's `keras.backend`, which Keras 3 keeps for old code."""
    from keras.src.legacy import backend

    return {
        name: value for name, value in vars(backend).items() if callable(value) and not name.startswith("_")
    }


def _code(stored: Any, name: object) -> tuple[types.CodeType, tuple | None]:
    """The code of a Python lambda, and the default values of its arguments."""
    try:
        text, defaults, closure = stored if isinstance(stored, list) else (stored, None, None)
        code = marshal.loads(binascii.a2b_base64(text))
        if not isinstance(code, types.CodeType) or not _fits(code):
            raise ValueError
    except (ValueError, TypeError, EOFError) as error:
        raise ConfigError(
            f"the Lambda layer '{name}' has Python code that another version of Python compiled; give its "
            "function in a model that you make yourself, and load the weights with ostinato.load_weights"
        ) from error
    if closure:
        raise ConfigError(
            f"the Lambda layer '{name}' uses variables of the function around it, which no file keeps"
        )
    return code, tuple(defaults) if defaults else None


def _fits(code: types.CodeType) -> bool:
    """Whether this Python may have compiled a code: it has every instruction and what these refer to."""
    try:
        names = [each.opname for each in dis.get_instructions(code)]
    except (IndexError, KeyError, ValueError):
        return False
    if "RESUME" in dis.opmap and "RESUME" not in names[:3]:
        return False
    if "PRECALL" in dis.opmap and names.count("PRECALL") != names.count("CALL"):
        return False
    return all(not name.startswith("<") for name in names) and all(
        _fits(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)
    )

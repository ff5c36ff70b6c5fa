"""Reads the weights of a recurrent PyTorch module from a state dict or a safetensors file."""

import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import safetensors

from ostinato.errors import ConfigError, SourceError
from ostinato.interop.torch.form import (
    SUFFIXES,
    Form,
    cells,
    form_of_cell,
    to_keras_order,
    weight_names,
    with_dot,
)

Source = Mapping[str, object] | str | os.PathLike[str]
"""A state dict, name → NumPy array or PyTorch tensor, or the path of a `.safetensors` file."""

PICKLES = (".pt", ".pth", ".bin", ".pkl", ".ckpt")
"""Suffixes of files that PyTorch pickles."""
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")  # torch.save writes a zip file, formerly a bare pickle

_NAME = re.compile(r"(?:weight_(?:ih|hh|hr)|bias_(?:ih|hh))_l(0|[1-9][0-9]{0,5})(?:_reverse)?")
_STORED_AS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_FLOATS = ("float16", "bfloat16", "float32", "float64")


class _StoredTensor(NamedTuple):
    """A tensor of a safetensors file."""

    dtype: str
    shape: Sequence[int]
    data: bytes


def read(source: Source, prefix: str) -> tuple[Form, list[list[list[np.ndarray]]]]:
    """The form of the module, and its weights in Keras' layout: per layer and direction.

    Args:
        source: a state dict, or the path of a safetensors file.
        prefix: the prefix of the module's names in it.

    Raises:
        ConfigError: it is no source of weights, or the module has no counterpart in Keras.
        SourceError: it cannot be read, or does not hold exactly the weights of such a module.
    """
    if isinstance(source, Mapping):
        origin, tensors = "the state dict", source
    elif isinstance(source, str | os.PathLike):
        origin, tensors = f"'{os.fspath(source)}'", _read_file(pathlib.Path(source))
    else:
        raise ConfigError(
            "the source must be a state dict, as from module.state_dict(), or the path of a .safetensors "
            f"file, got a {type(source).__name__}"
        )
    prefix = with_dot(prefix)
    full_names = {name.removeprefix(prefix): name for name in tensors if name.startswith(prefix)}
    depth, suffixes, bias = _structure(origin, prefix, full_names, tensors)
    arrays = {name: _array(full_name, tensors[full_name]) for name, full_name in full_names.items()}
    form = _form(origin, prefix, arrays, depth, len(suffixes), bias)
    weights = [
        [_to_keras(form.kind, [arrays[name] for name in weight_names(layer, end, bias)]) for end in suffixes]
        for layer in range(depth)
    ]
    return form, weights


def _structure(
    origin: str, prefix: str, full_names: Mapping[str, str], tensors: Iterable[str]
) -> tuple[int, Sequence[str], bool]:
    """The depth, the suffixes of the directions, and whether there are biases, from the names of the weights.

    Raises:
        SourceError: weights are missing, or there are others.
        ConfigError: the LSTM has `proj_size`.
    """
    matches = [match for match in map(_NAME.fullmatch, full_names) if match]
    if not matches:
        raise SourceError(f"{origin} has no recurrent weights {_where(tensors, prefix)}")
    if any("_hr_" in match[0] for match in matches):
        raise ConfigError(
            f"{origin} has an LSTM with proj_size (weight_hr_l0), which has no counterpart in Keras"
        )
    depth = 1 + max(int(match[1]) for match in matches)
    suffixes = SUFFIXES if any(name.endswith("_reverse") for name in full_names) else SUFFIXES[:1]
    bias = any(match[0].startswith("bias") for match in matches)
    # The depth comes from a name and may be huge; the first layer without weights ends the search.
    for layer in range(depth):
        needed = [name for suffix in suffixes for name in weight_names(layer, suffix, bias)]
        missing = [prefix + name for name in needed if name not in full_names]
        if missing:
            raise SourceError(f"{origin} lacks {_some(missing)}, so it does not hold a whole module")
    surplus = [full_name for name, full_name in full_names.items() if not _NAME.fullmatch(name)]
    if surplus:
        raise SourceError(
            f"{origin} has more than a recurrent module's weights with the prefix '{prefix}': "
            f"{_some(surplus)}; leave those out, or give the prefix of the module itself"
        )
    return depth, suffixes, bias


def _to_keras(kind: str, arrays: list[np.ndarray]) -> list[np.ndarray]:
    weights = [arrays[0].T, arrays[1].T]
    if len(arrays) == 4:
        weights.append(np.stack(arrays[2:]) if form_of_cell(kind).two_biases else arrays[2] + arrays[3])
    return [to_keras_order(kind, array) for array in weights]


def _form(
    origin: str, prefix: str, arrays: dict[str, np.ndarray], depth: int, directions: int, bias: bool
) -> Form:
    """The form that the shapes of the weights show, if they agree on one."""
    first, recurrent = arrays["weight_ih_l0"].shape, arrays["weight_hh_l0"].shape
    units = recurrent[-1] if len(recurrent) == 2 else 0
    gates = recurrent[0] / units if units else 0
    kinds = {len(cell.gates): kind for kind, cell in cells().items()}
    if gates not in kinds or len(first) != 2 or not first[1]:
        raise SourceError(
            f"{origin} has weights of unknown form: {prefix}weight_ih_l0 {first} and {prefix}weight_hh_l0 "
            f"{recurrent}; expected (g × units, features) and (g × units, units) with g = 1 for an RNN, "
            "3 for a GRU, 4 for an LSTM"
        )
    form = Form(kinds[gates], depth, directions, first[1], units, bias)
    rows = recurrent[0]
    for layer in range(depth):
        features = form.features if layer == 0 else units * directions
        shapes = [(rows, features), (rows, units), (rows,), (rows,)]
        for suffix in SUFFIXES[:directions]:
            for name, shape in zip(weight_names(layer, suffix, bias), shapes, strict=False):
                if arrays[name].shape != shape:
                    raise SourceError(
                        f"{origin} has {prefix}{name} of shape {arrays[name].shape}; expected {shape} in "
                        f"this module ({form})"
                    )
    return form


def _array(name: str, value: object) -> np.ndarray:
    """A weight as float32; as float64 if it is float64."""
    if isinstance(value, _StoredTensor):
        dtype = value.dtype
        if dtype in _STORED_AS:
            array = np.frombuffer(value.data, _STORED_AS[dtype]).reshape(value.shape)
            if dtype == "BF16":  # the upper half of a float32
                array = (array.astype(np.uint32) << 16).view(np.float32)
            return array if dtype == "F64" else array.astype(np.float32)
    else:
        if hasattr(value, "detach"):  # a PyTorch tensor
            value = value.detach().cpu()
            # NumPy has no bfloat16, so PyTorch has to widen it.
            value = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
        array = np.asarray(value)
        dtype = array.dtype.name
        if dtype in _FLOATS:
            return array if dtype == "float64" else array.astype(np.float32)
    raise SourceError(f"the dtype of {name} must be one of {', '.join(_FLOATS)}, got {dtype}")


def _read_file(path: pathlib.Path) -> dict[str, _StoredTensor]:
    pickle = SourceError(
        f"'{path}' is a pickle, which can run any code when it is opened; in PyTorch, save it with "
        "safetensors.torch.save_file(module.state_dict(), 'weights.safetensors')"
    )
    if path.suffix in PICKLES:
        raise pickle
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"'{path}' cannot be read: {error.strerror or error}") from error
    try:
        tensors = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        if content.startswith(_PICKLE_STARTS):
            raise pickle from None
        raise SourceError(f"'{path}' is not a safetensors file, or is damaged: {error}") from error
    return {name: _StoredTensor(tensor["dtype"], tensor["shape"], tensor["data"]) for name, tensor in tensors}


def _where(tensors: Iterable[str], prefix: str) -> str:
    """The rest of a sentence that says that a prefix has no weights: which prefixes have some."""
    names = list(tensors)
    others = [name.removesuffix("weight_ih_l0") for name in names if name.split(".")[-1] == "weight_ih_l0"]
    place = f"with the prefix '{prefix}'" if prefix else "without a prefix"
    if others:
        return f"{place}; there are some with {_some([f'prefix={other!r}' for other in others])}"
    return f"{place}, nor with another; it has {_some(names) or 'nothing at all'}"


def _some(names: list[str], most: int = 4) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")

"""Keras layers from the weights of a recurrent PyTorch module, and a state dict from Keras layers."""

import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
import safetensors.numpy

from ostinato.errors import ConfigError
from ostinato.interop.torch.cells import Cells, cells_of, form_of, variables
from ostinato.interop.torch.form import (
    SUFFIXES,
    form_of_cell,
    layer_class,
    to_torch_order,
    weight_names,
    with_dot,
)
from ostinato.interop.torch.state_dict import PICKLES, Source, read

KerasOption = Any
"""An option of a Keras layer, passed on as it is."""
Layers = keras.layers.Layer | Iterable[keras.layers.Layer]


def layers_from_torch(
    source: Source,
    prefix: str = "",
    *,
    nonlinearity: str = "tanh",
    return_sequences: bool = True,
    return_state: bool = False,
    **options: KerasOption,
) -> list[Any]:
    """Makes layers with the weights of a `torch.nn.RNN`, `GRU` or `LSTM`; names and shapes show which.

    Args:
        source: the module's `state_dict()`, or that of a model that contains it, with NumPy arrays or PyTorch
            tensors; or the path of a `.safetensors` file.
        prefix: the prefix of the names of the module's weights: "encoder" for "encoder.weight_ih_l0".
        nonlinearity: "tanh" or "relu", the `nonlinearity` of the `torch.nn.RNN`.
        return_sequences: whether the last layer returns all steps, as in PyTorch, or only the last one. The
            other layers always return all. With two directions, the last step of the backward layer is the
            first in time: PyTorch's `h_n`, not its `output[:, -1]`.
        return_state: whether each layer also returns its final state, h or h and c: PyTorch's `h_n`, `c_n`.
        **options: options of the layers, for example `engine="keras"` or `dtype="float64"`.

    Returns:
        The layers from the bottom up, built: `ostinato.layers.SimpleRNN`, `GRU` or `LSTM`, each within a
        `keras.layers.Bidirectional` where there are two directions. Weights have the layers' dtype: float32,
        or what `dtype` says, whatever floating type the source has.

    Raises:
        SourceError: the source cannot be read, or does not hold the weights of such a module.
        ConfigError: the module has no counterpart in Keras, or there is no such nonlinearity.
        EngineError: there is no such engine, or it does not support an option given here.

    Example:
        >>> weights = {"rnn.weight_ih_l0": np.ones((12, 2)), "rnn.weight_hh_l0": np.ones((12, 3))}
        >>> [layer] = layers_from_torch(weights, "rnn")
        >>> type(layer).__name__, layer.units, layer.use_bias, layer(np.zeros((1, 5, 2))).shape
        ('LSTM', 3, False, TensorShape([1, 5, 3]))
    """
    form, weights = read(source, prefix)
    _check_nonlinearity(nonlinearity, form.kind)
    if nonlinearity == "relu":
        options["activation"] = "relu"
    layers = []
    for depth in range(form.depth):
        layer = layer_class(form.kind)(
            form.units,
            use_bias=form.bias,
            return_sequences=return_sequences or depth < form.depth - 1,
            return_state=return_state,
            **options,
        )
        if form.directions == 2:
            layer = keras.layers.Bidirectional(layer, dtype=options.get("dtype"))
        layer.build((None, None, form.features if depth == 0 else form.units * form.directions))
        layers.append(layer)
    cells = cells_of(layers)
    form_of(cells)  # refuses options that PyTorch does not have, such as reset_after=False
    _assign(cells, weights)
    return layers


def _check_nonlinearity(nonlinearity: str, kind: str) -> None:
    if nonlinearity not in ("tanh", "relu"):
        raise ConfigError(f"nonlinearity must be 'tanh' or 'relu', as in torch.nn.RNN, got {nonlinearity!r}")
    if nonlinearity not in form_of_cell(kind).nonlinearities:
        raise ConfigError(f"nonlinearity must be 'tanh' for the weights of a {kind}, got 'relu'")


def load_torch(layers: Layers, source: Source, prefix: str = "") -> None:
    """Sets the weights of existing layers to those of a `torch.nn.RNN`, `GRU` or `LSTM`.

    Args:
        layers: a built SimpleRNN, GRU or LSTM, of Keras or of ostinato, or a `keras.layers.Bidirectional`
            around one; or a list of them, from the bottom up, for all layers of the module.
        source, prefix: as for `layers_from_torch`.

    Raises:
        SourceError: the source cannot be read, or does not hold the weights of such a module.
        ConfigError: the weights do not fit the layers, which then keep their own.

    Example:
        >>> layer = keras.layers.GRU(3, use_bias=False)
        >>> layer.build((None, None, 2))
        >>> load_torch(layer, {"weight_ih_l0": np.ones((9, 2)), "weight_hh_l0": np.zeros((9, 3))})
        >>> [weight.mean().item() for weight in layer.get_weights()]
        [1.0, 0.0]
    """
    cells = cells_of(layers)
    needed = form_of(cells)
    found, weights = read(source, prefix)
    if found != needed:
        raise ConfigError(
            f"the weights must fit the layers ({needed}), got those of another network ({found})"
        )
    _assign(cells, weights)


def _assign(cells: Cells, weights: Sequence[Sequence[Sequence[np.ndarray]]]) -> None:
    for layer, layer_weights in zip(cells, weights, strict=True):
        for cell, direction_weights in zip(layer, layer_weights, strict=True):
            for variable, array in zip(variables(cell), direction_weights, strict=True):
                variable.assign(array)


def to_torch(layers: Layers, prefix: str = "") -> dict[str, np.ndarray]:
    """The weights of layers as the state dict of a `torch.nn.RNN`, `GRU` or `LSTM`.

    Where Keras has one bias and PyTorch two, `bias_ih` is the bias and `bias_hh` is zero.

    Args:
        layers: as for `load_torch`; all of the same kind, units and directions, as in PyTorch.
        prefix: put before each name, with a dot between.

    Returns:
        Arrays by name, float32, or float64 from layers of that dtype. In PyTorch:
        `module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})`.

    Raises:
        ConfigError: PyTorch has no such module; the message says what it lacks.

    Example:
        >>> layer = keras.layers.LSTM(3)
        >>> layer.build((None, None, 2))
        >>> for name, array in to_torch(layer, "encoder").items():
        ...     print(name, array.shape)
        encoder.weight_ih_l0 (12, 2)
        encoder.weight_hh_l0 (12, 3)
        encoder.bias_ih_l0 (12,)
        encoder.bias_hh_l0 (12,)
    """
    cells, prefix, state_dict = cells_of(layers), with_dot(prefix), {}
    form = form_of(cells)
    for depth, layer in enumerate(cells):
        for suffix, cell in zip(SUFFIXES, layer, strict=False):
            arrays = [_float_array(variable) for variable in variables(cell)]
            arrays = [to_torch_order(form.kind, array) for array in arrays]
            kernel, recurrent_kernel, *biases = arrays
            values = [kernel.T, recurrent_kernel.T]
            for bias in biases:
                two = form_of_cell(form.kind).two_biases
                values += [bias[0], bias[1]] if two else [bias, np.zeros_like(bias)]
            # A safetensors file takes the bytes in memory order, so the arrays must be contiguous.
            names = [f"{prefix}{name}" for name in weight_names(depth, suffix, form.bias)]
            state_dict |= dict(zip(names, map(np.ascontiguousarray, values), strict=True))
    return state_dict


def save_torch(layers: Layers, path: str | os.PathLike[str], prefix: str = "") -> None:
    """Writes the result of `to_torch` to a `.safetensors` file, for `safetensors.torch.load_file`.

    Args:
        layers, prefix: as for `to_torch`.
        path: path of the file; an existing file is overwritten.

    Raises:
        ConfigError: PyTorch has no such module, or the path has the suffix of a pickle.
        OSError: the file cannot be written.
    """
    path = pathlib.Path(path)
    if path.suffix in PICKLES:
        raise ConfigError(
            f"the path must not have the suffix of a pickle of PyTorch, got '{path}'; "
            f"name it '{path.with_suffix('.safetensors')}'"
        )
    path.write_bytes(safetensors.numpy.save(to_torch(layers, prefix), metadata={"format": "pt"}))


def _float_array(variable: keras.Variable) -> np.ndarray:
    array = np.asarray(keras.ops.convert_to_numpy(variable))
    return array if array.dtype == np.float64 else array.astype(np.float32)

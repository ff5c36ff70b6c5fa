"""Weights in the `.h5` files of Keras 2, and the layers of Keras 3 that they belong to.

A file has a group for each layer of the model. A nested model is one group with the weights of all its
layers. Layers are found by their names where the file has the model's names, else in their order, as Keras
does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import h5py
import keras
import numpy as np

from ostinato.errors import ConfigError

_TOP_LEVEL = "top_level_model_weights"


class Stored(NamedTuple):
    """The weights of one layer in a file.

    Attributes:
        layer: its name.
        names: the names of the weights.
        values: their values.
    """

    layer: str
    names: list[str]
    values: list[np.ndarray]


class Assignment(NamedTuple):
    """A variable of a model, its value in a file, and its name there."""

    variable: keras.Variable
    value: np.ndarray
    name: str


def has_layers(file: h5py.File) -> bool:
    """Whether a file has weights layer by layer, as Keras 2 stored them; `.weights.h5` of Keras 3 has not."""
    return names_in(group(file), "layer_names") is not None


def read(file: h5py.File) -> list[Stored]:
    """All layers with weights in a file of a model or of weights alone; other datasets are left alone.

    Raises:
        ConfigError: it has no weights as Keras stores them.
    """
    holder = group(file)
    layers = names_in(holder, "layer_names")
    if layers is None:
        raise ConfigError(f"{file.filename} has no weights of layers, as save_weights of Keras 2 writes them")
    stored = [_stored(cast("h5py.Group", holder[name]), name) for name in layers]
    if _TOP_LEVEL in holder:
        stored.append(_stored(cast("h5py.Group", holder[_TOP_LEVEL]), _TOP_LEVEL))
    return [each for each in stored if each.values]


def assignments(model: keras.Model, stored: Sequence[Stored]) -> list[Assignment]:
    """The variables of a model with their values in a file, in the file's order. Nothing is assigned yet.

    Args:
        model: the model, which has its weights.
        stored: the layers of a file.

    Raises:
        ConfigError: they are not those of the model.
    """
    targets = {layer.name: layer for layer in _layers(model) if _weights(layer)}
    given = [each for each in stored if each.layer != _TOP_LEVEL]
    names = [each.layer for each in given]
    if set(names) != set(targets):
        if len(names) != len(targets):
            raise ConfigError(
                f"the file has weights of {len(names)} layers, {_listed(names)}, and the model "
                f"{len(targets)}: {_listed(targets)}"
            )
        targets = dict(zip(names, targets.values(), strict=True))
    pairs = [pair for each in given for pair in _of_layer(targets[each.layer], each)]
    for each in stored:
        if each.layer == _TOP_LEVEL:
            own = [*model._trainable_variables, *model._non_trainable_variables]
            pairs += _paired(model.name, own, each)
    return pairs


def assign(model: keras.layers.Layer, pairs: Iterable[Assignment]) -> None:
    """Gives the variables of a model their values, once all of them were found.

    What normalizing layers have adapted then takes effect; Keras forgets those that are within another layer.
    """
    for variable, value, _ in pairs:
        variable.assign(value)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization | keras.layers.Discretization) and layer.weights:
            layer.finalize_state()


def group(file: h5py.File) -> h5py.Group:
    """What holds the layers: a file of weights does itself."""
    return cast("h5py.Group", file["model_weights"]) if "model_weights" in file else file


def _stored(group: h5py.Group, layer: str) -> Stored:
    names = names_in(group, "weight_names") or []
    values = [np.asarray(group[name]) for name in names]
    for name, value in zip(names, values, strict=True):
        if value.dtype.kind not in "biufV":
            raise ConfigError(f"the weights '{name}' must be numbers, got {value.dtype}")
    return Stored(layer, names, values)


def names_in(group: h5py.Group, attribute: str) -> list[str] | None:
    """An attribute with names, which Keras divides into several when it is long."""
    if attribute in group.attrs:
        parts: list[Any] = [group.attrs[attribute]]
    elif f"{attribute}0" in group.attrs:
        count = next(n for n in range(len(group.attrs) + 1) if f"{attribute}{n}" not in group.attrs)
        parts = [group.attrs[f"{attribute}{n}"] for n in range(count)]
    else:
        return None
    return [name.decode() if isinstance(name, bytes) else str(name) for part in parts for name in part]


def _layers(model: keras.layers.Layer) -> list[keras.layers.Layer]:
    return list(getattr(model, "layers", None) or model._flatten_layers(include_self=False, recursive=False))


def _weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """A layer's weights in the order of Keras 2's files."""
    states = {id(state) for part in layer._flatten_layers() for state in _states(part)}
    weights = [*layer.trainable_weights, *layer.non_trainable_weights]
    return [weight for weight in weights if id(weight) not in states]


def _states(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The states of a stateful layer, which Keras 2 did not store."""
    states = getattr(layer, "states", None) if isinstance(layer, keras.layers.RNN) else None
    return keras.tree.flatten(states) if states is not None else []


def _of_layer(layer: keras.layers.Layer, stored: Stored) -> list[Assignment]:
    if isinstance(layer, keras.layers.TimeDistributed):
        return _of_layer(layer.layer, stored)
    if isinstance(layer, keras.Model):
        return _of_nested(layer, stored)
    variables = _weights(layer)
    return _paired(layer.name, variables, stored._replace(values=_converted(layer, stored.values)))


def _paired(name: str, variables: Sequence[keras.Variable], stored: Stored) -> list[Assignment]:
    shapes = [tuple(variable.shape) for variable in variables]
    found = [value.shape for value in stored.values]
    if shapes != found:
        raise ConfigError(
            f"the weights of the layer '{name}' must have the shapes {_listed(shapes)}, got {_listed(found)} "
            f"in '{stored.layer}'"
        )
    return [Assignment(*each) for each in zip(variables, stored.values, stored.names, strict=True)]


def _of_nested(model: keras.Model, stored: Stored) -> list[Assignment]:
    """The weights of a nested model, by the names of its layers where all of them are found.

    Keras 2 stores its trainable weights first, layer by layer, and then the others.
    """
    layers = [layer for layer in _layers(model) if _weights(layer)]
    by_layer: dict[str, Stored] = {layer.name: Stored(layer.name, [], []) for layer in layers}
    for name, value in zip(stored.names, stored.values, strict=True):
        owners = [part for part in name.split("/") if part in by_layer]
        if not owners:
            break
        by_layer[owners[0]].names.append(name)
        by_layer[owners[0]].values.append(value)
    else:
        if all(_count(each.values, layer) for layer, each in zip(layers, by_layer.values(), strict=True)):
            return [pair for layer in layers for pair in _of_layer(layer, by_layer[layer.name])]
    trainable = [(layer, len(layer.trainable_weights)) for layer in layers]
    others = [(layer, len(_weights(layer)) - len(layer.trainable_weights)) for layer in layers]
    if sum(count for _, count in (*trainable, *others)) != len(stored.values):
        raise ConfigError(
            f"the model '{model.name}' must have {sum(map(len, map(_weights, layers)))} weights, got "
            f"{len(stored.values)} in '{stored.layer}'"
        )
    parts = {layer.name: Stored(layer.name, [], []) for layer in layers}
    start = 0
    for layer, count in (*trainable, *others):
        parts[layer.name].names.extend(stored.names[start : start + count])
        parts[layer.name].values.extend(stored.values[start : start + count])
        start += count
    return [pair for layer in layers for pair in _of_layer(layer, parts[layer.name])]


def _count(values: Sequence[np.ndarray], layer: keras.layers.Layer) -> bool:
    return len(values) == len(_weights(layer))


def _converted(layer: keras.layers.Layer, values: list[np.ndarray]) -> list[np.ndarray]:
    """The weights of a layer in Keras 3's layout, where those of the file are cuDNN's."""
    if isinstance(layer, keras.layers.Bidirectional) and not len(values) % 2:
        half = len(values) // 2
        return [
            *_converted(layer.forward_layer, values[:half]),
            *_converted(layer.backward_layer, values[half:]),
        ]
    if isinstance(layer, keras.layers.LSTM) and _is_cudnn(values, 8 * layer.units):
        return _from_cudnn(values, 4, values[2].reshape(2, -1).sum(axis=0))
    if isinstance(layer, keras.layers.GRU) and _is_cudnn(values, 6 * layer.units):
        return _from_cudnn(values, 3, values[2].reshape(2, -1))
    return values


def _is_cudnn(values: Sequence[np.ndarray], biases: int) -> bool:
    """Whether the bias has an entry for each of the two products of each gate, in one row."""
    return len(values) == 3 and values[2].shape == (biases,)


def _from_cudnn(values: list[np.ndarray], gates: int, bias: np.ndarray) -> list[np.ndarray]:
    """Weights of CuDNNLSTM or CuDNNGRU as those of LSTM or GRU.

    cuDNN multiplies by the matrices of the gates from the other side. Keras kept the numbers of a gate's
    kernel as they lie in cuDNN's memory, so their order there is that of the transposed kernel.

    Source: `preprocess_weights_for_loading` of Keras 2.2.4, keras/engine/saving.py.
    """
    kernel, recurrent = values[:2]
    kernels = [part.T.reshape(part.shape, order="F") for part in np.split(kernel, gates, axis=1)]
    recurrents = [part.T for part in np.split(recurrent, gates, axis=1)]
    return [np.concatenate(kernels, axis=1), np.concatenate(recurrents, axis=1), bias]


def _listed(things: Iterable[object]) -> str:
    return ", ".join(map(str, things)) or "none"

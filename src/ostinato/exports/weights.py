"""Weights alone: safetensors in the layouts of Keras and PyTorch, and RTNeural's JSON for audio plug-ins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors.numpy

from ostinato import scratch
from ostinato.acceleration.accelerate import recurrent_layers
from ostinato.cells.registry import find
from ostinato.engines.facts import cells
from ostinato.errors import ConfigError, ExportError
from ostinato.exports.draws import relative
from ostinato.exports.network import Network
from ostinato.exports.report import Report
from ostinato.interop.torch.convert import to_torch
from ostinato.runtime import program
from ostinato.runtime.reading import read


def write_keras(model: keras.Model, path: Path) -> Report:
    """All weights under Keras' paths, and what does not follow from them as metadata."""
    arrays = {variable.path: np.ascontiguousarray(variable.numpy()) for variable in model.weights}
    return _written(path, arrays, {"format": "keras"}, "safetensors")


def write_torch(model: keras.Model, path: Path) -> Report:
    """The recurrent layers as `torch.nn.RNN`, `GRU` and `LSTM` have them, under the path of each layer."""
    arrays: dict[str, np.ndarray] = {}
    left = []
    inside: set[int] = set()
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Bidirectional):
            inside |= {id(layer.forward_layer), id(layer.backward_layer)}
            arrays |= _of_torch(layer, layer.name, left)
    for name, layer in recurrent_layers(model):
        if id(layer) not in inside:
            arrays |= _of_torch(layer, name.replace("/", "."), left)
    if not arrays:
        raise ExportError(f"PyTorch has none of its recurrent layers: {'; '.join(left) or 'there are none'}")
    report = _written(path, arrays, {"format": "pt"}, "safetensors-torch")
    return Report(**{**vars(report), "notes": (*(f"left out: {why}" for why in left), *report.notes)})


def _of_torch(layer: keras.layers.Layer, name: str, left: list[str]) -> dict[str, np.ndarray]:
    try:
        return to_torch(layer, name)
    except ConfigError as error:
        left.append(f"{name} ({error})")
        return {}


def _written(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str], kind: str) -> Report:
    path.write_bytes(safetensors.numpy.save(arrays, metadata=metadata))
    again = safetensors.numpy.load_file(path)
    if any(not np.array_equal(again[name], array, equal_nan=True) for name, array in arrays.items()):
        raise ExportError("the file must hold the weights that were written, and does not")
    return Report(
        path=str(path),
        format=kind,
        notes=(f"{len(arrays)} arrays",),
        largest_difference=0.0,
        checked=True,
    )


_RTNEURAL = ("", "tanh", "relu", "sigmoid", "softmax", "elu")


def write_rtneural(model: Any, network: Network, path: Path) -> Report:
    """RTNeural's JSON, read back and run by its equations.

    Source of the format: the script `model_utils.py` of RTNeural (Chowdhury 2021, arXiv:2106.03037).
    """
    stages = read(model).stages
    layers = [_rtneural(stage) for stage in stages if not isinstance(stage, program.Activation)]
    _name_activations(layers, stages)
    kernel = getattr(stages[0], "kernel", None)
    if kernel is None:
        raise ExportError("RTNeural reads numbers: the first layer must be recurrent or dense")
    shape = [None, None, len(kernel)]
    path.write_text(json.dumps({"in_shape": shape, "layers": layers}))
    largest = _compared(json.loads(path.read_text()), network, len(kernel))
    if largest > 1e-5:
        raise ExportError(f"RTNeural's equations must give the network's outputs to 1e-5, got {largest:.1e}")
    return Report(
        path=str(path),
        format="rtneural",
        notes=(*network.notes, "run by RTNeural's equations in NumPy, not by RTNeural itself"),
        largest_difference=largest,
        checked=True,
    )


def _rtneural(stage: program.Stage) -> dict[str, Any]:
    if isinstance(stage, program.Dense):
        bias = np.zeros(stage.kernel.shape[1], np.float32) if stage.bias is None else stage.bias
        return _layer("dense", "", stage.kernel.shape[1], [stage.kernel, bias])
    if not isinstance(stage, program.Recurrent) or stage.go_backwards or not find(stage.cell).rtneural:
        raise ExportError(
            f"RTNeural has dense layers, GRU and LSTM in one direction, got {type(stage).__name__}"
        )
    usual = stage.activation == "tanh" and stage.recurrent_activation == "sigmoid" and stage.reset_after
    if not usual or stage.bias is None:
        raise ExportError(
            "RTNeural has GRU and LSTM with tanh, sigmoid, a bias and reset_after, and "
            f"'{stage.name}' is another"
        )
    weights = [stage.kernel, stage.recurrent, stage.bias]
    return _layer(find(stage.cell).rtneural, "tanh", stage.units, weights)


def _layer(kind: str, activation: str, units: int, weights: list[np.ndarray]) -> dict[str, Any]:
    shape = [None, None, units]
    return {
        "type": kind,
        "activation": activation,
        "shape": shape,
        "weights": [each.astype(float).tolist() for each in weights],
    }


def _name_activations(layers: list[dict[str, Any]], stages: Any) -> None:
    place = -1
    for stage in stages:
        if not isinstance(stage, program.Activation):
            place += 1
        elif place < 0 or layers[place]["type"] != "dense" or stage.name not in _RTNEURAL or stage.options:
            raise ExportError(f"RTNeural has no {stage.name} here")
        else:
            layers[place]["activation"] = stage.name


def _compared(written: dict[str, Any], network: Network, features: int) -> float:
    import tensorflow as tf

    x = np.random.default_rng(5).normal(size=(1, 30, features)).astype(np.float32)
    states = [state.initial(1) for state in network.states]
    wanted = np.asarray(network.reference([tf.constant(x)], states)[0][0])
    wanted = wanted[:, -1] if wanted.ndim == 3 else wanted
    y = x[0].astype(np.float64)
    for layer in written["layers"]:
        weights = [np.array(each) for each in layer["weights"]]
        y = _run(layer["type"], layer["activation"], weights, y)
    return relative(y[-1], wanted[0], 1e-3)


def _run(kind: str, activation: str, weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    from scipy.special import expit, softmax

    if kind == "dense":
        y = x @ weights[0] + weights[1]
        functions = {"": y, "tanh": np.tanh(y), "relu": np.maximum(y, 0), "sigmoid": expit(y)}
        functions |= {"softmax": softmax(y, -1), "elu": np.where(y > 0, y, np.expm1(np.minimum(y, 0)))}
        return functions[activation]
    import tensorflow as tf

    cell = next(each for each in cells() if each.rtneural == kind)
    assert cell.step is not None
    params = scratch.from_keras([tf.constant(each) for each in weights], reset_after=True)
    state = tuple(tf.zeros((1, len(weights[1])), tf.float64) for _ in cell.states)
    found = []
    for row in x:
        y, state = cell.step(tf.constant(row[None]), state, params)
        found.append(y[0].numpy())
    return np.array(found)

"""From a Keras model to its `Program`: the layers in order, with copies of their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np

from ostinato.cells import registry
from ostinato.cells.keras_rnn import RNN
from ostinato.engines import activations
from ostinato.engines.facts import cell_of, has_known_cell, parts
from ostinato.errors import ConfigError
from ostinato.layers.stack import RecurrentStack
from ostinato.runtime import program
from ostinato.runtime.program import Program, Stage
from ostinato.wording import quoted

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load

_ACTIVATIONS = (
    *("elu", "exponential", "gelu", "hard_sigmoid", "leaky_relu", "log_softmax", "relu", "relu6", "selu"),
    *("sigmoid", "silu", "softmax", "softplus", "softsign", "tanh"),
)
_KNOWN = "embedding or one-hot, recurrent layers in one or two directions, dense, pooling and activations"
# Layers that change nothing outside of training.
_ONLY_TRAINING = (
    *(keras.layers.InputLayer, keras.layers.Dropout, keras.layers.SpatialDropout1D),
    *(keras.layers.GaussianNoise, keras.layers.GaussianDropout, keras.layers.ActivityRegularization),
)
_POOLS = {
    keras.layers.GlobalAveragePooling1D: "average",
    keras.layers.GlobalMaxPooling1D: "max",
    keras.layers.AveragePooling1D: "average",
    keras.layers.MaxPooling1D: "max",
}


def read(model: keras.Model) -> Program:
    """The program of a model with one input and one output, each layer of which reads the one before it.

    A model of one's own class says its chain itself, with a method `chain` that returns layers and stages.

    Raises:
        ConfigError: something in the model cannot be read; the sentence names it.
    """
    if not isinstance(model, keras.Model):
        raise ConfigError(f"the model must be a keras.Model, got {quoted(type(model).__name__)}")
    if not model.built:
        raise ConfigError("the model must be built, so that it has weights: call it once on some input")
    stages = tuple(stage for part in _chain(model) for stage in _stages(part))
    if not stages:
        raise ConfigError("the model must have at least one layer that computes something")
    return Program(stages, _input_shape(model, stages[0]))


def _chain(model: keras.Model) -> list[Any]:
    """The layers of a model in the order of their calls; of nested models too."""
    if hasattr(model, "chain"):
        return list(cast("Any", model).chain())
    if not type(model).call.__module__.startswith("keras."):
        raise ConfigError(
            f"a model of the class {type(model).__name__} has a `call` of its own, which cannot be read; "
            "give it a method `chain` that returns its layers in order, or make it a Sequential model"
        )
    found = list(model.layers) if isinstance(model, keras.Sequential) else _operations(model)
    return [
        part for layer in found for part in (_chain(layer) if isinstance(layer, keras.Model) else [layer])
    ]


def _operations(model: Any) -> list[Any]:
    """What leads from the input of a functional model to its output, where nothing branches."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ConfigError(
            f"the model must have one input and one output, got {len(model.inputs)} and {len(model.outputs)}"
        )
    (tensor,), (first,), found = model.outputs, model.inputs, []
    while tensor is not first:
        operation, node_index, _ = tensor._keras_history
        inputs = operation._inbound_nodes[node_index].input_tensors
        if len(inputs) != 1:
            raise ConfigError(
                "every layer must read the one before it and nothing else, but "
                f"'{quoted(operation.name)}' has {len(inputs)} inputs"
            )
        found.append(operation)
        (tensor,) = inputs
    return found[::-1]


def _input_shape(model: keras.Model, first: Stage) -> tuple[int | None, ...]:
    """(batch, time) of ids, or (batch, time, features); for a model without sequences (batch, features)."""
    if isinstance(first, program.Embedding | program.OneHot):
        return (None, None)
    shape = getattr(model, "input_shape", None)
    return (None, None, None) if not isinstance(shape, tuple) else (None, *shape[1:])


def _stages(layer: Any) -> Iterator[Stage]:
    """What a layer computes."""
    if isinstance(layer, Stage):
        yield layer
        return
    kind = type(layer)
    if kind in _ONLY_TRAINING:
        return
    _check_dtype(layer)
    reader = _READERS.get(kind) or (_recurrent if _is_recurrent(layer) else None)
    if reader is None and kind.__name__ == "OneHot" and isinstance(layer, keras.Operation):
        reader = _one_hot
    if reader is None:
        raise ConfigError(
            f"the layer '{quoted(layer.name)}' is a {quoted(kind.__name__)}, which cannot be read; "
            f"what can be: {_KNOWN}"
        )
    yield from reader(layer)


def _refuse(layer: Any, why: str) -> ConfigError:
    return ConfigError(f"the layer '{quoted(layer.name)}' cannot be read: {why}")


def _check_dtype(layer: Any) -> None:
    for dtype in (getattr(layer, "compute_dtype", "float32"), getattr(layer, "variable_dtype", "float32")):
        if dtype != "float32":
            raise _refuse(layer, f"its dtype must be float32, got {dtype}")


def _numbers(weight: Any) -> np.ndarray:
    """A copy of a weight, float32, row after row."""
    return np.array(keras.ops.convert_to_numpy(weight), np.float32, order="C")


def _embedding(layer: Any) -> Iterator[Stage]:
    yield program.Embedding(_numbers(layer.embeddings), layer.mask_zero)


def _one_hot(operation: Any) -> Iterator[Stage]:
    if operation.axis != -1 or operation.dtype not in (None, "float32"):
        raise _refuse(operation, "its axis must be the last, and its dtype float32")
    yield program.OneHot(operation.num_classes)


def _masking(layer: Any) -> Iterator[Stage]:
    yield program.Masking(float(layer.mask_value))


def _is_recurrent(layer: Any) -> bool:
    ours = registry.accelerated()
    if type(layer) not in (*ours, *ours.values(), keras.layers.RNN, RNN):
        return False
    own = getattr(layer, "recurrence", None)  # another where the layer has options that Keras lacks
    return has_known_cell(layer) and (own is None or own.keras is not None)


def _recurrent(layer: Any) -> Iterator[Stage]:
    stages = list(_recurrences(layer))
    if layer.return_state:
        raise _refuse(
            layer, "it has `return_state`; `y, state = predict(x, state)` gives the states of all layers"
        )
    yield from stages


def _recurrences(layer: Any) -> Iterator[Stage]:
    """The recurrences of a layer; whether it returns its state makes no difference to a program."""
    if layer.stateful:
        raise _refuse(
            layer,
            "it is stateful; set `layer.stateful = False`, and hand the state on yourself, as in "
            "`y, state = predict(x, state)`",
        )
    if obstacle := next(filter(None, map(activations.obstacle, parts(layer))), None):
        raise _refuse(layer, obstacle)
    for part in parts(layer):
        cell, kind = part.cell, cast("Any", cell_of(part))
        names = activations.names_of(cast("Any", part))
        yield program.Recurrent(
            cell=kind.name,
            states=len(kind.states),
            kernel=_numbers(cell.kernel),
            recurrent=_numbers(cell.recurrent_kernel),
            bias=None if cell.bias is None else _numbers(cell.bias),
            activation=cast("str", names["activation"]),
            recurrent_activation=names.get("recurrent_activation") or "sigmoid",
            reset_after=bool(getattr(cell, "reset_after", True)),
            go_backwards=bool(part.go_backwards),
            return_sequences=bool(part.return_sequences),
            zero_output_for_mask=bool(part.zero_output_for_mask),
            name=layer.name,
        )


def _bidirectional(layer: Any) -> Iterator[Stage]:
    if layer.merge_mode is None:
        raise _refuse(layer, "its merge_mode must be 'concat', 'sum', 'mul' or 'ave', got None")
    directions = (layer.forward_layer, layer.backward_layer)
    for each in directions:
        if not _is_recurrent(each):
            raise _refuse(
                layer, f"it wraps a {quoted(type(each).__name__)} with a cell that the engine does not have"
            )
    forward, backward = (tuple(cast("Any", _recurrent(each))) for each in directions)
    yield program.Bidirectional(forward, backward, layer.merge_mode)


def _stack(layer: RecurrentStack) -> Iterator[Stage]:
    if layer.block:
        raise _refuse(layer, "its layers stand in residual blocks")
    for each in layer.layers:
        if not _is_recurrent(each):
            raise _refuse(each, f"its cell must be rnn, gru or lstm, got {quoted(layer.cell)}")
        yield from _recurrences(each)


def _dense(layer: Any) -> Iterator[Stage]:
    if getattr(layer, "quantization_mode", None):
        raise _refuse(layer, f"it is quantized to {layer.quantization_mode}")
    yield program.Dense(_numbers(layer.kernel), None if layer.bias is None else _numbers(layer.bias))
    yield from _activation(layer)


def _activation(layer: Any) -> Iterator[Stage]:
    given = layer.activation
    if given is None or given is keras.activations.linear:
        return
    name = next((name for name in _ACTIVATIONS if getattr(keras.activations, name) is given), None)
    name = name or activations.name_of(given)  # Keras 2's hard sigmoid
    if name is None:
        raise _refuse(
            layer, f"its activation must be one of Keras', got {quoted(getattr(given, '__name__', given))}"
        )
    yield program.Activation(name)


def _relu(layer: Any) -> Iterator[Stage]:
    options = {"negative_slope": layer.negative_slope, "threshold": layer.threshold}
    if layer.max_value is not None:
        options["max_value"] = layer.max_value
    yield program.Activation("relu", {name: float(value) for name, value in options.items()})


def _leaky_relu(layer: Any) -> Iterator[Stage]:
    yield program.Activation("leaky_relu", {"negative_slope": float(layer.negative_slope)})


def _elu(layer: Any) -> Iterator[Stage]:
    yield program.Activation("elu", {"alpha": float(layer.alpha)})


def _softmax(layer: Any) -> Iterator[Stage]:
    if layer.axis != -1:
        raise _refuse(layer, f"its axis must be -1, got {layer.axis}")
    yield program.Activation("softmax")


def _time_distributed(layer: Any) -> Iterator[Stage]:
    if type(layer.layer) not in (keras.layers.Dense, keras.layers.Activation):
        raise _refuse(layer, f"it must wrap a Dense, got {quoted(type(layer.layer).__name__)}")
    yield from _stages(layer.layer)


def _global_pooling(layer: Any) -> Iterator[Stage]:
    _check_channels(layer)
    yield program.GlobalPooling(_POOLS[type(layer)], bool(layer.keepdims))


def _pooling(layer: Any) -> Iterator[Stage]:
    _check_channels(layer)
    if layer.padding != "valid":
        raise _refuse(layer, f"its padding must be 'valid', got '{layer.padding}'")
    (size,), (stride,) = np.ravel(layer.pool_size), np.ravel(layer.strides)
    yield program.Pooling(_POOLS[type(layer)], int(size), int(stride))


def _check_channels(layer: Any) -> None:
    if layer.data_format != "channels_last":
        raise _refuse(layer, f"its data_format must be 'channels_last', got '{layer.data_format}'")


_READERS: dict[type, Callable[[Any], Iterator[Stage]]] = {
    keras.layers.Activation: _activation,
    keras.layers.AveragePooling1D: _pooling,
    keras.layers.Bidirectional: _bidirectional,
    keras.layers.Dense: _dense,
    keras.layers.ELU: _elu,
    keras.layers.Embedding: _embedding,
    keras.layers.GlobalAveragePooling1D: _global_pooling,
    keras.layers.GlobalMaxPooling1D: _global_pooling,
    keras.layers.LeakyReLU: _leaky_relu,
    keras.layers.Masking: _masking,
    keras.layers.MaxPooling1D: _pooling,
    keras.layers.ReLU: _relu,
    keras.layers.Softmax: _softmax,
    keras.layers.TimeDistributed: _time_distributed,
    RecurrentStack: _stack,
}

"""Calls of TensorFlow's functions in a functional model of Keras 2, as operations of Keras 3.

TensorFlow's Keras kept such a call as a layer: `TFOpLambda` and `SlicingOpLambda` since 2.4, which name the
function, before that `TensorFlowOpLayer`, which holds the node of a graph.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from keras import activations, ops

from ostinato.errors import ConfigError
from ostinato.interop.keras.origin import JsonObject

Tensor = Any
NAMES = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")


def _reduction(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda x, axis=None, keepdims=False: function(x, axis=axis, keepdims=keepdims)


def _of_two(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda x, y: function(x, y)  # by TensorFlow's names


def _matmul(a: Tensor, b: Tensor, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    first = ops.swapaxes(a, -1, -2) if transpose_a else a
    return ops.matmul(first, ops.swapaxes(b, -1, -2) if transpose_b else b)


def _getitem(x: Tensor, slice_spec: list) -> Tensor:
    def part(spec: Any) -> Any:
        if isinstance(spec, dict):
            return slice(spec.get("start"), spec.get("stop"), spec.get("step"))
        return Ellipsis if spec == "..." else spec

    return x[tuple(part(spec) for spec in slice_spec)]


_ELEMENTWISE = {
    **{
        name: getattr(ops, name)
        for name in ("abs", "exp", "log", "sqrt", "square", "sign", "negative", "log1p")
    },
    **{name: getattr(ops, name) for name in ("sin", "cos", "floor", "ceil", "round", "rsqrt", "erf")},
    **{name: getattr(activations, name) for name in ("tanh", "sigmoid", "relu", "softplus", "elu", "selu")},
    **{name: getattr(activations, name) for name in ("softsign", "relu6", "silu", "gelu")},
}
_BINARY = {
    **{name: getattr(ops, name) for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")},
    **{
        "truediv": ops.divide,
        "sub": ops.subtract,
        "mul": ops.multiply,
        "pow": ops.power,
        "floordiv": ops.floor_divide,
    },
    **{name: getattr(ops, name) for name in ("equal", "not_equal", "less", "less_equal", "greater")},
    **{"greater_equal": ops.greater_equal, "squared_difference": lambda x, y: ops.square(ops.subtract(x, y))},
    **{name: getattr(ops, name) for name in ("logical_and", "logical_or")},
}
_REDUCTIONS = {
    **{
        f"reduce_{name}": _reduction(getattr(ops, name))
        for name in ("mean", "sum", "max", "min", "prod", "std")
    },
    "reduce_variance": _reduction(ops.var),
    "reduce_logsumexp": _reduction(ops.logsumexp),
}
_STRUCTURAL: dict[str, Callable[..., Tensor]] = {
    "getitem": _getitem,
    "matmul": _matmul,
    "cast": lambda x, dtype: ops.cast(x, dtype),
    "concat": lambda values, axis: ops.concatenate(values, axis=axis),
    "expand_dims": lambda x, axis: ops.expand_dims(x, axis),
    "squeeze": lambda x, axis=None: ops.squeeze(x, axis),
    "reshape": lambda x, shape: ops.reshape(x, tuple(shape)),
    "transpose": lambda x, perm=None: ops.transpose(x, perm),
    "stack": lambda values, axis=0: ops.stack(values, axis=axis),
    "unstack": lambda x, num=None, axis=0: ops.unstack(x, num, axis),
    "split": lambda x, num_or_size_splits, axis=0: ops.split(x, _splits(num_or_size_splits), axis),
    "tile": lambda x, multiples: ops.tile(x, multiples),
    "repeat": lambda x, repeats, axis=None: ops.repeat(x, repeats, axis),
    "reverse": lambda x, axis: ops.flip(x, axis),
    "gather": lambda x, indices, axis=0: ops.take(x, indices, axis or 0),
    "one_hot": lambda x, depth: ops.one_hot(x, depth),
    "zeros_like": lambda x: ops.zeros_like(x),
    "ones_like": lambda x: ops.ones_like(x),
    "argmax": lambda x, axis=None: ops.argmax(x, axis),
    "clip_by_value": lambda x, clip_value_min, clip_value_max: ops.clip(x, clip_value_min, clip_value_max),
    "where": lambda condition, x, y: ops.where(condition, x, y),
    "softmax": lambda x, axis=-1: ops.softmax(x, axis),
    "log_softmax": lambda x, axis=-1: ops.log_softmax(x, axis),
    "leaky_relu": lambda x, alpha=0.2: ops.leaky_relu(x, alpha),
    "l2_normalize": lambda x, axis=-1: ops.normalize(x, axis),
    "bias_add": lambda x, bias: ops.add(x, bias),
    "identity": lambda x: x,
    "stop_gradient": lambda x: ops.stop_gradient(x),
}
_FUNCTIONS = {
    **_ELEMENTWISE,
    **{name: _of_two(function) for name, function in _BINARY.items()},
    **_REDUCTIONS,
    **_STRUCTURAL,
}
# The functions of the nodes of a graph, where they have another name.
_NODES = {
    **{"AddV2": "add", "BiasAdd": "bias_add", "RealDiv": "divide", "Sub": "subtract", "Mul": "multiply"},
    **{
        "Mean": "reduce_mean",
        "Sum": "reduce_sum",
        "Max": "reduce_max",
        "Min": "reduce_min",
        "Neg": "negative",
    },
    **{"BatchMatMul": "matmul", "BatchMatMulV2": "matmul", "MatMul": "matmul", "ExpandDims": "expand_dims"},
    **{"Relu": "relu", "Pack": "stack", "Pow": "pow", "SquaredDifference": "squared_difference"},
}


class OperationCall:
    """Stands where Keras 2 had a layer, and calls a function of Keras 3."""

    def __init__(
        self, name: str, function: Callable[..., Tensor], constants: dict[int, object] | None = None
    ) -> None:
        self.name = name
        self._function = function
        self._constants = constants or {}

    def __call__(self, tensors: Tensor, **arguments: object) -> Tensor:
        """Calls the function on what a node of Keras 2 says."""
        arguments.pop("name", None)
        if not self._constants:
            return self._function(tensors, **arguments)
        given = iter(tensors if isinstance(tensors, list) else [tensors])
        count = len(self._constants) + (len(tensors) if isinstance(tensors, list) else 1)
        return self._function(
            *(self._constants[n] if n in self._constants else next(given) for n in range(count))
        )


def call_of(kind: str, config: JsonObject) -> OperationCall:
    """What a layer of TensorFlow's Keras that stands for a function calls.

    Args:
        kind: one of `NAMES`.
        config: its options.

    Raises:
        ConfigError: Keras 3 has no function for it.
    """
    constants: dict[int, object] = {}
    arguments: dict[str, object] = {}
    if kind == "TensorFlowOpLayer":
        node = config["node_def"] if isinstance(config["node_def"], dict) else json.loads(config["node_def"])
        name = _NODES.get(node["op"], node["op"].lower())
        arguments = _attributes(node.get("attr", {}))
        constants = {int(place): value for place, value in (config.get("constants") or {}).items()}
    else:
        name = str(config["function"]).rpartition(".")[2]
    if name not in _FUNCTIONS:
        raise ConfigError(
            f"the layer '{config.get('name')}' calls TensorFlow's {config.get('function', name)}, which "
            "ostinato does not know as a function of Keras 3"
        )
    function = functools.partial(_FUNCTIONS[name], **arguments) if arguments else _FUNCTIONS[name]
    return OperationCall(str(config.get("name")), function, constants)


def _attributes(attributes: JsonObject) -> dict[str, object]:
    """The arguments of a function that a node of a graph holds as attributes, but for the defaults."""
    names = {"keep_dims": "keepdims", "transpose_a": "transpose_a", "transpose_b": "transpose_b"}
    names |= {"adj_x": "transpose_a", "adj_y": "transpose_b"}
    found: dict[str, object] = {new: True for old, new in names.items() if attributes.get(old, {}).get("b")}
    if attributes.get("axis", {}).get("i"):
        found["axis"] = int(attributes["axis"]["i"])
    return found


def _splits(count: Any) -> Any:
    """From the sizes of the parts to the places between them."""
    if isinstance(count, list):
        return [sum(count[: n + 1]) for n in range(len(count) - 1)]
    return count

"""A network as an ONNX file."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from ostinato.errors import ExportError
from ostinato.exports.network import Network
from ostinato.exports.report import Tensor
from ostinato.exports.specs import input_specs, state_specs

OPSETS = range(13, 19)
"""The versions of ONNX's operators that can be written."""


def to_onnx(network: Network, *, batch: int | None, time: int | None, opset: int) -> Any:
    """An `onnx.ModelProto` of a network.

    Args:
        network: to be converted.
        batch, time: fixed sizes of the first two axes; None leaves an axis open.
        opset: the version of ONNX's operators.

    Raises:
        ExportError: something in it cannot be converted.
    """
    import tf2onnx

    from ostinato.exports.onnx import operators  # noqa: F401 - tells tf2onnx about the engine's ops

    specs = [*input_specs(network, batch, time), *state_specs(network, batch)]
    count = len(network.inputs)

    def trace(*given: tf.Tensor) -> list[tf.Tensor]:
        outputs, after = network.run(given[:count], given[count:])
        return [tf.identity(each) for each in (*outputs, *after)]

    run: Any = tf.function(trace)

    # Traced here: the engine refuses to be traced by tf2onnx itself.
    concrete = run.get_concrete_function(*specs)
    sizes = [tuple(each.shape) for each in concrete.outputs]
    with _quiet():
        model, _ = tf2onnx.convert.from_function(run, specs, opset=opset)
    left = sorted({node.op_type for node in model.graph.node if node.op_type.startswith("Ostinato")})
    if left:
        raise ExportError(f"ONNX has no operator for {', '.join(left)}")
    inputs = network.given
    outputs = network.results
    _rename(model, {**_pairs(model.graph.input, inputs), **_pairs(model.graph.output, outputs)})
    axes = [*(each.axis for each in network.inputs), *["time"] * len(network.states)]
    _name_sizes(model.graph.input, [tuple(spec.shape) for spec in specs], axes)
    own = axes[0] if len({each.axis for each in network.inputs}) == 1 else ""
    _name_sizes(model.graph.output, sizes, [own or f"{name}_time" for name in outputs])
    model.producer_name = "ostinato"
    from ostinato import __version__

    facts = {"version": __version__, "name": network.name, **network.metadata}
    for name, value in facts.items():
        model.metadata_props.add(
            key=name if "." in name or name == "license" else f"ostinato.{name}", value=value
        )
    return model


def operators_of(model: Any) -> dict[str, int]:
    """How many there are of each operator, in loops, too."""
    counts: Counter[str] = Counter()

    def count(graph: Any) -> None:
        for node in graph.node:
            counts[node.op_type] += 1
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    count(attribute.g)

    count(model.graph)
    return dict(counts)


def tensors_of(values: Any) -> tuple[Tensor, ...]:
    """The inputs or the outputs of a graph, as a report has them."""
    import onnx

    def tensor(value: Any) -> Tensor:
        kind = value.type.tensor_type
        sizes = (size.dim_param or size.dim_value for size in kind.shape.dim)
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name
        return Tensor(value.name, dtype, tuple(sizes))

    return tuple(map(tensor, values))


def run_with_onnxruntime(path: str, network: Network) -> Any:
    """A function that runs a file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = network.given
    has = {each.name for each in session.get_inputs()}

    def run(inputs: list[np.ndarray], states: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        given = {name: value for name, value in zip(names, (*inputs, *states), strict=True) if name in has}
        found = [np.asarray(each) for each in session.run(None, given)]
        return found[: len(network.outputs)], found[len(network.outputs) :]

    return run


def _pairs(values: Any, names: list[str]) -> dict[str, str]:
    if len(values) != len(names):
        raise ExportError(
            f"the graph must have {', '.join(names)}, got {', '.join(each.name for each in values)}"
        )
    return {value.name: name for value, name in zip(values, names, strict=True)}


def _rename(model: Any, names: dict[str, str]) -> None:
    """Renames tensors everywhere; one that has a new name by chance moves out of its way."""
    taken = {name: f"{name}__before" for name in names.values() if name not in names}

    def new(name: str) -> str:
        return names.get(name) or taken.get(name) or name

    def of_graph(graph: Any) -> None:
        for node in graph.node:
            node.input[:] = [new(name) for name in node.input]
            node.output[:] = [new(name) for name in node.output]
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    of_graph(attribute.g)
        for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            value.name = new(value.name)

    of_graph(model.graph)


def _name_sizes(values: Any, shapes: list[tuple[int | None, ...]], axes: list[str]) -> None:
    """Words for open sizes: batch and, of the second axis, those that are given."""
    for value, shape, second in zip(values, shapes, axes, strict=True):
        sizes = value.type.tensor_type.shape
        if len(sizes.dim) != len(shape):
            del sizes.dim[:]
            sizes.dim.extend([type(sizes).Dimension() for _ in shape])
        for axis, (dim, size) in enumerate(zip(sizes.dim, shape, strict=True)):
            dim.Clear()
            if size is not None:
                dim.dim_value = size
            else:
                dim.dim_param = ("batch", second)[axis] if axis < 2 else f"{value.name}_{axis}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without tf2onnx's log, but for errors."""
    logs = [logging.getLogger(name) for name in ("tf2onnx", None)]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)

"""Weights of eight bits in ONNX files: with a scale for each row, or as ONNX Runtime computes with them."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.engines.facts import cells
from ostinato.exports.rows import rows_of_int8

_LEAST_SIZE = 64
"""Weights with fewer numbers stay as they are: their scales would take as much."""
_RECURRENT = tuple(cell.onnx.kind for cell in cells() if cell.onnx is not None)
_AXES = {**{kind: {1: 1, 2: 1} for kind in _RECURRENT}, "MatMul": {1: 1}, "Gemm": {1: 1}, "Gather": {0: 0}}
"""By operator: which inputs are weights, and the axis along which each row has its scale."""


def quantize_file(path: Path, how: str) -> list[str]:
    """Rewrites an ONNX file with weights of eight bits.

    Args:
        path: the file.
        how: "int8" or "int8-weights".

    Returns:
        Sentences for the user: what stayed float32.
    """
    import onnx

    if how == "int8":
        return _by_onnxruntime(path)
    model = onnx.load(path)
    stored = _store_rows(model)
    path.write_bytes(model.SerializeToString())
    return [f"{stored} weights are stored in eight bits with a scale for each row; sums are float32"]


def _store_rows(model: Any) -> int:
    """Stores weights as int8 behind DequantizeLinear nodes; returns how many."""
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {each.name: each for each in graph.initializer}
    nodes, done = [], {}
    for node in graph.node:
        for place, axis in _AXES.get(node.op_type, {}).items():
            name = node.input[place] if place < len(node.input) else ""
            if name not in constants or (name in done and done[name][1] != axis):
                continue
            if name not in done:
                array = numpy_helper.to_array(constants[name])
                if array.dtype != np.float32 or array.ndim < 2 or array.size < _LEAST_SIZE:
                    continue
                whole, scales = rows_of_int8(array, axis)
                for part, values in (
                    ("int8", whole),
                    ("scale", scales),
                    ("zero", np.zeros(len(scales), np.int8)),
                ):
                    graph.initializer.append(numpy_helper.from_array(values, f"{name}_{part}"))
                names = [f"{name}_{part}" for part in ("int8", "scale", "zero")]
                nodes.append(helper.make_node("DequantizeLinear", names, [f"{name}_float"], axis=axis))
                done[name] = (f"{name}_float", axis)
            node.input[place] = done[name][0]
    used = {name for node in graph.node for name in node.input}
    kept = [each for each in graph.initializer if each.name not in done or each.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for node in reversed(nodes):
        graph.node.insert(0, node)
    return len(done)


def _by_onnxruntime(path: Path) -> list[str]:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(path, path.with_suffix(".int8"), weight_type=QuantType.QInt8, per_channel=True)
    path.with_suffix(".int8").replace(path)
    left = [node.op_type for node in onnx.load(path).graph.node if node.op_type in _RECURRENT]
    if not left:
        return []
    names = ", ".join(sorted(set(left)))
    return [
        f"ONNX Runtime has no {names} of eight bits: {len(left)} stayed float32; int8-weights stores them "
        "smaller"
    ]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantizer's advice, which it gives to the root log and to standard output."""
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(level)

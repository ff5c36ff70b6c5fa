"""Writes ONNX files: float32, or with weights of eight bits."""

from __future__ import annotations

from pathlib import Path

from ostinato.errors import ExportError
from ostinato.exports.draws import INT8_TOLERANCE, TOLERANCE, agreement
from ostinato.exports.network import Network
from ostinato.exports.onnx.convert import operators_of, run_with_onnxruntime, tensors_of, to_onnx
from ostinato.exports.report import Report
from ostinato.exports.requirements import need

_LOOPS = ("Loop", "Scan", "If")


def write(
    network: Network,
    path: Path,
    *,
    quantize: str | None,
    batch: int | None,
    time: int | None,
    opset: int,
    check: bool,
) -> Report:
    """Writes an ONNX file and runs it; see `ostinato.exports.export.export`."""
    import onnx  # the packages were looked for by `require`

    model = to_onnx(network, batch=batch, time=time, opset=opset)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    notes = list(network.notes)
    if quantize is not None:
        from ostinato.exports.onnx.quantize import quantize_file

        notes += quantize_file(path, quantize)
        model = onnx.load(path)
    largest = None
    if check:
        run = run_with_onnxruntime(str(path), network)
        tolerance = TOLERANCE if quantize is None else INT8_TOLERANCE
        largest, more = agreement(network, run, batch=batch, time=time, tolerance=tolerance)
        notes += more
    operators = operators_of(model)
    loops = dict(network.loops) if any(name in operators for name in _LOOPS) else {}
    count, results = len(network.inputs), len(network.outputs)
    inputs, outputs = tensors_of(model.graph.input), tensors_of(model.graph.output)
    notes.append("a batch of 0 ends the process of ONNX Runtime: leave such calls out")
    return Report(
        path=str(path),
        format="onnx",
        inputs=inputs[:count],
        outputs=outputs[:results],
        states=tuple(zip(inputs[count:], outputs[results:], strict=True)),
        operators=operators,
        loops=loops,
        notes=tuple(notes),
        largest_difference=largest,
        checked=check,
        unchecked="" if check else "check=False",
    )


def require(*, check: bool) -> None:
    """Raises ExportError where a package that writes or runs ONNX files is missing."""
    for package in ("onnx", "tf2onnx"):
        need(package, "onnx", "writing ONNX")
    if check:
        try:
            need("onnxruntime", "onnx", "checking ONNX")
        except ExportError as error:
            raise ExportError(f"{error}; check=False (--no-check) writes without") from None

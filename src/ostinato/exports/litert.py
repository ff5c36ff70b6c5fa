"""LiteRT files (`.tflite`) of built-in operators alone, with the signatures `forward` and `step`."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ostinato.errors import ExportError
from ostinato.exports.draws import INT8_TOLERANCE, TOLERANCE, agreement
from ostinato.exports.looping import one_loop
from ostinato.exports.network import Network
from ostinato.exports.report import Report
from ostinato.exports.specs import described, input_specs, state_specs

_NOTES = (
    "each recurrent layer is one loop over time",
    "a runtime resizes the inputs to other batches and lengths before it runs them",
)


def write(network: Network, path: Path, options: dict[str, Any]) -> Report:
    """Writes a LiteRT file and runs it; see `export`."""
    batch, time = options["batch"], options["time"]
    target = options["target"]
    quantize = options["quantize"]
    path.write_bytes(_converted(network, batch, time, target, quantize))
    largest, more = None, ()
    if options["check"]:
        run, operators = _runner(network, path)
        if target == "micro":
            run = _micro_runner(network, path)
        flexible = [name for name in operators if name.startswith("Flex")]
        if flexible:
            raise ExportError(f"LiteRT has no operator of its own for {', '.join(flexible)}")
        largest, more = agreement(
            network,
            run,
            batch=batch,
            time=time,
            tolerance=TOLERANCE if quantize is None else INT8_TOLERANCE,
        )
    else:
        operators = {}
    return Report(
        path=str(path),
        format="litert",
        **described(network, batch, time),
        operators=operators,
        notes=(*network.notes, *more, *_NOTES),
        largest_difference=largest,
        checked=options["check"],
        unchecked="" if options["check"] else "check=False",
    )


def _converted(
    network: Network, batch: int | None, time: int | None, target: str | None, quantize: str | None
) -> bytes:
    """The file's bytes."""
    inputs, states = input_specs(network, batch, time), state_specs(network, batch)
    count = len(inputs)
    names = network.results

    def forward(*given: tf.Tensor) -> dict[str, tf.Tensor]:
        found, after = network.run(given[:count], given[count:])
        return dict(zip(names, map(tf.identity, (*found, *after)), strict=True))

    archive = keras.export.ExportArchive()
    archive.track(network.tracked)
    with one_loop(network.tracked), tempfile.TemporaryDirectory() as folder, _silent():
        archive.add_endpoint(name="forward", fn=forward, input_signature=[*inputs, *states])
        signatures = ["forward"]
        if states and time is None and target is None:
            one = [
                tf.TensorSpec([*each.shape[:1], 1, *each.shape[2:]], each.dtype, each.name) for each in inputs
            ]
            archive.add_endpoint(
                name="step", fn=lambda *given: forward(*given), input_signature=[*one, *states]
            )
            signatures.append("step")
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=signatures)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantize is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        try:
            return converter.convert()
        except Exception as error:
            first = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise ExportError(f"LiteRT cannot have this network: {first}") from error


def _runner(network: Network, path: Path) -> tuple[Any, dict[str, int]]:
    """A function that runs a file in LiteRT, and the file's operators."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    signature = interpreter.get_signature_runner("forward")
    operators = Counter(each["op_name"] for each in interpreter._get_ops_details())
    names = network.given

    def run(inputs: list, states: list) -> tuple[list, list]:
        given = dict(zip(names, (*inputs, *states), strict=True))
        found = signature(**given)
        again = signature(**given)
        if any(not np.array_equal(found[name], again[name], equal_nan=True) for name in found):
            raise ExportError("two calls of the file with the same inputs must be equal, and are not")
        return (
            [found[name] for name in network.outputs],
            [found[f"{state.name}_out"] for state in network.states],
        )

    return run, dict(operators)


def _micro_runner(network: Network, path: Path) -> Any:
    """A function that runs a file in TFLite Micro."""
    from ai_edge_litert.interpreter import Interpreter

    runtime = importlib.import_module("tflite_micro").runtime  # only the extra `micro` brings it
    reader = Interpreter(model_path=str(path))
    signature = next(iter(reader._get_full_signature_list().values()))
    places = [each["index"] for each in reader.get_input_details()]
    of_outputs = [each["index"] for each in reader.get_output_details()]
    names = network.given
    results = network.results

    def run(inputs: list, states: list) -> tuple[list, list]:
        micro = runtime.Interpreter.from_file(str(path))
        for name, value in zip(names, (*inputs, *states), strict=True):
            micro.set_input(value, places.index(signature["inputs"][name]))
        micro.invoke()
        found = [micro.get_output(of_outputs.index(signature["outputs"][name])) for name in results]
        return found[: len(network.outputs)], found[len(network.outputs) :]

    return run


@contextlib.contextmanager
def _silent() -> Any:
    """Without what the converter prints."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(io.StringIO()):
        saved = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)

"""An ONNX model of one layer, run by ONNX Runtime and by OpenVINO. Forward only."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .layers import GATES, Call, Layer, Problem, problem

OPERATORS = {"rnn": "RNN", "gru": "GRU", "gru-before": "GRU", "lstm": "LSTM"}


def onnx_model(layer: Layer, given: Problem) -> bytes:
    """A model that takes `x` of shape (batch, time, features) and gives (batch, time, units).

    ONNX's operators want time first, so that there is a Transpose on both sides.
    """
    onnx: Any = importlib.import_module("onnx")
    helper, array = onnx.helper, importlib.import_module("onnx.numpy_helper").from_array
    gates = GATES[layer.cell]
    # Keras' LSTM has input, forget, candidate, output; ONNX input, output, forget, candidate. GRUs agree.
    order = [0, 3, 1, 2] if layer.cell == "lstm" else range(gates)

    def arranged(weight: np.ndarray) -> np.ndarray:
        parts = np.split(weight, gates, axis=-1)
        return np.concatenate([parts[gate] for gate in order], axis=-1)

    bias = given.bias if layer.cell == "gru" else np.stack([given.bias, np.zeros_like(given.bias)])
    weights = {
        "W": arranged(given.kernel).T[None],
        "R": arranged(given.recurrent_kernel).T[None],
        "B": arranged(bias).reshape(1, -1),
        "direction": np.array([1]),
    }
    options = {"linear_before_reset": int(layer.cell == "gru")} if OPERATORS[layer.cell] == "GRU" else {}
    nodes = [
        helper.make_node("Transpose", ["x"], ["x_by_time"], perm=[1, 0, 2]),
        helper.make_node(
            OPERATORS[layer.cell], ["x_by_time", "W", "R", "B"], ["both"], hidden_size=layer.units, **options
        ),
        helper.make_node("Squeeze", ["both", "direction"], ["y_by_time"]),
        helper.make_node("Transpose", ["y_by_time"], ["y"], perm=[1, 0, 2]),
    ]

    def value(name: str, width: int) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [layer.batch, layer.time, width])

    graph = helper.make_graph(
        nodes,
        "layer",
        [value("x", layer.features)],
        [value("y", layer.units)],
        [array(np.ascontiguousarray(weight), name) for name, weight in weights.items()],
    )
    versions = {"opset_imports": [helper.make_opsetid("", 17)], "ir_version": 8}
    return helper.make_model(graph, **versions).SerializeToString()


class OnnxRuntimePeer:
    """ONNX Runtime's CPU provider, as `session.run` is called: NumPy in, NumPy out."""

    packages = ("onnxruntime", "onnx")

    def __init__(self, threads: int):
        self._runtime: Any = importlib.import_module("onnxruntime")
        importlib.import_module("onnx")
        self._threads = threads
        self.facts: dict[str, Any] = {}
        self.passes: dict[str, Callable[[Layer], Call]] = {"forward": self.forward}

    def forward(self, layer: Layer) -> Call:
        given = problem(layer)
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        session = self._runtime.InferenceSession(
            onnx_model(layer, given), options, providers=["CPUExecutionProvider"]
        )
        return lambda: session.run(["y"], {"x": given.x})


class OpenVinoPeer:
    """OpenVINO's CPU plug-in with float32 arithmetic, for the shortest single call."""

    packages = ("openvino", "onnx")

    def __init__(self, threads: int):
        self._openvino: Any = importlib.import_module("openvino")
        importlib.import_module("onnx")
        self._options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
        }
        self.facts: dict[str, Any] = {}
        self.passes: dict[str, Callable[[Layer], Call]] = {"forward": self.forward}

    def forward(self, layer: Layer) -> Call:
        given, core = problem(layer), self._openvino.Core()
        model = core.read_model(onnx_model(layer, given))
        request = core.compile_model(model, "CPU", self._options).create_infer_request()
        # It reads this memory at each call and does not own it, so that the function below has to hold it.
        x = self._openvino.Tensor(given.x, shared_memory=True)
        request.set_input_tensor(x)

        def run(kept: Any = (given.x, x)) -> list[Any]:
            request.infer()
            return [request.get_output_tensor().data]

        return run

"""PyTorch's layers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .layers import GATES, Call, Layer, Problem, problem, square


class TorchPeer:
    """PyTorch's own layers with autograd, not compiled. Its GRU resets after the recurrent product."""

    packages = ("torch",)

    def __init__(self, threads: int):
        self._torch: Any = importlib.import_module("torch")  # no type checker needs to find it
        self._torch.set_num_threads(threads)
        self._torch.set_num_interop_threads(threads)
        self.facts: dict[str, Any] = {}
        self.passes: dict[str, Callable[[Layer], Call]] = {
            "forward": self.forward,
            "training": self.training,
            "matmul": self.matmul,
        }

    def _layer(self, layer: Layer, given: Problem) -> Any:
        torch = self._torch
        if layer.cell == "gru-before":
            raise NotImplementedError("torch has no GRU that resets before the recurrent product")
        kind = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[layer.cell]
        built = kind(layer.features, layer.units, batch_first=True)
        # Keras' gates are update, reset, candidate; torch's GRU has reset, update, new. LSTMs agree.
        order = [1, 0, 2] if layer.cell == "gru" else list(range(GATES[layer.cell]))

        def rows(weight: np.ndarray) -> Any:
            gates = np.split(weight.T, len(order), axis=0)
            return torch.from_numpy(np.concatenate([gates[gate] for gate in order]))

        bias = given.bias if layer.cell == "gru" else np.stack([given.bias, np.zeros_like(given.bias)])
        weights = [rows(given.kernel), rows(given.recurrent_kernel), rows(bias[0]), rows(bias[1])]
        with torch.no_grad():
            for parameter, weight in zip(built.parameters(), weights, strict=True):
                parameter.copy_(weight)
        return built

    def forward(self, layer: Layer) -> Call:
        torch = self._torch
        given = problem(layer)
        built, x = self._layer(layer, given).eval(), torch.from_numpy(given.x)

        def run() -> list[Any]:
            with torch.inference_mode():
                return [built(x)[0]]

        return run

    def training(self, layer: Layer) -> Call:
        torch = self._torch
        given = problem(layer)
        built, x = self._layer(layer, given).train(), torch.from_numpy(given.x).requires_grad_()
        upstream, weights = torch.from_numpy(given.upstream), list(built.parameters())

        def run() -> list[Any]:
            y = built(x)[0]
            return [y.detach(), *torch.autograd.grad(y, [x, *weights], upstream)]

        return run

    def matmul(self, layer: Layer) -> Call:
        torch = self._torch
        a = torch.from_numpy(square())
        return lambda: [a @ a]

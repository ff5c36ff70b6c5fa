"""How a network's function is traced, and how a report describes its tensors."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ostinato.exports.network import Network
from ostinato.exports.report import Tensor


def input_specs(network: Network, batch: int | None, time: int | None) -> list[tf.TensorSpec]:
    """For the inputs, by their names; `batch` and `time` fix the first two axes where they are open."""
    fixed = (batch, time)
    return [
        tf.TensorSpec(
            [size if size is not None or at > 1 else fixed[at] for at, size in enumerate(each.shape)],
            each.dtype,
            name=each.name,
        )
        for each in network.inputs
    ]


def state_specs(network: Network, batch: int | None) -> list[tf.TensorSpec]:
    """For the states, by their names."""
    rows = batch or next((each.shape[0] for each in network.inputs), None)
    return [tf.TensorSpec((rows, *state.shape), state.dtype, name=state.name) for state in network.states]


def described(network: Network, batch: int | None, time: int | None) -> dict[str, Any]:
    """The inputs, outputs and states of a report."""
    states = [_tensor(spec) for spec in state_specs(network, batch)]
    return {
        "inputs": tuple(
            _tensor(spec, each.axis)
            for spec, each in zip(input_specs(network, batch, time), network.inputs, strict=True)
        ),
        "outputs": tuple(Tensor(name, "float32", ()) for name in network.outputs),
        "states": tuple((state, Tensor(f"{state.name}_out", state.dtype, state.shape)) for state in states),
    }


def _tensor(spec: tf.TensorSpec, axis: str = "time") -> Tensor:
    words = ("batch", axis)
    sizes = (
        size if size is not None else words[at] if at < 2 else "any" for at, size in enumerate(spec.shape)
    )
    return Tensor(spec.name or "", spec.dtype.name, tuple(sizes))

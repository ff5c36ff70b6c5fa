"""Runs a program on NumPy arrays: recurrences in the engine, everything else in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import erf, expit

from ostinato.errors import ConfigError
from ostinato.runtime import program
from ostinato.runtime.library import POINTER, EngineLayer
from ostinato.runtime.program import Program

Mask = np.ndarray | None
Run = Callable[[np.ndarray, Mask, bytes | None], tuple[np.ndarray, Mask]]
"""A stage: from its input, the mask and the addresses of all states, which it moves on, or None for zeros, to
its output and the mask after it."""


def compiled(of: Program) -> list[Run]:
    """The stages of a program, ready to run; they share nothing that a call changes."""
    runs, states = [], 0
    for stage in of.stages:
        if isinstance(stage, program.Recurrent):
            runs.append(_recurrent(stage, states))
            states += stage.states
        else:
            runs.append(_COMPILED[type(stage)](stage))
    for index, (stage, after) in enumerate(zip(of.stages, (*of.stages[1:], None), strict=True)):
        if isinstance(stage, program.OneHot) and not isinstance(
            after, program.Recurrent | program.Bidirectional
        ):
            runs.insert(index + 1, _vectors(stage))
    return runs


def _embedding(stage: program.Embedding) -> Run:
    table, count = stage.table, len(stage.table)

    def run(x: np.ndarray, mask: Mask, states: bytes | None) -> tuple[np.ndarray, Mask]:
        _check_ids(x, count)
        return table.take(x, axis=0), (x != 0) if stage.mask_zero else mask

    return run


def _check_ids(ids: np.ndarray, symbols: int) -> None:
    # Negative ids are large numbers without a sign.
    if (ids.view(np.uint32) >= symbols).any():
        wrong = ids[ids.view(np.uint32) >= symbols][0]
        raise ConfigError(f"token ids must be 0 to {symbols - 1}, got {wrong}")


def _one_hot(stage: program.OneHot) -> Run:
    def run(x: np.ndarray, mask: Mask, states: bytes | None) -> tuple[np.ndarray, Mask]:
        _check_ids(x, stage.symbols)
        return x, mask  # the engine reads ids

    return run


def _vectors(stage: program.OneHot) -> Run:
    rows = np.eye(stage.symbols, dtype=np.float32)

    def run(x: np.ndarray, mask: Mask, states: bytes | None) -> tuple[np.ndarray, Mask]:
        return rows[x], mask

    return run


def _masking(stage: program.Masking) -> Run:
    def run(x: np.ndarray, mask: Mask, states: bytes | None) -> tuple[np.ndarray, Mask]:
        given = (x != np.float32(stage.value)).any(-1)
        return x * given[..., None], given

    return run


def _recurrent(stage: program.Recurrent, first: int = 0) -> Run:
    """A recurrence, whose states are those from number `first` on."""
    layer, sequences = EngineLayer(stage), stage.return_sequences
    zeros_where_skipped = stage.zero_output_for_mask and sequences
    own = slice(first * POINTER, (first + stage.states) * POINTER)

    def run(x: np.ndarray, mask: Mask, states: bytes | None) -> tuple[np.ndarray, Mask]:
        if mask is not None:
            mask = np.ascontiguousarray(mask)
        x = np.ascontiguousarray(x)
        y = layer.run(x, mask, None if states is None else states[own])
        if mask is not None and zeros_where_skipped:
            y *= (mask[:, ::-1] if stage.go_backwards else mask)[..., None]
        return y, mask if sequences else None

    return run


def _bidirectional(stage: program.Bidirectional) -> Run:
    directions = [[_recurrent(each) for each in chain] for chain in (stage.forward, stage.backward)]
    merge, sequences = _MERGES[stage.merge], stage.forward[-1].return_sequences

    def run(x: np.ndarray, mask: Mask, states: bytes | None) -> tuple[np.ndarray, Mask]:
        ends = []
        for chain in directions:
            y, rest = x, mask
            for each in chain:
                y, rest = each(y, rest, None)
            ends.append(y)
        forward, backward = ends
        return merge(forward, backward[:, ::-1] if sequences else backward), mask if sequences else None

    return run


_MERGES: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "ave": lambda forward, backward: (forward + backward) / 2,
    "concat": lambda forward, backward: np.concatenate((forward, backward), -1),
    "mul": np.multiply,
    "sum": np.add,
}


def _dense(stage: program.Dense) -> Run:
    kernel, bias = stage.kernel, stage.bias

    def run(x: np.ndarray, mask: Mask, states: bytes | None) -> tuple[np.ndarray, Mask]:
        y = x.reshape(-1, len(kernel)).dot(kernel)
        if bias is not None:
            y += bias
        return y.reshape(*x.shape[:-1], -1), mask

    return run


def _activation(stage: program.Activation) -> Run:
    function, options = _ACTIVATIONS[stage.name], dict(stage.options)

    def run(x: np.ndarray, mask: Mask, states: bytes | None) -> tuple[np.ndarray, Mask]:
        return function(x, **options), mask

    return run


def _global_pooling(stage: program.GlobalPooling) -> Run:
    def run(x: np.ndarray, mask: Mask, states: bytes | None) -> tuple[np.ndarray, Mask]:
        if stage.kind == "max":
            return x.max(1, keepdims=stage.keepdims), None
        if mask is None:
            return x.mean(1, keepdims=stage.keepdims), None
        given = mask.astype(np.float32)
        with np.errstate(invalid="ignore"):  # no step is given: NaN, as in Keras
            mean = np.matmul(given[:, None], x)[:, 0] / given.sum(1, keepdims=True)
        return mean[:, None] if stage.keepdims else mean, None

    return run


def _pooling(stage: program.Pooling) -> Run:
    def run(x: np.ndarray, mask: Mask, states: bytes | None) -> tuple[np.ndarray, Mask]:
        if x.shape[1] < stage.size:
            raise ConfigError(f"the model pools {stage.size} steps at a time, got {x.shape[1]} steps")
        windows = sliding_window_view(x, stage.size, axis=1)[:, :: stage.stride]
        return windows.max(-1) if stage.kind == "max" else windows.mean(-1, dtype=np.float32), None

    return run


_COMPILED: Mapping[type, Callable[[Any], Run]] = {
    program.Activation: _activation,
    program.Bidirectional: _bidirectional,
    program.Dense: _dense,
    program.Embedding: _embedding,
    program.GlobalPooling: _global_pooling,
    program.Masking: _masking,
    program.OneHot: _one_hot,
    program.Pooling: _pooling,
}


# Keras' activations, with its options and defaults. Numbers stay float32.


def _softmax(x: np.ndarray) -> np.ndarray:
    y = np.exp(x - x.max(-1, keepdims=True))
    y /= y.sum(-1, keepdims=True)
    return y


def _log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def _relu(
    x: np.ndarray, negative_slope: float = 0.0, threshold: float = 0.0, max_value: float | None = None
) -> np.ndarray:
    below = np.float32(negative_slope) * (x - np.float32(threshold))
    y = np.where(x >= np.float32(threshold), x, below) if threshold or negative_slope else np.maximum(x, 0)
    return y if max_value is None else np.minimum(y, np.float32(max_value))


def _leaky_relu(x: np.ndarray, negative_slope: float = 0.2) -> np.ndarray:
    return np.where(x >= 0, x, np.float32(negative_slope) * x)


def _elu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return np.where(x > 0, x, np.float32(alpha) * np.expm1(np.minimum(x, 0)))


def _selu(x: np.ndarray) -> np.ndarray:
    return np.float32(1.05070098735548049342) * _elu(x, 1.67326324235437728482)


def _gelu(x: np.ndarray) -> np.ndarray:
    return np.float32(0.5) * x * (1 + erf(x * np.float32(np.sqrt(0.5))))


_ACTIVATIONS: Mapping[str, Callable[..., np.ndarray]] = {
    "elu": _elu,
    "exponential": np.exp,
    "gelu": _gelu,
    "hard_sigmoid": lambda x: np.clip(x / np.float32(6) + np.float32(0.5), 0, 1),
    "keras2_hard_sigmoid": lambda x: np.clip(np.float32(0.2) * x + np.float32(0.5), 0, 1),
    "leaky_relu": _leaky_relu,
    "log_softmax": _log_softmax,
    "relu": _relu,
    "relu6": lambda x: np.clip(x, 0, 6),
    "selu": _selu,
    "sigmoid": expit,
    "silu": lambda x: x * expit(x),
    "softmax": _softmax,
    "softplus": lambda x: np.logaddexp(x, np.float32(0)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanh": np.tanh,
}

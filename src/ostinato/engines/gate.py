"""Numbers times gates: x ⊙ f(g), as one operation where the native engine runs."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from ostinato.engines.library import function, has, machine_obstacle, register_gradients

OP, _GRADIENT = "OstinatoGateV1", "OstinatoGateGradV1"


def silu(x: tf.Tensor) -> tf.Tensor:
    """x σ(x)"""
    with tf.name_scope("silu"):  # one operation in a drawing
        return x * tf.sigmoid(x)


_plain = contextvars.ContextVar("plain", default=False)


@contextlib.contextmanager
def plain_gates() -> Iterator[None]:
    """A context in which gates are TensorFlow's own operations, for functions that other programs run."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


_ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {"sigmoid": tf.sigmoid, "silu": silu}


def gated(x: tf.Tensor, gates: tf.Tensor, activation: str) -> tf.Tensor:
    """x ⊙ f(gates).

    Args:
        x: of any shape.
        gates: of the shape of x.
        activation: f, "sigmoid" or "silu".
    """
    is_single = x.dtype == gates.dtype == tf.float32
    if not is_single or _plain.get() or machine_obstacle() or not has("ostinato_gate_v1"):
        return x * _ACTIVATIONS[activation](gates)
    return function(OP)(x, gates, activation=activation)


def _gradient(op: tf.Operation, dy: tf.Tensor) -> list[tf.Tensor]:
    return list(function(_GRADIENT)(*op.inputs, dy, activation=op.get_attr("activation")))


def _second_gradient(op: tf.Operation, of_dx: tf.Tensor | None, of_dg: tf.Tensor | None) -> list[Any]:
    """Of dx = dy ⊙ f(g) and dg = dy ⊙ x ⊙ f'(g)."""
    x, gates, dy = op.inputs
    value, slope, bend = _derivatives(tf.compat.as_str(op.get_attr("activation")), gates)
    to_x, to_gates, to_dy = None, [], []
    if of_dx is not None:
        to_gates, to_dy = [of_dx * dy * slope], [of_dx * value]
    if of_dg is not None:
        to_x = of_dg * dy * slope
        to_gates, to_dy = [*to_gates, of_dg * dy * x * bend], [*to_dy, of_dg * x * slope]
    return [to_x, *(tf.add_n(terms) if terms else None for terms in (to_gates, to_dy))]


def _derivatives(activation: str, gates: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """f, its first and its second derivative."""
    s = tf.sigmoid(gates)
    slope = s * (1 - s)
    bend = slope * (1 - 2 * s)
    if activation == "sigmoid":
        return s, slope, bend
    return gates * s, s + gates * slope, 2 * slope + gates * bend


register_gradients(OP, _GRADIENT, _gradient, _second_gradient)

"""One step of an optimizer for all weights of a network, as one op of the native engine.

`kernels/update.h` has the rules: SGD, momentum, Nesterov's momentum and Adam, each with decoupled weight
decay and clipping by the global norm. The operations are Keras' in Keras' order, so without clipping the
results are Keras' bit for bit. With it they differ by the rounding of the norm, which is here summed more
exactly.

The gradient of an embedding stays sparse: the rows of a token that occurs several times are added up, and the
norm and the update read these rows alone. The update is still that of the dense gradient. The slots of every
row decay, but nothing of the table's size is made for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import tensorflow as tf

from ostinato.engines import native

if TYPE_CHECKING:
    Gradient = tf.Tensor | tf.IndexedSlices

MOST_WEIGHTS = 4_000_000
"""The op makes new weights and slots, and the old ones are freed. With more numbers than these, memory that
is asked for anew in every step costs more than the op saves."""

_OP = "OstinatoUpdateV1"
_NAMES = ("sgd", "momentum", "nesterov", "adam")


class Rule(NamedTuple):
    """An update rule.

    Attributes:
        name: `sgd`, `momentum`, `nesterov` or `adam`.
        momentum: how much of the momentum stays, of `momentum` and `nesterov`.
        beta_1, beta_2, epsilon: those of Adam (Kingma & Ba 2014, arXiv:1412.6980).
        decay: the share of a weight that is taken at a learning rate of 1 (Loshchilov & Hutter 2017,
            arXiv:1711.05101).
    """

    name: str
    momentum: float = 0.0
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    decay: float = 0.0

    @property
    def slots(self) -> int:
        """The number of slots of each weight."""
        return {"sgd": 0, "adam": 2}.get(self.name, 1)


def obstacle(weights: Sequence[tf.Variable]) -> str | None:
    """Why the op cannot update these weights, or does it more slowly than TensorFlow's; None when it can."""
    machine = native.machine_obstacle()
    if machine is not None:
        return machine
    if not native.has("ostinato_update_v1"):
        return "the native engine's library was built from older sources"
    for weight in weights:
        if weight.dtype != tf.float32:
            return f"the weight {weight.name} is {weight.dtype.name}, and its numbers are float32"
    count = sum(weight.shape.num_elements() or 0 for weight in weights)
    if count > MOST_WEIGHTS:
        return f"there are {count:,} weights, more than the {MOST_WEIGHTS:,} that it is faster for"
    return None


def update(
    rule: Rule,
    weights: Sequence[tf.Variable],
    slots: Sequence[Sequence[tf.Variable]],
    gradients: Sequence[Gradient],
    decays: Sequence[bool],
    *,
    rate: tf.Tensor,
    step_size: tf.Tensor,
    divisor: tf.Tensor | float = 1.0,
    clip: float | None = None,
    wants_norm: bool = True,
) -> tf.Tensor:
    """Changes weights and slots; for weights to which there is no `obstacle`.

    Args:
        rule: the update rule.
        weights: float32 variables.
        slots: `rule.slots` lists of variables; each has one for each weight, of its shape.
        gradients: one for each weight, of its shape, or the rows of a table in any order.
        decays: whether each weight has weight decay.
        rate: the learning rate, scalar float32.
        step_size: Adam's rate · √(1 − β₂ᵗ) / (1 − β₁ᵗ) at step t; other rules do not read it.
        divisor: what the gradients are divided by, such as the number of tokens they are summed over.
        clip: largest norm of all divided gradients together; larger ones are scaled down to it.
        wants_norm: whether to compute the norm; clipping needs it.

    Returns:
        The norm of the divided gradients before clipping, scalar float32; zero when it is not wanted.

    Raises:
        EngineError: the engine is not available.
        tf.errors.InvalidArgumentError: shapes do not fit, or a row is not in its table.
    """
    first, second = [*slots, (), ()][:2]
    tables = [isinstance(gradient, tf.IndexedSlices) for gradient in gradients]
    results = native.function(_OP)(
        weights=_values(weights),
        first=_values(first),
        second=_values(second),
        gradients=[
            gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient for gradient in gradients
        ],
        rows=[
            tf.cast(gradient.indices, tf.int32)
            for gradient in gradients
            if isinstance(gradient, tf.IndexedSlices)
        ],
        rate=rate,
        step_size=step_size,
        divisor=divisor,
        clip=math.inf if clip is None else clip,
        rule=_NAMES.index(rule.name),
        sparse=tables,
        decays=list(decays),
        momentum=rule.momentum,
        # In double precision, as Keras computes them.
        first_share=1 - rule.beta_1,
        second_share=1 - rule.beta_2,
        epsilon=rule.epsilon,
        decay=rule.decay,
        wants_norm=wants_norm,
    )
    variables = [*weights, *first, *second]
    values = [*results.new_weights, *results.new_first, *results.new_second]
    for variable, value in zip(variables, values, strict=True):
        tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)
    return results.norm


def _values(variables: Sequence[tf.Variable]) -> list[tf.Tensor]:
    # Within a replica, the handle is that of the replica's own copy.
    return [tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=tf.float32) for variable in variables]


def summed_rows(gradient: tf.IndexedSlices) -> tf.IndexedSlices:
    """The gradient of a table with each row once, in the order of their first occurrence."""
    rows, places = tf.unique(gradient.indices)
    sums = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))
    return tf.IndexedSlices(sums, rows, gradient.dense_shape)

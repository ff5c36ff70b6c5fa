"""Second and higher derivatives of the `native` engine, in TensorFlow's own ops.

The op of a gradient, OstinatoLstmGradV1 and its siblings, computes

    (dx, dh0, [dc0], dkernel, drecurrent, dbias) = J(x, h0, [c0], kernel, recurrent, bias)ᵀ · (dy, dh, [dc])

Its own gradient is needed for gradient penalties (Gulrajani et al. 2017, arXiv:1704.00028), for Hessians and
their products with vectors, and for forward mode, which TensorFlow makes from two reverse passes. Such uses
are rare. So the recurrence is computed as Keras does it: a loop over time of small ops, which TensorFlow can
differentiate any number of times. The equations are those of `ostinato.scratch`, on Keras' fused weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from ostinato.engines.activations import FUNCTIONS

if TYPE_CHECKING:
    from ostinato.cells.base import Cell, State
    from ostinato.engines.native import Attributes


class _Inputs(NamedTuple):
    """The inputs of an op; the last four have no elements where they are not given.

    Attributes:
        x: shape (batch, time, features), or token ids (batch, time).
        state: (h0,) or (h0, c0), each (batch, units), or without elements for zeros.
        kernel: shape (features, gates × units).
        recurrent: shape (units, gates × units).
        bias: shape (gates × units,), or (2, gates × units) in a GRU that resets after the product.
        mask: shape (batch, time).
        input_dropout: shape (gates, batch, features).
        recurrent_dropout: shape (gates, batch, units).
    """

    x: tf.Tensor
    state: State
    kernel: tf.Tensor
    recurrent: tf.Tensor
    bias: tf.Tensor
    mask: tf.Tensor
    input_dropout: tf.Tensor
    recurrent_dropout: tf.Tensor


class OpInputs(NamedTuple):
    """What a cell's step computes with, see `ostinato.cells.base.NativeOp`.

    Attributes:
        recurrent: shape (units, gates × units).
        bias: of the recurrent product, (gates × units,), or None.
        masks: dropout of the state, one (batch, units) for each gate; None without dropout.
        attributes: attributes of the op.
    """

    recurrent: tf.Tensor
    bias: tf.Tensor | None
    masks: list[tf.Tensor] | None
    attributes: Attributes

    def activation(self, x: tf.Tensor) -> tf.Tensor:
        """The activation of the layer; an op without the attribute has tanh."""
        return FUNCTIONS[tf.compat.as_str(self.attributes.get("activation", "tanh"))](x)

    def gate(self, x: tf.Tensor) -> tf.Tensor:
        """The activation of the layer's gates; an op without the attribute has the sigmoid."""
        return FUNCTIONS[tf.compat.as_str(self.attributes.get("recurrent_activation", "sigmoid"))](x)

    def product(self, rows: tf.Tensor, first: int = 0, last: int | None = None) -> tf.Tensor:
        """rows · recurrent for the gates from `first` to before `last`, (batch, gates × units).

        By default these are all gates. Under dropout the rows of each gate are multiplied by its mask first.
        """
        units = tf.shape(self.recurrent)[0]
        columns = slice(first * units, None if last is None else last * units)
        matrix = self.recurrent if first == 0 and last is None else self.recurrent[:, columns]
        return _product(rows, matrix, self.masks and self.masks[first:last])


def gradient_of_gradient(
    cell: Cell,
    inputs: Sequence[tf.Tensor],
    attributes: Attributes,
    upstream: Sequence[tf.Tensor | None],
    *,
    wants_dx: bool,
) -> list[tf.Tensor | None]:
    """The gradient, itself differentiable, of each input of a gradient's op.

    Args:
        cell: the cell of the op.
        inputs: x or ids, h0, [c0], kernel, recurrent, bias, mask, input_dropout, recurrent_dropout, y,
            history, dy, dh, [dc]; shapes as in `_Inputs`; dy (batch, time or 1, units), dh (batch, units).
        attributes: attributes of the op, without wants_dx.
        upstream: the gradients of dx, dh0, [dc0], dkernel, drecurrent, dbias, in their shapes, or None.
        wants_dx: whether the op computed dx.

    Returns:
        One gradient for each of `inputs`. It is None for ids and masks, and for y and history: these are
        functions of the other inputs, whose gradients include them.
    """
    # A Python loop for a layer that ran eagerly, as in Keras; tf.vectorized_map then meets no while loop.
    in_python = tf.executing_eagerly() or not tf.is_symbolic_tensor(inputs[0])
    states = len(cell.states)
    # New tensors, because one that is passed twice, as h0 and c0 may be, has two gradients.
    inputs = [tf.identity(tensor) for tensor in inputs]
    x, *rest = inputs[: states + 7]
    op = _Inputs(x, tuple(rest[:states]), *rest[states:])
    differentiable = [x, *op.state, op.kernel, op.recurrent, op.bias]
    dy_and_dstates = inputs[states + 9 :]
    wanted = [
        (tensor, tf.reshape(gradient, tf.shape(tensor)))
        for tensor, gradient in zip(differentiable, upstream, strict=True)
        if gradient is not None and tensor.dtype.is_floating and (tensor is not x or wants_dx)
    ]
    sources = [tensor for tensor in (*differentiable, *dy_and_dstates) if tensor.dtype.is_floating]
    found = twice(
        lambda: _over_time(cell, op, attributes, in_python=in_python),
        [tensor for tensor, _ in wanted],
        dy_and_dstates,
        sources,
        [gradient for _, gradient in wanted],
    )
    by_tensor = {id(tensor): gradient for tensor, gradient in zip(sources, found, strict=True)}
    return [by_tensor.get(id(tensor)) for tensor in inputs]


def twice(
    function: Callable[[], list[tf.Tensor]],
    inner: list[tf.Tensor],
    inner_upstream: list[tf.Tensor],
    outer: list[tf.Tensor],
    outer_upstream: list[tf.Tensor],
) -> list[tf.Tensor | None]:
    """The gradients, with respect to `outer`, of the gradients of a function with respect to `inner`."""

    zero = tf.UnconnectedGradients.ZERO
    if tf.executing_eagerly():
        with tf.GradientTape() as second:
            second.watch(outer)
            with tf.GradientTape() as first:
                first.watch(inner)
                results = function()
            gradients = first.gradient(results, inner, inner_upstream, zero)
            gradients = [tf.convert_to_tensor(each) for each in gradients]
        found = second.gradient(gradients, outer, outer_upstream)
    else:  # a tape records nothing while TensorFlow derives the forward mode of a tf.function
        gradients = tf.gradients(function(), inner, inner_upstream, unconnected_gradients=zero)
        found = tf.gradients([tf.convert_to_tensor(each) for each in gradients], outer, outer_upstream)
    # The gradient of a kernel whose rows were looked up is an IndexedSlices.
    return [None if each is None else tf.convert_to_tensor(each) for each in found]


def _over_time(cell: Cell, op: _Inputs, attributes: Attributes, *, in_python: bool) -> list[tf.Tensor]:
    """The layer over a batch of sequences: y, (batch, time or 1, units), and the final state."""
    batch, time = tf.unstack(tf.shape(op.x)[:2], 2)
    step = _step(cell, op, attributes)

    def with_output(x: tf.Tensor, *state: tf.Tensor) -> tuple[tf.Tensor, State]:
        after = step(x, *state)
        return after[0], after

    shape = (batch, tf.shape(op.recurrent)[0])
    zeros = tf.zeros(shape, op.kernel.dtype)
    start = tuple(zeros if _missing(each) else _or(each, lambda: zeros, shape) for each in op.state)
    mask = None
    if not _missing(op.mask):
        mask = _or(op.mask, lambda: tf.ones((batch, time), tf.bool), (batch, time))
    sequences = [_input_products(cell, op, attributes)]
    return over_time(with_output, sequences, mask, start, zeros, attributes, in_python=in_python)


def over_time(
    step: Callable[..., tuple[tf.Tensor, State]],
    sequences: Sequence[tf.Tensor],
    mask: tf.Tensor | None,
    start: State,
    zeros: tf.Tensor,
    attributes: Attributes,
    *,
    in_python: bool,
) -> list[tf.Tensor]:
    """A recurrence over a batch of sequences, in small ops.

    Args:
        step: maps what it reads of `sequences`, each (batch, n), and the state to the output and the next
        state. sequences: each (batch, time, n). mask: shape (batch, time), False at steps to skip; or None.
        start: the state before the first step, each (batch, units). zeros: an output of zeros. attributes:
        `go_backwards`, `return_sequences` and `zero_output_for_mask`. in_python: whether the loop is
        Python's, which needs a known number of steps, or TensorFlow's.

    Returns:
        y, (batch, time or 1, n), and the final state.
    """
    time, known_time = tf.shape(sequences[0])[1], sequences[0].shape[1]
    count = len(sequences)
    sequences = [_by_step(each, attributes) for each in sequences]
    if mask is not None:
        sequences.append(_by_step(tf.ensure_shape(mask, (None, None))[:, :, tf.newaxis], attributes))

    def next_step(output: tf.Tensor, state: State, *read: tf.Tensor) -> tuple[tf.Tensor, State]:
        """The output of a step, (batch, n), and the next state; a mask, behind the rest, is (batch, 1)."""
        result, after = step(*read[:count], *state)
        for kept in read[count:]:
            after = [tf.where(kept, new, old) for new, old in zip(after, state, strict=True)]
            result = tf.where(kept, result, zeros if attributes["zero_output_for_mask"] else output)
        after = tuple(tf.ensure_shape(new, old.shape) for new, old in zip(after, state, strict=True))
        return tf.ensure_shape(result, output.shape), after

    # An output before the first step comes first, so there is one even for sequences without steps.
    if in_python:
        outputs, state = [zeros], start
        for this_step in zip(*(tf.unstack(tensor, known_time) for tensor in sequences), strict=True):
            output, state = next_step(outputs[-1], state, *this_step)
            outputs.append(output)
        outputs = tf.stack(outputs)
    else:
        arrays = [tf.TensorArray(tensor.dtype, time).unstack(tensor) for tensor in sequences]
        outputs = tf.TensorArray(zeros.dtype, time + 1).write(0, zeros)

        def body(
            t: tf.Tensor, outputs: tf.TensorArray, output: tf.Tensor, *state: tf.Tensor
        ) -> tuple[object, ...]:
            output, after = next_step(output, state, *(array.read(t) for array in arrays))
            return (t + 1, outputs.write(t + 1, output), output, *after)

        _, outputs, _, *state = tf.while_loop(
            lambda t, *_: t < time, body, (tf.constant(0), outputs, zeros, *start)
        )
        outputs = outputs.stack()
    y = outputs[1:] if attributes["return_sequences"] else outputs[-1:]
    return [tf.transpose(y, (1, 0, 2)), *state]


def _by_step(tensor: tf.Tensor, attributes: Attributes) -> tf.Tensor:
    """From (batch, time, n) to (time, batch, n), in the order in which the steps are read."""
    by_step = tf.transpose(tensor, (1, 0, 2))
    return tf.reverse(by_step, [0]) if attributes["go_backwards"] else by_step


def _input_products(cell: Cell, op: _Inputs, attributes: Attributes) -> tf.Tensor:
    """x · kernel + bias for all steps and gates, shape (batch, time, gates × units)."""
    if op.x.dtype.is_floating:
        batch, time, features = tf.unstack(tf.shape(op.x), 3)
        masks = _dropout(op.input_dropout, (len(cell.gates), batch, features))
        rows = tf.reshape(op.x, (batch * time, features))
        products = _product(rows, op.kernel, masks and [tf.repeat(mask, time, axis=0) for mask in masks])
        products = tf.reshape(products, (batch, time, tf.shape(op.kernel)[1]))
    else:
        products = tf.gather(op.kernel, op.x)
    bias = _biases(op, attributes)
    return products if bias is None else products + bias[0]


def _step(cell: Cell, op: _Inputs, attributes: Attributes) -> Callable[..., State]:
    """One time step: maps x · kernel + bias, (batch, gates × units), and the state to the next state."""
    batch, units = tf.shape(op.x)[0], tf.shape(op.recurrent)[0]
    bias = _biases(op, attributes)
    masks = _dropout(op.recurrent_dropout, (len(cell.gates), batch, units))
    native: Any = cell.native
    return native.step(OpInputs(op.recurrent, None if bias is None else bias[1], masks, attributes))


def _product(rows: tf.Tensor, matrix: tf.Tensor, masks: list[tf.Tensor] | None) -> tf.Tensor:
    """rows · matrix; with one mask per gate, each gate's rows are multiplied by its mask first."""
    if masks is None:
        return rows @ matrix
    parts = zip(masks, tf.split(matrix, len(masks), axis=1), strict=True)
    return tf.concat([(rows * mask) @ part for mask, part in parts], axis=1)


def _biases(op: _Inputs, attributes: Attributes) -> tuple[tf.Tensor, tf.Tensor] | None:
    """The biases of x · kernel and, in a GRU that resets after the product, of h · recurrent."""
    if _missing(op.bias):
        return None
    shape = (2 if attributes.get("reset_after") else 1, tf.shape(op.kernel)[1])
    bias = _or(op.bias, lambda: tf.zeros(shape, op.bias.dtype), shape)
    return bias[0], bias[-1]


def _dropout(masks: tf.Tensor, shape: Sequence[int | tf.Tensor]) -> list[tf.Tensor] | None:
    """The mask of each gate; None without dropout."""
    if _missing(masks):
        return None
    return tf.unstack(_or(masks, lambda: tf.ones(shape, masks.dtype), shape), shape[0])


def _missing(tensor: tf.Tensor) -> bool:
    """Whether a tensor is known to have no elements, that is, whether the op was called without it."""
    return tensor.shape.num_elements() == 0


def _or(
    tensor: tf.Tensor, otherwise: Callable[[], tf.Tensor], shape: Sequence[int | tf.Tensor] | tf.Tensor
) -> tf.Tensor:
    """The tensor in a shape; or another one, where only the running graph knows that it has no elements."""
    if (tensor.shape.rank or 1) > 1 or tensor.shape.num_elements():  # an input that is not given has one axis
        return tf.reshape(tensor, shape)
    # After many shapes TensorFlow makes one graph for all shapes, in forward mode too.
    return tf.cond(tf.size(tensor) > 0, lambda: tf.reshape(tensor, shape), otherwise)

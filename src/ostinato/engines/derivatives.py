"""Second and higher derivatives of the `native` engine: the recurrence again, in TensorFlow's own ops.

The op of a gradient, OstinatoLstmGradV1 and its siblings, computes

    (dx, dh0, [dc0], dkernel, drecurrent, dbias) = J(x, h0, [c0], kernel, recurrent, bias)ᵀ · (dy, dh, [dc])

Its own gradient is asked for by gradient penalties (Gulrajani et al. 2017, arXiv:1704.00028), by Hessians and
their products with vectors, and by forward mode, which TensorFlow makes from two reverse passes. It is rare,
and goes Keras' way: a loop over time of small ops, which TensorFlow differentiates as often as it is asked
to. Equations and the order of gates are those of `ostinato.scratch`, on Keras' fused weights.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

_GATES = {"rnn": 1, "gru": 3, "lstm": 4}
_ACTIVATIONS = {"tanh": tf.tanh, "relu": tf.nn.relu, "linear": tf.identity}

State = tuple[tf.Tensor, ...]  # (h,) or (h, c), each (batch, units)


class _Given(NamedTuple):
    """What an op is given; the last four have no elements where they are not.

    Attributes:
        x: shape (batch, time, features), or token ids (batch, time).
        state: (h0,) or (h0, c0), each (batch, units).
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


def gradient_of_gradient(
    cell: str,
    inputs: Sequence[tf.Tensor],
    attributes: dict[str, Any],
    upstream: Sequence[tf.Tensor | None],
    *,
    wants_dx: bool,
) -> list[tf.Tensor | None]:
    """The gradient of each input of a gradient's op, itself differentiable.

    Args:
        cell: "rnn", "gru" or "lstm".
        inputs: x or ids, h0, [c0], kernel, recurrent, bias, mask, input_dropout, recurrent_dropout, y,
            history, dy, dh, [dc]; shapes as in `_Given`; dy (batch, time or 1, units), dh (batch, units).
        attributes: the op's, without wants_dx.
        upstream: the gradients of dx, dh0, [dc0], dkernel, drecurrent, dbias, of their shapes, or None.
        wants_dx: whether the op computed dx.

    Returns:
        One for each of `inputs`. Ids and masks have none; nor y and history, which are functions of the
        others: what would flow through them is in the gradients of those.
    """
    # As in Keras for a layer that ran eagerly; Jacobians by tf.vectorized_map then go through no other loop.
    in_python = tf.executing_eagerly() or not tf.is_symbolic_tensor(inputs[0])
    states = 2 if cell == "lstm" else 1
    # Tensors of this function alone: one that is given twice, as h0 and c0 may be, has two gradients.
    inputs = [tf.identity(tensor) for tensor in inputs]
    x, *rest = inputs[: states + 7]
    given = _Given(x, tuple(rest[:states]), *rest[states:])
    differentiable = [x, *given.state, given.kernel, given.recurrent, given.bias]
    dy_and_dstates = inputs[states + 9 :]
    wanted = [
        (tensor, tf.reshape(gradient, tf.shape(tensor)))
        for tensor, gradient in zip(differentiable, upstream, strict=True)
        if gradient is not None and tensor.dtype.is_floating and (tensor is not x or wants_dx)
    ]
    sources = [tensor for tensor in (*differentiable, *dy_and_dstates) if tensor.dtype.is_floating]
    found = _twice(
        lambda: _over_time(cell, given, attributes, in_python=in_python),
        [tensor for tensor, _ in wanted],
        dy_and_dstates,
        sources,
        [gradient for _, gradient in wanted],
    )
    by_tensor = {id(tensor): gradient for tensor, gradient in zip(sources, found, strict=True)}
    return [by_tensor.get(id(tensor)) for tensor in inputs]


def _twice(
    function: Callable[[], list[tf.Tensor]],
    inner: list[tf.Tensor],
    inner_upstream: list[tf.Tensor],
    outer: list[tf.Tensor],
    outer_upstream: list[tf.Tensor],
) -> list[tf.Tensor | None]:
    """The gradient, for each of `outer`, of the gradients of a function for each of `inner`."""

    def tensors(gradients: Any) -> list[Any]:  # that of a kernel whose rows were looked up is of rows
        return [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients]

    zero = tf.UnconnectedGradients.ZERO
    if tf.executing_eagerly():
        with tf.GradientTape() as second:
            second.watch(outer)
            with tf.GradientTape() as first:
                first.watch(inner)
                results = function()
            gradients = tensors(first.gradient(results, inner, inner_upstream, zero))
        return tensors(second.gradient(gradients, outer, outer_upstream))
    # A tape records nothing while TensorFlow makes the forward mode of a tf.function.
    gradients = tensors(tf.gradients(function(), inner, inner_upstream, unconnected_gradients=zero))
    return tensors(tf.gradients(gradients, outer, outer_upstream))


def _over_time(cell: str, given: _Given, attributes: dict[str, Any], *, in_python: bool) -> list[tf.Tensor]:
    """The layer over a batch of sequences: y, (batch, time or 1, units), and the final state."""
    batch, time = tf.unstack(tf.shape(given.x)[:2], 2)
    step = _step(cell, given, attributes)
    read = [_by_step(_input_products(cell, given, attributes), attributes)]
    if not _missing(given.mask):
        mask = _or(given.mask, lambda: tf.ones((batch, time), tf.bool), (batch, time))
        read.append(_by_step(tf.ensure_shape(mask, (None, None))[:, :, tf.newaxis], attributes))
    nothing = tf.zeros((batch, tf.shape(given.recurrent)[0]))

    def next_step(output: tf.Tensor, state: State, x: tf.Tensor, *mask: tf.Tensor) -> tuple[tf.Tensor, State]:
        """The output of a step, (batch, units), and the state after it; a mask is (batch, 1)."""
        after = step(x, *state)
        result = after[0]
        for kept in mask:
            after = [tf.where(kept, new, old) for new, old in zip(after, state, strict=True)]
            result = tf.where(kept, result, nothing if attributes["zero_output_for_mask"] else output)
        after = tuple(tf.ensure_shape(new, old.shape) for new, old in zip(after, state, strict=True))
        return tf.ensure_shape(result, output.shape), after

    # The output before the first step stands first, so that there is one without steps, too.
    if in_python:
        outputs, state = [nothing], given.state
        for this_step in zip(*(tf.unstack(tensor, given.x.shape[1]) for tensor in read), strict=True):
            output, state = next_step(outputs[-1], state, *this_step)
            outputs.append(output)
        outputs = tf.stack(outputs)
    else:
        arrays = [tf.TensorArray(tensor.dtype, time).unstack(tensor) for tensor in read]
        outputs = tf.TensorArray(tf.float32, time + 1).write(0, nothing)

        def body(t: tf.Tensor, outputs: tf.TensorArray, output: tf.Tensor, *state: tf.Tensor) -> Any:
            output, after = next_step(output, state, *(array.read(t) for array in arrays))
            return (t + 1, outputs.write(t + 1, output), output, *after)

        _, outputs, _, *state = tf.while_loop(
            lambda t, *_: t < time, body, (tf.constant(0), outputs, nothing, *given.state)
        )
        outputs = outputs.stack()
    y = outputs[1:] if attributes["return_sequences"] else outputs[-1:]
    return [tf.transpose(y, (1, 0, 2)), *state]


def _by_step(tensor: tf.Tensor, attributes: dict[str, Any]) -> tf.Tensor:
    """A (batch, time, n) as (time, batch, n), in the order in which its steps are read."""
    by_step = tf.transpose(tensor, (1, 0, 2))
    return tf.reverse(by_step, [0]) if attributes["go_backwards"] else by_step


def _input_products(cell: str, given: _Given, attributes: dict[str, Any]) -> tf.Tensor:
    """x · kernel + bias of all steps and gates, shape (batch, time, gates × units)."""
    if given.x.dtype.is_floating:
        batch, time, features = tf.unstack(tf.shape(given.x), 3)
        masks = _dropout(given.input_dropout, (_GATES[cell], batch, features))
        rows = tf.reshape(given.x, (batch * time, features))
        products = _product(rows, given.kernel, masks and [tf.repeat(mask, time, axis=0) for mask in masks])
        products = tf.reshape(products, (batch, time, tf.shape(given.kernel)[1]))
    else:
        products = tf.gather(given.kernel, given.x)
    bias = _biases(given, attributes)
    return products if bias is None else products + bias[0]


def _step(cell: str, given: _Given, attributes: dict[str, Any]) -> Callable[..., State]:
    """One time step: from x · kernel + bias, (batch, gates × units), and the state to the next state."""
    batch, units = tf.unstack(tf.shape(given.state[0]), 2)
    recurrent, bias = given.recurrent, _biases(given, attributes)
    masks = _dropout(given.recurrent_dropout, (_GATES[cell], batch, units))

    def rnn(x: tf.Tensor, h: tf.Tensor) -> State:
        activation = _ACTIVATIONS[tf.compat.as_str(attributes["activation"])]
        return (activation(x + _product(h, recurrent, masks)),)

    def gru(x: tf.Tensor, h: tf.Tensor) -> State:
        x_z, x_r, x_h = tf.split(x, 3, axis=1)
        if attributes["reset_after"]:
            product = _product(h, recurrent, masks)
            h_z, h_r, h_h = tf.split(product if bias is None else product + bias[1], 3, axis=1)
            candidate = tf.tanh(x_h + tf.sigmoid(x_r + h_r) * h_h)
        else:
            of_gates, of_candidate = recurrent[:, : 2 * units], recurrent[:, 2 * units :]
            h_z, h_r = tf.split(_product(h, of_gates, masks and masks[:2]), 2, axis=1)
            past = tf.sigmoid(x_r + h_r) * h
            candidate = tf.tanh(x_h + _product(past, of_candidate, masks and masks[2:]))
        z = tf.sigmoid(x_z + h_z)
        return (z * h + (1 - z) * candidate,)

    def lstm(x: tf.Tensor, h: tf.Tensor, c: tf.Tensor) -> State:
        i, f, candidate, o = tf.split(x + _product(h, recurrent, masks), 4, axis=1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(candidate)
        return tf.sigmoid(o) * tf.tanh(c), c

    return {"rnn": rnn, "gru": gru, "lstm": lstm}[cell]


def _product(rows: tf.Tensor, matrix: tf.Tensor, masks: list[tf.Tensor] | None) -> tf.Tensor:
    """rows · matrix; with masks, one for each gate, the rows of each gate are multiplied by its own."""
    if masks is None:
        return rows @ matrix
    parts = zip(masks, tf.split(matrix, len(masks), axis=1), strict=True)
    return tf.concat([(rows * mask) @ part for mask, part in parts], axis=1)


def _biases(given: _Given, attributes: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor] | None:
    """What is added to x · kernel and, in a GRU that resets after the product, to h · recurrent."""
    if _missing(given.bias):
        return None
    shape = (2 if attributes.get("reset_after") else 1, tf.shape(given.kernel)[1])
    bias = _or(given.bias, lambda: tf.zeros(shape), shape)
    return bias[0], bias[-1]


def _dropout(masks: tf.Tensor, shape: Sequence[Any]) -> list[tf.Tensor] | None:
    """The mask of each gate."""
    return None if _missing(masks) else tf.unstack(_or(masks, lambda: tf.ones(shape), shape), shape[0])


def _missing(given: tf.Tensor) -> bool:
    """Whether a tensor is known to have no elements: what an op is not given."""
    return given.shape.num_elements() == 0


def _or(given: tf.Tensor, otherwise: Callable[[], tf.Tensor], shape: Sequence[Any]) -> tf.Tensor:
    """What is given, of a shape; or the other tensor, where only the graph that runs sees that nothing is."""
    if (given.shape.rank or 1) > 1 or given.shape.num_elements():  # what is not given has one axis
        return tf.reshape(given, shape)
    # TensorFlow makes one graph for any shapes once it has made many for forward mode.
    return tf.cond(tf.size(given) > 0, lambda: tf.reshape(given, shape), otherwise)

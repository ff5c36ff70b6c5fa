"""Second and higher derivatives of the `native` engine: the recurrence again, in TensorFlow's own ops.

The op of a gradient, OstinatoLstmGradV1 and its siblings, computes

    (dx, dh0, [dc0], dkernel, drecurrent, dbias) = J(x, h0, [c0], kernel, recurrent, bias)ᵀ · (dy, dh, [dc])

Its own gradient is asked for by gradient penalties (Gulrajani et al. 2017, arXiv:1704.00028), by Hessians and
their products with vectors, and by forward mode, which TensorFlow makes from two reverse passes. It is rare,
and takes Keras' way: a loop over time of small ops, which TensorFlow differentiates as often as it is asked
to. Equations and the order of gates are those of `ostinato.scratch`, on Keras' fused weights.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

_GATES = {"rnn": 1, "gru": 3, "lstm": 4}
_ACTIVATIONS = {"tanh": tf.tanh, "relu": tf.nn.relu, "linear": tf.identity}

State = tuple[tf.Tensor, ...]  # (h,) or (h, c), each (batch, units)


class _Given(NamedTuple):
    """What an op is given; the last four are tensors without elements where they are not.

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
        inputs: x or ids, h0, [c0], kernel, recurrent, bias, mask, input_dropout, recurrent_dropout, y, history,
            dy, dh, [dc]; shapes as in `_Given`, dy (batch, time or 1, units), dh and dc (batch, units).
        attributes: the op's, without wants_dx.
        upstream: the gradients of dx, dh0, [dc0], dkernel, drecurrent, dbias, of their shapes; None where
            there is none.
        wants_dx: whether the op computed dx.

    Returns:
        One for each of `inputs`. Ids and masks have none; nor y and history, which are functions of the
        others: what would flow through them is in the gradients of those.
    """
    states = 2 if cell == "lstm" else 1
    # Tensors of this function alone: one that is given twice, as h0 and c0 may be, has two gradients.
    inputs = [tf.identity(given) for given in inputs]
    x, *rest = inputs[: states + 7]
    given = _Given(x, tuple(rest[:states]), *rest[states:])
    outer = inputs[-states - 1 :]  # dy, dh, [dc]
    differentiable = [x, *given.state, given.kernel, given.recurrent, given.bias]
    sources = [tensor for tensor in (*differentiable, *outer) if tensor.dtype.is_floating]
    wanted = [
        (tensor, tf.reshape(tf.convert_to_tensor(gradient), tf.shape(tensor)))
        for index, (tensor, gradient) in enumerate(zip(differentiable, upstream, strict=True))
        if gradient is not None and (index > 0 or (wants_dx and x.dtype.is_floating))
    ]
    with tf.GradientTape() as second:
        second.watch(sources)
        with tf.GradientTape() as first:
            first.watch([tensor for tensor, _ in wanted])
            results = _over_time(cell, given, attributes)
        gradients = first.gradient(
            results, [tensor for tensor, _ in wanted], outer, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]  # those of looked-up rows
    found = second.gradient(gradients, sources, [gradient for _, gradient in wanted])
    by_tensor = {id(tensor): gradient for tensor, gradient in zip(sources, found, strict=True)}
    return [by_tensor.get(id(tensor)) for tensor in inputs]


def _over_time(cell: str, given: _Given, attributes: dict[str, Any]) -> list[tf.Tensor]:
    """The layer over a batch of sequences: y, (batch, time or 1, units), and the final state."""
    backwards = attributes["go_backwards"]
    batch, time = tf.unstack(tf.shape(given.x)[:2])
    units = tf.shape(given.recurrent)[0]
    step = _step(cell, given, attributes)

    def steps(tensor: tf.Tensor) -> tf.TensorArray:
        """The steps of a (batch, time, …), in the order in which they are read."""
        by_time = tf.transpose(tensor, (1, 0, *range(2, tensor.shape.rank)))
        array = tf.TensorArray(tensor.dtype, time, element_shape=by_time.shape[1:])
        return array.unstack(tf.reverse(by_time, [0]) if backwards else by_time)

    products = steps(_input_products(cell, given, attributes))
    masked = not _missing(given.mask)
    if masked:
        mask = _or(given.mask, lambda: tf.ones((batch, time), tf.bool), (batch, time))
        mask = steps(tf.ensure_shape(mask, (None, None))[:, :, tf.newaxis])
    nothing = tf.zeros((batch, units))

    def one(t: tf.Tensor, outputs: tf.TensorArray, output: tf.Tensor, *state: tf.Tensor) -> tuple[Any, ...]:
        after = step(products.read(t), *state)
        result = after[0]
        if masked:
            read = mask.read(t)
            after = [tf.where(read, new, old) for new, old in zip(after, state, strict=True)]
            result = tf.where(read, result, nothing if attributes["zero_output_for_mask"] else output)
        after = [tf.ensure_shape(new, old.shape) for new, old in zip(after, state, strict=True)]
        return (t + 1, outputs.write(t + 1, result), tf.ensure_shape(result, output.shape), *after)

    # The output before the first step stands first, so that there is one without steps, too.
    outputs = tf.TensorArray(tf.float32, time + 1, element_shape=nothing.shape).write(0, nothing)
    _, outputs, output, *state = tf.while_loop(
        lambda t, *_: t < time, one, (tf.constant(0), outputs, nothing, *given.state)
    )
    y = tf.transpose(outputs.stack()[1:], (1, 0, 2)) if attributes["return_sequences"] else output[:, tf.newaxis]
    return [y, *state]


def _input_products(cell: str, given: _Given, attributes: dict[str, Any]) -> tf.Tensor:
    """x · kernel + bias of all steps and gates, shape (batch, time, gates × units)."""
    if given.x.dtype.is_floating:
        batch, time, features = tf.unstack(tf.shape(given.x))

        def times_kernel(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
            return tf.reshape(tf.reshape(x, (-1, features)) @ kernel, (batch, time, -1))

        scale = _dropout(given.input_dropout, (_GATES[cell], batch, features))
        masks = None if scale is None else [mask[:, tf.newaxis] for mask in tf.unstack(scale, _GATES[cell])]
        products = _product(given.x, given.kernel, masks, times_kernel)
    else:
        products = tf.gather(given.kernel, given.x)
    bias = _biases(given, attributes)
    return products if bias is None else products + bias[0]


def _product(
    rows: tf.Tensor,
    matrix: tf.Tensor,
    masks: Sequence[tf.Tensor] | None,
    times: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = tf.matmul,
) -> tf.Tensor:
    """rows · matrix; with masks, one for each gate, the rows of each gate are multiplied by its own."""
    if masks is None:
        return times(rows, matrix)
    parts = zip(masks, tf.split(matrix, len(masks), axis=1), strict=True)
    return tf.concat([times(rows * mask, part) for mask, part in parts], axis=-1)


def _step(cell: str, given: _Given, attributes: dict[str, Any]) -> Callable[..., State]:
    """One time step: from x · kernel + bias, shape (batch, gates × units), and the state to the next state."""
    gates = _GATES[cell]
    batch, units = tf.unstack(tf.shape(given.state[0]))
    scale = _dropout(given.recurrent_dropout, (gates, batch, units))
    masks = None if scale is None else tf.unstack(scale, gates)
    recurrent = given.recurrent

    def rnn(x: tf.Tensor, h: tf.Tensor) -> State:
        return (_ACTIVATIONS[tf.compat.as_str(attributes["activation"])](x + _product(h, recurrent, masks)),)

    def gru(x: tf.Tensor, h: tf.Tensor) -> State:
        x_z, x_r, x_h = tf.split(x, 3, axis=1)
        if attributes["reset_after"]:
            product = _product(h, recurrent, masks)
            bias = _biases(given, attributes)
            h_z, h_r, h_h = tf.split(product if bias is None else product + bias[1], 3, axis=1)
            r = tf.sigmoid(x_r + h_r)
            candidate = tf.tanh(x_h + r * h_h)
        else:
            of_gates, of_candidate = recurrent[:, : 2 * units], recurrent[:, 2 * units :]
            h_z, h_r = tf.split(_product(h, of_gates, masks and masks[:2]), 2, axis=1)
            r = tf.sigmoid(x_r + h_r)
            candidate = tf.tanh(x_h + _product(r * h, of_candidate, masks and masks[2:]))
        z = tf.sigmoid(x_z + h_z)
        return (z * h + (1 - z) * candidate,)

    def lstm(x: tf.Tensor, h: tf.Tensor, c: tf.Tensor) -> State:
        i, f, candidate, o = tf.split(x + _product(h, recurrent, masks), 4, axis=1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(candidate)
        return tf.sigmoid(o) * tf.tanh(c), c

    return {"rnn": rnn, "gru": gru, "lstm": lstm}[cell]


def _biases(given: _Given, attributes: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor] | None:
    """What is added to x · kernel and, in a GRU that resets after the product, to h · recurrent."""
    if _missing(given.bias):
        return None
    count = 2 if attributes.get("reset_after") else 1
    shape = (count, tf.shape(given.kernel)[1])
    bias = _or(given.bias, lambda: tf.zeros(shape), shape)
    return bias[0], bias[-1]


def _dropout(masks: tf.Tensor, shape: Sequence[Any]) -> tf.Tensor | None:
    return None if _missing(masks) else _or(masks, lambda: tf.ones(shape), shape)


def _missing(given: tf.Tensor) -> bool:
    """Whether a tensor is known not to have elements, which says that an input is not given."""
    return given.shape.num_elements() == 0


def _or(given: tf.Tensor, otherwise: Callable[[], tf.Tensor], shape: Sequence[Any]) -> tf.Tensor:
    """A tensor of a shape, or the other one if it turns out, once the graph runs, to have no elements.

    TensorFlow makes one graph for several shapes where it is told to, or has made many for forward mode.
    """
    if (given.shape.rank or 1) > 1 or given.shape.num_elements():  # what is not given has one axis
        return tf.reshape(given, shape)
    return tf.cond(tf.size(given) > 0, lambda: tf.reshape(given, shape), otherwise)

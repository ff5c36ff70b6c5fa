"""Element-wise recurrences in the `native` engine: one op over the whole sequence, between products of x.

Such a cell has no matrix between its states (minGRU, SRU, LRU, …). The products of x are TensorFlow's, for
all steps at once; the op has the rest, and reads and writes each tensor once. See `kernels/elementwise.h`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import tensorflow as tf

from ostinato.engines import precision
from ostinato.engines.facts import cell_of, cells
from ostinato.engines.library import absent, as_mask, function, has, may_be_recorded, register_gradients

if TYPE_CHECKING:
    import keras

    from ostinato.cells.base import Cell, ElementwiseOp, State
    from ostinato.cells.elementwise import ElementwiseCell

OP, _GRADIENT = "OstinatoElementwiseV1", "OstinatoElementwiseGradV1"
_OPTIONS = ("go_backwards", "return_sequences", "zero_output_for_mask")


def has_op_for(cell: Cell | None) -> bool:
    """Whether a cell is an element-wise recurrence with a kernel."""
    return hasattr(getattr(cell, "native", None), "recurrences")


def obstacle(layer: keras.layers.RNN) -> str | None:
    """The first option of an element-wise layer that the engine does not support; None without one."""
    if not has("ostinato_elementwise_v1"):
        return "its library was built before it had element-wise recurrences"
    if _op_of(layer).kernel(layer.cell) is None:
        return f"it does not have these options of the cell {type(layer.cell).__name__}"
    return precision.single_obstacle(layer)


def run(
    layer: keras.layers.RNN, x: tf.Tensor, state: Sequence[tf.Tensor], mask: tf.Tensor | None, training: bool
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Run a layer over a batch of sequences.

    Args:
        layer: the layer, built, to which there is no `obstacle`.
        x: shape (batch, time, features), or token ids (batch, time).
        state: the tensors of the cell's state, each (batch, units).
        mask: shape (batch, time), False at steps to skip; or None.
        training: whether a gradient is likely to be needed.

    Returns:
        The last output (batch, units), the outputs (batch, time or 1, units) and the final state.
    """
    cell = cast("ElementwiseCell", layer.cell)
    given = cell.given(x if x.dtype.is_integer else precision.in_dtype(layer, x))
    sums, biases, constants = cell.sums(given), cell.biases(), cell.constants()
    states = [precision.rounded(layer, each) for each in state]
    inputs = [
        tf.cast(sums, tf.float32),
        tf.cast(cell.highway(given), tf.float32) if cell.reads_x else absent(tf.float32),
        states[0] if len(states) == 1 else tf.concat(states, 1),
        absent(tf.float32) if biases is None else tf.cast(biases, tf.float32),
        absent(tf.float32) if constants is None else tf.cast(constants, tf.float32),
        absent(tf.bool) if mask is None else as_mask(mask),
    ]
    options = {option: getattr(layer, option) for option in _OPTIONS}
    # An output that is not only of the state has to be repeated as a whole, so each step's is needed.
    repeats = mask is not None and cell.output_reads_x
    y, after, _ = function(OP)(
        *inputs,
        cell=_op_of(layer).kernel(cell),
        keep_history=training or may_be_recorded(inputs),
        **(options | {"return_sequences": True} if repeats else options),
    )
    sequences = layer.return_sequences or repeats
    if not tf.executing_eagerly():
        batch, steps = x.shape[:2] if x.shape.rank else (None, None)
        y.set_shape((batch, steps if sequences else 1, None))
        after.set_shape((batch, cell.units * len(states)))
    after = tf.split(after, len(states), axis=1) if len(states) > 1 else [after]
    at_outputs = tf.reverse(given, [1]) if layer.go_backwards else given
    outputs = cell.read(precision.in_dtype(layer, y), at_outputs if sequences else at_outputs[:, -1:])
    if mask is not None and repeats:
        outputs = repeated(outputs, as_mask(mask), options)
    return outputs[:, -1], outputs, [precision.in_dtype(layer, each) for each in after]


def repeated(outputs: tf.Tensor, mask: tf.Tensor, options: Mapping[str, bool]) -> tf.Tensor:
    """Outputs of which masked steps repeat the one before, or are zero, as the layer's options say."""
    if options["go_backwards"]:
        mask = tf.reverse(mask, [1])
    steps = tf.range(tf.shape(mask)[1])
    given = tf.where(mask, steps, -1)
    latest = given
    if not options["zero_output_for_mask"]:
        latest = tf.transpose(tf.scan(tf.maximum, tf.transpose(given)))
    repeated = tf.gather(outputs, tf.maximum(latest, 0), axis=1, batch_dims=1)
    repeated = tf.where(latest[:, :, tf.newaxis] >= 0, repeated, tf.zeros_like(repeated))
    return repeated if options["return_sequences"] else repeated[:, -1:]


def _op_of(layer: keras.layers.RNN) -> ElementwiseOp:
    return cast("ElementwiseOp", cast("Cell", cell_of(layer)).native)


def _attributes(op: tf.Operation) -> dict[str, bool | bytes | str]:
    return {name: op.get_attr(name) for name in ("cell", *_OPTIONS)}


def _gradient(op: tf.Operation, dy: tf.Tensor, dstate: tf.Tensor, _: tf.Tensor) -> list[tf.Tensor | None]:
    """The registered gradient of the op."""
    inputs, attributes = list(op.inputs), _attributes(op)
    y, _, history = op.outputs
    if not op.get_attr("keep_history"):
        y, _, history = function(OP)(*inputs, **attributes, keep_history=True)
    return [*function(_GRADIENT)(*inputs, y, history, dy, dstate, **attributes), None]


def _second_gradient(op: tf.Operation, *upstream: tf.Tensor | None) -> list[tf.Tensor | None]:
    """The registered gradient of the gradient's op; TensorFlow can differentiate it further by itself."""
    from ostinato.engines.derivatives import over_time, twice

    attributes = _attributes(op)
    in_python = tf.executing_eagerly() or not tf.is_symbolic_tensor(op.inputs[0])
    # New tensors, because one that is passed twice has two gradients.
    inputs = [tf.identity(each) for each in op.inputs]
    sums, x, state, bias, constants, mask, _, _, dy, dstate = inputs
    given = [each for each in (sums, x, state, bias, constants) if each.shape.num_elements() != 0]
    name = tf.compat.as_str(attributes["cell"])
    op_of_cell, states = _op_with(name)
    recurrence, blocks = op_of_cell.recurrences[name], op_of_cell.products
    units = sums.shape[-1] // blocks

    def run() -> list[tf.Tensor]:
        products = sums if bias.shape.num_elements() == 0 else sums + bias
        reads_x = x.shape.num_elements() != 0
        fixed = tf.split(constants, constants.shape[0] // units) if constants.shape.num_elements() else []

        def step(products: tf.Tensor, *rest: tf.Tensor) -> tuple[tf.Tensor, State]:
            before = rest[-states:]
            return recurrence(tf.split(products, blocks, axis=1), before, fixed, rest[0] if reads_x else None)

        zeros = tf.zeros((tf.shape(sums)[0], dy.shape[-1]), sums.dtype)
        y, *after = over_time(
            step,
            [products, x] if reads_x else [products],
            None if mask.shape.num_elements() == 0 else mask,
            tuple(tf.split(state, states, axis=1)),
            zeros,
            attributes,
            in_python=in_python,
        )
        return [y, tf.concat(after, 1)]

    by_input = zip((sums, x, state, bias, constants), upstream, strict=True)
    wanted = [
        (each, gradient)
        for each, gradient in by_input
        if gradient is not None and each.shape.num_elements() != 0
    ]
    sources = [*given, dy, dstate]
    results = twice(
        run, [each for each, _ in wanted], [dy, dstate], sources, [gradient for _, gradient in wanted]
    )
    by_tensor = {id(tensor): gradient for tensor, gradient in zip(sources, results, strict=True)}
    return [by_tensor.get(id(tensor)) for tensor in inputs]


def _op_with(kernel: str) -> tuple[ElementwiseOp, int]:
    """The op of the cell with a kernel, and how many tensors its state has."""
    for cell in cells():
        if has_op_for(cell) and kernel in cast("ElementwiseOp", cell.native).recurrences:
            return cast("ElementwiseOp", cell.native), len(cell.states)
    raise LookupError(f"no cell has the kernel {kernel}")


register_gradients(OP, _GRADIENT, _gradient, _second_gradient)

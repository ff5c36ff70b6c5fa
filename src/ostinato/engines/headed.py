"""Recurrences with heads in the `native` engine: a whole sequence in one op, between products of x.

The ops are those of `kernels/memory.h` and `kernels/headwise.h`. An op's inputs are what it reads at every
step, what it reads once, the state, and the mask; its outputs are y, the state, and the history.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import tensorflow as tf

from ostinato.engines import precision
from ostinato.engines.elementwise import repeated
from ostinato.engines.facts import cell_of, cells
from ostinato.engines.library import absent, as_mask, function, has, may_be_recorded, register_gradients

if TYPE_CHECKING:
    import keras

    from ostinato.cells.base import Cell, HeadedOp
    from ostinato.cells.heads import HeadsCell

MEMORY, HEADWISE = "OstinatoMemoryV1", "OstinatoHeadwiseV1"
_GRADIENTS = {MEMORY: "OstinatoMemoryGradV1", HEADWISE: "OstinatoHeadwiseGradV1"}
_ATTRIBUTES = {MEMORY: ("cell",), HEADWISE: ("exponential_forget",)}
# The gradient of a memory reads y, too.
_READS_Y = (MEMORY,)
_STATES = {MEMORY: 3, HEADWISE: 1}


def has_op_for(cell: Cell | None) -> bool:
    """Whether a cell is a recurrence with heads that has an op."""
    return hasattr(getattr(cell, "native", None), "sequences")


def obstacle(layer: keras.layers.RNN) -> str | None:
    """The first option of a layer that the engine does not support; None without one."""
    if not has("ostinato_memory_v1"):
        return "its library was built before it had recurrences with heads"
    return precision.single_obstacle(layer)


def run(
    layer: keras.layers.RNN, x: tf.Tensor, state: Sequence[tf.Tensor], mask: tf.Tensor | None, training: bool
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Run a layer over a batch of sequences.

    Args:
        layer: the layer, built, to which there is no `obstacle`.
        x: shape (batch, time, features), or token ids (batch, time).
        state: the tensors of the cell's state, each (batch, n).
        mask: shape (batch, time), False at steps to skip; or None.
        training: whether a gradient is likely to be needed.

    Returns:
        The last output (batch, units), the outputs (batch, time or 1, units) and the final state.
    """
    cell, op = cast("HeadsCell", layer.cell), _op_of(layer)
    given, mask = cell.given(x), None if mask is None else as_mask(mask)
    if layer.go_backwards:  # the op reads forward
        given, mask = tf.reverse(given, [1]), None if mask is None else tf.reverse(mask, [1])
    none = absent(tf.float32)
    states = cell.op_states([tf.cast(each, tf.float32) for each in state])
    read, beside = cell.op_inputs(given)
    inputs = [
        *read,
        *states,
        *[none] * (_STATES[op.op] - len(states)),
        absent(tf.bool) if mask is None else mask,
    ]
    keeps = training or may_be_recorded(inputs)
    y, *after, _ = function(op.op)(*inputs, **op.attributes(cell), keep_history=keeps)
    outputs = cell.outputs(y, beside)
    options = {option: getattr(layer, option) for option in ("return_sequences", "zero_output_for_mask")}
    if mask is not None:
        outputs = repeated(outputs, mask, options | {"go_backwards": False})
    elif not layer.return_sequences:
        outputs = outputs[:, -1:]
    if not tf.executing_eagerly():
        batch, steps = x.shape[:2] if x.shape.rank else (None, None)
        outputs.set_shape((batch, steps if layer.return_sequences else 1, cell.units))
    outputs = precision.in_dtype(layer, outputs)
    ends = zip(cell.from_op_states(after[: len(states)]), cell.state_dtypes(), strict=True)
    return outputs[:, -1], outputs, [tf.cast(each, dtype) for each, dtype in ends]


def _op_of(layer: keras.layers.RNN) -> HeadedOp:
    return cast("HeadedOp", cast("Cell", cell_of(layer)).native)


def _attributes(op: tf.Operation, name: str) -> dict[str, Any]:
    return {attribute: op.get_attr(attribute) for attribute in _ATTRIBUTES[name]}


def _gradient(name: str, op: tf.Operation, dy: tf.Tensor, *upstream: tf.Tensor) -> list[tf.Tensor | None]:
    """The registered gradient of an op."""
    inputs, attributes = list(op.inputs), _attributes(op, name)
    y, history = op.outputs[0], op.outputs[-1]
    if not op.get_attr("keep_history"):
        y, *_, history = function(name)(*inputs, **attributes, keep_history=True)
    kept = (y, history) if name in _READS_Y else (history,)
    return [*function(_GRADIENTS[name])(*inputs, *kept, dy, *upstream[:-1], **attributes), None]


def _second_gradient(name: str, op: tf.Operation, *upstream: tf.Tensor | None) -> list[tf.Tensor | None]:
    """The registered gradient of a gradient's op; TensorFlow can differentiate it further by itself."""
    from ostinato.engines.derivatives import over_time, twice

    attributes = _attributes(op, name)
    headed = _op_with(name, attributes)
    in_python = tf.executing_eagerly() or not tf.is_symbolic_tensor(op.inputs[0])
    inputs = [tf.identity(each) for each in op.inputs]
    states = _STATES[name]
    count = {MEMORY: 6, HEADWISE: 5}[name]
    given, of_outputs = inputs[: count - 1], inputs[-1 - states :]
    sequences, fixed = given[: headed.sequences], given[headed.sequences : count - 1 - states]
    state = [each for each in given[count - 1 - states :] if _given(each)]
    mask, of_outputs = inputs[count - 1], [each for each in of_outputs if _given(each)]

    def run() -> list[tf.Tensor]:
        flat = [tf.reshape(each, tf.concat([tf.shape(each)[:2], [_row(each)]], 0)) for each in sequences]
        step = headed.step(attributes, fixed)
        width = _row(of_outputs[0])
        zeros = tf.zeros((tf.shape(flat[0])[0], width), tf.float32)
        options = {"go_backwards": False, "return_sequences": True, "zero_output_for_mask": True}
        y, *after = over_time(
            step,
            flat,
            mask if _given(mask) else None,
            tuple(state),
            zeros,
            options,
            in_python=in_python,
        )
        return [tf.reshape(y, tf.shape(of_outputs[0])), *after]

    by_input = zip(given, upstream, strict=True)
    wanted = [(each, gradient) for each, gradient in by_input if gradient is not None and _given(each)]
    sources = [each for each in (*given, *of_outputs) if _given(each)]
    found = twice(
        run, [each for each, _ in wanted], of_outputs, sources, [gradient for _, gradient in wanted]
    )
    by_tensor = {id(tensor): gradient for tensor, gradient in zip(sources, found, strict=True)}
    return [by_tensor.get(id(tensor)) for tensor in inputs]


def _given(tensor: tf.Tensor) -> bool:
    return tensor.shape.num_elements() != 0


def _row(tensor: tf.Tensor) -> int:
    """Numbers of a row of the batch at a step."""
    product = 1
    for size in tensor.shape[2:]:
        product *= int(size or 0)
    return product


def _op_with(name: str, attributes: dict[str, Any]) -> HeadedOp:
    """The op of the cell that has these attributes."""
    wanted = tf.compat.as_str(attributes.get("cell", ""))
    for cell in cells():
        if has_op_for(cell) and cast("HeadedOp", cell.native).op == name and wanted in ("", cell.name):
            return cast("HeadedOp", cell.native)
    raise LookupError(f"no cell has the op {name} with {attributes}")


for _name, _of_op in _GRADIENTS.items():
    register_gradients(
        _name, _of_op, functools.partial(_gradient, _name), functools.partial(_second_gradient, _name)
    )

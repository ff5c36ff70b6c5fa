"""Options of the classic cells in the `native` engine: a whole layer over a whole sequence in one op.

See `kernels/rowwise.h` for what the op computes, and `ostinato.cells.rowwise` for the equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import tensorflow as tf

from ostinato.engines import precision
from ostinato.engines.facts import cells
from ostinato.engines.library import absent, as_mask, function, has, may_be_recorded, register_gradients
from ostinato.engines.product import product

if TYPE_CHECKING:
    import keras

    from ostinato.cells.base import Cell, RowwiseOp
    from ostinato.cells.rowwise import RowwiseCell

OP, _GRADIENT = "OstinatoRowwiseV1", "OstinatoRowwiseGradV1"
_OPTIONS = ("go_backwards", "return_sequences", "zero_output_for_mask")
_OF_CELL = ("layer_norm", "peephole", "coupled")


def has_op_for(cell: Cell | None) -> bool:
    """Whether a cell is one with options that the op has."""
    return hasattr(getattr(cell, "native", None), "equations")


def obstacle(layer: keras.layers.RNN) -> str | None:
    """The first option of a layer that the engine does not support; None without one."""
    if not has("ostinato_rowwise_v1"):
        return "its library was built before it had these options"
    if layer.cell.recurrent_dropout:
        return f"it has no recurrent_dropout for the cell {type(layer.cell).__name__}"
    return precision.single_obstacle(layer)


def run(
    layer: keras.layers.RNN,
    x: tf.Tensor,
    state: Sequence[tf.Tensor],
    mask: tf.Tensor | None,
    training: bool,
    zones: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Run a layer over a batch of sequences.

    Args:
        layer: the layer, built, to which there is no `obstacle`.
        x: shape (batch, time, features), or token ids (batch, time).
        state: h (batch, outputs) and, of an LSTM, c (batch, units).
        mask: shape (batch, time), False at steps to skip; or None.
        training: whether dropout acts and a gradient is likely to be needed.
        zones: zoneout's random bits, (batch, time, the larger of outputs and units), int32; None keeps the
            rates' parts.

    Returns:
        The last output (batch, outputs), the outputs (batch, time or 1, outputs) and the final state.
    """
    cell = cast("RowwiseCell", layer.cell)
    p = cell.params()
    if not x.dtype.is_integer:
        x = precision.in_dtype(layer, x)
        if training and layer.dropout > 0.0:
            x = x * _one_mask(cell.get_dropout_mask(x[:, 0]))[:, tf.newaxis]
    none, vectors = absent(tf.float32), [getattr(p, name) for name in cell.vectors()]

    def single(tensor: Any) -> tf.Tensor:
        return none if tensor is None else tf.cast(tensor, tf.float32)

    states = [precision.rounded(layer, each) for each in state]
    inputs = [
        tf.cast(x, tf.int32 if x.dtype.is_integer else tf.float32),
        states[0],
        states[1] if len(states) > 1 else none,
        single(p.W),
        single(p.R),
        single(p.W_proj),
        none if p.b is None else tf.reshape(single(p.b), (-1,)),
        tf.concat([single(each) for each in vectors], 0) if vectors else none,
        absent(tf.int32) if zones is None else zones,
        absent(tf.bool) if mask is None else as_mask(mask),
    ]
    y, h, c, _ = function(OP)(
        *inputs,
        cell=cell.kind,
        zoneout_h=cell.zoneout[0],
        zoneout_c=cell.zoneout[1],
        keep_history=training or may_be_recorded(inputs),
        **{option: bool(cell.own.get(option)) for option in _OF_CELL},
        **{option: getattr(layer, option) for option in _OPTIONS},
    )
    if not tf.executing_eagerly():
        batch, steps = x.shape[:2] if x.shape.rank else (None, None)
        y.set_shape((batch, steps if layer.return_sequences else 1, cell.output_size))
    return precision.results(layer, None if mask is None else y[:, -1], y, [h, c][: len(states)])


def _one_mask(masks: Any) -> tf.Tensor:
    return masks[0] if isinstance(masks, list) else masks


def _attributes(op: tf.Operation) -> dict[str, Any]:
    return {name: op.get_attr(name) for name in ("cell", "zoneout_h", "zoneout_c", *_OF_CELL, *_OPTIONS)}


def _gradient(op: tf.Operation, dy: tf.Tensor, dh: tf.Tensor, dc: tf.Tensor, _: tf.Tensor) -> list[Any]:
    """The registered gradient of the op."""
    inputs, attributes = list(op.inputs), _attributes(op)
    y, _, _, history = op.outputs
    if not op.get_attr("keep_history"):
        y, _, _, history = function(OP)(*inputs, **attributes, keep_history=True)
    # A tape knows which gradients are not needed; a gradient inside a graph does not.
    wants_dx = inputs[0].dtype.is_floating and 0 not in (getattr(op, "skip_input_indices", None) or ())
    dx, *others = function(_GRADIENT)(*inputs, y, history, dy, dh, dc, **attributes, wants_dx=wants_dx)
    if wants_dx and not tf.executing_eagerly():
        dx.set_shape(inputs[0].shape)
    return [dx if wants_dx else None, *others, None, None]


def _second_gradient(op: tf.Operation, *upstream: tf.Tensor | None) -> list[tf.Tensor | None]:
    """The registered gradient of the gradient's op; TensorFlow can differentiate it further by itself."""
    from ostinato.engines.derivatives import over_time, twice

    attributes = _attributes(op)
    in_python = tf.executing_eagerly() or not tf.is_symbolic_tensor(op.inputs[0])
    inputs = [tf.identity(each) for each in op.inputs]
    x, h0, c0, kernel, recurrent, projection, bias, vectors, bits, mask, _, _, dy, dh, dc = inputs
    states = [each for each in (h0, c0) if _given(each)]
    units = c0.shape[-1] if _given(c0) else h0.shape[-1]

    def run() -> list[tf.Tensor]:
        step = _equations(attributes, units, recurrent, projection, bias, vectors)
        zeros = tf.zeros((tf.shape(x)[0], tf.shape(recurrent)[0]), kernel.dtype)
        zeros = tf.ensure_shape(zeros, (None, h0.shape[-1]))
        y, *after = over_time(
            step,
            [product(x, kernel), *([bits] if _given(bits) else [])],
            mask if _given(mask) else None,
            tuple(states),
            zeros,
            attributes,
            in_python=in_python,
        )
        return [y, *after]

    of_dx = upstream[0] if op.get_attr("wants_dx") else None
    by_input = zip(inputs[:8], (of_dx, *upstream[1:]), strict=True)
    wanted = [(each, gradient) for each, gradient in by_input if gradient is not None and _given(each)]
    given = [dy, dh, *([dc] if _given(c0) else [])]
    sources = [*[each for each in inputs[:8] if _given(each) and each.dtype.is_floating], *given]
    results = twice(run, [each for each, _ in wanted], given, sources, [gradient for _, gradient in wanted])
    by_tensor = {id(tensor): gradient for tensor, gradient in zip(sources, results, strict=True)}
    return [by_tensor.get(id(tensor)) for tensor in inputs]


def _given(tensor: tf.Tensor) -> bool:
    return tensor.shape.num_elements() != 0


def _equations(attributes: dict[str, Any], *weights: Any) -> Any:
    """A step from the products of x, zoneout's bits and the state, in TensorFlow's own ops."""
    known = next(cell.native for cell in cells() if has_op_for(cell))
    return cast("RowwiseOp", known).equations(attributes, *weights)


register_gradients(OP, _GRADIENT, _gradient, _second_gradient)

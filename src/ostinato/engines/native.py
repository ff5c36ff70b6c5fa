"""The `native` engine: a whole layer over a whole sequence as one TensorFlow op, written in C++.

The ops are in `ostinato/kernels`, and `ostinato.engines.library` loads them. This module registers the
gradients of those with recurrent products, and calls them with a layer's weights;
`ostinato.engines.elementwise` does so for those without. `ostinato.registration` imports it as soon as
TensorFlow is there. Importing it must therefore not import Keras.

In training, and where a tape may record it, an op keeps what its gradient needs, the history. Otherwise it
keeps nothing, and a gradient runs the op again if it is needed after all.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import tensorflow as tf

from ostinato.engines import activations, elementwise, gate, headed, precision, product, rowwise
from ostinato.engines.facts import cell_of, cells, has_known_cell, is_stock
from ostinato.engines.library import absent, as_mask, found, function, may_be_recorded
from ostinato.engines.library import available as available
from ostinato.engines.library import has as has
from ostinato.engines.library import instruction_set as instruction_set
from ostinato.engines.library import machine_obstacle as machine_obstacle
from ostinato.engines.library import reason as reason
from ostinato.engines.library import threads as threads
from ostinato.errors import EngineError

if TYPE_CHECKING:
    import keras

    from ostinato.cells.base import NativeOp

_OPTIONS = ("go_backwards", "return_sequences", "zero_output_for_mask")
# Ops whose gradients other modules register.
_OTHERS = (elementwise.OP, gate.OP, headed.MEMORY, headed.HEADWISE, product.OP, rowwise.OP)
# Attributes that every op has and that are not the layer's.
_NOT_THE_LAYERS = ("T", "Tin", "keep_history", "wants_dx")

Attributes = Mapping[str, bool | bytes | str]
"""The attributes of an op; strings of a graph's ops are bytes."""


def obstacle(layer: "keras.layers.RNN", *, mask: bool = False, training: bool = False) -> str | None:
    """The first option of the layer that the engine does not support; None when it supports them all."""
    cell = cell_of(layer)
    if cell is None or cell.native is None or not has_known_cell(layer):
        return f"it does not know the cell {type(getattr(layer, 'cell', None)).__name__}"
    for of_op in (elementwise, rowwise, headed):
        if of_op.has_op_for(cell):
            return of_op.obstacle(layer)
    if not is_stock(layer):
        return (
            "it runs the layers SimpleRNN, GRU, LSTM and RNN, and this is the subclass "
            f"{type(layer).__name__}({type(layer.cell).__name__})"
        )
    unknown = precision.obstacle(layer) or activations.obstacle(layer)
    if unknown is not None:
        return unknown
    if getattr(layer, "use_cudnn", False) is True:
        return "use_cudnn=True asks for cuDNN"
    return None


def run(
    layer: "keras.layers.RNN",
    x: tf.Tensor,
    state: Sequence[tf.Tensor],
    mask: tf.Tensor | None,
    training: bool,
    *,
    begins_with_zeros: bool = False,
    zones: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Run a layer over a batch of sequences.

    Args:
        layer: the layer, built, to which there is no `obstacle`.
        x: shape (batch, time, features); sizes may be unknown in a graph.
        state: the tensors of the cell's state, each (batch, units).
        mask: shape (batch, time), False at steps to skip; or None.
        training: whether dropout acts and a gradient is likely to be needed.
        begins_with_zeros: whether the state is zeros whose gradient nobody asks for.
        zones: zoneout's random bits, see `ostinato.engines.rowwise`.

    Returns:
        The last output (batch, units), the outputs (batch, time, units), or (batch, 1, units) without
        `return_sequences`, and the final state, all in the layer's compute dtype.

    Raises:
        EngineError: the engine is not available.
        tf.errors.InvalidArgumentError, ValueError: the shapes do not fit together.
    """
    if elementwise.has_op_for(cell_of(layer)):
        return elementwise.run(layer, x, state, mask, training)
    if headed.has_op_for(cell_of(layer)):
        return headed.run(layer, x, state, mask, training)
    if rowwise.has_op_for(cell_of(layer)):
        return rowwise.run(layer, x, state, mask, training, zones)
    x = precision.in_dtype(layer, x)
    dropout, recurrent_dropout = _dropout_masks(layer, x, state[0], training)
    dtype = precision.of_op(layer)
    x = tf.cast(x, dtype)
    # One mask for all gates costs less on x than within each product.
    if dropout is not None and len(dropout) == 1:
        x, dropout = x * tf.cast(dropout[0], dtype)[:, tf.newaxis], None
    start = [absent(dtype)] * len(state) if begins_with_zeros else state
    return _run(layer, x, start, mask, training, dropout, recurrent_dropout)


def run_ids(
    layer: "keras.layers.RNN",
    ids: tf.Tensor,
    initial_state: Sequence[tf.Tensor],
    mask: tf.Tensor | None,
    training: bool,
    *,
    zones: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Run a layer over token ids. The results are those of `run` over their one-hot vectors.

    Args:
        layer: the layer, built for as many features as there are ids, without dropout of its inputs.
        ids: shape (batch, time), integers from 0 to features - 1.
        initial_state, mask, training, zones: as for `run`.

    Returns:
        As for `run`.

    Raises:
        EngineError: the engine is not available.
        tf.errors.InvalidArgumentError: an id has no row in the kernel, or the shapes do not fit together.
    """
    if rowwise.has_op_for(cell_of(layer)):
        return rowwise.run(layer, ids, initial_state, mask, training, zones)
    h0 = precision.in_dtype(layer, tf.convert_to_tensor(initial_state[0]))
    _, recurrent_dropout = _dropout_masks(layer, ids, h0, training)
    return _run(layer, tf.cast(ids, tf.int32), initial_state, mask, training, None, recurrent_dropout)


def _run(
    layer: "keras.layers.RNN",
    x: tf.Tensor,
    initial_state: Sequence[tf.Tensor],
    mask: tf.Tensor | None,
    training: bool,
    dropout: Sequence[tf.Tensor] | None,
    recurrent_dropout: Sequence[tf.Tensor] | None,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    cell, op = layer.cell, _op_of(layer)
    mask = None if mask is None else as_mask(mask)
    dtype = precision.of_op(layer)
    name, attributes = activations.op_and_attributes(op, layer, dtype)
    attributes |= {option: getattr(layer, option) for option in (*op.attributes, *_OPTIONS)}
    inputs = [
        x,
        # A stateful layer's state is a variable, whose value changes before the gradient reads it.
        *[_for_each_row(precision.rounded(layer, state), x) for state in initial_state],
        precision.rounded(layer, cell.kernel),
        precision.rounded(layer, cell.recurrent_kernel),
        absent(dtype) if cell.bias is None else precision.rounded(layer, cell.bias),
        absent(tf.bool) if mask is None else _for_each_row(mask, x),
        *[
            absent(dtype) if masks is None else tf.cast(tf.stack(masks), dtype)
            for masks in (dropout, recurrent_dropout)
        ],
    ]
    keep_history = bool(training) or may_be_recorded(inputs)
    if keep_history and tf.executing_eagerly():
        y, *states = _recorded(name, inputs, attributes)
    else:
        y, *states, _ = _forward(name, inputs, attributes, keep_history=keep_history)
    if not tf.executing_eagerly():
        batch, steps = x.shape[:2] if x.shape.rank else (None, None)
        y.set_shape((batch, steps if layer.return_sequences else 1, layer.units))
    # Without a mask the last output is the final h; slicing it out of y would take longer.
    return precision.results(layer, None if mask is None else y[:, -1], y, states)


def _dropout_masks(
    layer: "keras.layers.RNN", x: tf.Tensor, h0: tf.Tensor, training: bool
) -> tuple[list[tf.Tensor] | None, list[tf.Tensor] | None]:
    """Keras' dropout masks for inputs and states: one in all or one per gate, the same at all steps.

    They are in the dtype of the layer, in which Keras draws them, as x and h0 must be.
    """
    cell = layer.cell
    always = _op_of(layer).always_draws
    if not training and not always:
        return None, None
    dropout = recurrent_dropout = None
    if layer.dropout > 0.0 and (always or layer.dropout < 1.0):
        dropout = cell.get_dropout_mask(x[:, 0])
    if layer.recurrent_dropout > 0.0 and (always or layer.recurrent_dropout < 1.0):
        recurrent_dropout = cell.get_recurrent_dropout_mask(h0)
    if not training:
        return None, None
    return _as_list(dropout), _as_list(recurrent_dropout)


def _op_of(layer: "keras.layers.RNN") -> "NativeOp":
    cell = cell_of(layer)
    if cell is None or not isinstance(getattr(cell.native, "name", None), str):
        raise EngineError(f"the native engine cannot run a {type(layer).__name__}")
    return cast("NativeOp", cell.native)


def _as_list(masks: list[tf.Tensor] | tf.Tensor | None) -> list[tf.Tensor] | None:
    return masks if masks is None or isinstance(masks, list) else [masks]


def _for_each_row(tensor: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """A state or a mask. A single row for a whole batch, which Keras allows, is repeated."""
    if tensor.shape.rank != 2 or tensor.shape[0] != 1 or x.shape.rank is None or x.shape[0] == 1:
        return tensor
    return tf.broadcast_to(tensor, (tf.shape(x)[0], tf.shape(tensor)[1]))


def _forward(
    op: str, inputs: Sequence[tf.Tensor], attributes: Attributes, *, keep_history: bool
) -> Sequence[tf.Tensor]:
    """The outputs, the final state and the history, which has no elements unless it is kept."""
    return function(op)(*inputs, **attributes, keep_history=keep_history)


def _backward(
    op: str,
    inputs: Sequence[tf.Tensor],
    attributes: Attributes,
    kept: tuple[tf.Tensor, tf.Tensor],
    upstream: Sequence[tf.Tensor],
    *,
    wants_dx: bool,
) -> list[tf.Tensor | None]:
    """The gradient of each of `inputs`, given the gradients of the outputs and of the final state."""
    dx, *others = function(_gradient_of(op))(*inputs, *kept, *upstream, **attributes, wants_dx=wants_dx)
    if wants_dx and not tf.executing_eagerly():
        dx.set_shape(inputs[0].shape)
    mask_and_dropout = [None] * 3
    return [dx if wants_dx else None, *others, *mask_and_dropout]


def _recorded(name: str, inputs: Sequence[tf.Tensor], attributes: Attributes) -> Sequence[tf.Tensor]:
    """Runs an op that keeps its history, and hides the history from tapes.

    In eager mode a tape makes zeros for the gradient of every unused output, and TensorFlow caches them. The
    history is larger than all other outputs together. A graph drops such zeros by itself.
    """

    @tf.custom_gradient
    def op(*inputs: tf.Tensor) -> tuple[Sequence[tf.Tensor], Callable[..., list[tf.Tensor | None]]]:
        y, *states, history = _forward(name, inputs, attributes, keep_history=True)

        def gradient(*upstream: tf.Tensor) -> list[tf.Tensor | None]:
            wants_dx = inputs[0].dtype.is_floating
            return _backward(name, inputs, attributes, (y, history), upstream, wants_dx=wants_dx)

        return (y, *states), gradient

    return cast(Sequence[tf.Tensor], op(*inputs))


def _gradient(name: str, op: tf.Operation, *upstream: tf.Tensor) -> list[tf.Tensor | None]:
    """The registered gradient of an op."""
    inputs = list(op.inputs)
    attributes = _attributes(op)
    y, history = op.outputs[0], op.outputs[-1]
    if not op.get_attr("keep_history"):
        y, *_, history = _forward(name, inputs, attributes, keep_history=True)
    # A tape knows which gradients are not needed; a gradient inside a graph does not.
    unwanted = getattr(op, "skip_input_indices", None) or ()
    wants_dx = inputs[0].dtype.is_floating and 0 not in unwanted
    return _backward(name, inputs, attributes, (y, history), upstream[:-1], wants_dx=wants_dx)


def _second_gradient(name: str, op: tf.Operation, *upstream: tf.Tensor | None) -> list[tf.Tensor | None]:
    """The registered gradient of a gradient's op; TensorFlow can differentiate it further by itself."""
    from ostinato.engines.derivatives import gradient_of_gradient

    of_cell = name[:-2].removesuffix(activations.DOUBLE)
    (cell,) = (each for each in cells() if getattr(each.native, "name", None) == of_cell)
    wants_dx = op.get_attr("wants_dx")
    return gradient_of_gradient(cell, list(op.inputs), _attributes(op), upstream, wants_dx=wants_dx)


def _attributes(op: tf.Operation) -> Attributes:
    """The attributes that an op has from its layer."""
    # An eager tape gives a stand-in for the op, with names and values in turn.
    names = op.attrs[::2] if hasattr(op, "attrs") else [attribute.name for attribute in op.op_def.attr]
    return {name: op.get_attr(name) for name in names if name not in _NOT_THE_LAYERS}


def _gradient_of(op: str) -> str:
    """The name of the op of an op's gradient: OstinatoLstmGradV1 of OstinatoLstmV1."""
    return f"{op[:-2]}Grad{op[-2:]}"


def _register_gradients() -> None:
    library = found()
    if isinstance(library, str):
        return
    for op in vars(library.ops):
        with_gradient = re.fullmatch(r"Ostinato[A-Za-z]+V\d", op) and _gradient_of(op) in vars(library.ops)
        if with_gradient and op not in _OTHERS:
            tf.RegisterGradient(op)(functools.partial(_gradient, op))
            tf.RegisterGradient(_gradient_of(op))(functools.partial(_second_gradient, op))


_register_gradients()

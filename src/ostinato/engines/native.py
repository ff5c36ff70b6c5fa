"""The `native` engine: a whole layer over a whole sequence as one TensorFlow op, written in C++.

The ops are in `ostinato/kernels`; this module loads them, registers their gradients, and calls them with a
layer's weights. A SavedModel with such ops loads once this module is imported, which `ostinato.registration`
does as soon as TensorFlow is there. Importing it must therefore not import Keras.

In training an op keeps what its gradient needs, the history. Otherwise it keeps nothing, and a gradient runs
the op again if it is needed after all.
"""

import ctypes
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, cast

import tensorflow as tf

import ostinato
from ostinato.errors import EngineError

if TYPE_CHECKING:
    import keras

# Names of the cells by Keras' classes, and names of their ops.
_CELLS = {"SimpleRNNCell": "rnn", "GRUCell": "gru", "LSTMCell": "lstm"}
_OPS = {"rnn": "OstinatoRnn", "gru": "OstinatoGru", "lstm": "OstinatoLstm"}
_OPTIONS = ("go_backwards", "return_sequences", "zero_output_for_mask")
_ATTRIBUTES = {"rnn": ("activation", *_OPTIONS), "gru": ("reset_after", *_OPTIONS), "lstm": _OPTIONS}

_ENDINGS = (".so", ".dylib")

Attributes = Mapping[str, bool | bytes | str]
"""The attributes of an op; strings of a graph's ops are bytes."""


class _Library(NamedTuple):
    """The loaded library: its ops as Python functions, and its C functions."""

    ops: ModuleType
    functions: ctypes.CDLL


@functools.cache
def _library() -> _Library | str:
    """The library; or, in words, why there is none."""
    # In an editable install the package has two folders: the sources, and what was built.
    folders = [pathlib.Path(folder) / "kernels" for folder in ostinato.__path__]
    paths = [path for folder in folders for end in _ENDINGS for path in folder.glob(f"libostinato*{end}")]
    if not paths:
        return (
            "its library was not built, as when ostinato is installed without a C++ compiler; "
            "install one (g++ or clang++) and then ostinato again"
        )
    path = str(max(paths, key=lambda path: path.stat().st_mtime))  # the last build
    try:
        ops = tf.load_op_library(path)
        functions = ctypes.CDLL(path)
    except (tf.errors.OpError, OSError) as error:
        first_line = (str(error).splitlines() or ["no reason given"])[0]
        return f"its library does not load ({first_line})"
    functions.ostinato_instruction_set.restype = ctypes.c_char_p
    functions.ostinato_missing_function.restype = ctypes.c_char_p
    missing = functions.ostinato_missing_function()
    if missing:
        return f"its library needs {missing.decode()}, which TensorFlow {tf.__version__} lacks"
    return _Library(ops, functions)


def available() -> bool:
    """Whether the library exists and loads."""
    return isinstance(_library(), _Library)


def reason() -> str:
    """Why the engine is not available, in words; empty when it is."""
    library = _library()
    return library if isinstance(library, str) else ""


def instruction_set() -> str:
    """The instruction set that the kernels use on this processor, for example "avx2".

    Raises:
        EngineError: the engine is not available.
    """
    return _loaded().functions.ostinato_instruction_set().decode()


def threads() -> int:
    """The number of threads that the kernels use.

    It is the environment variable OSTINATO_THREADS, else TensorFlow's intra-op setting, else the number of
    processors.

    Raises:
        EngineError: the engine is not available.
    """
    return _loaded().functions.ostinato_threads()


def run(
    layer: "keras.layers.RNN",
    sequences: tf.Tensor,
    initial_state: Sequence[tf.Tensor],
    mask: tf.Tensor | None,
    training: bool,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Run a SimpleRNN, GRU or LSTM layer over a batch of sequences.

    Args:
        layer: the layer, built, without options that `choose` refuses.
        sequences: shape (batch, time, features); sizes may be unknown in a graph.
        initial_state: (h,) or (h, c), each (batch, units).
        mask: shape (batch, time), False at steps to skip; or None.
        training: whether dropout acts and a gradient is likely to be needed.

    Returns:
        The last output (batch, units), the outputs (batch, time, units), or (batch, 1, units) without
        `return_sequences`, and the final state.

    Raises:
        EngineError: the engine is not available.
        tf.errors.InvalidArgumentError, ValueError: the shapes do not fit together.
    """
    x = tf.cast(sequences, tf.float32)
    dropout, recurrent_dropout = _dropout_masks(layer, x, initial_state[0], training)
    # One mask for all gates costs less on x than within each product.
    if dropout is not None and len(dropout) == 1:
        x, dropout = x * dropout[0][:, tf.newaxis], None
    return _run(layer, x, initial_state, mask, training, dropout, recurrent_dropout)


def run_ids(
    layer: "keras.layers.RNN",
    ids: tf.Tensor,
    initial_state: Sequence[tf.Tensor],
    mask: tf.Tensor | None,
    training: bool,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Run a layer over token ids. The results are those of `run` over their one-hot vectors.

    Args:
        layer: the layer, built for as many features as there are ids, without dropout of its inputs.
        ids: shape (batch, time), integers from 0 to features - 1.
        initial_state, mask, training: as for `run`.

    Returns:
        As for `run`.

    Raises:
        EngineError: the engine is not available.
        tf.errors.InvalidArgumentError: an id has no row in the kernel, or the shapes do not fit together.
    """
    _, recurrent_dropout = _dropout_masks(layer, ids, initial_state[0], training)
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
    cell = layer.cell
    name = _CELLS[type(cell).__name__]
    if mask is not None:
        mask = tf.cast(mask, tf.bool)
        if mask.shape.rank == 3:  # Keras takes (batch, time, 1) too
            mask = tf.squeeze(mask, -1)
    attributes = {option: getattr(layer, option) for option in _ATTRIBUTES[name]}
    if "activation" in attributes:
        attributes["activation"] = layer.activation.__name__
    inputs = [
        x,
        # A stateful layer's state is a variable, whose value changes before the gradient reads it.
        *[_for_each_row(tf.convert_to_tensor(state), x) for state in initial_state],
        tf.convert_to_tensor(cell.kernel),
        tf.convert_to_tensor(cell.recurrent_kernel),
        _absent(tf.float32) if cell.bias is None else tf.convert_to_tensor(cell.bias),
        _absent(tf.bool) if mask is None else _for_each_row(mask, x),
        *[
            _absent(tf.float32) if masks is None else tf.stack(masks)
            for masks in (dropout, recurrent_dropout)
        ],
    ]
    training = bool(training)
    if training and tf.executing_eagerly():
        y, *states = _recorded(name, inputs, attributes)
    else:
        y, *states, _ = _forward(name, inputs, attributes, keep_history=training)
    if not tf.executing_eagerly():
        batch, steps = x.shape[:2] if x.shape.rank else (None, None)
        y.set_shape((batch, steps if layer.return_sequences else 1, layer.units))
    # Without a mask the last output is the final h; slicing it out of y would take longer.
    last_output = states[0] if mask is None else y[:, -1]
    return last_output, y, list(states)


def _dropout_masks(
    layer: "keras.layers.RNN", x: tf.Tensor, h0: tf.Tensor, training: bool
) -> tuple[list[tf.Tensor] | None, list[tf.Tensor] | None]:
    """Keras' dropout masks for inputs and states: one in all or one per gate, the same at all steps."""
    cell = layer.cell
    plain = _CELLS[type(cell).__name__] == "rnn"
    # Keras' SimpleRNN draws them even when it is not training.
    if not training and not plain:
        return None, None
    dropout = recurrent_dropout = None
    # At a rate of one, Keras' GRU and LSTM drop nothing; its SimpleRNN drops everything.
    if layer.dropout > 0.0 and (plain or layer.dropout < 1.0):
        dropout = cell.get_dropout_mask(x[:, 0])
    if layer.recurrent_dropout > 0.0 and (plain or layer.recurrent_dropout < 1.0):
        recurrent_dropout = cell.get_recurrent_dropout_mask(h0)
    if not training:
        return None, None
    return _as_list(dropout), _as_list(recurrent_dropout)


def _as_list(masks: list[tf.Tensor] | tf.Tensor | None) -> list[tf.Tensor] | None:
    return masks if masks is None or isinstance(masks, list) else [masks]


def _for_each_row(tensor: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """A state or a mask. A single row for a whole batch, which Keras allows, is repeated."""
    if tensor.shape.rank != 2 or tensor.shape[0] != 1 or x.shape.rank is None or x.shape[0] == 1:
        return tensor
    return tf.broadcast_to(tensor, (tf.shape(x)[0], tf.shape(tensor)[1]))


def _absent(dtype: tf.DType) -> tf.Tensor:
    """A tensor without elements, which stands for an input that is not given."""
    return _eager_absent(dtype) if tf.executing_eagerly() else tf.constant([], dtype)


@functools.cache
def _eager_absent(dtype: tf.DType) -> tf.Tensor:
    return tf.constant([], dtype)


@functools.cache
def _loaded() -> _Library:
    """The library, with TensorFlow's number of threads, which is fixed when the first op is made."""
    library = _library()
    if isinstance(library, str):
        raise EngineError(f"the native engine is not available: {library}")
    configured = tf.config.threading.get_intra_op_parallelism_threads()
    if configured > 0:
        library.functions.ostinato_set_threads(configured)
    return library


def _forward(
    cell: str, inputs: Sequence[tf.Tensor], attributes: Attributes, *, keep_history: bool
) -> Sequence[tf.Tensor]:
    """The outputs, the final state and the history, which has no elements unless it is kept."""
    op = getattr(_loaded().ops, f"ostinato_{cell}_v1")
    return op(*inputs, **attributes, keep_history=keep_history)


def _backward(
    cell: str,
    inputs: Sequence[tf.Tensor],
    attributes: Attributes,
    kept: tuple[tf.Tensor, tf.Tensor],
    upstream: Sequence[tf.Tensor],
    *,
    wants_dx: bool,
) -> list[tf.Tensor | None]:
    """The gradient of each of `inputs`, given the gradients of the outputs and of the final state."""
    op = getattr(_loaded().ops, f"ostinato_{cell}_grad_v1")
    dx, *others = op(*inputs, *kept, *upstream, **attributes, wants_dx=wants_dx)
    if wants_dx and not tf.executing_eagerly():
        dx.set_shape(inputs[0].shape)
    mask_and_dropout = [None] * 3
    return [dx if wants_dx else None, *others, *mask_and_dropout]


def _recorded(cell: str, inputs: Sequence[tf.Tensor], attributes: Attributes) -> Sequence[tf.Tensor]:
    """Runs an op that keeps its history, and hides the history from tapes.

    In eager mode a tape makes zeros for the gradient of every unused output, and TensorFlow caches them. The
    history is larger than all other outputs together. A graph drops such zeros by itself.
    """

    @tf.custom_gradient
    def op(*inputs: tf.Tensor) -> tuple[Sequence[tf.Tensor], Callable[..., list[tf.Tensor | None]]]:
        y, *states, history = _forward(cell, inputs, attributes, keep_history=True)

        def gradient(*upstream: tf.Tensor) -> list[tf.Tensor | None]:
            wants_dx = inputs[0].dtype.is_floating
            return _backward(cell, inputs, attributes, (y, history), upstream, wants_dx=wants_dx)

        return (y, *states), gradient

    return cast(Sequence[tf.Tensor], op(*inputs))


def _gradient(cell: str, op: tf.Operation, *upstream: tf.Tensor) -> list[tf.Tensor | None]:
    """The registered gradient of an op."""
    inputs = list(op.inputs)
    attributes = {name: op.get_attr(name) for name in _ATTRIBUTES[cell]}
    y, history = op.outputs[0], op.outputs[-1]
    if not op.get_attr("keep_history"):
        y, *_, history = _forward(cell, inputs, attributes, keep_history=True)
    # A tape knows which gradients are not needed; a gradient inside a graph does not.
    unwanted = getattr(op, "skip_input_indices", None) or ()
    wants_dx = inputs[0].dtype.is_floating and 0 not in unwanted
    return _backward(cell, inputs, attributes, (y, history), upstream[:-1], wants_dx=wants_dx)


def _second_gradient(cell: str, op: tf.Operation, *upstream: tf.Tensor | None) -> list[tf.Tensor | None]:
    """The registered gradient of a gradient's op; TensorFlow can differentiate it further by itself."""
    from ostinato.engines.derivatives import gradient_of_gradient

    attributes = {name: op.get_attr(name) for name in _ATTRIBUTES[cell]}
    wants_dx = op.get_attr("wants_dx")
    return gradient_of_gradient(cell, list(op.inputs), attributes, upstream, wants_dx=wants_dx)


_library()
for _cell, _op in _OPS.items():
    tf.RegisterGradient(f"{_op}V1")(functools.partial(_gradient, _cell))
    tf.RegisterGradient(f"{_op}GradV1")(functools.partial(_second_gradient, _cell))

"""What a recurrence is: `Cell` says all that anyone asks of one, `StateSpec` describes a tensor of its state.

A package adds a cell with an entry point of the group `ostinato.cells`; see `ostinato.cells.registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from ostinato import scratch

if TYPE_CHECKING:
    import keras

    from ostinato.engines.derivatives import OpInputs

State = tuple[tf.Tensor, ...]
"""A recurrent state: a flat tuple of tensors of shape (batch, …), one for each `StateSpec`."""
KerasOption = Any
"""An option of a Keras layer, passed on as it is."""
Step = Callable[[tf.Tensor, State, Any], tuple[tf.Tensor, State]]
"""One time step: maps x, (batch, features), the state and the parameters to the output and the next state."""


@dataclass(frozen=True)
class StateSpec:
    """One tensor of a state.

    Attributes:
        name: stable name, for example `layer_0/h`; checkpoints store the tensor under it. A cell gives
            its last part alone.
        shape: shape of one row, without the batch. A cell leaves it empty: its layer knows it.
        start: value before the first step, a number or an array of this shape.
        dtype: dtype of the tensor.
    """

    name: str
    shape: tuple[int, ...] = ()
    start: float | np.ndarray | tf.Tensor = 0.0
    dtype: str = "float32"

    def initial(self, rows: int | tf.Tensor) -> tf.Tensor:
        """The tensor before the first step, shape (rows, *shape)."""
        return tf.broadcast_to(tf.cast(self.start, self.dtype), (rows, *self.shape))


def initial_state(specs: Iterable[StateSpec], rows: int | tf.Tensor) -> State:
    """The state of `rows` rows before the first step."""
    return tuple(spec.initial(rows) for spec in specs)


class KerasClasses(NamedTuple):
    """Keras' classes that compute the same.

    Attributes:
        layer: the layer.
        cell: the cell that it runs.
        old_defaults: options that files of Keras 2 may lack, with the values that they mean then.
        old_options: options of files of Keras 2 that Keras 3 does not know.
    """

    layer: type
    cell: type
    old_defaults: Mapping[str, object] = MappingProxyType({})
    old_options: tuple[str, ...] = ()


@dataclass(frozen=True)
class NativeOp:
    """The native engine's op for a cell; its kernel is `kernels/cells/NAME.h`.

    Attributes:
        name: of the TensorFlow op, without its version: "OstinatoLstm".
        step: what the op computes at one step, from TensorFlow's own ops; for second derivatives.
        activations: the layer's options that are activations, with the names of those that the op's first
            version has; its second version has all of `ostinato.engines.activations`.
        attributes: other attributes of the op by their names, which are the layer's too.
        always_draws: whether Keras' cell also draws dropout masks outside of training, and drops everything
            at a rate of one, as its SimpleRNN does.
    """

    name: str
    step: Callable[[OpInputs], Callable[..., State]]
    activations: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"activation": ("tanh",), "recurrent_activation": ("sigmoid",)}
    )
    attributes: tuple[str, ...] = ()
    always_draws: bool = False


@dataclass(frozen=True)
class ElementwiseOp:
    """The native engine's op for an element-wise recurrence; its kernel is `kernels/cells/NAME.h`.

    Attributes:
        kernel: the kernel's name for a Keras cell of this recurrence; None where no kernel has its options.
        recurrences: by the names of kernels what each computes at one step, from TensorFlow's own ops; for
            second derivatives. Maps the products of x with their biases, (batch, units) each, the state, the
            constants, (units,) each, and x where the kernel reads it, to the output and the next state.
        products: how many products of x there are.
    """

    kernel: Callable[[Any], str | None]
    recurrences: Mapping[str, Callable[..., tuple[tf.Tensor, State]]]
    products: int


@dataclass(frozen=True)
class RowwiseOp:
    """The native engine's op for the options of the classic cells; its kernel is `kernels/rowwise.h`.

    Attributes:
        equations: from the op's attributes, the units and the weights to a step in TensorFlow's own ops; for
            second derivatives.
    """

    equations: Callable[..., Callable[..., tuple[tf.Tensor, State]]]


@dataclass(frozen=True)
class HeadedOp:
    """The native engine's op for a recurrence with heads; see `ostinato.engines.headed`.

    Attributes:
        op: the name of the TensorFlow op.
        attributes: those of the op, for a Keras cell of this recurrence.
        sequences: how many of its inputs, the first, are read at every step.
        step: what the op computes at one step, from TensorFlow's own ops; for second derivatives. Maps the
            attributes and the inputs that are read once to a function of a step's inputs, (batch, n) each,
            and the state.
    """

    op: str
    attributes: Callable[[Any], Mapping[str, Any]]
    sequences: int
    step: Callable[[Mapping[str, Any], Sequence[tf.Tensor]], Callable[..., tuple[tf.Tensor, State]]]


@dataclass(frozen=True)
class TorchForm:
    """The `torch.nn` module that computes the same.

    Attributes:
        kind: its class: "RNN", "GRU" or "LSTM".
        gates: the cell's gates in PyTorch's order.
        nonlinearities: the activations that the module has.
        requires: attributes of the Keras cell and the value that each must have.
        two_biases: whether Keras has a bias for each of the two products, as PyTorch always has.
    """

    kind: str
    gates: tuple[str, ...]
    nonlinearities: tuple[str, ...] = ("tanh",)
    requires: Mapping[str, object] = field(default_factory=dict)
    two_biases: bool = False


@dataclass(frozen=True)
class OnnxForm:
    """The operator of ONNX that computes the same.

    Attributes:
        kind: its name: "RNN", "GRU" or "LSTM".
        gates: the cell's gates in ONNX's order.
        activations: the layer's options in the order of the operator's attribute `activations`.
    """

    kind: str
    gates: tuple[str, ...]
    activations: tuple[str, ...]


@dataclass(frozen=True)
class CForm:
    """A step in C, for one unit i: statements with names in braces.

    {h} and {c} are the arrays of the state, {act} and {gate} functions, {x0}, {x1} … the sums of x and {r0},
    {r1} … those of h, for the gates in Keras' order.

    Attributes:
        step: the statements.
        before: those of a GRU that resets before the product; {k} is the array of its last gate's product.
        reset: what that product is of.
    """

    step: tuple[str, ...]
    before: tuple[str, ...] = ()
    reset: str = ""


@dataclass(frozen=True)
class Cell:
    """A recurrence.

    Attributes:
        name: as in `--cell`.
        layer: a class or function that takes the number of units and the options of Keras' recurrent layers
            (`return_sequences`, `name`, …), and returns a `keras.layers.RNN`; or a Keras cell class.
        states: the tensors of its state, in Keras' order. Their shapes and start values are the layer's.
        gates: the blocks of the kernel's columns, in the order of Keras.
        options: the options of ostinato's that the layer takes: `engine`, `reset_after`, `recurrent_dropout`.
            None asks the signature of `layer`.
        keras: Keras' own classes for it; None where it has none.
        keras_cell: the Keras cell that `layer` runs, where Keras has none of its own.
        step: the textbook's time step, in plain TensorFlow; None where the `scratch` engine cannot run it.
        params: the parameters of `step`, from a built layer.
        native: the native engine's op; None where Keras' own loop runs it.
        torch: PyTorch's module; None where there is none.
        onnx: ONNX's operator; None where there is none, and exports have a loop.
        c: a step in C; None where exports to C lack the cell.
        rtneural: the name of RTNeural's layer; "" where it has none.
        advice: when to take it, and what it cannot do; for docs/cells.md.
    """

    name: str
    layer: Callable[..., Any]
    states: tuple[StateSpec, ...] = ()
    gates: tuple[str, ...] = ()
    options: tuple[str, ...] | None = None
    keras: KerasClasses | None = None
    keras_cell: type | None = None
    step: Step | None = None
    params: Callable[[keras.layers.RNN], Any] | None = None
    native: NativeOp | ElementwiseOp | HeadedOp | RowwiseOp | None = None
    torch: TorchForm | None = None
    onnx: OnnxForm | None = None
    c: CForm | None = None
    rtneural: str = ""
    advice: str = ""


def params_of(layer: keras.layers.RNN) -> scratch.Params:
    """The parameters of the textbook's step, from a built SimpleRNN, GRU or LSTM; gradients flow through."""
    cell = layer.cell
    weights = [weight for weight in (cell.kernel, cell.recurrent_kernel, cell.bias) if weight is not None]
    return scratch.from_keras(weights, reset_after=getattr(cell, "reset_after", None))

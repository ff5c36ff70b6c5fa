"""The plain recurrent network (Elman 1990, "Finding structure in time").

    h' = a(x W + h U + b), where a is tanh, relu or another activation

Also called vanilla RNN or Elman network; Keras' `SimpleRNN`, PyTorch's `RNN`. Not to be confused with the
Jordan network, whose output is fed back in place of its state, nor with `keras.layers.RNN`, which runs any
cell. The step by hand is `ostinato.scratch.rnn_step`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ostinato import scratch
from ostinato.cells.base import (
    Cell,
    CForm,
    KerasClasses,
    NativeOp,
    OnnxForm,
    State,
    StateSpec,
    TorchForm,
    params_of,
)
from ostinato.cells.engine_layer import EngineLayer, with_signature
from ostinato.cells.options import RNN_WITH_OPTIONS, SimpleRNNOptionsCell
from ostinato.engines.derivatives import OpInputs

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load

if TYPE_CHECKING:
    from collections.abc import Callable


@keras.saving.register_keras_serializable(package="ostinato")
@with_signature
class SimpleRNN(EngineLayer, keras.layers.SimpleRNN):
    """The plain recurrent network (Elman 1990): `keras.layers.SimpleRNN` with a choice of engine.

    Args:
        units: width of the hidden state and of the output.
        engine: "auto" (the fastest that can run the layer), "native" (one op in C++), "keras" (Keras' own
            loop) or "scratch" (the textbook's equations on this layer's weights); see
            `ostinato.engines.choose`.
        layer_norm: normalise x W and h R (Ba et al. 2016), see `ostinato.cells.rowwise`.
        zoneout: rate at which h keeps its old value at a step (Krueger et al. 2017).
        *args, **options: as for `keras.layers.SimpleRNN`.

    Call arguments:
        sequences: shape (batch, time, features), or a `tf.RaggedTensor` (batch, None, features).
        initial_state: [h], shape (batch, units), or (units,) or (1, units) for one that all rows begin with,
            which may be a variable that is learned. Zeros unless given.
        mask: shape (batch, time), False at steps to skip.
        training: whether dropout acts.
        lengths: shape (batch,), the number of steps of each sequence before its padding: a list or tensor of
            integers, or an input of a functional model. Short for `mask=tf.sequence_mask(lengths, time)`.
            Numbers that are known when the layer is called must be 0 to time; others are cut to that.

    Returns:
        The last output, (batch, units), or with `return_sequences=True` all outputs, (batch, time, units);
        with `return_state=True` followed by the final h. Of ragged sequences all outputs are a RaggedTensor
        with rows of the same lengths.

    Raises:
        EngineError: there is no such engine, or it cannot run the layer with these options or with a mask.
        ValueError: `lengths` is given together with `mask`, is not integers of shape (batch,), or is below 0
            or above time; ragged sequences have a mask or lengths besides, or more ragged axes; or Keras
            raises it.

    Example:
        >>> import numpy as np
        >>> SimpleRNN(4, engine="scratch")(np.zeros((2, 7, 3))).shape
        TensorShape([2, 4])
        >>> SimpleRNN(4)(np.zeros((2, 7, 3)), lengths=[7, 4]).shape
        TensorShape([2, 4])
    """

    own_options = SimpleRNNOptionsCell.own_options
    with_options = RNN_WITH_OPTIONS


def _step(op: OpInputs) -> Callable[..., State]:
    return lambda x, h: (op.activation(x + op.product(h)),)


CELL = SimpleRNN.recurrence = Cell(
    name="rnn",
    layer=SimpleRNN,
    keras=KerasClasses(keras.layers.SimpleRNN, keras.layers.SimpleRNNCell, old_options=("implementation",)),
    states=(StateSpec("h"),),
    gates=("h",),
    options=("engine", "recurrent_dropout"),
    step=scratch.rnn_step,
    params=params_of,
    native=NativeOp(
        "OstinatoRnn",
        _step,
        activations={"activation": ("tanh", "relu", "linear")},
        always_draws=True,
    ),
    torch=TorchForm("RNN", gates=("h",), nonlinearities=("tanh", "relu")),
    onnx=OnnxForm("RNN", ("h",), ("activation",)),
    c=CForm(("{h}[i] = {act}({x0} + {r0});",)),
    advice=(
        "For teaching, and for short dependencies. It can compute parity, but gradients over many "
        "steps vanish or explode."
    ),
)

"""The long short-term memory (Hochreiter & Schmidhuber 1997), with the forget gate of Gers et al. (2000).

    i = σ(x W_i + h U_i + b_i)         the input gate
    f = σ(x W_f + h U_f + b_f)         the forget gate
    c̃ = tanh(x W_c + h U_c + b_c)      the candidate
    o = σ(x W_o + h U_o + b_o)         the output gate
    c' = f ⊙ c + i ⊙ c̃                 the cell state
    h' = o ⊙ tanh(c')

Not to be confused with the LSTM with peepholes, whose gates also read c, nor with PyTorch's `proj_size`,
which makes h narrower than c. The step by hand is `ostinato.scratch.lstm_step`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ostinato import scratch
from ostinato.cells.base import (
    Cell,
    CForm,
    KerasClasses,
    NativeOp,
    State,
    StateSpec,
    TorchForm,
    params_of,
)
from ostinato.cells.engine_layer import EngineLayer, with_signature
from ostinato.cells.options import LSTM_IN_ONNX, LSTM_WITH_OPTIONS, LSTMOptionsCell
from ostinato.engines.derivatives import OpInputs

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable


@keras.saving.register_keras_serializable(package="ostinato")
@with_signature
class LSTM(EngineLayer, keras.layers.LSTM):
    """The long short-term memory (Hochreiter & Schmidhuber 1997): `keras.layers.LSTM` with an engine.

    The bias of its forget gate starts at one (`unit_forget_bias`), where the textbook's starts at zero.

    Args:
        units: width of the hidden state, of the cell state and of the output.
        engine: "auto" (the fastest that can run the layer), "native" (one op in C++), "keras" (Keras' own
            loop) or "scratch" (the textbook's equations on this layer's weights); see
            `ostinato.engines.choose`.
        layer_norm: normalise x W, h R and the cell state (Ba et al. 2016), see `ostinato.cells.rowwise`.
        zoneout: rates at which h and c keep their old value at a step (Krueger et al. 2017), or one for both.
        peephole: let the gates read the cell state (Gers & Schmidhuber 2000).
        coupled: one gate for both, i = 1 − f (Greff et al. 2017, "CIFG").
        projection: width of h and of the output, a projection (Sak et al. 2014); None for none.
        *args, **options: as for `keras.layers.LSTM`.

    Call arguments, results and errors are those of `SimpleRNN`, except that the state is [h, c].

    Example:
        >>> import numpy as np
        >>> output, h, c = LSTM(4, return_state=True)(np.zeros((2, 7, 3)))
        >>> output.shape, h.shape, c.shape
        (TensorShape([2, 4]), TensorShape([2, 4]), TensorShape([2, 4]))
    """

    own_options = LSTMOptionsCell.own_options
    with_options = LSTM_WITH_OPTIONS


def _step(op: OpInputs) -> Callable[..., State]:
    def step(x: tf.Tensor, h: tf.Tensor, c: tf.Tensor) -> State:
        i, f, candidate, o = tf.split(x + op.product(h), 4, axis=1)
        c = op.gate(f) * c + op.gate(i) * op.activation(candidate)
        return op.gate(o) * op.activation(c), c

    return step


CELL = LSTM.recurrence = Cell(
    name="lstm",
    layer=LSTM,
    keras=KerasClasses(keras.layers.LSTM, keras.layers.LSTMCell),
    states=(StateSpec("h"), StateSpec("c")),
    gates=("i", "f", "c", "o"),
    options=("engine", "recurrent_dropout"),
    step=scratch.lstm_step,
    params=params_of,
    native=NativeOp("OstinatoLstm", _step),
    torch=TorchForm("LSTM", gates=("i", "f", "c", "o")),
    onnx=LSTM_IN_ONNX,
    c=CForm(
        (
            "{c}[i] = {gate}({x1} + {r1}) * {c}[i] + {gate}({x0} + {r0}) * {act}({x2} + {r2});",
            "{h}[i] = {gate}({x3} + {r3}) * {act}({c}[i]);",
        )
    ),
    rtneural="lstm",
    advice=(
        "The first choice where nothing else is known. It counts in its cell state and tracks "
        "states such as parity. It looks nothing up by content: all it remembers is in its units."
    ),
)

"""The gated recurrent unit (Cho et al. 2014, arXiv:1406.1078), in its two published forms.

    z = σ(x W_z + h U_z + b_z)         the update gate
    r = σ(x W_r + h U_r + b_r)         the reset gate
    h̃ = tanh(x W_h + b_h + r ⊙ (h U_h + b'_h))     reset after the product: Keras' and PyTorch's, as in cuDNN
    h̃ = tanh(x W_h + b_h + (r ⊙ h) U_h)            reset before the product: the paper's, `reset_after=False`
    h' = z ⊙ h + (1 - z) ⊙ h̃

The paper and Keras let z keep the old state; some texts let it take the new one, which swaps z and 1 - z.
Not to be confused with the minimal gated unit, which has one gate. The steps by hand are
`ostinato.scratch.gru_step` and `gru_step_reset_after`.
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
from ostinato.cells.options import GRU_WITH_OPTIONS, GRUOptionsCell
from ostinato.engines.derivatives import OpInputs

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable


@keras.saving.register_keras_serializable(package="ostinato")
@with_signature
class GRU(EngineLayer, keras.layers.GRU):
    """The gated recurrent unit (Cho et al. 2014): `keras.layers.GRU` with a choice of engine.

    It resets after the recurrent product, as in cuDNN; `reset_after=False` gives the textbook's form.

    Args:
        units: width of the hidden state and of the output.
        engine: "auto" (the fastest that can run the layer), "native" (one op in C++), "keras" (Keras' own
            loop) or "scratch" (the textbook's equations on this layer's weights); see
            `ostinato.engines.choose`.
        layer_norm: normalise x W and h R (Ba et al. 2016), see `ostinato.cells.rowwise`.
        zoneout: rate at which h keeps its old value at a step (Krueger et al. 2017).
        *args, **options: as for `keras.layers.GRU`.

    Call arguments, results and errors are those of `SimpleRNN`.

    Example:
        >>> import numpy as np
        >>> layer = GRU(4, reset_after=False, return_sequences=True, return_state=True)
        >>> outputs, h = layer(np.zeros((2, 7, 3)))
        >>> outputs.shape, h.shape
        (TensorShape([2, 7, 4]), TensorShape([2, 4]))
    """

    own_options = GRUOptionsCell.own_options
    with_options = GRU_WITH_OPTIONS


def step(
    x: tf.Tensor, state: State, params: scratch.GRUParams | scratch.GRUResetAfterParams
) -> tuple[tf.Tensor, State]:
    """One time step, in the form of the parameters."""
    if isinstance(params, scratch.GRUResetAfterParams):
        return scratch.gru_step_reset_after(x, state, params)
    return scratch.gru_step(x, state, params)


def _step(op: OpInputs) -> Callable[..., State]:
    def after(x: tf.Tensor, h: tf.Tensor) -> State:
        x_z, x_r, x_h = tf.split(x, 3, axis=1)
        product = op.product(h)
        h_z, h_r, h_h = tf.split(product if op.bias is None else product + op.bias, 3, axis=1)
        candidate = op.activation(x_h + op.gate(x_r + h_r) * h_h)
        z = op.gate(x_z + h_z)
        return (z * h + (1 - z) * candidate,)

    def before(x: tf.Tensor, h: tf.Tensor) -> State:
        x_z, x_r, x_h = tf.split(x, 3, axis=1)
        h_z, h_r = tf.split(op.product(h, 0, 2), 2, axis=1)
        candidate = op.activation(x_h + op.product(op.gate(x_r + h_r) * h, 2))
        z = op.gate(x_z + h_z)
        return (z * h + (1 - z) * candidate,)

    return after if op.attributes["reset_after"] else before


CELL = GRU.recurrence = Cell(
    name="gru",
    layer=GRU,
    # Resetting before the product was the only form before there was a choice.
    keras=KerasClasses(keras.layers.GRU, keras.layers.GRUCell, old_defaults={"reset_after": False}),
    states=(StateSpec("h"),),
    gates=("z", "r", "h"),
    options=("engine", "recurrent_dropout", "reset_after"),
    step=step,
    params=params_of,
    native=NativeOp("OstinatoGru", _step, attributes=("reset_after",)),
    torch=TorchForm("GRU", gates=("r", "z", "h"), requires={"reset_after": True}, two_biases=True),
    onnx=OnnxForm("GRU", ("z", "r", "h"), ("recurrent_activation", "activation")),
    c=CForm(
        (
            "const float z = {gate}({x0} + {r0});",
            "{h}[i] = z * {h}[i] + (1.0f - z) * {act}({x2} + {gate}({x1} + {r1}) * {r2});",
        ),
        before=(
            "const float z = {gate}({x0} + {r0});",
            "{h}[i] = z * {h}[i] + (1.0f - z) * {act}({x2} + {k}[i]);",
        ),
        reset="{gate}({x1} + {r1}) * {h}[i]",
    ),
    rtneural="gru",
    advice=(
        "As good as the LSTM on much data, with three quarters of its weights. It has no counter: "
        "its state stays between −1 and 1."
    ),
)

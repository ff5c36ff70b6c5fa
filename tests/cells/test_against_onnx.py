"""ONNX Runtime's LSTM beside ours, live. Needs onnx and onnxruntime: `make test-torch`."""

import numpy as np
import pytest
import tensorflow as tf

from ostinato.layers import LSTM

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from .onnx_lstm import onnx_lstm


@pytest.mark.parametrize(
    ("batch", "time", "features", "units"), [(3, 7, 5, 9), (1, 30, 1, 40), (20, 2, 33, 17)]
)
@pytest.mark.parametrize("option", ["peephole", "coupled"])
def test_peepholes_and_coupled_gates_are_those_of_onnx(option, batch, time, features, units):
    draw = np.random.default_rng(0)
    layer = LSTM(units, return_sequences=True, return_state=True, **{option: True})
    layer.build((batch, time, features))
    for variable in layer.trainable_variables:
        variable.assign(draw.normal(size=variable.shape) / np.sqrt(variable.shape[0]))
    ours = {each.name: each.numpy() for each in layer.trainable_variables}
    names = "ifco" if option == "peephole" else "fco"
    split = [np.split(ours[name], len(names), -1) for name in ("kernel", "recurrent_kernel", "bias")]
    blocks = {gate: tuple(part[at] for part in split) for at, gate in enumerate(names)}
    x = draw.normal(size=(batch, time, features)).astype("float32")
    states = [draw.normal(size=(batch, units)).astype("float32") for _ in range(2)]
    if option == "peephole":
        y, after = onnx_lstm(x, states, blocks, [ours[f"p_{gate}"] for gate in "iof"])
    else:  # f = 1 - i there: its i is our f, negated
        negated = tuple(-part for part in blocks["f"])
        y, after = onnx_lstm(x, states, blocks | {"i": negated}, input_forget=1)
    found = layer(tf.constant(x), initial_state=[tf.constant(each) for each in states])
    for a, b in zip(found, (y, *after), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)

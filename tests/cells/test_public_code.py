"""Cells against public code: PyTorch, ONNX Runtime, haste, minimal RNNs, LRU, RecurrentGemma, xLSTM, FLA.

The arrays were made by `fixtures/make_public_arrays.py`, which says from what. Those of float64 are
compared with the scratch form, all with the native engine in float32.
"""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file

from ostinato import layers
from ostinato.engines import choose

ARRAYS = load_file(Path(__file__).with_name("fixtures") / "public_arrays.safetensors")
CASES = {
    "lstmp": (layers.LSTM, {"projection": 4}),
    "peephole": (layers.LSTM, {"peephole": True}),
    "cifg": (layers.LSTM, {"coupled": True}),
    "ln-lstm with zoneout": (layers.LSTM, {"layer_norm": True, "zoneout": (0.3, 0.0)}),
    "indrnn": (layers.IndRNN, {"activation": "tanh"}),
    "positive mingru": (layers.MinGRU, {"positive": True, "use_bias": False}),
    "positive minlstm": (layers.MinLSTM, {"positive": True, "use_bias": False}),
    "lru": (layers.LRU, {}),
    "rg-lru": (layers.RGLRU, {"blocks": 2}),
    "slstm": (layers.SLSTM, {"heads": 2}),
    "mlstm": (layers.MLSTM, {"heads": 2}),
    "gated-delta": (layers.GatedDelta, {"heads": 2}),
}


def stored(case, prefix):
    """The arrays of a case by the names behind a prefix."""
    start = f"{case}/{prefix}"
    return {name.removeprefix(start): value for name, value in ARRAYS.items() if name.startswith(start)}


def farthest(found, wanted):
    pairs = zip(found, wanted, strict=True)
    return max(float(np.max(np.abs(np.asarray(a) - b)) / max(1e-2, np.max(np.abs(b)))) for a, b in pairs)


@pytest.mark.parametrize("engine", ["scratch", "native"])
@pytest.mark.parametrize("case", CASES)
def test_outputs_states_and_gradients_are_those_of_public_code(case, engine):
    layer_class, options = CASES[case]
    dtype = "float64" if engine == "scratch" else "float32"
    layer = layer_class(6, dtype=dtype, return_sequences=True, return_state=True, **options)
    x = tf.constant(ARRAYS[f"{case}/x"], dtype)
    layer.build(x.shape)
    weights, variables = stored(case, "w_"), {each.name: each for each in layer.trainable_variables}
    assert variables.keys() == weights.keys()
    for name, value in weights.items():
        variables[name].assign(value.reshape(variables[name].shape))
    state = [tf.constant(value, dtype) for _, value in sorted(stored(case, "state").items())]
    with tf.GradientTape() as tape:
        tape.watch(x)
        if engine == "native":
            assert choose("auto", layer).engine == "native"
            outputs, *after = layer(x, initial_state=state)
        else:
            cell, after, steps = layer.recurrence, tuple(state), []
            parameters = cell.params(layer)
            for now in tf.unstack(x, axis=1):
                output, after = cell.step(now, after, parameters)
                steps.append(output)
            outputs = tf.stack(steps, 1)
        total = tf.reduce_sum(tf.sin(1.3 * outputs))
    # float64 was computed in float64; ONNX Runtime and RecurrentGemma have float32 alone.
    exact = engine == "scratch" and ARRAYS[f"{case}/y"].dtype == np.float64
    assert farthest([outputs], [ARRAYS[f"{case}/y"]]) < (1e-10 if exact else 1e-5)
    ends = [value for _, value in sorted(stored(case, "after").items())]
    if ends:  # minimal-LRU does not return its state
        assert farthest(after, ends) < (1e-10 if exact else 1e-5)
    wanted = stored(case, "d_")
    if wanted:
        names = [name for name in wanted if name != "x"]
        found = tape.gradient(total, [x, *(variables[name] for name in names)])
        shaped = [wanted["x"], *(wanted[name].reshape(variables[name].shape) for name in names)]
        assert farthest(found, shaped) < (1e-10 if exact else 1e-5)
    else:
        assert case in ("peephole", "cifg")  # ONNX Runtime has no gradients


# The figures that the tests of TensorFlow Addons 0.23 expect of one step (rnn/tests/*_lstm_cell_test.py).


@pytest.mark.parametrize("engine", ["keras", "native"])
def test_peepholes_have_the_figures_of_tensorflow_addons(engine):
    layer = layers.LSTM(5, peephole=True, engine=engine)
    x = tf.one_hot([1, 2, 3, 4], 4)[:, tf.newaxis]
    layer.build(x.shape)
    for variable in layer.trainable_variables:
        if variable.name != "bias":  # which is 1 for the forget gate, else 0
            variable.assign(tf.ones(variable.shape))
    np.testing.assert_allclose(layer(x), np.repeat([[0.417551], [0]], [3, 1], axis=0) * np.ones(5), atol=1e-6)


def test_layer_normalisation_has_the_figures_of_tensorflow_addons(monkeypatch):
    """Theirs hands the normalised c on, ours c itself; with their epsilon one step's outputs are the same."""
    monkeypatch.setattr("ostinato.cells.rowwise.EPSILON", 1e-12)
    layer = layers.LSTM(2, layer_norm=True, engine="keras", return_state=True)
    layer.build((1, 1, 2))
    for variable in layer.trainable_variables:
        if variable.name in ("kernel", "recurrent_kernel"):
            variable.assign(tf.fill(variable.shape, 0.5))
    layer.cell.bias.assign(np.repeat([0.5, 1, 0.5], [2, 2, 4]))
    output, _, c = layer(
        tf.ones((1, 1, 2)), initial_state=[tf.constant([[0.2, 0.3]]), tf.constant([[0.0, 0.1]])]
    )
    np.testing.assert_allclose(output, [[-0.47406167, 0.47406143]], rtol=1e-5)
    normalised = (c - np.mean(c)) / np.std(c)
    np.testing.assert_allclose(normalised, [[-1.0, 1.0]], rtol=1e-5)

"""PyTorch and the layers with its weights: the same outputs, states and gradients.

Needs torch, which the environment of the other tests does not have: `make test-torch`.
"""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from ostinato.interop.torch import layers_from_torch, load_torch, save_torch, to_torch
from ostinato.layers import LSTM

torch = pytest.importorskip("torch")
stored = pytest.importorskip("safetensors.torch")

KINDS = {"rnn": torch.nn.RNN, "relu-rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}
CASES = [
    pytest.mark.parametrize("bias", [True, False]),
    pytest.mark.parametrize("directions", [1, 2]),
    pytest.mark.parametrize("layers", [1, 2, 3]),
    pytest.mark.parametrize("kind", KINDS),
]
BATCH, TIME, FEATURES, UNITS = 3, 7, 5, 9


def every_case(test):
    for mark in CASES:
        test = mark(test)
    return test


def module_of(kind, layers, directions, bias):
    torch.manual_seed(layers)
    options = {"nonlinearity": "relu"} if kind == "relu-rnn" else {}
    module = KINDS[kind](
        FEATURES, UNITS, layers, bias=bias, batch_first=True, bidirectional=directions == 2, **options
    )
    return module, options


def run_module(module, inputs, states, probe):
    """What `run_layers` gives, the gradients by name."""
    inputs = torch.tensor(inputs, requires_grad=True)
    states = [torch.tensor(state) for state in states]
    output, final = module(inputs, tuple(states) if len(states) == 2 else states[0])
    names, weights = zip(*module.state_dict(keep_vars=True).items(), strict=True)
    of_inputs, *gradients = torch.autograd.grad((output * torch.tensor(probe)).sum(), [inputs, *weights])
    final = final if len(states) == 2 else [final]
    return (
        output.detach().numpy(),
        [state.detach().numpy() for state in final],
        of_inputs.numpy(),
        dict(zip(names, gradients, strict=True)),
    )


def data(kind, layers, directions):
    random = np.random.default_rng(layers)
    inputs = random.normal(size=(BATCH, TIME, FEATURES)).astype("float32")
    shape = (2 if kind == "lstm" else 1, layers * directions, BATCH, UNITS)
    states = list(random.uniform(-0.9, 0.9, shape).astype("float32"))
    return inputs, states, random.normal(size=(BATCH, TIME, UNITS * directions)).astype("float32")


@every_case
def test_outputs_states_and_gradients_agree(kind, layers, directions, bias, run_layers, assert_close):
    module, options = module_of(kind, layers, directions, bias)
    ours = layers_from_torch(module.state_dict(), return_state=True, **options)
    batch = data(kind, layers, directions)
    output, states, of_inputs, gradients = run_module(module, *batch)
    if kind != "gru":  # Keras has one bias, with the gradient that both of PyTorch's have
        gradients |= {name: 0 * array for name, array in gradients.items() if name.startswith("bias_hh")}
    mapped = [weight for layer in layers_from_torch(gradients, **options) for weight in layer.get_weights()]
    assert_close(run_layers(ours, *batch), (output, states, of_inputs, mapped))


@every_case
def test_pytorch_takes_what_to_torch_gives(kind, layers, directions, bias, run_layers, tmp_path):
    module, options = module_of(kind, layers, directions, bias)
    ours = layers_from_torch(module.state_dict(), return_state=True, **options)
    for layer in ours:
        layer.set_weights([0.9 * weight for weight in layer.get_weights()])
    inputs, states, probe = data(kind, layers, directions)
    expected = run_layers(ours, inputs, states, probe).output
    module.load_state_dict({name: torch.from_numpy(array) for name, array in to_torch(ours).items()})
    np.testing.assert_allclose(run_module(module, inputs, states, probe)[0], expected, atol=1e-5)
    save_torch(ours, tmp_path / "weights.safetensors", "rnn")
    holder = torch.nn.ModuleDict({"rnn": module_of(kind, layers, directions, bias)[0]})
    holder.load_state_dict(stored.load_file(tmp_path / "weights.safetensors"))
    np.testing.assert_allclose(run_module(holder["rnn"], inputs, states, probe)[0], expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_and_files_of_every_floating_dtype(dtype, tmp_path):
    module = torch.nn.GRU(FEATURES, UNITS).to(dtype)
    weights = module.state_dict()
    stored.save_file(weights, tmp_path / "weights.safetensors")
    for source in (weights, tmp_path / "weights.safetensors"):
        returned = to_torch(layers_from_torch(source))
        for name, tensor in weights.items():
            np.testing.assert_array_equal(returned[name], tensor.float().numpy())


def test_a_pickle_of_pytorchs_is_refused_whatever_its_name(tmp_path):
    module = torch.nn.LSTM(FEATURES, UNITS)
    for zipped in (True, False):
        torch.save(
            module.state_dict(), tmp_path / "weights.safetensors", _use_new_zipfile_serialization=zipped
        )
        with pytest.raises(Exception, match="is a pickle"):
            layers_from_torch(tmp_path / "weights.safetensors")


def test_an_lstm_with_projections_is_refused():
    with pytest.raises(Exception, match="proj_size"):
        layers_from_torch(torch.nn.LSTM(FEATURES, UNITS, proj_size=2).state_dict())


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_a_packed_sequence_is_a_mask(kind):
    module, _ = module_of(kind, 2, 2, True)
    inputs, _, _ = data(kind, 2, 2)
    lengths = [7, 2, 4]
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.tensor(inputs), torch.tensor(lengths), batch_first=True, enforce_sorted=False
    )
    output, state = module(packed)
    output, _ = torch.nn.utils.rnn.pad_packed_sequence(output, batch_first=True)
    h_n = state[0] if kind == "lstm" else state
    x, mask = inputs, np.arange(TIME) < np.array(lengths)[:, None]
    finals = []
    for layer in layers_from_torch(module.state_dict(), return_state=True):
        x, *final = layer(x, mask=mask)
        finals += final[:: 2 if kind == "lstm" else 1]
    np.testing.assert_allclose(x, output.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(np.stack(finals), h_n.detach().numpy(), atol=1e-5)


def test_weights_go_into_layers_of_a_model():
    module = torch.nn.LSTM(FEATURES, UNITS, batch_first=True, bidirectional=True)
    model = keras.Sequential(
        [
            keras.Input((None, FEATURES)),
            keras.layers.Bidirectional(LSTM(UNITS, return_sequences=True)),
            keras.layers.Dense(2),
        ]
    )
    load_torch(model.layers[0], module.state_dict())
    inputs = np.ones((2, 4, FEATURES), "float32")
    expected = module(torch.tensor(inputs))[0].detach().numpy()
    np.testing.assert_allclose(model.layers[0](inputs), expected, atol=1e-5)


def test_the_code_on_the_page_for_pytorch_runs(tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs" / "coming-from-pytorch.md"
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S):
        exec(block, names)
    assert names["like_pytorch"](4).units == 4
    assert (tmp_path / "back.safetensors").is_file()

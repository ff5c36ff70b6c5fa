"""Layers with PyTorch's weights compute what PyTorch computed; weights come back as they went.

PyTorch's results are in `fixtures`; `test_against_torch.py` asks PyTorch itself.
"""

import doctest
import itertools
import pathlib

import keras
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.errors import ConfigError, SourceError
from ostinato.interop.torch import convert, layers_from_torch, load_torch, save_torch, to_torch
from ostinato.layers import GRU, LSTM, SimpleRNN

from ... import forks

STORED = safetensors.numpy.load_file(pathlib.Path(__file__).parent / "fixtures" / "torch_arrays.safetensors")
GATES = {"rnn": 1, "relu-rnn": 1, "gru": 3, "lstm": 4}
CLASSES = {"rnn": SimpleRNN, "gru": GRU, "lstm": LSTM}
FEATURES, UNITS = 3, 2


def shapes(kind, layers, directions, bias, features=FEATURES, units=UNITS):
    """The names and shapes of a state dict, as torch.nn.LSTM documents them."""
    rows, result = GATES[kind] * units, {}
    for layer, ending in itertools.product(range(layers), ["", "_reverse"][:directions]):
        width = units * directions if layer else features
        result[f"weight_ih_l{layer}{ending}"] = (rows, width)
        result[f"weight_hh_l{layer}{ending}"] = (rows, units)
        if bias:
            result |= {f"bias_ih_l{layer}{ending}": (rows,), f"bias_hh_l{layer}{ending}": (rows,)}
    return result


def split(flat, shapes):
    ends = np.cumsum([np.prod(shape) for shape in shapes.values()])
    assert ends[-1] == flat.size
    parts = np.split(flat, ends[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def state_dict(kind="lstm", layers=1, directions=1, bias=True, *, seed=0, **sizes):
    random = np.random.default_rng(seed)
    return {
        name: random.normal(size=shape).astype("float32")
        for name, shape in shapes(kind, layers, directions, bias, **sizes).items()
    }


def weights_of(layers):
    return [weight for layer in layers for weight in layer.get_weights()]


def built(layer, features=FEATURES):
    layer.build((None, None, features))
    return layer


# --- What PyTorch computed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", GATES)
def test_layers_compute_what_pytorch_computed(kind, layers, directions, bias, run_layers, assert_close):
    case = f"{kind}-{layers}-layers-{directions}-directions-{'bias' if bias else 'no-bias'}"
    names = shapes(kind, layers, directions, bias)
    options = {"nonlinearity": "relu"} if kind == "relu-rnn" else {}
    ours = layers_from_torch(split(STORED[f"{case}/weights"], names), return_state=True, **options)
    gradients = split(STORED[f"{case}/gradients"], names)
    if kind != "gru":  # Keras has one bias, with the gradient that both of PyTorch's have
        gradients |= {name: 0 * array for name, array in gradients.items() if name.startswith("bias_hh")}
    parts = ["h", "c"] if kind == "lstm" else ["h"]
    states = [STORED[f"{part}_0"][: layers * directions] for part in parts]
    assert_close(
        run_layers(ours, STORED["inputs"], states, STORED["probe"][..., : UNITS * directions]),
        [
            STORED[f"{case}/output"],
            [STORED[f"{case}/{part}_n"] for part in parts],
            STORED[f"{case}/inputs_gradient"],
            weights_of(layers_from_torch(gradients, **options)),
        ],
    )


def test_without_return_sequences_only_the_last_step_of_the_last_layer_is_returned():
    weights = state_dict("gru", 2, 2)
    inputs = np.random.default_rng(1).normal(size=(2, 5, FEATURES)).astype("float32")
    whole = keras.Sequential(layers_from_torch(weights))(inputs)
    last = keras.Sequential(layers_from_torch(weights, return_sequences=False))(inputs)
    assert whole.shape == (2, 5, 2 * UNITS)
    np.testing.assert_allclose(last[:, :UNITS], whole[:, -1, :UNITS], atol=1e-6)
    np.testing.assert_allclose(last[:, UNITS:], whole[:, 0, UNITS:], atol=1e-6)


# --- There and back -----------------------------------------------------------------------------------------

forms = {
    "kind": st.sampled_from(["rnn", "gru", "lstm"]),
    "layers": st.integers(1, 3),
    "directions": st.integers(1, 2),
    "bias": st.booleans(),
    "features": st.integers(1, 5),
    "units": st.integers(1, 5),
    "seed": st.integers(0, 99),
}


@settings(max_examples=25)
@given(prefix=st.sampled_from(["", "encoder", "model.rnn."]), **forms)
def test_a_state_dict_comes_back(kind, prefix, **form):
    given = state_dict(kind, **form)
    dot = prefix and prefix.rstrip(".") + "."
    source = {dot + name: array for name, array in given.items()}
    returned = to_torch(layers_from_torch(source, prefix), prefix)
    assert list(returned) == list(source)
    for name, array in given.items():
        expected = array
        if kind != "gru" and name.startswith("bias_ih"):
            expected = array + given[name.replace("ih", "hh")]
        elif kind != "gru" and name.startswith("bias_hh"):
            expected = np.zeros_like(array)
        np.testing.assert_array_equal(returned[dot + name], expected)
        assert returned[dot + name].flags.c_contiguous


@settings(max_examples=15)
@given(stock=st.booleans(), **forms)
def test_layers_get_their_own_weights_back_from_a_file(
    tmp_path_factory, stock, kind, layers, directions, bias, features, units, seed
):
    def make(seed):
        keras.utils.set_random_seed(seed)
        made = []
        for depth in range(layers):
            base = CLASSES[kind].__mro__[2] if stock else CLASSES[kind]
            options = {"use_bias": bias, "return_sequences": True, "bias_initializer": "normal"}
            layer = base(units, **options, **({"unit_forget_bias": False} if kind == "lstm" else {}))
            layer = keras.layers.Bidirectional(layer) if directions == 2 else layer
            made.append(built(layer, units * directions if depth else features))
        return made

    first, second = make(seed), make(seed + 1)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_torch(first, path)
    load_torch(second, path)
    for ours, theirs in zip(weights_of(second), weights_of(first), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_layer_around_a_keras_cell_is_one_too():
    layer = built(keras.layers.RNN(keras.layers.LSTMCell(UNITS)))
    weights = state_dict()
    load_torch(layer, weights)
    np.testing.assert_array_equal(layer.cell.kernel, weights["weight_ih_l0"].T)


def test_options_go_to_every_layer():
    layers = layers_from_torch(state_dict(layers=2, directions=2), engine="keras", dropout=0.3)
    for layer in layers:
        for direction in (layer.forward_layer, layer.backward_layer):
            assert (direction.engine, direction.dropout) == ("keras", 0.3)


def test_a_model_of_the_layers_saves_and_loads(tmp_path):
    model = keras.Sequential([keras.Input((None, FEATURES)), *layers_from_torch(state_dict("gru", 2, 2))])
    model.save(tmp_path / "model.keras")
    x = np.ones((1, 4, FEATURES), "float32")
    np.testing.assert_array_equal(model(x), keras.models.load_model(tmp_path / "model.keras")(x))


# --- Dtypes -------------------------------------------------------------------------------------------------


def bfloat16_file(arrays):
    """safetensors.numpy does not write bfloat16 in every version; here it writes integers, renamed after."""
    content = safetensors.numpy.save({name: array.view("uint16") for name, array in arrays.items()})
    end = 8 + int.from_bytes(content[:8], "little")
    header = content[8:end].replace(b'"U16"', b'"BF16"')
    return len(header).to_bytes(8, "little") + header + content[end:]


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_every_floating_dtype_becomes_the_layers(dtype, stored, tmp_path):
    weights = {
        name: array.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
        for name, array in state_dict("gru").items()
    }
    source = weights
    if stored:
        source = tmp_path / "weights.safetensors"
        source.write_bytes(bfloat16_file(weights) if dtype == "bfloat16" else safetensors.numpy.save(weights))
    [layer] = layers_from_torch(source)
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    np.testing.assert_array_equal(to_torch(layer)["weight_ih_l0"], weights["weight_ih_l0"].astype("float32"))


def test_float64_layers_keep_float64():
    weights = {name: array.astype("float64") / 3 for name, array in state_dict("gru", 1, 2).items()}
    layers = layers_from_torch(weights, dtype="float64")
    for name, array in to_torch(layers).items():
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, weights[name])
    assert layers[0](np.zeros((1, 2, FEATURES))).dtype == "float64"


class Tensor:
    """As much of a torch.Tensor as is needed, without torch."""

    def __init__(self, array):
        self.array, self.dtype = array, "torch.float32"

    def detach(self):
        return self

    cpu = detach

    def numpy(self):
        return self.array


def test_tensors_are_taken_as_arrays_are():
    weights = state_dict()
    layers = layers_from_torch({name: Tensor(array) for name, array in weights.items()})
    np.testing.assert_array_equal(to_torch(layers)["weight_hh_l0"], weights["weight_hh_l0"])


# --- What is refused ----------------------------------------------------------------------------------------


def without(weights, name):
    return {other: array for other, array in weights.items() if other != name}


@pytest.mark.parametrize(
    ("source", "prefix", "message"),
    [
        ({}, "", "the state dict has no recurrent weights without a prefix.*nothing at all"),
        ({"fc.weight": 1}, "rnn", r"no recurrent weights with the prefix 'rnn\.'.*it has fc\.weight"),
        ({"a.weight_ih_l0": 1, "b.c.weight_ih_l0": 1}, "", r"prefix='a\.', prefix='b\.c\.'"),
        (without(state_dict(layers=2), "weight_hh_l1"), "", "lacks weight_hh_l1, so it does not"),
        (without(state_dict(), "weight_ih_l0"), "", "lacks weight_ih_l0, so"),
        (without(state_dict("gru", 1, 2), "bias_hh_l0_reverse"), "", "lacks bias_hh_l0_reverse"),
        ({"weight_ih_l999999": 1}, "", "lacks weight_ih_l0, weight_hh_l0"),
        (state_dict() | {"scale": np.ones(1)}, "", "more than a recurrent module's.*scale"),
        (state_dict() | {"weight_hh_l0": np.ones((9, 2))}, "", r"unknown form.*\(9, 2\); expected"),
        (state_dict() | {"weight_hh_l0": np.ones(8)}, "", r"unknown form.*\(8,\); expected"),
        (state_dict() | {"weight_ih_l0": np.ones((7, 3))}, "", r"ih_l0 of shape \(7, 3\); expected \(8, 3\)"),
        (state_dict() | {"bias_hh_l0": np.ones((8, 1))}, "", r"hh_l0 of shape \(8, 1\); expected \(8,\)"),
        (state_dict() | {"bias_hh_l0": np.ones(8, "int8")}, "", "bias_hh_l0 must be one of .*, got int8"),
        (state_dict() | {"bias_hh_l0": np.ones(8, "complex64")}, "", "bias_hh_l0 must .*, got complex64"),
    ],
)  # fmt: skip
def test_a_state_dict_of_something_else_is_refused_in_one_sentence(source, prefix, message):
    with pytest.raises(SourceError, match=message):
        layers_from_torch(source, prefix)


def test_what_keras_does_not_have_is_refused():
    projected = state_dict() | {"weight_hr_l0": np.ones((1, 2))}
    with pytest.raises(ConfigError, match="proj_size"):
        layers_from_torch(projected)
    with pytest.raises(
        ConfigError, match=r"nonlinearity must be 'tanh' or 'relu', as in torch.nn.RNN, got 'gelu'"
    ):
        layers_from_torch(state_dict("rnn"), nonlinearity="gelu")
    with pytest.raises(
        ConfigError, match=r"nonlinearity must be 'tanh' for the weights of a GRU, got 'relu'"
    ):
        layers_from_torch(state_dict("gru"), nonlinearity="relu")
    with pytest.raises(
        ConfigError, match=r"the source must be a state dict, as from module\.state_dict\(\), .* got a list"
    ):
        layers_from_torch([])  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (GRU(2, reset_after=False), "reset_after of the GRU must be True"),
        (LSTM(2, activation="relu"), "the activation of the LSTM must be tanh, as in PyTorch, got relu"),
        (SimpleRNN(2, activation="sigmoid"), "must be tanh or relu, as in PyTorch, got sigmoid"),
        (GRU(2, recurrent_activation="hard_sigmoid"), "must be sigmoid, as in PyTorch, got hard_sigmoid"),
        (LSTM(2, go_backwards=True), "go_backwards=True"),
        (keras.layers.Bidirectional(LSTM(2, go_backwards=True), backward_layer=LSTM(2)), "go_backwards=True"),
        (keras.layers.Bidirectional(LSTM(2), merge_mode="sum"), "merge_mode='sum'"),
        (keras.layers.Bidirectional(LSTM(2), backward_layer=LSTM(3, go_backwards=True)), "units, .* 2 and 3"),
        (keras.layers.Dense(2), "must be a SimpleRNN, GRU or LSTM, .* got a Dense"),
        (keras.layers.RNN([keras.layers.LSTMCell(2)] * 2), "must be a SimpleRNN, GRU or LSTM, .* got a RNN"),
    ],
)  # fmt: skip
def test_layers_that_pytorch_does_not_have_are_refused_both_ways(layer, message):
    with pytest.raises(ConfigError, match=message):
        to_torch(built(layer))
    with pytest.raises(ConfigError, match=message):
        load_torch(layer, state_dict())


def test_layers_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigError, match="must be at least one SimpleRNN, GRU or LSTM, got none"):
        to_torch([])
    with pytest.raises(ConfigError, match=r"'lstm.*' has no weights yet; call it once"):
        to_torch(LSTM(2))
    with pytest.raises(ConfigError, match=r"the same kinds, .* got GRU and LSTM"):
        to_torch([built(LSTM(2)), built(GRU(2), 2)])
    with pytest.raises(ConfigError, match=r"the same values of use_bias, .* got False and True"):
        to_torch([built(LSTM(2)), built(LSTM(2, use_bias=False), 2)])
    with pytest.raises(ConfigError, match=r"the same activations, .* got relu and tanh"):
        to_torch([built(SimpleRNN(2)), built(SimpleRNN(2, activation="relu"), 2)])
    with pytest.raises(
        ConfigError, match=r"layer 1 must read the 2 outputs of the layer below, .* got 5 features"
    ):
        to_torch([built(LSTM(2)), built(LSTM(2), 5)])
    with pytest.raises(ConfigError, match="reset_after=False"):
        layers_from_torch(state_dict("gru"), reset_after=False)


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "gru"}, {"layers": 2}, {"directions": 2}, {"bias": False}, {"features": 4}, {"units": 3},
    ],
)  # fmt: skip
def test_weights_of_another_form_are_refused_and_change_nothing(other):
    layer = built(LSTM(2))
    before = layer.get_weights()
    with pytest.raises(ConfigError, match=r"fit the layers \(LSTM, 1 layer, one dir.* got those of another"):
        load_torch(layer, state_dict(**other))
    for ours, theirs in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# --- Files --------------------------------------------------------------------------------------------------


def test_files_that_cannot_be_read_are_refused(tmp_path):
    good = safetensors.numpy.save(state_dict())
    contents = {"truncated": good[:-5], "empty": b"", "text": b"no weights at all, but a sentence"}
    for name, content in contents.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        with pytest.raises(
            SourceError, match=f"{name}.safetensors' is not a safetensors file, or is damaged"
        ):
            layers_from_torch(path)
    for path in (tmp_path / "missing.safetensors", tmp_path):
        with pytest.raises(SourceError, match="cannot be read"):
            layers_from_torch(path)
    safetensors.numpy.save_file({"weight_ih_l0": np.ones((4, 2))}, tmp_path / "part.safetensors")
    with pytest.raises(SourceError, match=r"part\.safetensors' lacks weight_hh_l0"):
        layers_from_torch(str(tmp_path / "part.safetensors"))


@given(size=st.integers(0, 400))
@settings(max_examples=20)
def test_any_beginning_of_a_file_is_refused(size, tmp_path_factory):
    path = tmp_path_factory.mktemp("cut") / "cut.safetensors"
    path.write_bytes(safetensors.numpy.save(state_dict())[:size])
    with pytest.raises(SourceError):
        layers_from_torch(path)


@pytest.mark.parametrize(
    "name", ["lstm.pt", "lstm.pth", "pytorch_model.bin", "last.ckpt", "weights.safetensors"]
)
def test_pickles_are_refused_with_the_way_out(name, tmp_path):
    for content in (b"PK\x03\x04and so on, a zip file", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 and so on"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            SourceError, match=r"is a pickle.*safetensors\.torch\.save_file\(module\.state_dict"
        ):
            layers_from_torch(tmp_path / name)


def test_a_file_whose_first_byte_is_a_pickles_is_read(tmp_path):
    path = tmp_path / "weights.safetensors"
    for length in range(256):  # the first byte is the lowest of the header's length
        path.write_bytes(safetensors.numpy.save(state_dict(), metadata={"note": "." * length}))
        if path.read_bytes()[:1] == b"\x80":
            break
    assert layers_from_torch(path)[0].units == UNITS


def test_a_pickle_is_not_written(tmp_path):
    with pytest.raises(ConfigError, match=r"lstm\.safetensors"):
        save_torch(built(LSTM(2)), tmp_path / "lstm.pt")
    with pytest.raises(FileNotFoundError):
        save_torch(built(LSTM(2)), tmp_path / "nowhere" / "lstm.safetensors")
    assert not list(tmp_path.iterdir())


# --- The module ---------------------------------------------------------------------------------------------


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(convert).failed == 0


def test_pytorch_is_not_imported():
    code = (
        "import sys, ostinato; ostinato.interop.torch.layers_from_torch; "
        "sys.exit('torch' in sys.modules or 'ostinato.interop.torch' not in sys.modules)"
    )
    assert forks.run("-c", code).returncode == 0

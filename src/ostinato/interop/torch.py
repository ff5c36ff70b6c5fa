"""Weights of `torch.nn.RNN`, `GRU` and `LSTM`, to and from Keras layers. PyTorch itself is not needed.

One PyTorch module of several layers is a list of Keras layers, each wrapped in `keras.layers.Bidirectional`
where the module is bidirectional. With them `layers_from_torch` gives the same outputs, states and gradients.
A layer of PyTorch has these weights, for g gates (the last two only with `bias=True`):

    PyTorch                                     Keras
    weight_ih_l0    (g × units, features)       kernel             (features, g × units)
    weight_hh_l0    (g × units, units)          recurrent_kernel   (units, g × units)
    bias_ih_l0      (g × units,)                bias               (g × units,), their sum;
    bias_hh_l0      (g × units,)                                   GRU: (2, 3 × units), one below the other

`l0` counts the layers; `_reverse` at the end of a name says that it is the backward direction's.

- Gates: the RNN has one; the LSTM's stand in the same order in both, i f g o there, i f c o in Keras; the
  GRU's are r z n there, z r h in Keras.
- The GRU of PyTorch resets after the recurrent product (`reset_after=True`, the default of Keras and here).
- An RNN's weights do not tell whether it is of `nonlinearity="tanh"` or `"relu"`.
- Not in the weights, hence not carried: `batch_first` (Keras layers are always batch first) and the dropout
  between layers (put `keras.layers.Dropout` between them).
- An LSTM with `proj_size` has no counterpart in Keras.

Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html, and those of `RNN` and `GRU`.
"""

import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import safetensors
import safetensors.numpy

from ostinato.errors import ConfigError, SourceError
from ostinato.layers import GRU, LSTM, SimpleRNN

Source = Mapping[str, Any] | str | os.PathLike[str]
"""A state dict, name → NumPy array or PyTorch tensor, or the path of a `.safetensors` file."""

_LAYERS = {"RNN": SimpleRNN, "GRU": GRU, "LSTM": LSTM}
_CELLS = {
    keras.layers.SimpleRNNCell: "RNN",
    keras.layers.GRUCell: "GRU",
    keras.layers.LSTMCell: "LSTM",
}
_KINDS = {1: "RNN", 3: "GRU", 4: "LSTM"}  # by the number of gates, rows over units
_ENDINGS = ("", "_reverse")  # of the names of the weights of each direction

_NAME = re.compile(r"(?:weight_(?:ih|hh|hr)|bias_(?:ih|hh))_l(0|[1-9][0-9]{0,5})(?:_reverse)?")
_PICKLES = (".pt", ".pth", ".bin", ".pkl", ".ckpt")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")  # torch.save writes a zip file, formerly a bare pickle
_STORED_AS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_FLOATS = ("float16", "bfloat16", "float32", "float64")


class _Form(NamedTuple):
    """What weights and layers must have in common."""

    kind: str
    depth: int
    directions: int
    features: int
    units: int
    bias: bool

    def __str__(self) -> str:
        layers = "1 layer" if self.depth == 1 else f"{self.depth} layers"
        directions = "two directions" if self.directions == 2 else "one direction"
        bias = "with" if self.bias else "without"
        return (
            f"{self.kind}, {layers}, {directions}, {self.features} features, {self.units} units, {bias} bias"
        )


class _Stored(NamedTuple):
    """A tensor of a safetensors file."""

    dtype: str
    shape: Sequence[int]
    data: bytes


# --- To Keras -----------------------------------------------------------------------------------------------


def layers_from_torch(
    source: Source,
    prefix: str = "",
    *,
    nonlinearity: str = "tanh",
    return_sequences: bool = True,
    return_state: bool = False,
    **options: Any,
) -> list[Any]:
    """Layers with the weights of a `torch.nn.RNN`, `GRU` or `LSTM`; the names and shapes tell which.

    Args:
        source: the module's `state_dict()`, or that of a model with it inside, with NumPy arrays or PyTorch
            tensors; or the path of a `.safetensors` file.
        prefix: what the names of the module's weights begin with: "encoder" for "encoder.weight_ih_l0".
        nonlinearity: "tanh" or "relu", as the `torch.nn.RNN` was made with.
        return_sequences: whether the last layer returns all steps, as PyTorch does, or the last one alone.
            The others return all in any case. With two directions the last step of the backward one is the
            first in time: this is PyTorch's `h_n`, and not its `output[:, -1]`.
        return_state: whether each layer also returns its final state, h or h and c: PyTorch's `h_n`, `c_n`.
        **options: as for the layers, for example `engine="keras"` or `dtype="float64"`.

    Returns:
        The layers from the bottom up, built: `ostinato.layers.SimpleRNN`, `GRU` or `LSTM`, each within a
        `keras.layers.Bidirectional` where there are two directions. Weights have the layers' dtype, float32
        unless `dtype` says otherwise, whichever floating type the source has.

    Raises:
        SourceError: the source cannot be read, or its weights are not those of such a module.
        ConfigError: the module has no counterpart in Keras, or there is no such nonlinearity.
        EngineError: there is no such engine, or it lacks an option given here.

    Example:
        >>> weights = {"rnn.weight_ih_l0": np.ones((12, 2)), "rnn.weight_hh_l0": np.ones((12, 3))}
        >>> [layer] = layers_from_torch(weights, "rnn")
        >>> type(layer).__name__, layer.units, layer.use_bias
        ('LSTM', 3, False)
        >>> layer(np.zeros((1, 5, 2))).shape
        TensorShape([1, 5, 3])
    """
    form, weights = _read(source, prefix)
    if nonlinearity not in ("tanh", "relu"):
        raise ConfigError(
            f"There is no nonlinearity={nonlinearity!r} in torch.nn.RNN, only 'tanh' and 'relu'."
        )
    if nonlinearity == "relu":
        if form.kind != "RNN":
            raise ConfigError(
                f"nonlinearity='relu' is the RNN's alone, and the weights are of the {form.kind}."
            )
        options["activation"] = "relu"
    layers = []
    for depth in range(form.depth):
        layer = _LAYERS[form.kind](
            form.units,
            use_bias=form.bias,
            return_sequences=return_sequences or depth < form.depth - 1,
            return_state=return_state,
            **options,
        )
        if form.directions == 2:
            layer = keras.layers.Bidirectional(layer, dtype=options.get("dtype"))
        layer.build((None, None, form.features if depth == 0 else form.units * form.directions))
        layers.append(layer)
    cells = _cells(layers)
    _form(cells)  # refuses options that PyTorch does not have, such as reset_after=False
    _assign(cells, weights)
    return layers


def load_torch(layers: Any, source: Source, prefix: str = "") -> None:
    """Set the weights of existing layers to those of a `torch.nn.RNN`, `GRU` or `LSTM`.

    Args:
        layers: a built SimpleRNN, GRU or LSTM, of Keras or of ostinato, or a `keras.layers.Bidirectional`
            around one; or several of them, from the bottom up. All of the module's layers are needed.
        source, prefix: as for `layers_from_torch`.

    Raises:
        SourceError: the source cannot be read, or its weights are not those of such a module.
        ConfigError: the layers are other ones than the weights are for. They keep their weights then.

    Example:
        >>> layer = keras.layers.GRU(3, use_bias=False)
        >>> layer.build((None, None, 2))
        >>> load_torch(layer, {"weight_ih_l0": np.ones((9, 2)), "weight_hh_l0": np.zeros((9, 3))})
        >>> [weight.mean().item() for weight in layer.get_weights()]
        [1.0, 0.0]
    """
    cells = _cells(layers)
    needed = _form(cells)
    found, weights = _read(source, prefix)
    if found != needed:
        raise ConfigError(f"The weights are for another network: {found}; the layers given are: {needed}.")
    _assign(cells, weights)


def _assign(cells: list[list[Any]], weights: list[list[list[np.ndarray]]]) -> None:
    for layer, layer_weights in zip(cells, weights, strict=True):
        for cell, direction_weights in zip(layer, layer_weights, strict=True):
            for variable, array in zip(_variables(cell), direction_weights, strict=True):
                variable.assign(array)


# --- To PyTorch ---------------------------------------------------------------------------------------------


def to_torch(layers: Any, prefix: str = "") -> dict[str, np.ndarray]:
    """The weights of layers as the state dict of a `torch.nn.RNN`, `GRU` or `LSTM`.

    Where Keras has one bias and PyTorch two, `bias_ih` is the bias and `bias_hh` is zero.

    Args:
        layers: as for `load_torch`; of the same kind, units and directions, as PyTorch has it.
        prefix: put before each name, with a dot between.

    Returns:
        Arrays by name, float32, or float64 from layers of that dtype. In PyTorch:
        `module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})`.

    Raises:
        ConfigError: PyTorch has no such module; the message says what it lacks.

    Example:
        >>> layer = LSTM(3)
        >>> layer.build((None, None, 2))
        >>> for name, array in to_torch(layer, "encoder").items():
        ...     print(name, array.shape)
        encoder.weight_ih_l0 (12, 2)
        encoder.weight_hh_l0 (12, 3)
        encoder.bias_ih_l0 (12,)
        encoder.bias_hh_l0 (12,)
    """
    cells, prefix, state_dict = _cells(layers), _with_dot(prefix), {}
    form = _form(cells)
    for depth, layer in enumerate(cells):
        for ending, cell in zip(_ENDINGS, layer, strict=False):
            arrays = [_float_array(variable) for variable in _variables(cell)]
            if form.kind == "GRU":
                arrays = [_swap_gates(array) for array in arrays]
            kernel, recurrent_kernel, *biases = arrays
            values = [kernel.T, recurrent_kernel.T]
            for bias in biases:
                values += [bias[0], bias[1]] if form.kind == "GRU" else [bias, np.zeros_like(bias)]
            # A safetensors file takes the bytes as they lie, so they must not lie transposed.
            names = [f"{prefix}{name}" for name in _names(depth, ending, form.bias)]
            state_dict |= dict(zip(names, map(np.ascontiguousarray, values), strict=True))
    return state_dict


def save_torch(layers: Any, path: str | os.PathLike[str], prefix: str = "") -> None:
    """Write what `to_torch` gives to a `.safetensors` file, for `safetensors.torch.load_file`.

    Args:
        layers, prefix: as for `to_torch`.
        path: of the file; one that is there is overwritten.

    Raises:
        ConfigError: PyTorch has no such module, or the path is one for a pickle.
        OSError: the file cannot be written.
    """
    path = pathlib.Path(path)
    if path.suffix in _PICKLES:
        raise ConfigError(
            f"'{path}' has the name of a pickle of PyTorch's; name it '{path.with_suffix('.safetensors')}'."
        )
    path.write_bytes(safetensors.numpy.save(to_torch(layers, prefix), metadata={"format": "pt"}))


def _float_array(variable: Any) -> np.ndarray:
    array = np.asarray(keras.ops.convert_to_numpy(variable))
    return array if array.dtype == np.float64 else array.astype(np.float32)


# --- Keras layers -------------------------------------------------------------------------------------------


def _cells(layers: Any) -> list[list[Any]]:
    """The Keras cells of each layer, one for each direction; what a cell alone cannot tell is checked."""
    layers = [layers] if isinstance(layers, keras.layers.Layer) else list(layers)
    if not layers:
        raise ConfigError("There are no layers; give at least one SimpleRNN, GRU or LSTM.")
    cells = []
    for layer in layers:
        directions = [layer]
        if isinstance(layer, keras.layers.Bidirectional):
            directions = [layer.forward_layer, layer.backward_layer]
            if layer.merge_mode != "concat":
                raise ConfigError(
                    f"The layer '{layer.name}' has merge_mode={layer.merge_mode!r}, but PyTorch concatenates "
                    "the directions; use merge_mode='concat'."
                )
        if any(type(getattr(direction, "cell", None)) not in _CELLS for direction in directions):
            raise ConfigError(
                f"The layer '{layer.name}' ({type(layer).__name__}) is no SimpleRNN, GRU or LSTM, nor a "
                "Bidirectional around one; give only a model's recurrent layers."
            )
        if directions[0].go_backwards:
            raise ConfigError(
                f"The layer '{layer.name}' reads sequences backwards (go_backwards=True), which in PyTorch "
                "only the second direction of a bidirectional module does."
            )
        if not all(direction.cell.built for direction in directions):
            raise ConfigError(
                f"The layer '{layer.name}' has no weights yet; call it once, or "
                "layer.build((None, None, features))."
            )
        cells.append([direction.cell for direction in directions])
    return cells


def _form(cells: list[list[Any]]) -> _Form:
    """The form of the PyTorch module that computes what the cells do.

    Raises:
        ConfigError: there is none.
    """
    _same("kinds", {_CELLS[type(cell)] for layer in cells for cell in layer})
    _same("units", {cell.units for layer in cells for cell in layer})
    _same("numbers of directions", {len(layer) for layer in cells})
    _same("values of use_bias", {cell.use_bias for layer in cells for cell in layer})
    _same("activations", {_title(cell.activation) for layer in cells for cell in layer})
    cell, directions = cells[0][0], len(cells[0])
    form = _Form(
        kind=_CELLS[type(cell)],
        depth=len(cells),
        directions=directions,
        features=cell.kernel.shape[0],
        units=cell.units,
        bias=cell.use_bias,
    )
    for depth, layer in enumerate(cells):
        for cell in layer:
            outputs_below = form.units * directions
            if depth > 0 and cell.kernel.shape[0] != outputs_below:
                raise ConfigError(
                    f"Layer {depth} reads {cell.kernel.shape[0]} features, but in PyTorch it reads the "
                    f"{outputs_below} outputs of the layer below."
                )
            _check_equations(form.kind, cell)
    return form


def _same(what: str, values: set[Any]) -> None:
    if len(values) > 1:
        raise ConfigError(
            f"The layers have different {what}, {' and '.join(sorted(map(str, values)))}; those of one "
            "PyTorch module do not. Carry them one by one, as modules of their own."
        )


def _check_equations(kind: str, cell: Any) -> None:
    activations = keras.activations
    if kind == "GRU" and not cell.reset_after:
        raise ConfigError(
            "The GRU of PyTorch resets after the recurrent product, and this layer before it "
            "(reset_after=False): a different function, for which the weights are of no use."
        )
    known = (activations.tanh, activations.relu) if kind == "RNN" else (activations.tanh,)
    if cell.activation not in known:
        names = " or ".join(activation.__name__ for activation in known)
        raise ConfigError(f"The {kind} of PyTorch has the activation {names}, not {_title(cell.activation)}.")
    if kind != "RNN" and cell.recurrent_activation is not activations.sigmoid:
        raise ConfigError(
            f"The gates of PyTorch's {kind} have the recurrent_activation sigmoid, not "
            f"{_title(cell.recurrent_activation)}."
        )


def _title(activation: Any) -> str:
    return getattr(activation, "__name__", type(activation).__name__)


def _variables(cell: Any) -> list[Any]:
    variables = [cell.kernel, cell.recurrent_kernel]
    return [*variables, cell.bias] if cell.use_bias else variables


def _swap_gates(array: np.ndarray) -> np.ndarray:
    """The GRU's gates r z n as z r h, or the other way round; they lie side by side in the last axis."""
    first, second, candidate = np.split(array, 3, axis=-1)
    return np.concatenate([second, first, candidate], axis=-1)


# --- State dicts --------------------------------------------------------------------------------------------


def _with_dot(prefix: str) -> str:
    return prefix if not prefix or prefix.endswith(".") else f"{prefix}."


def _names(depth: int, ending: str, bias: bool) -> list[str]:
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if bias else ("weight_ih", "weight_hh")
    return [f"{kind}_l{depth}{ending}" for kind in kinds]


def _read(source: Source, prefix: str) -> tuple[_Form, list[list[list[np.ndarray]]]]:
    """The form of the module, and the weights as Keras has them: of each layer, of each direction."""
    if isinstance(source, Mapping):
        origin, tensors = "The state dict", source
    elif isinstance(source, str | os.PathLike):
        origin, tensors = f"'{os.fspath(source)}'", _read_file(pathlib.Path(source))
    else:
        raise ConfigError(
            f"A {type(source).__name__} is no source of weights; give a state dict, as from "
            "module.state_dict(), or the path of a .safetensors file."
        )
    prefix = _with_dot(prefix)
    own = {name.removeprefix(prefix): name for name in tensors if name.startswith(prefix)}
    matches = [match for match in map(_NAME.fullmatch, own) if match]
    if not matches:
        raise SourceError(f"{origin} has no recurrent weights {_where(tensors, prefix)}")
    if any("_hr_" in match[0] for match in matches):
        raise ConfigError(
            f"{origin} has an LSTM with proj_size (weight_hr_l0), which has no counterpart in Keras."
        )
    depth = 1 + max(int(match[1]) for match in matches)
    endings = _ENDINGS if any(name.endswith("_reverse") for name in own) else _ENDINGS[:1]
    bias = any(match[0].startswith("bias") for match in matches)
    # The number of a layer comes from a name, so the first that lacks weights ends the search.
    for layer in range(depth):
        needed = [name for ending in endings for name in _names(layer, ending, bias)]
        missing = [prefix + name for name in needed if name not in own]
        if missing:
            raise SourceError(f"{origin} lacks {_some(missing)}: not all weights of a module are there.")
    surplus = [name for short, name in own.items() if not _NAME.fullmatch(short)]
    if surplus:
        raise SourceError(
            f"{origin} has more than a recurrent module's weights with the prefix '{prefix}': "
            f"{_some(surplus)}. Leave those out, or give the prefix of the module itself."
        )
    arrays = {short: _array(name, tensors[name]) for short, name in own.items()}
    form = _shape_form(origin, prefix, arrays, depth, len(endings), bias)
    weights = [
        [_to_keras(form.kind, [arrays[name] for name in _names(layer, ending, bias)]) for ending in endings]
        for layer in range(depth)
    ]
    return form, weights


def _to_keras(kind: str, arrays: list[np.ndarray]) -> list[np.ndarray]:
    weights = [arrays[0].T, arrays[1].T]
    if len(arrays) == 4:
        weights.append(np.stack(arrays[2:]) if kind == "GRU" else arrays[2] + arrays[3])
    return [_swap_gates(array) for array in weights] if kind == "GRU" else weights


def _shape_form(
    origin: str, prefix: str, arrays: dict[str, np.ndarray], depth: int, directions: int, bias: bool
) -> _Form:
    """The form that the shapes tell, and that all of them have."""
    first, recurrent = arrays["weight_ih_l0"].shape, arrays["weight_hh_l0"].shape
    units = recurrent[-1] if len(recurrent) == 2 else 0
    gates = recurrent[0] / units if units else 0
    if gates not in _KINDS or len(first) != 2 or not first[1]:
        raise SourceError(
            f"{origin} has weights of unknown form: {prefix}weight_ih_l0 {first} and {prefix}weight_hh_l0 "
            f"{recurrent}; expected (g × units, features) and (g × units, units) with g = 1 for an RNN, "
            "3 for a GRU, 4 for an LSTM."
        )
    form = _Form(_KINDS[gates], depth, directions, first[1], units, bias)
    rows = recurrent[0]
    for layer in range(depth):
        features = form.features if layer == 0 else units * directions
        shapes = [(rows, features), (rows, units), (rows,), (rows,)]
        for ending in _ENDINGS[:directions]:
            for name, shape in zip(_names(layer, ending, bias), shapes, strict=False):
                if arrays[name].shape != shape:
                    raise SourceError(
                        f"{origin} has {prefix}{name} of shape {arrays[name].shape}; expected {shape} in "
                        f"this module ({form})."
                    )
    return form


def _array(name: str, value: Any) -> np.ndarray:
    """A weight as float32, or as float64 if it is."""
    if isinstance(value, _Stored):
        dtype = value.dtype
        if dtype in _STORED_AS:
            array = np.frombuffer(value.data, _STORED_AS[dtype]).reshape(value.shape)
            if dtype == "BF16":  # the upper half of a float32
                array = (array.astype(np.uint32) << 16).view(np.float32)
            return array if dtype == "F64" else array.astype(np.float32)
    else:
        if hasattr(value, "detach"):  # a PyTorch tensor
            value = value.detach().cpu()
            # NumPy has no bfloat16 of its own, so PyTorch has to widen it.
            value = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
        array = np.asarray(value)
        dtype = array.dtype.name
        if dtype in _FLOATS:
            return array if dtype == "float64" else array.astype(np.float32)
    raise SourceError(f"{name} has the dtype {dtype}; weights must be floating: {', '.join(_FLOATS)}.")


def _read_file(path: pathlib.Path) -> dict[str, _Stored]:
    pickle = SourceError(
        f"'{path}' is a pickle, which can run any code when it is opened; in PyTorch, save it with "
        "safetensors.torch.save_file(module.state_dict(), 'weights.safetensors')."
    )
    if path.suffix in _PICKLES:
        raise pickle
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    try:
        tensors = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        if content.startswith(_PICKLE_STARTS):
            raise pickle from None
        raise SourceError(f"'{path}' is no safetensors file, or a damaged one: {error}.") from error
    return {name: _Stored(tensor["dtype"], tensor["shape"], tensor["data"]) for name, tensor in tensors}


def _where(tensors: Iterable[str], prefix: str) -> str:
    """The rest of a sentence that says that there are no weights with a prefix: where there are some."""
    names = list(tensors)
    others = [name.removesuffix("weight_ih_l0") for name in names if name.split(".")[-1] == "weight_ih_l0"]
    place = f"with the prefix '{prefix}'" if prefix else "without a prefix"
    if others:
        return f"{place}; there are some with {_some([f'prefix={other!r}' for other in others])}."
    return f"{place}, nor with another; it has {_some(names) or 'nothing at all'}."


def _some(names: list[str], most: int = 4) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")

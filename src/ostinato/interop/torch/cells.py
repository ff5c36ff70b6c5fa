"""The Keras cells of recurrent layers, and the form of the PyTorch module that computes the same."""

from collections.abc import Callable, Iterable, Sequence

import keras

from ostinato.errors import ConfigError
from ostinato.interop.torch.form import Form, form_of_cell
from ostinato.interop.torch.form import cells as known_cells

Cells = Sequence[Sequence[keras.layers.Layer]]
"""The cells of each layer, one per direction."""


def cells_of(layers: keras.layers.Layer | Iterable[keras.layers.Layer]) -> Cells:
    """The cells of layers.

    Raises:
        ConfigError: a layer is not a built SimpleRNN, GRU or LSTM, nor a Bidirectional around one that
            PyTorch has, too.
    """
    layers = [layers] if isinstance(layers, keras.layers.Layer) else list(layers)
    if not layers:
        raise ConfigError("layers must be at least one SimpleRNN, GRU or LSTM, got none")
    cells = []
    for layer in layers:
        directions = [layer]
        if isinstance(layer, keras.layers.Bidirectional):
            directions = [layer.forward_layer, layer.backward_layer]
            if layer.merge_mode != "concat":
                raise ConfigError(
                    f"the layer '{layer.name}' must have merge_mode='concat', as PyTorch concatenates the "
                    f"directions, got merge_mode={layer.merge_mode!r}"
                )
        if any(_kind(getattr(direction, "cell", None)) is None for direction in directions):
            raise ConfigError(
                f"the layer '{layer.name}' must be a SimpleRNN, GRU or LSTM, or a Bidirectional around one, "
                f"got a {type(layer).__name__}; give only a model's recurrent layers"
            )
        if directions[0].go_backwards:
            raise ConfigError(
                f"the layer '{layer.name}' reads sequences backwards (go_backwards=True), which in PyTorch "
                "only the second direction of a bidirectional module does"
            )
        if not all(direction.cell.built for direction in directions):
            raise ConfigError(
                f"the layer '{layer.name}' has no weights yet; call it once, or "
                "layer.build((None, None, features))"
            )
        cells.append([direction.cell for direction in directions])
    return cells


def _kind(cell: object) -> str | None:
    """The kind of PyTorch's module that runs a Keras cell."""
    kinds = (kind for kind, known in known_cells().items() if known.keras and type(cell) is known.keras.cell)
    return next(kinds, None)


def form_of(cells: Cells) -> Form:
    """The form of the PyTorch module that computes the same as the cells.

    Raises:
        ConfigError: there is no such module.
    """
    _same("kinds", {_kind(cell) for layer in cells for cell in layer})
    _same("units", {cell.units for layer in cells for cell in layer})
    _same("numbers of directions", {len(layer) for layer in cells})
    _same("values of use_bias", {cell.use_bias for layer in cells for cell in layer})
    _same("activations", {_name(cell.activation) for layer in cells for cell in layer})
    cell, directions = cells[0][0], len(cells[0])
    form = Form(
        kind=_kind(cell) or "",
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
                    f"layer {depth} must read the {outputs_below} outputs of the layer below, as in PyTorch, "
                    f"got {cell.kernel.shape[0]} features"
                )
            _check_equations(form.kind, cell)
    return form


def variables(cell: keras.layers.Layer) -> list[keras.Variable]:
    """The weights of a cell: kernel, recurrent kernel and, if it has one, the bias."""
    weights = [cell.kernel, cell.recurrent_kernel]
    return [*weights, cell.bias] if cell.use_bias else weights


def _same(what: str, values: set[object]) -> None:
    if len(values) > 1:
        raise ConfigError(
            f"the layers must have the same {what}, as those of one PyTorch module do, got "
            f"{' and '.join(sorted(map(str, values)))}; convert them one by one, as separate modules"
        )


def _check_equations(kind: str, cell: keras.layers.Layer) -> None:
    activations = keras.activations
    form = form_of_cell(kind)
    for name, value in form.requires.items():
        if getattr(cell, name) != value:
            raise ConfigError(
                f"{name} of the {kind} must be {value}, as in PyTorch, got {name}={getattr(cell, name)}: a "
                "different function, for which the weights are useless"
            )
    if cell.activation not in [getattr(activations, name) for name in form.nonlinearities]:
        names = " or ".join(form.nonlinearities)
        raise ConfigError(
            f"the activation of the {kind} must be {names}, as in PyTorch, got {_name(cell.activation)}"
        )
    if getattr(cell, "recurrent_activation", activations.sigmoid) is not activations.sigmoid:
        raise ConfigError(
            f"the recurrent_activation of the {kind} must be sigmoid, as in PyTorch, got "
            f"{_name(cell.recurrent_activation)}"
        )


def _name(activation: Callable[..., object]) -> str:
    return getattr(activation, "__name__", type(activation).__name__)

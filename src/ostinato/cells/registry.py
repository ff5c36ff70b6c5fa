"""The recurrent cells by name: ostinato's own, those of other packages, and any that can be imported.

A package adds a cell with an entry point in the group `ostinato.cells`:

    [project.entry-points."ostinato.cells"]
    mycell = "mypackage:MyCell"

It names one of three things: a `Cell`; a Keras cell class, which takes the number of units and is run over
time by `keras.layers.RNN`; or a callable `(units, **options)`, which takes the options of Keras' recurrent
layers (`return_sequences`, `name`, …) and returns such a layer. Without an entry point each of them can be
used by its import path, `--cell mypackage:MyCell`, or as an object in a config, `cell=MyCell`.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ostinato import engines
from ostinato.cells.foreign import layer_of_another_package, no_cell, takes
from ostinato.errors import ConfigError, EngineError
from ostinato.registration import own_cells
from ostinato.wording import hint_after

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from ostinato.cells.base import Cell, KerasOption, StateSpec


class Own(NamedTuple):
    """What must be known of a cell of ostinato's before Keras is imported, which takes seconds.

    Attributes:
        other_names: what else it is called, divided by blanks; for "did you mean".
        options: the options that only some cells take.
    """

    other_names: str
    options: tuple[str, ...] = ()


OWN = {
    "rnn": Own("simple_rnn simplernncell vanilla vanilla_rnn elman basic_rnn rnncell"),
    "gru": Own("grucell gated_recurrent_unit bigru gru_cell", ("reset_after",)),
    "lstm": Own("lstmcell long_short_term_memory bilstm lstm_cell"),
    "peephole": Own("peephole_lstm lstm_peephole peepholelstmcell"),
    "cifg": Own("coupled coupled_lstm lstm_cifg"),
    "lstmp": Own("lstm_projection projection proj_size"),
    "ln-lstm": Own("ln_lstm layer_norm_lstm layernormlstmcell"),
    "ln-gru": Own("ln_gru layer_norm_gru layernormgrucell"),
    "indrnn": Own("ind_rnn indrnncell independently_recurrent"),
    "mingru": Own("min_gru mingrucell minimal_gru"),
    "minlstm": Own("min_lstm minlstmcell minimal_lstm"),
    "sru": Own("srucell simple_recurrent_unit"),
    "lru": Own("linear_recurrent_unit lrucell s4d"),
    "rg-lru": Own("rg_lru rglru griffin hawk recurrentgemma"),
    "slstm": Own("slstmcell scalar_lstm xlstm xlstm_slstm"),
    "mlstm": Own("mlstmcell matrix_lstm xlstm_mlstm"),
    "gated-delta": Own("gated_delta gated_deltanet deltanet gateddeltanet delta_rule"),
}
"""ostinato's own cells by name; each is the `CELL` of `module_of` its name."""
_STATE_NAMES = ("h", "c")


def cells() -> tuple[str, ...]:
    """The names of cells: `rnn`, `gru` and `lstm`, then the cells of other packages."""
    return (*OWN, *sorted(_entry_points().keys() - OWN.keys()))


def find(name: str) -> Cell:
    """The cell of a name.

    Args:
        name: one of `cells()`, or the import path of a cell, `package.module:name`.

    Raises:
        ConfigError: there is no such cell, or it cannot be imported.
    """
    from ostinato.cells.base import Cell

    if name in OWN:
        return importlib.import_module(f"ostinato.cells.{module_of(name)}").CELL
    found = _imported(name) if ":" in name else _loaded(name)
    if isinstance(found, Cell):
        return found
    if not callable(found):
        raise no_cell(name, found)
    return Cell(name, found)


def module_of(name: str) -> str:
    """The module of one of ostinato's own cells, in `ostinato.cells`."""
    return name.replace("-", "_")


def accelerated() -> dict[type, type]:
    """ostinato's layer classes by Keras' classes that compute the same."""
    return {cell.keras.layer: cast(type, cell.layer) for cell in own_cells() if cell.keras is not None}


def name_of(cell: object) -> str:
    """The name under which `find` finds a cell: the name itself, or the import path of an object.

    Raises:
        ConfigError: an object has no import path, as those that a function makes.
    """
    if isinstance(cell, str):
        return cell
    from ostinato.cells.base import Cell

    if isinstance(cell, Cell) and cell.name in OWN and find(cell.name) is cell:
        return cell.name
    for path in _paths_of(cell):
        module, _, attribute = path.partition(":")
        if _attribute(sys.modules.get(module), attribute) is cell:
            return path
    raise ConfigError(
        f"cell must be a name, or an object that can be imported, at the top level of a module, got {cell!r}"
    )


def _paths_of(thing: object) -> Iterator[str]:
    """Import paths at which an object may be."""
    from ostinato.cells.base import Cell

    if isinstance(thing, type) or inspect.isfunction(thing):
        yield f"{thing.__module__}:{thing.__qualname__}"
    if not isinstance(thing, Cell):
        return
    for module in [*sys.modules.values()]:  # a Cell does not know where it stands
        for name, value in [*getattr(module, "__dict__", {}).items()]:
            if value is thing and not name.startswith("_"):
                yield f"{module.__name__}:{name}"


def _attribute(module: object, path: str) -> object:
    for name in path.split("."):
        module = getattr(module, name, None)
    return module


def _imported(path: str) -> Any:
    """The object at an import path."""
    module, _, attribute = path.partition(":")
    try:
        found = _attribute(importlib.import_module(module), attribute)
    except Exception as error:  # a module may raise anything
        raise ConfigError(f"the cell '{path}' cannot be imported: {error}") from error
    if found is None:
        raise ConfigError(f"the cell '{path}' cannot be imported: the module {module} has no {attribute}")
    return found


def recurrent(
    cell: str,
    units: int,
    *,
    engine: str = "auto",
    reset_after: bool = True,
    recurrent_dropout: float = 0.0,
    seed: int = 0,
    **options: KerasOption,
) -> keras.layers.RNN:
    """Makes a recurrent layer.

    Args:
        cell: one of `cells()`, or the import path of a cell.
        units: width of the hidden state.
        engine: see `ostinato.engines.choose`. A cell of another package may bring its own loop.
        reset_after: apply the reset gate after the recurrent product, as Keras does, else before it. Cells
            without a reset gate ignore it. `reset_before`, the older word for its opposite, is still read.
        recurrent_dropout: fraction of its own past state that the layer drops in training.
            `ostinato.layers.dropout.recurrent_masks` draws it from a key.
        seed: seed of another package's cell: of its initial weights where it gets no initializer, and of the
            dropout that it draws itself.
        **options: any option of the layer, for example `return_sequences=True`. Initializers are passed only
            to cells that take them.

    Raises:
        ConfigError: there is no such cell; its package does not load, or makes no recurrent layer; or it has
            no recurrent dropout and `recurrent_dropout` is above 0.
        EngineError: there is no such engine, or it cannot run this layer.
    """
    found = find(cell)
    factory = found.layer
    engines.check(engine)
    if "reset_before" in options:  # files of older versions have it
        reset_after = not options.pop("reset_before")
    if _has_option(found, "engine"):
        options["engine"] = engine
    elif engine not in ("auto", "keras"):
        raise EngineError(
            f"engine must be 'auto' for the cell '{cell}', which has its own loop, got '{engine}'"
        )
    if _has_option(found, "reset_after"):
        options["reset_after"] = reset_after
    if cell in OWN:
        if _has_option(found, "recurrent_dropout"):
            return cast("keras.layers.RNN", factory(units, recurrent_dropout=recurrent_dropout, **options))
        if recurrent_dropout > 0.0:
            raise _no_recurrent_dropout(cell, recurrent_dropout)
        own = {name: options[name] for name in options if name != "recurrent_initializer"}
        return cast("keras.layers.RNN", factory(units, seed=seed, **own))
    takes_dropout = recurrent_dropout > 0.0 and _has_option(found, "recurrent_dropout")
    if takes_dropout:
        options["recurrent_dropout"] = recurrent_dropout
    layer = layer_of_another_package(cell, factory, units, options, seed)
    if found.states:
        layer.recurrence = found
    # Masks can be set only in a cell that asks for them where Keras' own cells do.
    if recurrent_dropout > 0.0 and not (takes_dropout and hasattr(layer.cell, "get_recurrent_dropout_mask")):
        raise _no_recurrent_dropout(cell, recurrent_dropout)
    return layer


def _no_recurrent_dropout(cell: str, given: float) -> ConfigError:
    return ConfigError(f"recurrent_dropout must be 0 for the cell '{cell}', which has none, got {given}")


def output_width(layer: keras.layers.RNN) -> int:
    """The width of a recurrent layer's outputs, which a projection makes another than its units."""
    size = getattr(layer.cell, "output_size", None)
    if size is None:  # as Keras' RNN takes it
        size = layer.state_size[0] if isinstance(layer.state_size, list | tuple) else layer.state_size
    return int(size)


def states(layer: keras.layers.RNN) -> tuple[StateSpec, ...]:
    """The tensors of a recurrent layer's state, flat and in Keras' order.

    Names are those of its cell, else h, c, s2, s3, …; shapes, start values and dtypes are the layer's own.
    """
    import keras
    import tensorflow as tf

    from ostinato.cells.base import StateSpec

    starts = [tf.convert_to_tensor(part)[0] for part in keras.tree.flatten(layer.get_initial_state(1))]
    cell = getattr(layer, "recurrence", None)
    names = [spec.name for spec in cell.states] if cell is not None else []
    names += [*_STATE_NAMES, *(f"s{n}" for n in range(2, len(starts)))][len(names) :]
    return tuple(
        StateSpec(name, tuple(start.shape), start, start.dtype.name)  # pyright: ignore[reportArgumentType]
        for name, start in zip(names, starts, strict=False)
    )


def pack_state(layer: keras.layers.RNN, state: Sequence[tf.Tensor]) -> tuple[Any, list[tf.Tensor]]:
    """The first tensors, in the structure of the state that a recurrent layer takes; and the others."""
    import keras

    structure = layer.get_initial_state(1)
    count = len(keras.tree.flatten(structure))
    return keras.tree.pack_sequence_as(structure, list(state[:count])), list(state[count:])


def check(cell: str) -> None:
    """Raises ConfigError when there is no such cell; does not import TensorFlow when there is."""
    if cell in OWN or cell in cells():
        return
    if ":" in cell:
        _imported(cell)
        return
    names = cells()
    hint = hint_after(cell, names, {name: own.other_names for name, own in OWN.items()})
    raise ConfigError(f"cell must be one of {', '.join(names)}, got {cell!r}{hint}")


def package_of(cell: str) -> str | None:
    """The package that brings a cell, with its version; None for a cell of ostinato's own.

    Raises:
        ConfigError: there is no such cell.
    """
    check(cell)
    if ":" in cell:
        return _package_at(cell)
    point = None if cell in OWN else _entry_points().get(cell)
    if point is None:
        return None
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _package_at(path: str) -> str:
    """The package of a module, with its version; or the module itself, where no package installed it."""
    module = path.partition(":")[0]
    package = module.partition(".")[0]
    for name in importlib.metadata.packages_distributions().get(package, ()):
        return f"{name} {importlib.metadata.version(name)}"
    return f"module {module}"


def has_reset_gate(cell: str) -> bool:
    """Whether `reset_after` affects a cell, that is, whether its factory takes `reset_after`.

    Raises:
        ConfigError: there is no such cell, or it does not load.
    """
    return "reset_after" in OWN[cell].options if cell in OWN else _has_option(find(cell), "reset_after")


def _has_option(cell: Cell, option: str) -> bool:
    """Whether the layer of a cell takes one of ostinato's options."""
    return takes(cell.layer, option) if cell.options is None else option in cell.options


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group="ostinato.cells")}


def _loaded(cell: str) -> Any:
    """What the entry point of a cell names."""
    check(cell)
    point = _entry_points()[cell]
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the cell '{cell}' ({point.value}) does not load: {error}") from error

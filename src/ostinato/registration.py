"""Makes ostinato's layers and ops known to Keras and TensorFlow, so files load after `import ostinato`.

A file of Keras names a layer, `ostinato>LSTM`, and a SavedModel names an op, `OstinatoLstmV1`. Keras and
TensorFlow find them only if the module that registers the name was imported. But `import ostinato` imports
neither of the two, which would take seconds; they may be imported before it, after it or never. So a hook
runs for each as soon as both it and ostinato are imported:

- TensorFlow's hook loads the ops at once, as TensorFlow does not look for missing ops.
- Keras' hook has Keras import the module of a layer when a file first names it. It does not import these
  modules at once, because one of them is often what imports Keras, and the imports would be circular.
- Keras' pickles name only Keras' classes; those that contain something of ostinato import ostinato first.
"""

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

    from ostinato.cells.base import Cell

_NAMES = {
    "ostinato.layers.attention": ("AdditiveAttention", "MultiplicativeAttention"),
    "ostinato.cells.engine_layer": ("SequenceMask",),
    "ostinato.cells.gated_delta": ("GatedDelta", "GatedDeltaCell"),
    "ostinato.cells.gru": ("GRU",),
    "ostinato.cells.indrnn": ("IndRNN", "IndRNNCell"),
    "ostinato.cells.keras_rnn": ("RNN",),
    "ostinato.cells.lru": ("LRU", "LRUCell"),
    "ostinato.cells.lstm": ("LSTM",),
    "ostinato.cells.mingru": ("MinGRU", "MinGRUCell"),
    "ostinato.cells.minlstm": ("MinLSTM", "MinLSTMCell"),
    "ostinato.cells.mlstm": ("MLSTM", "MLSTMCell"),
    "ostinato.cells.options": ("GRUOptionsCell", "LSTMOptionsCell", "SimpleRNNOptionsCell"),
    "ostinato.cells.rg_lru": ("RGLRU", "RGLRUCell"),
    "ostinato.cells.rnn": ("SimpleRNN",),
    "ostinato.cells.slstm": ("SLSTM", "SLSTMCell"),
    "ostinato.cells.sru": ("SRU", "SRUCell"),
    "ostinato.interop.keras.keras2.constants": ("RNNWithConstants",),
    "ostinato.interop.keras.keras2.convolutions": ("CausalSeparableConv1D",),
    "ostinato.interop.keras.keras2.masks": ("MaskOf",),
    "ostinato.interop.keras.legacy": ("keras2_hard_sigmoid",),
    "ostinato.layers.block": ("BlockParts",),
    "ostinato.layers.encoder": ("Reader", "RecurrentEncoder"),
    "ostinato.layers.stack": ("RecurrentStack",),
    "ostinato.optimizers": ("SGD", "Adam", "AdamW"),
    "ostinato.tasks.classifier.network": ("RecurrentClassifier",),
    "ostinato.tasks.classifier.ngram_layer": ("NGramLayer",),
    "ostinato.heads.chord": ("ChordOutput",),
    "ostinato.tasks.language_model.network": ("RecurrentLanguageModel",),
    "ostinato.tasks.music.network": ("RecurrentMusicModel",),
    "ostinato.tasks.translator.network": ("RecurrentTranslator",),
}
MODULES = {f"ostinato>{name}": module for module, names in _NAMES.items() for name in names}
"""The names of ostinato's layers and functions in files of Keras, and the modules that register them."""

# The operations that compute a mask from `lengths` in a functional model. From an `.h5` file Keras loads only
# layers and registered names, so these operations of its own have to be found for it.
_OPERATIONS = ("Cumsum", "ExpandDims", "LessEqual", "OnesLike", "Take")


def install() -> None:
    """Runs the hooks of the packages that are imported already, and the other hooks once theirs are."""
    waiting = [package for package in _HOOKS if package not in _hooked]
    if waiting and _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    for package in waiting:
        if sys.modules.get(package) is not None:
            with contextlib.suppress(Exception):
                importlib.import_module(package)  # waits for another thread that is importing it
            _run_hook(package)


@functools.cache
def own_cells() -> "tuple[Cell, ...]":
    """ostinato's own cells, which import Keras. The engines, which import no cell, find them here."""
    registry = importlib.import_module("ostinato.cells.registry")
    return tuple(registry.find(name) for name in registry.OWN)


def function(name: str) -> Callable[..., object]:
    """A function of ostinato's that files of Keras name."""
    return getattr(importlib.import_module(MODULES[f"ostinato>{name}"]), name)


def h5_holds_operations() -> bool:
    """Whether Keras can load an operation from an `.h5` file; 3.8 loses the operation's axis."""
    import keras

    return tuple(map(int, keras.__version__.split(".")[:2])) > (3, 8)


def unpickled(function: Callable[..., object], arguments: tuple[object, ...]) -> object:
    """Makes what Keras pickled, once ostinato is imported. Pickles name this function; it must stay here."""
    return function(*arguments)


class _Finder:
    """Finds Keras and TensorFlow as the other finders do, and runs the hook after the import."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _HOOKS or name in _hooked:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(name, path, target) for finder in others if hasattr(finder, "find_spec"))
        spec = next((spec for spec in specs if spec is not None), None)
        loader = getattr(spec, "loader", None)
        execute = getattr(loader, "exec_module", None)
        if loader is None or execute is None:
            return spec

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if module.__name__ != name:
                return  # another package, by a loader that several share
            with contextlib.suppress(AttributeError):
                del loader.exec_module  # the loader's own method is back if the package is reloaded
            _run_hook(name)

        with contextlib.suppress(AttributeError):
            loader.exec_module = exec_module
        return spec


_finder = _Finder()
_hooked: set[str] = set()


def _run_hook(package: str) -> None:
    """Never fails: the package must be usable without ostinato, whose own modules report what they lack."""
    if package not in _hooked:
        _hooked.add(package)
        with contextlib.suppress(Exception):
            _HOOKS[package]()
        if _hooked.issuperset(_HOOKS):
            with contextlib.suppress(ValueError):
                sys.meta_path.remove(_finder)


def _hook_tensorflow() -> None:
    importlib.import_module("ostinato.engines.native")


def _hook_keras() -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    from keras.src.ops import numpy
    from keras.src.saving import object_registration

    find = object_registration.get_registered_object
    operations = _OPERATIONS if h5_holds_operations() else ()

    @functools.wraps(find)
    def get_registered_object(
        name: str,
        custom_objects: Mapping[str, object] | None = None,
        module_objects: Mapping[str, object] | None = None,
    ) -> object:
        found = find(name, custom_objects, module_objects)
        if found is None and name in MODULES:
            importlib.import_module(MODULES[name])
            found = find(name, custom_objects, module_objects)
        from_h5 = module_objects is not None
        return getattr(numpy, name, None) if found is None and from_h5 and name in operations else found

    for name, module in list(sys.modules.items()):
        if name.startswith("keras.") and vars(module).get("get_registered_object") is find:
            module.get_registered_object = get_registered_object

    # Keras looks for functions only among the registered ones. This module imports none of ostinato's layers.
    importlib.import_module("ostinato.interop.keras.legacy")
    reduce = keras.Layer.__reduce__

    @functools.wraps(reduce)
    def __reduce__(layer: "keras.Layer") -> tuple[object, ...]:  # noqa: N807
        reduction = reduce(layer)
        return (unpickled, reduction) if _holds_ostinato(reduction) else reduction

    keras.Layer.__reduce__ = __reduce__


def _holds_ostinato(reduction: tuple) -> bool:
    """Whether a pickle of Keras, whose argument is a `.keras` file, contains something of ostinato."""
    import zipfile

    try:
        (file,) = reduction[1]
        with zipfile.ZipFile(file) as archive:
            config = archive.read("config.json")
        return any(f'"{name}"'.encode() in config for name in MODULES)
    except (TypeError, ValueError, KeyError, zipfile.BadZipFile):
        return False


_HOOKS = {"keras": _hook_keras, "tensorflow": _hook_tensorflow}

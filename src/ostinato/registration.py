"""How Keras and TensorFlow come to know ostinato's layers and ops: `import ostinato` is all it takes.

A file of Keras names a layer, `ostinato>LSTM`, and a SavedModel names an op, `OstinatoLstmV1`. Keras and
TensorFlow load them only if whatever registers such a name has been imported. But `import ostinato` imports
neither of the two, which takes seconds; they may come before it, after it or never. So each is told here as
soon as both it and ostinato are there:

- TensorFlow loads the ops at once. It looks for no op later on.
- Keras imports the module of a layer when a file first names it. To import all those modules as soon as Keras
  is there would run in a circle, since it is often one of them that has Keras imported.
- Keras' pickles name Keras' classes alone; those that hold something of ostinato's import ostinato first.
"""

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any

_NAMES = {
    "ostinato.layers.attention": ("AdditiveAttention", "MultiplicativeAttention"),
    "ostinato.layers.classic": ("GRU", "LSTM", "SequenceMask", "SimpleRNN"),
    "ostinato.interop.keras.legacy": ("keras2_hard_sigmoid",),
    "ostinato.layers.encoder": ("Reader", "RecurrentEncoder"),
    "ostinato.layers.stack": ("RecurrentStack",),
    "ostinato.tasks.classifier.network": ("RecurrentClassifier",),
    "ostinato.tasks.language_model.network": ("RecurrentLanguageModel",),
    "ostinato.tasks.translator.network": ("RecurrentTranslator",),
}
MODULES = {f"ostinato>{name}": module for module, names in _NAMES.items() for name in names}
"""Under which names files of Keras hold something of ostinato's, and which module registers it."""

# What `lengths` becomes in a functional model. From an `.h5` file Keras loads layers and what is registered;
# of its own operations it has to be told.
_OPERATIONS = ("Cumsum", "ExpandDims", "LessEqual", "OnesLike", "Take")


def install() -> None:
    """Tells Keras and TensorFlow: those that are imported at once, the others when they are."""
    untold = [package for package in _TELL if package not in _told]
    if untold and _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    for package in untold:
        if sys.modules.get(package) is not None:
            with contextlib.suppress(Exception):
                importlib.import_module(package)  # waits for another thread that is just importing it
            _tell(package)


def h5_holds_operations() -> bool:
    """Whether Keras loads an operation from an `.h5` file once it is told; 3.8 loses the operation's axis."""
    import keras

    return tuple(map(int, keras.__version__.split(".")[:2])) > (3, 8)


def unpickled(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """What Keras' pickle makes, once ostinato is imported. Pickles name this function; it stays here."""
    return function(*arguments)


class _Finder:
    """Finds Keras and TensorFlow as the other finders do, and has each told once it is imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in _TELL or name in _told:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(name, path, target) for finder in others if hasattr(finder, "find_spec"))
        spec = next((spec for spec in specs if spec is not None), None)
        loader: Any = getattr(spec, "loader", None)
        execute = getattr(loader, "exec_module", None)
        if execute is None:
            return spec

        def exec_module(module: Any) -> None:
            execute(module)
            if module.__name__ != name:
                return  # another package, of a loader that several share
            with contextlib.suppress(AttributeError):
                del loader.exec_module  # the loader's own again, for whoever reloads the package
            _tell(name)

        with contextlib.suppress(AttributeError):
            loader.exec_module = exec_module
        return spec


_finder = _Finder()
_told: set[str] = set()


def _tell(package: str) -> None:
    """Never fails: a package has to be usable without ostinato, whose own modules say what they lack."""
    if package not in _told:
        _told.add(package)
        with contextlib.suppress(Exception):
            _TELL[package]()
        if _told.issuperset(_TELL):
            with contextlib.suppress(ValueError):
                sys.meta_path.remove(_finder)


def _tell_tensorflow() -> None:
    importlib.import_module("ostinato.engines.native")


def _tell_keras() -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    from keras.src.ops import numpy
    from keras.src.saving import object_registration

    find = object_registration.get_registered_object
    operations = _OPERATIONS if h5_holds_operations() else ()

    @functools.wraps(find)
    def get_registered_object(name: Any, custom_objects: Any = None, module_objects: Any = None) -> Any:
        found = find(name, custom_objects, module_objects)
        if found is None and name in MODULES:
            importlib.import_module(MODULES[name])
            found = find(name, custom_objects, module_objects)
        of_h5 = module_objects is not None
        return getattr(numpy, name, None) if found is None and of_h5 and name in operations else found

    for name, module in list(sys.modules.items()):
        if name.startswith("keras.") and vars(module).get("get_registered_object") is find:
            module.get_registered_object = get_registered_object

    # Keras looks for a function nowhere but among what is registered; and this module leads to no other.
    importlib.import_module("ostinato.interop.keras.legacy")
    reduce = keras.Layer.__reduce__

    @functools.wraps(reduce)
    def __reduce__(layer: Any) -> Any:  # noqa: N807
        reduction = reduce(layer)
        return (unpickled, reduction) if _holds_ours(reduction) else reduction

    keras.Layer.__reduce__ = __reduce__


def _holds_ours(reduction: Any) -> bool:
    """Whether a pickle of Keras' holds something of ostinato's: its argument is a `.keras` file."""
    import zipfile

    try:
        (file,) = reduction[1]
        with zipfile.ZipFile(file) as archive:
            config = archive.read("config.json")
        return any(f'"{name}"'.encode() in config for name in MODULES)
    except (TypeError, ValueError, KeyError, zipfile.BadZipFile):
        return False


_TELL = {"keras": _tell_keras, "tensorflow": _tell_tensorflow}

"""The class that a configuration of Keras 2 names: Keras 3's, or one of the file's owner."""

from __future__ import annotations

import inspect

import keras

from ostinato.errors import ConfigError
from ostinato.interop.keras.keras2.constants import RNNWithConstants
from ostinato.interop.keras.keras2.convolutions import CausalSeparableConv1D
from ostinato.interop.keras.origin import JsonObject, Origin

# Layers that only TensorFlow's Keras had, and since when; in a file of Keras itself they are their owner's.
_TENSORFLOW_LAYERS = {
    "Attention": (2, 2, 4),
    "AdditiveAttention": (2, 2, 4),
    "LayerNormalization": (2, 2, 4),
    **dict.fromkeys(("MultiHeadAttention", "EinsumDense", "Normalization", "TextVectorization"), (2, 4)),
    **dict.fromkeys(("UnitNormalization", "GroupNormalization", "SpectralNormalization"), (2, 9)),
}
_KERAS_MODULES = ("keras", "tf_keras", "tensorflow")
# Classes that Keras 3 has under another name.
_RENAMED = {
    **dict.fromkeys(("CuDNNLSTM", "LSTMV1", "LSTMV2"), "LSTM"),
    **dict.fromkeys(("CuDNNGRU", "GRUV1", "GRUV2"), "GRU"),
    **dict.fromkeys(("BatchNormalizationV1", "BatchNormalizationV2"), "BatchNormalization"),
}


def class_name(entry: JsonObject) -> str:
    """The class of an entry of a configuration, without the package under which it was registered."""
    name = entry["class_name"]
    return name.rpartition(">")[2]


def find(entry: JsonObject, origin: Origin) -> type[keras.layers.Layer]:
    """The class of a layer that is Keras' own.

    Args:
        entry: the layer in the configuration.
        origin: where it comes from.

    Raises:
        ConfigError: it is its owner's, or Keras 3 no longer has it.
    """
    name = class_name(entry)
    name = _RENAMED.get(name, name)
    if name == "RNN" and entry["config"].get("num_constants"):
        return RNNWithConstants
    if name == "SeparableConv1D" and entry["config"].get("padding") == "causal":
        return CausalSeparableConv1D
    found = getattr(keras.layers, name, None)
    if _is_the_owners(entry, origin) or not isinstance(found, type):
        layer = entry["config"].get("name", name) if isinstance(entry["config"], dict) else name
        raise ConfigError(
            f"the class {name} of the layer '{layer}' is not part of Keras 3; give it as "
            f"custom_objects={{'{name}': {name}}}"
        )
    return found


def own_class(entry: JsonObject, origin: Origin) -> type[keras.layers.Layer] | None:
    """The class that the file's owner gave or registered for a layer; None where the layer is Keras'."""
    name = class_name(entry)
    for key in filter(None, (entry.get("registered_name"), entry["class_name"], name)):
        given = origin.custom_objects.get(key)
        if given is None and (">" in key or _is_the_owners(entry, origin)):
            given = keras.saving.get_registered_object(key) or keras.saving.get_registered_object(
                f"Custom>{key}"
            )
        if isinstance(given, type) and issubclass(given, keras.layers.Layer):
            return given
    return None


def accepted_options(kind: type) -> set[str]:
    """The names of the arguments that a class takes, its parents' included where it passes them on."""
    names: set[str] = set()
    for each in kind.__mro__:
        if "__init__" not in vars(each):
            continue
        parameters = inspect.signature(each.__init__).parameters.values()
        names |= {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
        if each is keras.layers.Layer or all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return names - {"self"}


def _is_the_owners(entry: JsonObject, origin: Origin) -> bool:
    """Whether the entry cannot mean Keras' class of that name."""
    name, module = class_name(entry), entry.get("module")
    if isinstance(module, str) and module.partition(".")[0] not in (*_KERAS_MODULES, "builtins"):
        return True
    if ">" in entry["class_name"]:
        return True
    since = _TENSORFLOW_LAYERS.get(name)
    return since is not None and (not origin.is_tensorflow or origin.number < since)

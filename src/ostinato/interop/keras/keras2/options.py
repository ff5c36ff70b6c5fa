"""The options of a layer of Keras 2, as the layer of Keras 3 takes them."""

from __future__ import annotations

from collections.abc import Callable

import keras

from ostinato.cells.base import KerasClasses
from ostinato.errors import ConfigError, warn
from ostinato.interop.keras.keras2 import classes
from ostinato.interop.keras.keras2.constants import RNNWithConstants
from ostinato.interop.keras.legacy import keras2_hard_sigmoid
from ostinato.interop.keras.origin import JsonObject, Origin
from ostinato.registration import own_cells

# Options that never change what a layer computes: sizes that its weights have anyway, and ways to compute.
_WITHOUT_EFFECT = {
    *("batch_input_shape", "input_shape", "input_dim", "input_length", "input_dtype", "dynamic", "ragged"),
    *("implementation", "fused", "adjustment", "virtual_batch_size", "unroll_loop"),
    *("query_shape", "key_shape", "value_shape", "renorm_clipping", "renorm_momentum"),
}
# The general options of a convolution that a special one has in the file, though it has its own instead.
_OF_THE_GENERAL_LAYER = {
    "SeparableConv1D": ("kernel_initializer", "kernel_regularizer", "kernel_constraint", "groups"),
    "SeparableConv2D": ("kernel_initializer", "kernel_regularizer", "kernel_constraint", "groups"),
    "DepthwiseConv1D": ("kernel_initializer", "kernel_regularizer", "kernel_constraint", "groups", "filters"),
    "DepthwiseConv2D": ("kernel_initializer", "kernel_regularizer", "kernel_constraint", "groups", "filters"),
    "SpatialDropout1D": ("noise_shape",),
    "SpatialDropout2D": ("noise_shape",),
    "SpatialDropout3D": ("noise_shape",),
}
_CUDNN_GATES = {"activation": "tanh", "recurrent_activation": "sigmoid"}
_CUDNN = {"CuDNNLSTM": _CUDNN_GATES, "CuDNNGRU": {**_CUDNN_GATES, "reset_after": True}}
# What stands in a file for a function of TensorFlow that was given as an activation.
_OTHER_ACTIVATIONS = {"softmax_v2": "softmax", "sigmoid_v2": "sigmoid", "leaky_relu_v2": "leaky_relu"}
_RENAMED = {"LeakyReLU": {"alpha": "negative_slope"}}
_PARTS = {
    "_initializer": ("initializer", keras.initializers.get, "zeros"),
    "_regularizer": ("regularizer", keras.regularizers.get, None),
    "_constraint": ("constraint", keras.constraints.get, None),
}


def convert(entry: JsonObject, kind: type, origin: Origin) -> JsonObject:
    """The arguments of a layer of Keras 3; layers within it are still configurations.

    Args:
        entry: the layer in the configuration.
        kind: its class in Keras 3.
        origin: where the configuration comes from.

    Raises:
        ConfigError: it has an option that Keras 3 does not have.
    """
    name = classes.class_name(entry)
    options = dict(entry["config"])
    options.update(_CUDNN.get(name, {}))
    _fill_in_recurrent(kind, options, origin)
    for old, new in _RENAMED.get(name, {}).items():
        if old in options:
            options[new] = options.pop(old)
    if kind is keras.layers.BatchNormalization and isinstance(options.get("axis"), list):
        (options["axis"],) = options["axis"]
    if isinstance(options.get("dtype"), dict):
        options["dtype"] = _policy(options["dtype"])
    elif isinstance(options.get("dtype"), str) and "int" in options["dtype"]:
        del options["dtype"]  # before Keras 2.1 that of an Embedding was its input's
    for key in ("activation", "recurrent_activation"):
        if key in options:
            options[key] = activation(options[key])
    for ending, (what, get, otherwise) in _PARTS.items():
        for key in [key for key in options if key.endswith(ending)]:
            options[key] = _part(options, key, what, get, otherwise)
    return _without_unknown(kind, name, options)


def of_own_class(config: JsonObject) -> JsonObject:
    """The options of a class of the file's owner: as they are, but for the function that Keras 3 changed."""
    names = ("activation", "recurrent_activation")
    changed = {name: keras2_hard_sigmoid for name in names if config.get(name) == "hard_sigmoid"}
    return {**config, **changed}


def activation(value: object) -> object:
    """An activation as Keras 3 takes it: a name, a function, or a layer."""
    if isinstance(value, dict):
        name = value.get("config") if value.get("class_name") == "function" else value.get("class_name")
        if isinstance(value.get("config"), dict):
            kind = getattr(keras.layers, str(name).rpartition(">")[2], None)
            return kind(**value["config"]) if kind is not None else keras.activations.get(value)
        value = name
    if value == "hard_sigmoid":
        return keras2_hard_sigmoid
    if isinstance(value, str):
        value = value.rpartition(">")[2] if not keras.saving.get_registered_object(value) else value
        return keras.activations.get(_OTHER_ACTIVATIONS.get(value, value))
    return value


def _fill_in_recurrent(kind: type, options: JsonObject, origin: Origin) -> None:
    """Gives a recurrent layer or cell the options that its file means without naming them."""
    for known in _recurrent():
        if kind in (known.layer, known.cell):
            for name in known.old_options:
                options.pop(name, None)
            for name, value in known.old_defaults.items():
                options.setdefault(name, value)
    if options.get("time_major"):
        raise ConfigError(
            f"the layer '{options.get('name')}' has time_major=True, which Keras 3 does not have; save the "
            "model with the batch as the first axis"
        )
    options.pop("time_major", None)
    if issubclass(kind, RNNWithConstants):
        options.pop("num_constants", None)
    if options.get("reverse_state_order"):
        raise ConfigError(
            f"the cells of '{options.get('name')}' have reverse_state_order=True, which Keras 3 does not have"
        )


def _recurrent() -> list[KerasClasses]:
    return [cell.keras for cell in own_cells() if cell.keras is not None]


def _policy(config: JsonObject) -> object:
    """A dtype policy: its name, or the object where it is more than a name."""
    inner = config.get("config")
    return inner["name"] if isinstance(inner, dict) and isinstance(inner.get("name"), str) else config


def _part(
    options: JsonObject, key: str, what: str, get: Callable[[object], object], otherwise: str | None
) -> object:
    """An initializer, regularizer or constraint; with a warning another where it is not Keras'."""
    value = options[key]
    if isinstance(value, dict):
        config = value.get("config")
        if isinstance(config, dict):
            config = {name: each for name, each in config.items() if name != "dtype"}
        if isinstance(config, dict) and config.get("distribution") == "normal":  # before Keras 2.2.3
            config["distribution"] = "truncated_normal"
        if isinstance(config, dict) and config.get("minval", 0) >= config.get(
            "maxval", 1
        ):  # a range of one number
            value, config = {"class_name": "Constant"}, {"value": config["minval"]}
        value = {**value, "config": config}
    try:
        return get(value)
    except Exception:
        name = value.get("class_name") if isinstance(value, dict) else value
        warn(
            f"the {what} '{name}' of the layer '{options.get('name')}' is not part of Keras 3, and "
            f"{otherwise or 'none'} takes its place; give it with custom_objects to train on as before"
        )
        return otherwise


def _without_unknown(kind: type, kind_name: str, options: JsonObject) -> JsonObject:
    """The options without those that Keras 3 lacks and that have no effect.

    Raises:
        ConfigError: one has an effect.
    """
    known = classes.accepted_options(kind)
    kept = {}
    for name, value in options.items():
        if name in known:
            kept[name] = value
        elif name == "trainable" or name in _WITHOUT_EFFECT | {*_OF_THE_GENERAL_LAYER.get(kind_name, ())}:
            continue
        elif value not in (None, False, [], {}, 0, "auto"):
            raise ConfigError(
                f"the {kind_name} '{options.get('name')}' has {name}={value!r:.60}, which that of Keras "
                f"3 does not have; if the class is your own, give custom_objects={{'{kind_name}': …}}"
            )
    return kept

"""Builds a model or layer of Keras 3 from a configuration of Keras 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import keras

from ostinato.errors import ConfigError, warn
from ostinato.interop.keras.keras2 import classes, graph, lambdas, operations, options
from ostinato.interop.keras.origin import JsonObject, Origin

_INNER = ("layer", "backward_layer", "cell", "cells")


def build(config: JsonObject, origin: Origin) -> keras.Model:
    """The model that a configuration describes, with new weights.

    Args:
        config: a model's configuration, as Keras 2 wrote it into a file, or as `model.to_json` wrote it.
        origin: where it comes from.

    Raises:
        ConfigError: it has a layer or an option that neither Keras 3 nor `origin` has.
    """
    with keras.saving.custom_object_scope(dict(origin.custom_objects)):
        makes_masks = _makes_masks(config)
        model = cast("keras.Model", _make(config, origin, makes_masks, nested=False))
    if makes_masks and not origin.is_tensorflow:
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.StackedRNNCells) and len(layer.cells) > 1:
                warn(
                    f"at masked steps the stacked cells '{layer.name}' repeat their last output; Keras "
                    f"{origin.version} gave the state of the first cell there"
                )
    return model


def _makes_masks(config: object) -> bool:
    """Whether a layer in a configuration makes masks."""
    if isinstance(config, dict):
        found = config.get("mask_zero") is True or config.get("class_name") == "Masking"
        return found or any(map(_makes_masks, config.values()))
    return isinstance(config, list) and any(map(_makes_masks, config))


def _make(entry: JsonObject, origin: Origin, makes_masks: bool, *, nested: bool = True) -> Any:
    """The layer or model of an entry of a configuration."""

    def make(inner: JsonObject) -> Any:
        return _make(inner, origin, makes_masks)

    name, config = classes.class_name(entry), entry.get("config")
    own = classes.own_class(entry, origin)
    if own is None and name == "Sequential":
        return _sequential(config if isinstance(config, dict) else {"layers": config}, make)
    if isinstance(config, dict) and {"layers", "input_layers", "output_layers"} <= config.keys():
        if own is None and name not in ("Functional", "Model"):
            warn(
                f"the model '{config.get('name')}' comes back as a keras.Model, without the methods of its "
                f"class {name}"
            )
        masks = nested and makes_masks
        return graph.functional(config, make, kind=own or keras.Model, may_get_masks=masks)
    if not isinstance(config, dict):
        raise ConfigError(f"its configuration has a {name} without options")
    if own is not None:
        return own.from_config(options.of_own_class(config))
    if name == "Lambda":
        return lambdas.restore(config, origin)
    if name in operations.NAMES:
        return operations.call_of(name, config)
    kind = classes.find(entry, origin)
    arguments = options.convert(entry, kind, origin)
    for key in _INNER:
        if key in arguments and arguments[key] is not None:
            inner = arguments[key]
            arguments[key] = list(map(make, inner)) if isinstance(inner, list) else make(inner)
    made = kind(**arguments)
    if config.get("trainable") is False and made.trainable:
        made.trainable = False
    if isinstance(made, keras.layers.Bidirectional) and not origin.is_tensorflow:
        for layer in (made.forward_layer, made.backward_layer):
            layer.zero_output_for_mask = False  # since TensorFlow's Keras it is True for whole sequences
    return made


def _sequential(config: JsonObject, make: Callable[[JsonObject], Any]) -> keras.Sequential:
    model = keras.Sequential(name=config.get("name"))
    for number, entry in enumerate(config["layers"]):
        inner = entry["config"]
        if entry["class_name"] == "InputLayer":
            model.add(graph.input_tensor(inner))
            continue
        layer = make(entry)
        if number == 0:
            shape = inner.get("batch_input_shape") if isinstance(inner, dict) else None
            dtype = inner.get("input_dtype") if isinstance(inner, dict) else None
            if shape:
                model.add(keras.Input(batch_shape=shape, dtype=dtype, name=f"{layer.name}_input"))
            elif isinstance(layer, keras.Model) and layer.built and len(layer.inputs) == 1:
                first = layer.inputs[0]
                model.add(keras.Input(batch_shape=first.shape, dtype=first.dtype))
        model.add(layer)
    shape = config.get("build_input_shape")
    if not model.built and isinstance(shape, list) and shape and not isinstance(shape[0], list):
        model.build(tuple(shape))
    return model

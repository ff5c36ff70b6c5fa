"""Models in `.h5` files that Keras 2 wrote.

Keras 3 reads most of such a file. The parts of the model that it cannot read are corrected in a copy of the
file first. Loss, metrics and the optimizer with its momentums are read here.
"""

import json
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable
from typing import Any, cast

import h5py
import keras
import numpy as np

from ostinato.cells.base import KerasClasses
from ostinato.errors import ConfigError, warn
from ostinato.registration import own_cells

JsonObject = dict[str, Any]

# The names of an optimizer's slots in files of Keras 2, and in Keras 3.
_SLOTS = {
    "iter": "iteration",
    "m": "momentum",
    "v": "velocity",
    "vhat": "velocity_hat",
    "rms": "velocity",
    "mg": "average_gradient",
    "momentum": "momentum",
    "accumulator": "accumulator",
}


@keras.saving.register_keras_serializable(package="ostinato")
def keras2_hard_sigmoid(x: Any) -> Any:
    """Keras 2's hard_sigmoid, max(0, min(1, 0.2 x + 0.5)); Keras 3's has a slope of 1/6.

    Args:
        x: any shape.

    Returns:
        A tensor of x's shape.

    Example:
        >>> keras2_hard_sigmoid(np.array([-3.0, 1.0, 3.0])).numpy().round(2).tolist()
        [0.0, 0.7, 1.0]
    """
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def load(path: pathlib.Path, *, compile: bool = True) -> keras.Model:
    """Loads the model in an `.h5` file of Keras 2 or 3.

    Args:
        path: the file.
        compile: False ignores optimizer, loss and metrics.

    Returns:
        The model, compiled if it was saved so, with the saved state of the optimizer.

    Raises:
        ConfigError: the file has only weights, or layers that Keras 3 does not have.
    """
    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise ConfigError(
                f"{path} holds weights without a model; load them into a model with load_weights"
            )
        version = _text(file.attrs.get("keras_version", "2"))
    if not version.startswith(("1.", "2")):
        return _with_statistics(cast("keras.Model", keras.models.load_model(path, compile=compile)))
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / path.name
        shutil.copy(path, copy)
        with h5py.File(copy, "r+") as file:
            config = _converted(json.loads(_text(file.attrs["model_config"])))
            file.attrs["model_config"] = json.dumps(config).encode()
            training = _converted(json.loads(_text(file.attrs.get("training_config", "null"))))
            state = _optimizer_state(file)
        model = cast("keras.Model", keras.models.load_model(copy, compile=False))
    if training and compile:
        model.compile(
            optimizer=keras.optimizers.deserialize(training["optimizer_config"]),
            loss=_map_named(keras.losses.deserialize, training["loss"]),
            metrics=_map_named(_metric, training.get("metrics")),
            weighted_metrics=_map_named(_metric, training.get("weighted_metrics")),
            loss_weights=training.get("loss_weights"),
        )
        if state:
            _restore_optimizer(model, state)
    return _with_statistics(model)


def _with_statistics(model: keras.Model) -> keras.Model:
    """Applies what normalizing layers have adapted.

    Keras reads it from the file, but lets it take effect only where the layer is not within another one.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return model


def _map_named(make: Callable[[JsonObject], object], config: object) -> Any:
    """Makes the objects of a nested configuration. Bare names stay names, which `compile` understands."""
    if isinstance(config, list):
        return [_map_named(make, part) for part in config]
    if isinstance(config, dict):
        return (
            make(config)
            if "class_name" in config
            else {name: _map_named(make, config[name]) for name in config}
        )
    return config


def _metric(config: JsonObject) -> object:
    if config["class_name"] != "MeanMetricWrapper":
        return keras.metrics.deserialize(config)
    name, function = config["config"]["name"], config["config"]["fn"]
    if name in ("accuracy", "acc", "crossentropy", "ce"):
        return name  # `compile` chooses the function that fits the output, as in Keras 2
    return function["config"] if isinstance(function, dict) else function


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _converted(config: Any) -> Any:
    """A configuration as Keras 3 writes it, for everything in recurrent models."""
    if isinstance(config, list):
        return [_converted(part) for part in config]
    if not isinstance(config, dict):
        return config
    config = {name: _converted(value) for name, value in config.items()}
    kind, options = config.get("class_name"), config.get("config")
    if not isinstance(kind, str):
        return config
    if kind.startswith("CuDNN"):
        raise ConfigError(
            f"the model has a {kind} layer, which Keras 3 no longer has; in Keras 2, copy its weights into a "
            f"{kind.removeprefix('CuDNN')} and save that"
        )
    if kind[:-2] in _recurrent() and kind.endswith(("V1", "V2")):
        kind = kind[:-2]
    kind = kind.removeprefix("Custom>")
    if kind == "Sequential" and isinstance(options, list):
        options = {"name": "sequential", "layers": options}
    if isinstance(options, dict):
        options = _options(kind, options)
    return config | {"class_name": kind, "config": options}


def _recurrent() -> dict[str, KerasClasses]:
    """Keras' recurrent layers by the names of their classes."""
    return {cell.keras.layer.__name__: cell.keras for cell in own_cells() if cell.keras is not None}


def _options(kind: str, options: JsonObject) -> JsonObject:
    """The arguments of one layer, loss or optimizer, as Keras 3 has them."""
    recurrent = _recurrent()
    if kind in (*recurrent, "RNN") and options.pop("time_major", False):
        raise ConfigError(
            f"the layer '{options.get('name')}' has time_major=True, which Keras 3 does not have; save the "
            "model with the batch as the first axis"
        )
    if kind in recurrent:
        for name in recurrent[kind].old_options:
            options.pop(name, None)
        for name, value in recurrent[kind].old_defaults.items():
            options.setdefault(name, value)
    if kind == "Embedding":
        options.pop("input_length", None)
    if kind == "Sequential" and options["layers"]:
        shapes = [layer["config"].pop("batch_input_shape", None) for layer in options["layers"]]
        first = options["layers"][0]
        if first["class_name"] == "InputLayer":
            first["config"]["batch_input_shape"] = shapes[0]
        elif shapes[0]:
            inputs = {"batch_input_shape": shapes[0], "name": f"{first['config']['name']}_input"}
            options["layers"].insert(0, {"class_name": "InputLayer", "config": inputs})
    if kind in ("Functional", "Model"):
        for name in (layer["name"] for layer in options["layers"] if layer["class_name"] == "Sequential"):
            calls = _calls(
                [options["output_layers"], *(layer["inbound_nodes"] for layer in options["layers"])], name
            )
            first = min((call[1] for call in calls), default=0)
            for call in calls:
                call[1] -= first  # Keras 2 counted making a nested Sequential as a call
    for name in ("layer", "backward_layer"):  # of a wrapper
        if isinstance(options.get(name), dict) and "module" not in options[name]:
            options[name] |= {"module": "keras.layers", "registered_name": None}
    for name in ("activation", "recurrent_activation"):
        if options.get(name) == "hard_sigmoid":
            options[name] = {
                "module": "ostinato.interop.keras.legacy",
                "class_name": "function",
                "config": "ostinato>keras2_hard_sigmoid",
                "registered_name": "ostinato>keras2_hard_sigmoid",
            }
    if hasattr(keras.losses, kind):
        options.pop("fn", None)
        if options.get("reduction") == "auto":
            options["reduction"] = "sum_over_batch_size"
    if hasattr(keras.optimizers, kind):
        for name in ("jit_compile", "is_legacy_optimizer", "schedule_decay"):
            options.pop(name, None)
        if "lr" in options:  # before Keras 2.3
            options["learning_rate"] = options.pop("lr")
        decay = options.pop("decay", None)
        if decay:
            schedule = keras.optimizers.schedules.InverseTimeDecay(options["learning_rate"], 1, decay)
            options["learning_rate"] = keras.saving.serialize_keras_object(schedule)
    return options


def _calls(nodes: object, name: str) -> list[list[Any]]:
    """The places in a functional configuration that use the output of a call of a layer."""
    if not isinstance(nodes, list):
        return []
    if len(nodes) >= 3 and nodes[0] == name and isinstance(nodes[1], int):
        return [nodes]
    return [call for part in nodes for call in _calls(part, name)]


def _optimizer_state(file: h5py.File) -> dict[str, list[np.ndarray]]:
    """The optimizer's variables by slot, in the order of their weights."""
    found: dict[str, list[np.ndarray]] = {}
    group = cast("h5py.Group | None", file.get("optimizer_weights"))
    if group is None:
        return found
    for name in map(_text, cast("list[bytes]", group.attrs["weight_names"])):
        parts = re.sub(r":\d+$", "", name).removeprefix("training/").split("/")
        # TensorFlow before 2.11 wrote Adam/gru/kernel/m, later ones write Adam/m/gru/kernel.
        slot = parts[-1] if len(parts) < 3 or parts[-1] in _SLOTS else parts[1]
        found.setdefault(_SLOTS.get(slot, slot), []).append(np.asarray(group[name]))
    return found


def _restore_optimizer(model: keras.Model, state: dict[str, list[np.ndarray]]) -> None:
    """Gives the optimizer its saved state, or warns that it does not fit."""
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    variables = {
        variable.path: variable
        for variable in optimizer.variables
        if not variable.path.endswith("/learning_rate")
    }
    pairs, fits = [], True
    for slot, values in state.items():
        ending = "/iteration" if slot == "iteration" else f"_{slot}"
        matching = [variables.pop(path) for path in list(variables) if path.endswith(ending)]
        if [variable.shape for variable in matching] != [value.shape for value in values]:
            fits = False
        pairs += zip(matching, values, strict=False)
    if variables or not fits:
        warn(
            f"the {optimizer.name} optimizer of the file keeps another state than that of Keras 3; "
            "its momentums start from zero"
        )
        return
    for variable, value in pairs:
        variable.assign(value)

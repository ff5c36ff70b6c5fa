"""Loss, metrics and optimizer that a file of Keras 2 holds, with the optimizer's state."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import h5py
import keras
import numpy as np

from ostinato.errors import warn
from ostinato.interop.keras.keras2.weights import Assignment, names_in
from ostinato.interop.keras.origin import JsonObject, Origin
from ostinato.interop.keras.sentences import why_not_loaded

# The names of an optimizer's slots in files of Keras 2, and in Keras 3.
_SLOTS = {
    "iter": "iteration",
    "iterations": "iteration",
    "m": "momentum",
    "v": "velocity",
    "vhat": "velocity_hat",
    "rms": "velocity",
    "mg": "average_gradient",
    "momentum": "momentum",
    "accumulator": "accumulator",
    "moment": "momentum",
    "u": "norm",
    "delta_accumulator": "accumulated_delta_var",
}
# The order in which Keras before 2.3, which did not name them, stored the slots.
_UNNAMED_SLOTS = {
    "Adam": ("momentum", "velocity", "velocity_hat"),
    "Adamax": ("momentum", "norm"),
    "Nadam": ("momentum", "velocity"),
    "SGD": ("momentum",),
    "RMSprop": ("velocity",),
    "Adagrad": ("accumulator",),
    "Adadelta": ("accumulated_grad", "accumulated_delta_var"),
}
_OTHER_SLOTS = {
    ("RMSprop", "accumulator"): "velocity",
    ("Adadelta", "accumulator"): "accumulated_grad",
    ("Adamax", "v"): "norm",
    ("Adadelta", "accum_grad"): "accumulated_grad",
    ("Adadelta", "accum_var"): "accumulated_delta_var",
}
_NOT_SLOTS = ("learning_rate", "_lr", "current_loss_scale", "good_steps", "decay", "lr")
# Before the name of a slot may stand its optimizer, and what counted the optimizers of the process.
_OPTIMIZER = r"(training(_\d+)?/)?(\w+/)?"
# A slot of Keras 2.3: its name, the number of the weight, and possibly another number to tell it from others.
_NUMBERED = re.compile(_OPTIMIZER + r"(?P<slot>m|v|vhat|u|moment|accumulator|delta_accumulator)_\d+(_\d+)?")
_UNNAMED = re.compile(_OPTIMIZER + r"Variable(_\d+)?")
# A slot of Keras 3: the path of the weight, then its name.
_AFTER_PATH = re.compile(
    r".*_(?P<slot>velocity_hat|average_gradient|accumulated_grad|accumulated_delta_var|momentum|velocity|"
    r"accumulator|norm)"
)
# Options of optimizers that Keras 3 lacks and that do not change what they compute.
_WITHOUT_EFFECT = ("jit_compile", "is_legacy_optimizer", "schedule_decay", "lr", "decay", "dynamic")
# Losses and metrics that have another name in Keras 3. Its cosine similarity is a loss, as the proximity was.
_RENAMED = {
    "kullback_leibler_divergence": "kl_divergence",
    "cosine_proximity": "cosine_similarity",
    "cosine": "cosine_similarity",
    "logcosh": "log_cosh",
    "huber_loss": "huber",
    "KullbackLeiblerDivergence": "KLDivergence",
    "CosineProximity": "CosineSimilarity",
    "Logcosh": "LogCosh",
}


def compile_as_saved(model: keras.Model, training: JsonObject, origin: Origin) -> bool:
    """Compiles a model as its file says.

    Args:
        model: the model.
        training: the `training_config` of the file.
        origin: where it comes from.

    Returns:
        Whether it is compiled now. Where it cannot be, a warning says why.
    """
    try:
        with keras.saving.custom_object_scope(dict(origin.custom_objects)):
            arguments = {
                "optimizer": optimizer(training["optimizer_config"], origin),
                "loss": _structure(training["loss"], _loss),
                "metrics": _metrics(training.get("metrics")),
                "weighted_metrics": _metrics(training.get("weighted_metrics")),
                "loss_weights": training.get("loss_weights"),
            }
            model.compile(**arguments)
    except Exception as error:  # Keras raises whatever its parts raise
        warn(f"the model comes back uncompiled: {why_not_loaded(error)}")
        return False
    return True


def optimizer(entry: JsonObject, origin: Origin) -> keras.optimizers.Optimizer:
    """The optimizer of a configuration of Keras 2.

    Args:
        entry: its class and options.
        origin: where it comes from.

    Raises:
        ValueError: Keras 3 does not have it, or not with these options.
    """
    name = re.sub(r"(?<=LossScaleOptimizer)V\d$", "", str(entry["class_name"]).rpartition(">")[2])
    custom = keras.saving.get_registered_object(entry["class_name"])
    kind = custom or getattr(keras.optimizers, name, None) or _by_lower_name(name)
    if not isinstance(kind, type):
        raise ValueError(f"Could not interpret optimizer identifier: {name}")
    options = dict(entry["config"])
    if custom is not None and not issubclass(kind, keras.optimizers.Optimizer):
        return kind.from_config(options)
    if kind is keras.optimizers.LossScaleOptimizer:
        inner = options["inner_optimizer" if "inner_optimizer" in options else "optimizer"]
        return kind(optimizer(inner, origin), **_scaling(options))
    if "lr" in options:  # before Keras 2.3
        options.setdefault("learning_rate", options["lr"])
    rate = options.get("learning_rate")
    if isinstance(rate, dict):
        schedule = getattr(keras.optimizers.schedules, rate["class_name"].rpartition(">")[2], None)
        if schedule is None:
            raise ValueError(f"the learning-rate schedule {rate['class_name']} is not part of Keras 3")
        known = {name: value for name, value in rate["config"].items() if value is not None}
        options["learning_rate"] = schedule.from_config(known)
    elif options.get("decay"):
        options["learning_rate"] = keras.optimizers.schedules.InverseTimeDecay(rate, 1, options["decay"])
    if options.get("clipnorm") and not origin.is_tensorflow:  # Keras itself clipped the norm of all gradients
        options["global_clipnorm"] = options.pop("clipnorm")
    if "epsilon" in options and options["epsilon"] is None:
        options["epsilon"] = keras.config.epsilon()
    return kind(**_known(kind, options))


def _by_lower_name(name: str) -> type | None:
    return next(
        (
            kind
            for each, kind in vars(keras.optimizers).items()
            if each.lower() == name.lower() and isinstance(kind, type)
        ),
        None,
    )


def _scaling(options: JsonObject) -> JsonObject:
    """The options of loss scaling, under the names of Keras 3."""
    scale = options.get("loss_scale")
    inner = scale["config"] if isinstance(scale, dict) else {}
    values = {
        "initial_scale": options.get("initial_scale", inner.get("initial_loss_scale")),
        "dynamic_growth_steps": options.get("dynamic_growth_steps", inner.get("increment_period")),
    }
    return {name: value for name, value in values.items() if value is not None}


def _known(kind: type, options: JsonObject) -> JsonObject:
    """The options that an optimizer of Keras 3 takes.

    Raises:
        ValueError: another one has an effect.
    """
    signature = inspect.signature(kind.__init__).parameters
    if kind.__module__.partition(".")[0] != "keras" and "kwargs" in signature:
        return {name: value for name, value in options.items() if name not in _WITHOUT_EFFECT}
    parameters = {*signature, "name"}
    parameters |= {*inspect.signature(keras.optimizers.Optimizer.__init__).parameters}
    for name, value in options.items():
        if name not in parameters and name not in _WITHOUT_EFFECT and value not in (None, False, 0, 0.0):
            raise ValueError(f"{kind.__name__} has {name}={value!r}, which that of Keras 3 does not have")
    return {name: value for name, value in options.items() if name in parameters}


def _structure(config: Any, make: Callable[[Any], Any]) -> Any:
    """Losses or metrics in the structure of the configuration."""
    if isinstance(config, list | tuple):
        return [_structure(part, make) for part in config]
    if isinstance(config, dict) and "class_name" not in config:
        return {name: _structure(part, make) for name, part in config.items()}
    return None if config is None else make(config)


def _metrics(config: Any) -> Any:
    """Metrics; an output without any has an empty list."""

    def without_none(part: Any) -> Any:
        parts = part if isinstance(part, list) else [part]
        return [each for each in parts if each is not None]

    found = _structure(config, _metric)
    if isinstance(found, dict):
        return {name: without_none(part) for name, part in found.items()}
    nested = isinstance(found, list) and any(isinstance(part, list) or part is None for part in found)
    return [without_none(part) for part in found] if nested else found


def _loss(config: Any) -> Any:
    if isinstance(config, str):
        return keras.saving.get_registered_object(config) or keras.losses.get(_RENAMED.get(config, config))
    name, options = config["class_name"].rpartition(">")[2], config["config"]
    if name == "function":
        return _loss(options)
    options = {key: value for key, value in options.items() if key != "fn"}
    if options.get("reduction") == "auto":
        options["reduction"] = "sum_over_batch_size"
    return keras.losses.deserialize({"class_name": _RENAMED.get(name, name), "config": options})


def _metric(config: Any) -> Any:
    if isinstance(config, str):
        if config in ("accuracy", "acc", "crossentropy", "ce"):
            return config  # `compile` chooses the function that fits the output, as in Keras 2
        own = keras.saving.get_registered_object(config)
        if own is not None:
            return own
        return keras.losses.get(_RENAMED[config]) if config in _RENAMED else keras.metrics.get(config)
    name, options = config["class_name"].rpartition(">")[2], config["config"]
    if name == "function":
        return _metric(options)
    if name not in ("MeanMetricWrapper", "SumOverBatchSizeMetricWrapper"):
        return keras.metrics.deserialize({"class_name": name, "config": options})
    if options["name"] in ("accuracy", "acc", "crossentropy", "ce"):
        return options["name"]
    function = options["fn"]
    return _metric(function["config"] if isinstance(function, dict) else function)


def stored_state(
    file: h5py.File, optimizer: keras.optimizers.Optimizer, count: int
) -> dict[str, list[np.ndarray]]:
    """The optimizer's variables by slot, in the order of the trainable weights in the file.

    Args:
        file: the file of the model, which has such variables.
        optimizer: the optimizer.
        count: the number of trainable weights.
    """
    found: dict[str, list[np.ndarray]] = {}
    group = cast("h5py.Group", file["optimizer_weights"])
    kind = next((each.__name__ for each in type(optimizer).__mro__ if each.__name__ in _UNNAMED_SLOTS), "")
    unnamed: list[np.ndarray] = []
    for stored in names_in(group, "weight_names") or ():
        name = re.sub(r":\d+$", "", stored)
        value = np.asarray(group[stored])
        if _UNNAMED.fullmatch(name):
            unnamed.append(value)
            continue
        if numbered := _NUMBERED.fullmatch(name):
            slot = numbered["slot"]
            found.setdefault(_OTHER_SLOTS.get((kind, slot), _SLOTS[slot]), []).append(value)
            continue
        if after_path := _AFTER_PATH.fullmatch(name):
            found.setdefault(after_path["slot"], []).append(value)
            continue
        parts = name.removeprefix("training/").split("/")
        # TensorFlow before 2.11 wrote Adam/gru/kernel/m, later ones Adam/m/gru/kernel; where the loss is
        # scaled, m/gru/kernel.
        slot = parts[-1] if len(parts) < 3 or parts[-1] in _SLOTS else parts[0 if parts[0] in _SLOTS else 1]
        if slot not in _NOT_SLOTS:
            found.setdefault(_OTHER_SLOTS.get((kind, slot), _SLOTS.get(slot, slot)), []).append(value)
    found |= _named(unnamed, kind, count)
    if all(value.shape == (1,) for value in found.get("velocity_hat", ())):
        found.pop("velocity_hat", None)  # without AMSGrad Keras 2 stored placeholders
    return found


def _named(values: list[np.ndarray], kind: str, count: int) -> dict[str, list[np.ndarray]]:
    """Slots that Keras before 2.3 stored one after the other, without their names."""
    slots = _UNNAMED_SLOTS.get(kind, ())
    return {
        slot: values[n * count : (n + 1) * count] for n, slot in enumerate(slots) if len(values) > n * count
    }


def restore_state(
    model: keras.Model, state: Mapping[str, Sequence[np.ndarray]], order: Sequence[Assignment]
) -> None:
    """Gives the optimizer its saved state, or warns that it does not fit.

    Args:
        model: the model, compiled.
        state: from `stored_state`.
        order: the trainable weights in the order of the file.
    """
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    places = {id(variable): n for n, variable in enumerate(model.trainable_variables)}
    pairs = _pairs(optimizer, state, [places.get(id(each.variable), -1) for each in order])
    if pairs is None:  # before 2.0.7 Keras sorted the weights by their names
        by_name = sorted(order, key=lambda each: each.name)
        pairs = _pairs(optimizer, state, [places.get(id(each.variable), -1) for each in by_name])
    if pairs is None:
        warn(
            f"the {type(optimizer).__name__} optimizer of the file keeps another state than that of Keras 3; "
            "its momentums start from zero"
        )
        return
    for variable, value in pairs:
        variable.assign(value)


def _pairs(
    optimizer: keras.optimizers.Optimizer, state: Mapping[str, Sequence[np.ndarray]], places: Sequence[int]
) -> list[tuple[keras.Variable, np.ndarray]] | None:
    """The optimizer's variables with their values; None where these do not fit.

    Args:
        optimizer: the optimizer, built.
        state: the values by slot, in the order of the file.
        places: for each trainable weight of the file, its place among those of the model.
    """
    counters = ("/learning_rate", "/initial_scale", "/step_counter", "/dynamic_scale")
    waiting = {each.path: each for each in optimizer.variables if not each.path.endswith(counters)}
    pairs = []
    for slot, values in state.items():
        if slot == "momentum" and not getattr(optimizer, "momentum", True):
            continue  # Keras 2 stored it also where it is not used
        ending = "/iteration" if slot == "iteration" else f"_{slot}"
        matching = [waiting.pop(path) for path in list(waiting) if path.endswith(ending)]
        if slot != "iteration":
            if len(matching) != len(values) or sorted(places) != [*range(len(values))]:
                return None
            matching = [matching[place] for place in places]
        else:
            values = [values[0]] * len(matching)  # an optimizer that scales the loss counts, too
        if [tuple(each.shape) for each in matching] != [value.shape for value in values]:
            return None
        pairs += zip(matching, values, strict=True)
    if isinstance(optimizer, keras.optimizers.Nadam):
        steps = np.arange(1, int(state.get("iteration", [np.zeros(())])[0]) + 1)
        product = np.prod(
            optimizer.beta_1 * (1 - 0.5 * 0.96**steps)
        )  # of the factors that Keras 3 multiplies
        pairs.append((optimizer._u_product, np.float32(product)))
        waiting.pop(optimizer._u_product.path, None)
    if "iteration" not in state and not isinstance(optimizer._learning_rate, keras.Variable):
        warn(
            f"the file does not hold how many steps the {type(optimizer).__name__} optimizer has done; its "
            "learning rate decays from the beginning"
        )
    return None if any(not path.endswith("/iteration") for path in waiting) else pairs
